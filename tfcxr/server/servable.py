"""One loaded version of a model: any SavedModel, its signatures, and what `model.json` says of ours."""

import copy
import os
import pathlib
import tempfile
import threading
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from absl import logging
from google.protobuf import message_factory
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from tfcxr.data.tfrecord import read_records
from tfcxr.server.serving_error import ServingError, as_serving_error, invalid
from tfcxr.serving.copy_check import CopyCheck
from tfcxr.serving.model_card import DESCRIPTION_FILE, ModelDescription, read_description
from tfcxr.serving.signatures import SIGNATURES
from tfcxr.serving.warmup import WARMUP_FILE

DEFAULT_SIGNATURE = "serving_default"
MODEL_FILE = "saved_model.pb"
CLASSIFY, REGRESS = (f"tensorflow/serving/{name}" for name in ("classify", "regress"))
_POOL = tf.compat.v1.MetaGraphDef.DESCRIPTOR.file.pool
SavedModelMessage = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("tensorflow.SavedModel"))
HIDDEN_SIGNATURES = ("__saved_model_init_op", "__saved_model_train_op")  # no functions of a model


class Servable:
    """A version of a model in memory.

    Attributes:
      name: of the model.
      version: its number.
      path: of the version's folder.
      signature_defs: signature name -> `SignatureDef`, as the file has them.
      description: what `model.json` says; None for a SavedModel of another program.
      copy_check: by which its pictures are refused, see `tfcxr.server.firewall`; None without.
    """

    def __init__(self, name: str, version: int, path: str | os.PathLike) -> None:
        """Loads it.

        Raises:
          ServingError: FAILED_PRECONDITION or INVALID_ARGUMENT, no SavedModel or a damaged one.
        """
        self.name, self.version, self.path = name, version, pathlib.Path(path)
        message = _read(self.path)
        self.signature_defs = _signature_defs(message, self.path)
        is_ours = (self.path / DESCRIPTION_FILE).is_file()
        try:
            self.description: ModelDescription | None = read_description(self.path) if is_ours else None
            self._saved_model = _load(message, self.path)
        except (OSError, ValueError, LookupError, AttributeError, RuntimeError, tf.errors.OpError) as error:
            logging.warning("%s is a damaged SavedModel: %s", self.path, error)
            refusal = f"version {version} of {name} is a damaged SavedModel; export it again"
            raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, refusal) from error
        self.copy_check: CopyCheck | None = None
        self._functions = dict(self._saved_model.signatures)
        self._lock = threading.Lock()
        self._users, self._is_retired = 0, False

    def signature(self, name: str) -> Any:
        """The `SignatureDef` of a name, "" for the default one.

        Raises:
          ServingError: FAILED_PRECONDITION, none of that name.
        """
        found = self.signature_defs.get(name or DEFAULT_SIGNATURE)
        if found is None or (name or DEFAULT_SIGNATURE) not in self._functions:
            message = f'Serving signature key "{name or DEFAULT_SIGNATURE}" not found.'
            raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, message)
        return found

    def joins_requests(self, signature_name: str, is_asked_for: bool) -> bool:
        """Whether rows of strangers' requests may be computed together: known of our own models, else if asked for."""
        if self.description is None:
            return is_asked_for
        kind, name = self.description.kind, signature_name or DEFAULT_SIGNATURE
        ours = [own for own in SIGNATURES.values() if own.name == name and kind in own.kinds]
        return bool(ours) and all(own.rows_are_independent for own in ours)

    def complete(self, signature_name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The inputs with the signature's defaults for those that may be left out.

        Raises:
          ServingError: no such signature, an unknown or missing input, or values of another dtype.
        """
        signature = self.signature(signature_name)
        if unknown := sorted(inputs.keys() - signature.inputs.keys()):
            raise invalid(_other_inputs(signature, inputs, unknown))
        defaults = {key: tf.make_ndarray(value) for key, value in signature.defaults.items() if key not in inputs}
        whole = {**inputs, **defaults}
        if missing := sorted(signature.inputs.keys() - whole.keys()):
            raise invalid(_other_inputs(signature, inputs, missing))
        for key, value in inputs.items():
            expected, got = tf.as_dtype(signature.inputs[key].dtype), tf.as_dtype(value.dtype)
            if got != expected:
                raise invalid(f"input {key} must be of dtype {expected.name}, got {got.name}")
            _check_shape(key, signature.inputs[key].tensor_shape, value.shape, self.is_strict)
        return whole

    @property
    def is_strict(self) -> bool:
        """Whether shapes that the signature rules out are refused before they reach the graph."""
        return self.description is not None

    def run(
        self, signature_name: str, inputs: Mapping[str, np.ndarray], outputs: tuple[str, ...] = ()
    ) -> dict[str, np.ndarray]:
        """Outputs of a signature, all or those named.

        Raises:
          ServingError: see `complete`; an unknown or doubled output; or what the model itself says of its inputs.
        """
        whole, chosen = self.complete(signature_name, inputs), self.chosen_outputs(signature_name, outputs)
        function = self._functions[signature_name or DEFAULT_SIGNATURE]
        try:
            found = function(**{key: tf.constant(value) for key, value in whole.items()})
            return {key: _as_array(found[key]) for key in chosen}
        except (tf.errors.OpError, ValueError, TypeError) as error:
            if isinstance(error, tf.errors.OpError):
                raise as_serving_error(error) from None
            raise invalid(f"the model does not take these inputs: {' '.join(str(error).split())[:300]}") from None

    def chosen_outputs(self, signature_name: str, outputs: tuple[str, ...]) -> list[str]:
        """All outputs of a signature, or those named, in their order."""
        known = list(self.signature(signature_name).outputs)
        for key in outputs:
            if key not in known:
                expected = ",".join(sorted(known))
                raise invalid(
                    f"output tensor alias not found in signature: {key} Outputs expected to be in the set "
                    f"{{{expected}}}."
                )
        if len(set(outputs)) < len(outputs):
            raise invalid(f"duplicate output tensor alias: {next(key for key in outputs if outputs.count(key) > 1)}")
        return list(outputs) or known

    def warm_up(self) -> int:
        """Runs the requests of the version's warm-up file, if any, and returns how many.

        Raises:
          ServingError: a damaged file, or a request that fails.
        """
        path = self.path / WARMUP_FILE
        count = 0
        if not path.is_file():
            return count
        try:
            for record in read_records(path):
                log = prediction_log_pb2.PredictionLog.FromString(record)
                if log.WhichOneof("log_type") == "predict_log":
                    request = log.predict_log.request
                    inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
                    self.run(request.model_spec.signature_name, inputs)
                    count += 1
        except (ValueError, TypeError, DecodeError) as error:
            raise ServingError(
                grpc.StatusCode.FAILED_PRECONDITION, f"warm-up requests of {self.name} are damaged: {error}"
            ) from error
        return count

    def __enter__(self) -> "Servable":
        with self._lock:
            if self._is_retired and not self._users:
                raise ServingError(grpc.StatusCode.UNAVAILABLE, f"version {self.version} of {self.name} is unloading")
            self._users += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1

    def retire(self) -> bool:
        """No new user from now on; whether nobody uses it any more, so that it may be freed."""
        with self._lock:
            self._is_retired = True
            return self._users == 0

    def free(self) -> None:
        """Gives the memory back; call it when `retire` said true."""
        self._functions, self._saved_model, self.copy_check = {}, None, None


def _as_array(tensor: tf.Tensor) -> np.ndarray:
    value = tensor.numpy()  # of a single string: bytes
    return np.array(value, object) if isinstance(value, bytes) else value


def _read(path: pathlib.Path) -> Any:
    """The message of a version's `saved_model.pb`."""
    try:
        return SavedModelMessage.FromString((path / MODEL_FILE).read_bytes())
    except (OSError, DecodeError) as error:
        message = f"version {path.name} holds no readable {MODEL_FILE}"
        raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, message) from error


