"""What a server counts and times, for Prometheus.

A label's value never comes from a client alone: models and signatures are those that are served, others are "unknown".
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from tfcxr.server.batching import Batcher
from tfcxr.server.model_manager import ModelManager
from tfcxr.server.servable import DEFAULT_SIGNATURE, Servable
from tfcxr.server.serving_error import ServingError
from tfcxr.server.synthetic_outputs import makes_images

UNKNOWN = "unknown"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # of batches


class ServerMetrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self, manager: ModelManager, batcher: Batcher) -> None:
        """Follows what the manager loads and unloads, and what the batcher computes; requests are told to it."""
        self._manager = manager
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, processor seconds, open files

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, text, labels, buckets=buckets, registry=registry)

        signature = ("model", "signature")
        self._requests = counter("tfcxr_requests", "Answers, by gRPC's status.", "protocol", *signature, "status")
        self._seconds = histogram("tfcxr_request_seconds", "From request to answer.", SECONDS, "protocol", *signature)
        self._rows = histogram("tfcxr_batch_rows", "Rows computed at once.", SIZES, *signature)
        self._joined = histogram("tfcxr_batch_requests", "Requests computed at once.", SIZES, *signature)
        self._images = counter("tfcxr_images_generated", "Synthetic images computed.", "model")
        self._refused = counter("tfcxr_requests_refused", "Requests over a limit of the server.", "limit")
        self._copies = counter("tfcxr_copies_refused", "Images refused as copies of training images.", "model")
        self._loaded = gauge("tfcxr_version_loaded", "1 for each version that is loaded.", "model", "version")
        self._load_seconds = gauge("tfcxr_version_load_seconds", "Loading and warm-up.", "model", "version")
        gauge("tfcxr_queue_length", "Requests that wait to be computed.").set_function(lambda: batcher.waiting)
        manager.on_loaded, manager.on_unloaded = self.observe_loaded, self.observe_unloaded
        batcher.on_batch, batcher.on_refused = self.observe_batch, self.observe_refused
        batcher.on_copies = self.observe_copies

    def observe_request(self, protocol: str, model: str, signature: str, status: str, seconds: float) -> None:
        """One answer.

        Args:
          protocol: such as "grpc", "rest", "v2_grpc" or "v2_rest".
          model: as the client named it.
          signature: as the client named it, "" for the default one.
          status: name of gRPC's status code, whatever the protocol.
          seconds: from request to answer.
        """
        served = self._served(model, signature)
        self._requests.labels(protocol, *served, status).inc()
        self._seconds.labels(protocol, *served).observe(seconds)

    def observe_batch(self, servable: Servable, signature: str, rows: int, requests: int) -> None:
        """Rows and requests that were computed at once."""
        self._rows.labels(servable.name, signature).observe(rows)
        self._joined.labels(servable.name, signature).observe(requests)
        if makes_images(servable, signature):
            self._images.labels(servable.name).inc(rows)

    def observe_loaded(self, model: str, version: int, seconds: float) -> None:
        """A version that became available."""
        self._loaded.labels(model, str(version)).set(1)
        self._load_seconds.labels(model, str(version)).set(seconds)

    def observe_unloaded(self, model: str, version: int) -> None:
        """A version that went."""
        self._loaded.remove(model, str(version))
        self._load_seconds.remove(model, str(version))

    def observe_refused(self, limit: str) -> None:
        """A request that was over a limit of the server: "request_bytes", "rows" or "queue"."""
        self._refused.labels(limit).inc()

    def observe_copies(self, model: str, count: int) -> None:
        """Images that were refused because they are too near to a training image."""
        self._copies.labels(model).inc(count)

    def page(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics as text, and its content type; `accept` is the HTTP header, which may ask for OpenMetrics."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def _served(self, model: str, signature: str) -> tuple[str, str]:
        """The names, where they are of a model that is served and a signature that it has."""
        if model not in self._manager.names():
            return UNKNOWN, UNKNOWN
        signature = signature or DEFAULT_SIGNATURE
        try:
            with self._manager.use(model) as servable:
                return model, signature if signature in servable.signature_defs else UNKNOWN
        except ServingError:  # no version is available
            return model, UNKNOWN


def router(metrics: ServerMetrics, *paths: str) -> APIRouter:
    """The page of metrics under each of the paths."""
    routes = APIRouter()

    def page(request: Request) -> Response:
        content, content_type = metrics.page(request.headers.get("accept", ""))
        return Response(content, media_type=content_type)

    for path in paths:
        routes.add_api_route(path, page, include_in_schema=False)
    return routes


@contextmanager
def time_request(
    protocol: str, model: str, signature: str, on_request: Callable[[str, str, str, str, float], None]
) -> Iterator[None]:
    """Tells `on_request`, such as `ServerMetrics.observe_request`, how a `with` block ended; an exception passes on."""
    begun, status = time.monotonic(), "OK"
    try:
        yield
    except ServingError as error:
        status = error.code.name
        raise
    except asyncio.CancelledError:  # the client is gone
        status = "CANCELLED"
        raise
    except Exception:
        status = "INTERNAL"
        raise
    finally:
        on_request(protocol, model, signature, status, time.monotonic() - begun)
