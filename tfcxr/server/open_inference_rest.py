"""Open Inference Protocol V2 over REST: health, metadata and inference under `/v2`."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from tfcxr.server.batching import Batcher
from tfcxr.server.metrics import time_request
from tfcxr.server.model_manager import ModelManager
from tfcxr.server.open_inference_json import InferRequest, InferResponse, read_request, write_answer
from tfcxr.server.open_inference_models import (
    SERVER,
    ModelMetadata,
    ServerMetadata,
    is_model_ready,
    model_metadata,
    split_name,
    use_model,
)
from tfcxr.server.rest import ERRORS, JSON, result_of
from tfcxr.server.synthetic_outputs import makes_images

PROTOCOL = "v2_rest"  # in metrics
JSON_LENGTH = "Inference-Header-Content-Length"  # header of a body in which raw tensors follow the JSON
BINARY = "application/octet-stream"


def router(
    manager: ModelManager,
    batcher: Batcher,
    timeout_seconds: float,
    on_request: Callable[[str, str, str, str, float], None],
) -> APIRouter:
    """The paths under `/v2`.

    Args:
      manager: the models.
      batcher: computes.
      timeout_seconds: after which an answer is given up.
      on_request: called with protocol, model, signature, name of the status and seconds of each inference.
    """
    inference = _Inference(manager, batcher, timeout_seconds, on_request)
    routes = APIRouter(prefix="/v2", tags=["Open Inference Protocol V2"], responses=ERRORS)
    body = {"requestBody": {"content": {JSON: {"schema": _without_references(InferRequest)}}, "required": True}}

    @routes.get("/", response_model=ServerMetadata, include_in_schema=False)
    @routes.get("", response_model=ServerMetadata)
    async def server() -> Response:
        """Name, version and extensions of the server."""
        return _answer(dataclasses.asdict(SERVER))

    @routes.get("/health/live")
    async def live() -> Response:
        """Whether the server runs."""
        return _answer({"live": True})

    @routes.get("/health/ready")
    async def ready() -> Response:
        """Whether every model has a version that answers; 503 where not."""
        is_ready = manager.is_ready
        return _answer({"live": True, "ready": is_ready}, 200 if is_ready else 503)

    @routes.get("/models/{name}", response_model=ModelMetadata)
    async def model(name: str) -> Response:
        """Versions, inputs and outputs of a model."""
        return _answer(dataclasses.asdict(model_metadata(manager, name)))

    @routes.get("/models/{name}/versions/{version}", response_model=ModelMetadata)
    async def model_version(name: str, version: str) -> Response:
        """Versions, inputs and outputs of a model."""
        return _answer(dataclasses.asdict(model_metadata(manager, name, version)))

    @routes.get("/models/{name}/ready")
    async def model_ready(name: str) -> Response:
        """Whether a model answers; 503 where not."""
        return _readiness(manager, name, "")

    @routes.get("/models/{name}/versions/{version}/ready")
    async def version_ready(name: str, version: str) -> Response:
        """Whether a version answers; 503 where not."""
        return _readiness(manager, name, version)

    @routes.post("/models/{name}/infer", response_model=InferResponse, openapi_extra=body)
    async def infer(name: str, request: Request) -> Response:
        """Outputs of a model."""
        return await inference.answer(request, name, "")

    @routes.post("/models/{name}/versions/{version}/infer", response_model=InferResponse, openapi_extra=body)
    async def infer_version(name: str, version: str, request: Request) -> Response:
        """Outputs of a version."""
        return await inference.answer(request, name, version)

    return routes


class _Inference:
    def __init__(
        self,
        manager: ModelManager,
        batcher: Batcher,
        timeout_seconds: float,
        on_request: Callable[[str, str, str, str, float], None],
    ) -> None:
        self._manager, self._batcher, self._timeout_seconds = manager, batcher, timeout_seconds
        self._on_request = on_request

    async def answer(self, request: Request, name: str, version: str) -> Response:
        with time_request(PROTOCOL, *split_name(self._manager, name), self._on_request):
            body, json_length = await request.body(), request.headers.get(JSON_LENGTH)
            with use_model(self._manager, name, version) as (servable, signature):
                asked, inputs = await run_in_threadpool(read_request, body, json_length)
                wanted = tuple(output.name for output in asked.outputs)
                future = self._batcher.submit(servable, signature, inputs, wanted)
                outputs = await result_of(future, self._timeout_seconds)
            facts: dict[str, Any] = {"model_name": name, "model_version": str(servable.version)}
            if makes_images(servable, signature):
                facts["parameters"] = {"synthetic": True}
            content, length = await run_in_threadpool(write_answer, asked, outputs, **facts)
        if length is None:
            return Response(content, media_type=JSON)
        return Response(content, media_type=BINARY, headers={JSON_LENGTH: str(length)})


def _answer(document: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(document), status, media_type=JSON)


def _readiness(manager: ModelManager, name: str, version: str) -> Response:
    is_ready = is_model_ready(manager, name, version)
    return _answer({"name": name, "ready": is_ready}, 200 if is_ready else 503)


def _without_references(model: type[InferRequest]) -> Any:
    """The JSON schema of a body, in one piece: OpenAPI finds no schema of a body that is read by hand."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs")

    def inline(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return inline(definitions[part["$ref"].rpartition("/")[2]])
            return {key: inline(value) for key, value in part.items()}
        return [inline(one) for one in part] if isinstance(part, list) else part

    return inline(schema)