def _signature_defs(message: Any, path: pathlib.Path) -> dict[str, Any]:
    """Of the graph that is tagged "serve"."""
    served = [graph for graph in message.meta_graphs if "serve" in graph.meta_info_def.tags]
    if not served:
        raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, f'version {path.name} has no graph tagged "serve"')
    signatures = served[0].signature_def  # copied, since the message may be changed and is not kept
    return {key: copy.deepcopy(value) for key, value in signatures.items() if key not in HIDDEN_SIGNATURES}


def _load(message: Any, path: pathlib.Path) -> Any:
    """The SavedModel, without a warning for each reference variable of TensorFlow 1.

    Its custom gradients are left out: TensorFlow would register them, and keep them and the model for ever.
    """
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        is_of_tensorflow_1 = not any(graph.HasField("object_graph_def") for graph in message.meta_graphs)
        for graph in message.meta_graphs:
            del graph.graph_def.library.registered_gradients[:]
        try:
            return _load_with(message, path)
        except ValueError:
            if not is_of_tensorflow_1:
                raise
            _open_shapes(message)
            return _load_with(message, path)
    finally:
        logger.setLevel(level)


def _open_shapes(message: Any) -> None:
    """Takes shapes out of a SavedModel of TensorFlow 1 that TensorFlow 2 refuses for them.

    Its signatures may say other shapes than its graph, and once a placeholder without sides was one of any shape.
    """
    for graph in message.meta_graphs:
        for signature in graph.signature_def.values():
            for tensor in (*signature.inputs.values(), *signature.outputs.values()):
                tensor.tensor_shape.Clear()
                tensor.tensor_shape.unknown_rank = True
        for node in graph.graph_def.node:
            if node.op == "Placeholder" and not node.attr["shape"].shape.dim:
                node.attr["shape"].shape.unknown_rank = True


def _load_with(message: Any, path: pathlib.Path) -> Any:
    """A SavedModel whose `saved_model.pb` is this message."""
    with tempfile.TemporaryDirectory() as folder:
        twin = pathlib.Path(folder)
        for entry in path.iterdir():
            if entry.name != MODEL_FILE:
                (twin / entry.name).symlink_to(entry.resolve())
        (twin / MODEL_FILE).write_bytes(message.SerializeToString())
        return tf.saved_model.load(folder)


def _other_inputs(signature: Any, inputs: Mapping[str, Any], wrong: list[str]) -> str:
    """In the words of TensorFlow Serving, since clients may read them."""
    sent, known = set(inputs), set(signature.inputs)
    missing = sorted(known - sent - set(signature.defaults))
    return (
        f"input size does not match signature: {len(sent)}!={len(known)} len({{{','.join(sorted(sent))}}}) != "
        f"len({{{','.join(sorted(known))}}}). Sent extra: {{{','.join(sorted(sent - known))}}}. "
        f"Missing but required: {{{','.join(missing)}}}."
    )


def _check_shape(key: str, expected: Any, got: tuple[int, ...], is_strict: bool) -> None:
    if expected.unknown_rank or not is_strict:
        return
    sides = [side.size for side in expected.dim]
    fits = len(sides) == len(got) and all(side in (-1, size) for side, size in zip(sides, got, strict=True))
    if not fits:
        raise invalid(f"input {key} must have the shape {sides} (-1: any), got {list(got)}")
