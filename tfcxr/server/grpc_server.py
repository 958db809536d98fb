"""The gRPC side: TensorFlow Serving's PredictionService and ModelService, and gRPC's own health service."""

import dataclasses
import pathlib
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from tfcxr.server.access import Access
from tfcxr.server.model_status import model_metadata, model_status, reload_config
from tfcxr.server.open_inference_messages import SERVICE
from tfcxr.server.prediction import PredictionService
from tfcxr.server.serving_error import as_serving_error

GRPC = "grpc"
OPEN_METHODS = ("/grpc.health.v1.Health/", *(f"/{SERVICE}/Server{what}" for what in ("Live", "Ready")))  # need no token
DRAIN_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class GrpcOptions:
    """Where and how gRPC listens.

    Attributes:
      addresses: such as "127.0.0.1:8500" and "unix:/run/tfcxr.sock".
      max_message_bytes: of a request.
      max_requests: at once; more are refused with RESOURCE_EXHAUSTED.
      channel_arguments: further options of gRPC.
      credentials: of TLS, None for plain connections.
      reload_root: the folder that models of a HandleReloadConfigRequest must be in; None for any.
    """

    addresses: tuple[str, ...]
    max_message_bytes: int
    max_requests: int = 64
    channel_arguments: tuple[tuple[str, Any], ...] = ()
    credentials: grpc.ServerCredentials | None = None
    reload_root: pathlib.Path | None = None


class GrpcServer:
    """A gRPC server.

    Attributes:
      ports: that it listens at, one for each address.
    """

    def __init__(
        self,
        service: PredictionService,
        options: GrpcOptions,
        access: Access,
        on_request: Callable[[str, str, str, str, float], None],
        additions: tuple[Callable[[grpc.Server], None], ...] = (),
    ) -> None:
        """Takes its addresses and answers nothing yet.

        Args:
          on_request: called with protocol, model, signature, name of the status and seconds.
          additions: what adds further services to the server.

        Raises:
          OSError: an address is taken.
        """
        pool = futures.ThreadPoolExecutor(options.max_requests, thread_name_prefix="grpc")
        limits = [
            ("grpc.max_receive_message_length", options.max_message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ]
        self._server = grpc.server(
            pool,
            interceptors=[_TokenInterceptor(access)],
            options=[*limits, *options.channel_arguments],
            maximum_concurrent_rpcs=options.max_requests,
        )
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        methods = _Methods(service, on_request, options.reload_root)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(methods, self._server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(methods, self._server)
        for add in additions:
            add(self._server)
        self.ports = [self._listen(address, options.credentials) for address in options.addresses]

    def start(self) -> None:
        """Answers from now on."""
        self._server.start()
        self._health.set("", health_pb2.HealthCheckResponse.SERVING)

    def _listen(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        try:
            if credentials is None or address.startswith("unix:"):
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise OSError(f"gRPC cannot listen on {address}: is another server running there?") from error

    def stop(self) -> None:
        """Answers what runs, refuses what is new."""
        self._server.stop(DRAIN_SECONDS).wait()


class _Methods(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    def __init__(
        self,
        service: PredictionService,
        on_request: Callable[[str, str, str, str, float], None],
        reload_root: pathlib.Path | None,
    ) -> None:
        self._service, self._on_request, self._reload_root = service, on_request, reload_root

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - names of the protocol
        return self._answer(self._service.predict, request, request.model_spec, context)

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._answer(self._service.classify, request, request.model_spec, context)

    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._answer(self._service.regress, request, request.model_spec, context)

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        spec = request.tasks[0].model_spec if request.tasks else None
        return self._answer(self._service.multi_inference, request, spec, context)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._answer(lambda given: model_metadata(self._service, given), request, request.model_spec, context)

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._answer(
            lambda given: model_status(self._service.manager, given), request, request.model_spec, context
        )

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._answer(
            lambda given: reload_config(self._service.manager, given, self._reload_root), request, None, context
        )

    def _answer(
        self, method: Callable[[Any], Any], request: Any, model_spec: Any, context: grpc.ServicerContext
    ) -> Any:
        begun = time.monotonic()
        model, signature = (model_spec.name, model_spec.signature_name) if model_spec is not None else ("", "")
        error, response = None, None
        try:
            response = method(request)
        except Exception as raised:  # noqa: BLE001 - a client sees one sentence, whatever went wrong
            error = as_serving_error(raised)
        status = error.code.name if error else "OK"
        self._on_request(GRPC, model, signature, status, time.monotonic() - begun)
        if error:
            context.abort(error.code, error.message)
        return response


class _TokenInterceptor(grpc.ServerInterceptor):
    """Refuses calls without the API token."""

    def __init__(self, access: Access) -> None:
        self._access = access

        def refuse(_: Any, context: grpc.ServicerContext) -> None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, Access.MESSAGE)

        self._refusal = grpc.unary_unary_rpc_method_handler(refuse)

    def intercept_service(self, continuation: Callable, details: grpc.HandlerCallDetails) -> Any:
        metadata = dict(details.invocation_metadata)
        if details.method.startswith(OPEN_METHODS) or self._access.allows(metadata.get("authorization", "")):
            return continuation(details)
        return self._refusal
