"""The whole server: models, batches, gRPC, REST and the page.

with Server(ServerOptions(models=lambda: models_in("saved_models"))) as server:
    print(server.rest_address, server.grpc_address)
"""

import dataclasses
import functools
import pathlib
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import grpc
import uvicorn
from absl import logging
from starlette.types import ASGIApp, Receive, Scope, Send

from tfcxr.server import health, metrics, open_inference_rest, page
from tfcxr.server.access import Access, Tls
from tfcxr.server.batching import Batcher, BatchingOptions
from tfcxr.server.firewall import Firewall
from tfcxr.server.grpc_server import GrpcOptions, GrpcServer
from tfcxr.server.listening import address_text, listen, tls_files
from tfcxr.server.metrics import ServerMetrics
from tfcxr.server.model_manager import ModelManager
from tfcxr.server.open_inference_grpc import add_open_inference
from tfcxr.server.prediction import PredictionService
from tfcxr.server.rest import create_app
from tfcxr.server.served_models import ServedModel

OPEN_PATHS = ("/livez", "/readyz", "/healthz", "/v2/health/", "/page/static/")  # need no API token
OPEN_EXACTLY = ("/", "/favicon.ico")
METRICS_PATH = "/metrics"
START_SECONDS = 30.0
KEEP_ALIVE_SECONDS = 75  # a connection that closes just when a request comes looks to the client like an absent server


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """What is served, where, and within which bounds.

    Attributes:
      models: what is served, asked again at every poll.
      host: address to listen at.
      grpc_port: 0 for a free one, None for no gRPC.
      rest_port: 0 for a free one, None for no REST.
      grpc_socket: path of a Unix socket for gRPC beside the port.
      poll_seconds: between looks for new versions.
      warms_up: whether warm-up requests are run.
      load_retries: further tries for a version that could not be loaded.
      retry_seconds: between them.
      batching: of requests.
      max_request_bytes: of a message or body.
      timeout_seconds: after which a REST answer is given up.
      grpc_requests: of gRPC at once.
      channel_arguments: further options of gRPC.
      access: who may use the server.
      tls: of both sides; None for plain connections.
      allows_other_origins: whether pages of other servers may call this one (CORS).
      allows_labels_of_unavailable: whether a label may name a version that is not available.
      metrics_path: beside /metrics.
      reload_root: the folder that models of a HandleReloadConfigRequest must be in; None for any.
      cohorts: data folders that the page shows.
      training_features: model -> file by which its pictures are refused as copies, see `tfcxr.server.firewall`.
    """

    models: Callable[[], Iterable[ServedModel]]
    host: str = "127.0.0.1"
    grpc_port: int | None = 0
    rest_port: int | None = 0
    grpc_socket: str = ""
    poll_seconds: float = 1.0
    warms_up: bool = True
    load_retries: int = 5
    retry_seconds: float = 60.0
    batching: BatchingOptions = BatchingOptions()
    max_request_bytes: int = 64 * 2**20
    timeout_seconds: float = 30.0
    grpc_requests: int = 64
    channel_arguments: tuple[tuple[str, Any], ...] = ()
    access: Access = Access()
    tls: Tls | None = None
    allows_other_origins: bool = False
    allows_labels_of_unavailable: bool = False
    metrics_path: str = ""
    reload_root: pathlib.Path | None = None
    cohorts: tuple[str, ...] = ()
    training_features: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Server:
    """Runs in threads until it is closed.

    Attributes:
      manager: the models.
      batcher: computes.
      metrics: count requests, images, batches and versions.
      rest_address: "host:port", "" without REST.
      grpc_address: likewise.
    """

    def __init__(self, options: ServerOptions) -> None:
        """Listens, then loads the models; gRPC answers when they are loaded, REST says meanwhile that it is not ready.

        Raises:
          OSError: an address is taken.
          FileNotFoundError: a folder of `cohorts` without a finished build, or no file of `training_features`.
          ValueError: `training_features` of a model that is not served.
        """
        self.manager = ModelManager(
            options.models,
            poll_seconds=options.poll_seconds,
            warms_up=options.warms_up,
            load_retries=options.load_retries,
            retry_seconds=options.retry_seconds,
            allows_labels_of_unavailable=options.allows_labels_of_unavailable,
        )
        firewall = Firewall(options.training_features)
        self.manager.prepare = firewall.guard
        self.batcher = Batcher(options.batching)
        self.metrics = ServerMetrics(self.manager, self.batcher)
        service = PredictionService(self.manager, self.batcher)
        self._health = health.Health(self.manager)
        self._grpc: GrpcServer | None = None
        self._rest: _RestThread | None = None
        self.rest_address = self.grpc_address = ""
        try:
            if options.rest_port is not None:
                listener = listen(options.host, options.rest_port, "REST")
                self.rest_address = address_text(options.host, listener.getsockname()[1])
                self._rest = _RestThread(self._application(service, options), listener, options.tls)
            if options.grpc_port is not None or options.grpc_socket:
                self._grpc = self._grpc_server(service, options)
            self.manager.start()
            firewall.require(self.manager.names())
            self._health.log()
            if self._grpc:
                self._grpc.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Answers what runs, then frees everything."""
        if self._grpc:
            self._grpc.stop()
        if self._rest:
            self._rest.stop()
        self.batcher.close()
        self.manager.stop()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _application(self, service: PredictionService, options: ServerOptions) -> ASGIApp:
        on_request = self.metrics.observe_request
        return create_app(
            service,
            max_body_bytes=options.max_request_bytes,
            timeout_seconds=options.timeout_seconds,
            on_request=on_request,
            on_refused=self.metrics.observe_refused,
            routers=[
                health.router(self.manager, self._health),
                metrics.router(self.metrics, *{METRICS_PATH, options.metrics_path or METRICS_PATH}),
                open_inference_rest.router(self.manager, self.batcher, options.timeout_seconds, on_request),
                page.router(self.manager, self.batcher, options.cohorts),
            ],
            allows_other_origins=options.allows_other_origins,
            wrap=functools.partial(_TokenCheck, options.access),
        )

    def _grpc_server(self, service: PredictionService, options: ServerOptions) -> GrpcServer:
        addresses = [] if options.grpc_port is None else [address_text(options.host, options.grpc_port)]
        addresses += [f"unix:{options.grpc_socket}"] if options.grpc_socket else []
        credentials = None
        if tls := options.tls:
            authority = tls.client_authority.encode() or None
            credentials = grpc.ssl_server_credentials(
                [(tls.key.encode(), tls.certificate.encode())], authority, authority is not None
            )
        grpc_options = GrpcOptions(
            tuple(addresses),
            options.max_request_bytes,
            options.grpc_requests,
            options.channel_arguments,
            credentials,
            options.reload_root,
        )
        on_request = self.metrics.observe_request
        add_v2 = functools.partial(
            add_open_inference, manager=self.manager, batcher=self.batcher, on_request=on_request
        )
        server = GrpcServer(service, grpc_options, options.access, on_request, (add_v2,))
        if options.grpc_port is not None:
            self.grpc_address = address_text(options.host, server.ports[0])
        return server


class _RestThread:
    """uvicorn in a thread."""

    def __init__(self, app: ASGIApp, listener: socket.socket, tls: Tls | None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tfcxr_tls_")
        files = tls_files(pathlib.Path(self._folder.name), tls) if tls else {}
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            **files,
        )
        self._server = uvicorn.Server(config)
        self._listener = listener
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="rest", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answers what runs."""
        self._server.should_exit = True
        self._thread.join(START_SECONDS)
        self._listener.close()
        self._folder.cleanup()


class _TokenCheck:
    """Refuses requests without the API token, but for health and the page's own files."""

    def __init__(self, access: Access, app: ASGIApp) -> None:
        self._access, self._app = access, app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, headers = scope.get("path", ""), dict(scope.get("headers", ()))
        is_open = path in OPEN_EXACTLY or path.startswith(OPEN_PATHS)
        if scope["type"] != "http" or is_open or self._access.allows(headers.get(b"authorization", b"")):
            await self._app(scope, receive, send)
            return
        answer = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
        await send({"type": "http.response.start", "status": 401, "headers": answer})
        await send({"type": "http.response.body", "body": f'{{"error": "{Access.MESSAGE}"}}'.encode()})


def log_addresses(server: Server, options: ServerOptions) -> None:
    """Says where the server listens."""
    scheme = "https" if options.tls else "http"
    if server.rest_address:
        logging.info("page and REST at %s://%s", scheme, server.rest_address)
    if server.grpc_address:
        logging.info("gRPC at %s", server.grpc_address)
