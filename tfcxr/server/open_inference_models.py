"""What Open Inference Protocol V2 calls a model: one signature of a SavedModel.

`NAME` is the signature `serving_default` of a model, `NAME:SIGNATURE` another one, such as `acgan:png`.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import grpc

import tfcxr
from tfcxr.server.model_manager import AVAILABLE, ModelManager
from tfcxr.server.open_inference_tensors import datatype_of
from tfcxr.server.servable import DEFAULT_SIGNATURE, Servable
from tfcxr.server.serving_error import ServingError

PLATFORM = "tensorflow_savedmodel"
ANY_SHAPE = [-1]  # how a tensor is shown whose rank is open
_MAX_NAME = 80  # characters of a name in a message
_MAX_DIGITS = 18  # of a version


@dataclasses.dataclass(frozen=True)
class ServerMetadata:
    """What is said of the server.

    Attributes:
      name: "tfcxr".
      version: of tfcxr.
      extensions: "binary_tensor_data", raw bytes after the JSON of a REST request or answer.
    """

    name: str
    version: str
    extensions: list[str]


SERVER = ServerMetadata("tfcxr", tfcxr.__version__, ["binary_tensor_data"])


@dataclasses.dataclass(frozen=True)
class TensorMetadata:
    """An input or output.

    Attributes:
      name: in requests and answers.
      datatype: such as "FP32".
      shape: sizes of its axes, -1 for any size; [-1] where the rank is open too.
    """

    name: str
    datatype: str
    shape: list[int]


@dataclasses.dataclass(frozen=True)
class ModelMetadata:
    """What is said of a model.

    Attributes:
      name: `NAME` or `NAME:SIGNATURE`.
      versions: that are available, highest first.
      platform: "tensorflow_savedmodel".
      inputs: in alphabetical order; those with a default may be left out.
      outputs: in alphabetical order.
    """

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


def split_name(manager: ModelManager, name: str) -> tuple[str, str]:
    """Names of the SavedModel and of the signature that a name means, whether or not they are served."""
    model, _, signature = name.rpartition(":")
    return (name, DEFAULT_SIGNATURE) if not model or name in manager.names() else (model, signature)


@contextmanager
def use_model(manager: ModelManager, name: str, version: str = "") -> Iterator[tuple[Servable, str]]:
    """A version in a `with` block, which is not unloaded meanwhile, and the signature that the name means.

    Args:
      manager: the SavedModels.
      name: `NAME` or `NAME:SIGNATURE`.
      version: a number or a label; the highest that is available where empty.

    Raises:
      ServingError: NOT_FOUND, no such model, version, label or signature.
    """
    model, signature = split_name(manager, name)
    with _find(manager, model, version) as servable:
        _check_signature(model, servable.signature_defs, signature)
        yield servable, signature


def is_model_ready(manager: ModelManager, name: str, version: str = "") -> bool:
    """Whether a model, or this version of it, answers requests.

    Raises:
      ServingError: NOT_FOUND, a model that is not served or a signature that it lacks.
    """
    model, signature = split_name(manager, name)
    if model not in manager.names():
        raise _not_found(name, manager.names())
    try:
        with _find(manager, model, version) as servable:
            signatures = servable.signature_defs
    except ServingError as error:
        if error.code is grpc.StatusCode.NOT_FOUND:
            return False
        raise
    _check_signature(model, signatures, signature)
    return True


def model_metadata(manager: ModelManager, name: str, version: str = "") -> ModelMetadata:
    """Versions, inputs and outputs.

    Raises:
      ServingError: see `use_model`; UNIMPLEMENTED, a dtype that the protocol lacks.
    """
    with use_model(manager, name, version) as (servable, signature):
        versions = [str(number) for number in _available(manager, servable.name)]
        found = servable.signature_defs[signature]
        return ModelMetadata(name, versions, PLATFORM, _tensors(found.inputs), _tensors(found.outputs))


def _find(manager: ModelManager, model: str, version: str) -> AbstractContextManager[Servable]:
    if not version:
        return manager.use(model)
    if version.isascii() and version.isdecimal() and len(version) <= _MAX_DIGITS:
        return manager.use(model, int(version))
    try:
        return manager.use(model, manager.version_of(model, version))
    except ServingError as error:
        raise ServingError(grpc.StatusCode.NOT_FOUND, error.message) from error


def _available(manager: ModelManager, model: str) -> list[int]:
    return [number for number, version in manager.states(model).items() if version.state == AVAILABLE]


def _check_signature(model: str, signatures: Mapping[str, Any], signature: str) -> None:
    if signature not in signatures:
        names = [model if one == DEFAULT_SIGNATURE else f"{model}:{one}" for one in sorted(signatures)]
        raise _not_found(f"{model}:{signature}", names)


def _not_found(name: str, known: list[str]) -> ServingError:
    message = (
        f"there is no model {name[:_MAX_NAME]!r}; expected one of {', '.join(known) or 'none: no model is served'}"
    )
    return ServingError(grpc.StatusCode.NOT_FOUND, message)


def _tensors(infos: Mapping[str, Any]) -> list[TensorMetadata]:
    return [
        TensorMetadata(
            name,
            datatype_of(info.dtype),
            ANY_SHAPE if info.tensor_shape.unknown_rank else [side.size for side in info.tensor_shape.dim],
        )
        for name, info in sorted(infos.items())
    ]
