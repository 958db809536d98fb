"""Open Inference Protocol V2 over gRPC: the service `inference.GRPCInferenceService`."""

import dataclasses
import functools
import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from tfcxr.server.batching import Batcher
from tfcxr.server.metrics import time_request
from tfcxr.server.model_manager import ModelManager
from tfcxr.server.open_inference_messages import MESSAGES, SERVICE
from tfcxr.server.open_inference_models import (
    SERVER,
    TensorMetadata,
    is_model_ready,
    model_metadata,
    split_name,
    use_model,
)
from tfcxr.server.open_inference_tensors import datatype_of, from_contents, from_raw, has_contents, to_contents, to_raw
from tfcxr.server.serving_error import ServingError, as_serving_error, invalid
from tfcxr.server.synthetic_outputs import makes_images

PROTOCOL = "v2_grpc"  # in metrics


def add_open_inference(
    server: grpc.Server,
    manager: ModelManager,
    batcher: Batcher,
    on_request: Callable[[str, str, str, str, float], None],
) -> None:
    """Adds the service to a server.

    Args:
      on_request: called with protocol, model, signature, name of the status and seconds of each inference.
    """
    service = _Service(manager, batcher, on_request)
    methods = {
        "ServerLive": service.server_live,
        "ServerReady": service.server_ready,
        "ModelReady": service.model_ready,
        "ServerMetadata": service.server_metadata,
        "ModelMetadata": service.model_metadata,
        "ModelInfer": service.model_infer,
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            _refusing(method),
            request_deserializer=functools.partial(_parse, f"{name}Request"),
            response_serializer=MESSAGES[f"{name}Response"].SerializeToString,
        )
        for name, method in methods.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


class _Service:
    def __init__(
        self, manager: ModelManager, batcher: Batcher, on_request: Callable[[str, str, str, str, float], None]
    ) -> None:
        self._manager, self._batcher, self._on_request = manager, batcher, on_request

    def server_live(self, request: Any, context: grpc.ServicerContext) -> Any:
        return MESSAGES["ServerLiveResponse"](live=True)

    def server_ready(self, request: Any, context: grpc.ServicerContext) -> Any:
        return MESSAGES["ServerReadyResponse"](ready=self._manager.is_ready)

    def model_ready(self, request: Any, context: grpc.ServicerContext) -> Any:
        return MESSAGES["ModelReadyResponse"](ready=is_model_ready(self._manager, request.name, request.version))

    def server_metadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        return MESSAGES["ServerMetadataResponse"](**dataclasses.asdict(SERVER))

    def model_metadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        found = model_metadata(self._manager, request.name, request.version)
        response = MESSAGES["ModelMetadataResponse"](name=found.name, versions=found.versions, platform=found.platform)
        _add_tensors(response.inputs, found.inputs)
        _add_tensors(response.outputs, found.outputs)
        return response

    def model_infer(self, request: Any, context: grpc.ServicerContext) -> Any:
        with time_request(PROTOCOL, *split_name(self._manager, request.model_name), self._on_request):
            return self._infer(request, context)

    def _infer(self, request: Any, context: grpc.ServicerContext) -> Any:
        with use_model(self._manager, request.model_name, request.model_version) as (servable, signature):
            inputs, outputs = _read_inputs(request), tuple(output.name for output in request.outputs)
            future = self._batcher.submit(servable, signature, inputs, outputs)
            seconds = min(context.time_remaining(), threading.TIMEOUT_MAX)  # centuries where there is no deadline
            try:
                found = future.result(seconds)
            except FutureTimeoutError as error:
                future.cancel()
                message = "the deadline passed before the model answered"
                raise ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, message) from error
        response = MESSAGES["ModelInferResponse"](
            model_name=request.model_name, model_version=str(servable.version), id=request.id
        )
        if makes_images(servable, signature):
            response.parameters["synthetic"].bool_param = True
        _write_outputs(response, found, is_raw=bool(request.raw_input_contents))
        return response


def _parse(name: str, content: bytes) -> Any:
    """A message; or the error to refuse it with, since gRPC would log whatever is raised here with its traceback."""
    try:
        return MESSAGES[name].FromString(content)
    except DecodeError:
        return invalid(f"the bytes are no {name}")


def _refusing(method: Callable[[Any, grpc.ServicerContext], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
    """The method, whose errors reach the client as a code and one sentence."""

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            if isinstance(request, ServingError):
                raise request
            return method(request, context)
        except Exception as error:  # noqa: BLE001 - whatever it is, no traceback leaves the server
            refused = as_serving_error(error)
            return context.abort(refused.code, refused.message)

    return answer


def _add_tensors(field: Any, tensors: list[TensorMetadata]) -> None:
    for tensor in tensors:
        field.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)


def _read_inputs(request: Any) -> dict[str, Any]:
    """Input name -> array; all inputs are raw, or none."""
    raw = request.raw_input_contents
    if raw and (len(raw) != len(request.inputs) or any(tensor.HasField("contents") for tensor in request.inputs)):
        raise invalid(
            f"raw_input_contents needs one entry for each of the {len(request.inputs)} inputs, and these then no "
            f"contents; got {len(raw)}"
        )
    inputs: dict[str, Any] = {}
    for index, tensor in enumerate(request.inputs):
        if tensor.name in inputs:
            raise invalid(f"input {tensor.name} is given twice")
        inputs[tensor.name] = from_raw(tensor, raw[index]) if raw else from_contents(tensor, tensor.contents)
    return inputs


def _write_outputs(response: Any, outputs: dict[str, Any], is_raw: bool) -> None:
    """Adds the outputs; all are raw where one has a datatype without typed contents."""
    is_raw = is_raw or not all(has_contents(array) for array in outputs.values())
    for name, array in outputs.items():
        tensor = response.outputs.add(name=name, datatype=datatype_of(array.dtype), shape=array.shape)
        if is_raw:
            response.raw_output_contents.append(to_raw(array))
        else:
            to_contents(array, tensor.contents)
