"""The REST side: TensorFlow Serving's `/v1/models/...`, health, and what other modules add to the application."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import Any

import fastapi
import grpc
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)

import tfcxr
from tfcxr.server import examples_json, rest_json
from tfcxr.server.model_status import SIGNATURE_FIELD, as_document, metadata_document, model_metadata, model_status
from tfcxr.server.prediction import PredictionService
from tfcxr.server.request_body import BodyLimit
from tfcxr.server.servable import DEFAULT_SIGNATURE
from tfcxr.server.serving_error import MAX_MESSAGE, ServingError, as_serving_error, invalid

REST = "rest"
JSON = "application/json"
MAX_VERSION = 2**63 - 1
SMALL = 2**14  # bytes or values that are worked on at once, in about a millisecond
V1 = "/v1/"
# what a path under /v1/models says of its version
NAME = {"name": "name", "schema": {"type": "string"}}
VERSIONS: dict[str, list[dict[str, Any]]] = {
    "/versions/{version}": [NAME, {"name": "version", "schema": {"type": "integer", "minimum": 0}}],
    "/labels/{label}": [NAME, {"name": "label", "schema": {"type": "string"}}],
    "": [NAME],
}
METHODS = ("predict", "classify", "regress")
BODIES: dict[str, dict[str, Any]] = {
    "predict": {
        "type": "object",
        "properties": {
            "signature_name": {"type": "string"},
            "instances": {"type": "array", "description": "a value, a list or an object of named values for each row"},
            "inputs": {"description": "a value, a list, or an object of named lists"},
        },
    },
    "classify": {
        "type": "object",
        "required": ["examples"],
        "properties": {
            "signature_name": {"type": "string"},
            "context": {"type": "object"},
            "examples": {"type": "array", "items": {"type": "object"}},
        },
    },
}
BODIES["regress"] = BODIES["classify"]
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": text,
        "content": {JSON: {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}},
    }
    for status, text in (
        (400, "the request does not fit the model"),
        (401, "no API token"),
        (403, "refused"),
        (404, "no such model, version or page"),
        (405, "another method is expected"),
        (415, "an encoding that is not gzip"),
        (429, "too much at once: rows, bytes or waiting requests"),
        (500, "the model or the server failed"),
        (501, "the model has no such method"),
        (503, "unloading or not ready"),
        (504, "the answer took too long"),
    )
}


def create_app(
    service: PredictionService,
    *,
    max_body_bytes: int,
    timeout_seconds: float,
    on_request: Callable[[str, str, str, str, float], None],
    on_refused: Callable[[str], None],
    routers: Sequence[fastapi.APIRouter] = (),
    allows_other_origins: bool = False,
    wrap: Callable[[ASGIApp], ASGIApp] = lambda app: app,
) -> ASGIApp:
    """The application.

    Args:
      max_body_bytes: of a request, unpacked.
      timeout_seconds: after which an answer is given up.
      on_request: called with protocol, model, signature, name of the status and seconds.
      on_refused: called with "request_bytes" for each body that is too large.
      routers: of other modules.
      allows_other_origins: whether pages of other servers may call this one (CORS).
      wrap: puts more around the application, such as the check of the API token.
    """
    app = fastapi.FastAPI(title="tfcxr", version=tfcxr.__version__, description=__doc__, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False
    for error_class in (ServingError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(error_class, _on_error)
    methods = _Methods(service, timeout_seconds, on_request)
    for version, parameters in VERSIONS.items():
        path = f"/v1/models/{{name}}{version}"
        described = {"parameters": [{"in": "path", "required": True, **parameter} for parameter in parameters]}
        for method in METHODS:
            body = {"content": {JSON: {"schema": BODIES[method]}}, "required": True}
            app.add_api_route(
                f"{path}:{method}",
                getattr(methods, method),
                methods=["POST"],
                openapi_extra=described | {"requestBody": body},
                responses=ERRORS,
            )
        app.add_api_route(f"{path}/metadata", methods.metadata, openapi_extra=described, responses=ERRORS)
        app.add_api_route(path, methods.status, openapi_extra=described, responses=ERRORS)
    for router in routers:
        app.include_router(router)
    app.add_middleware(GZipMiddleware, minimum_size=4096, compresslevel=1)
    if allows_other_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=["*"], allow_methods=["GET", "POST"], allow_headers=["Content-Type"]
        )
    return wrap(BodyLimit(app, max_body_bytes, on_refused))


async def result_of(future: "Future[Any]", timeout_seconds: float) -> Any:
    """What a future holds when it is done, without a thread that waits for it.

    Raises:
      ServingError: DEADLINE_EXCEEDED, it took longer; or what the future failed with.
    """
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), timeout_seconds)
    except asyncio.TimeoutError:
        message = f"the answer took longer than {timeout_seconds:g} seconds"
        raise ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, message) from None


def json_answer(text: str) -> Response:
    """A JSON answer."""
    return Response(text, media_type=JSON)


class _Methods:
    """What is done under `/v1/models/NAME`, whose path may also have a version or a label."""

    def __init__(
        self,
        service: PredictionService,
        timeout_seconds: float,
        on_request: Callable[[str, str, str, str, float], None],
    ) -> None:
        self._service, self._timeout_seconds, self._on_request = service, timeout_seconds, on_request

    async def predict(self, request: Request) -> Response:
        """Outputs of a signature, in rows or columns as they were asked for."""
        return await self._answer(request, self._predict)

    async def classify(self, request: Request) -> Response:
        """Classes and scores of examples."""
        return await self._answer(request, self._classify)

    async def regress(self, request: Request) -> Response:
        """A value of each example."""
        return await self._answer(request, self._regress)

    def metadata(self, request: Request) -> Response:
        """A version's signatures, and its description with `?metadata_field=description`."""
        fields = request.query_params.getlist("metadata_field") or [SIGNATURE_FIELD]
        asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        asked.model_spec.CopyFrom(_model_spec(request))
        return json_answer(json.dumps(metadata_document(model_metadata(self._service, asked))))

    def status(self, request: Request) -> Response:
        """A model's versions and their states."""
        asked = get_model_status_pb2.GetModelStatusRequest(model_spec=_model_spec(request))
        return json_answer(json.dumps(as_document(model_status(self._service.manager, asked))))

    async def _answer(self, request: Request, method: Callable[[Any, dict, int], Awaitable[str]]) -> Response:
        begun, status = time.monotonic(), "OK"
        spec = model_pb2.ModelSpec(name=request.path_params["name"])
        try:
            spec = _model_spec(request)
            body = await request.body()
            document = await _computed(len(body), rest_json.parse_body, body)
            spec.signature_name = rest_json.signature_name(document)
            return json_answer(await method(spec, document, len(body)))
        except Exception as raised:  # noqa: BLE001 - whatever went wrong, a client sees one sentence
            error = as_serving_error(raised)
            status = error.code.name
            raise error from None
        finally:
            self._on_request(REST, spec.name, spec.signature_name, status, time.monotonic() - begun)

    async def _predict(self, spec: Any, document: dict, size: int) -> str:
        with self._service.use(spec) as servable:
            name = spec.signature_name or DEFAULT_SIGNATURE
            if name not in servable.signature_defs:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            signature = servable.signature(name)
            inputs, is_row = await _computed(size, rest_json.read_inputs, document, signature)
            outputs = await result_of(self._service.batcher.submit(servable, name, inputs), self._timeout_seconds)
        size = sum(value.size for value in outputs.values())
        return await _computed(size, rest_json.write_outputs, outputs, is_row)

    async def _classify(self, spec: Any, document: dict, size: int) -> str:
        given = examples_json.read_examples(document)
        asked = classification_pb2.ClassificationRequest(model_spec=spec, input=given)
        return examples_json.write_classifications((await run_in_threadpool(self._service.classify, asked)).result)

    async def _regress(self, spec: Any, document: dict, size: int) -> str:
        asked = regression_pb2.RegressionRequest(model_spec=spec, input=examples_json.read_examples(document))
        return examples_json.write_regressions((await run_in_threadpool(self._service.regress, asked)).result)


async def _computed(size: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns; it runs in a thread where it works on so much that other requests would wait for it."""
    return function(*arguments) if size <= SMALL else await run_in_threadpool(function, *arguments)


def _model_spec(request: Request) -> Any:
    """Name, and version or label, of a path."""
    spec, path = model_pb2.ModelSpec(name=request.path_params["name"]), request.path_params
    if ":" in spec.name:  # such as GET /v1/models/NAME:predict
        raise invalid(f"Malformed request: {request.method} {request.url.path}")
    if "version" in path:
        text = path["version"]
        if not (text.isascii() and text.isdecimal() and int(text) <= MAX_VERSION):
            raise invalid(f"Failed to convert version: {text} to numeric.")
        spec.version.value = int(text)
    elif "label" in path:
        spec.version_label = path["label"]
    return spec


async def _on_error(request: Request, raised: Exception) -> Response:
    """Every error is `{"error": "..."}`."""
    if isinstance(raised, HTTPException):
        is_path_wrong, status = raised.status_code in (404, 405), raised.status_code
        message = f"Malformed request: {request.method} {request.url.path}" if is_path_wrong else str(raised.detail)
        if is_path_wrong and request.url.path.startswith(V1):  # as TensorFlow Serving answers
            status = 400
        return _error_answer(status, message[:MAX_MESSAGE], raised.headers)
    if isinstance(raised, RequestValidationError):
        problems = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in raised.errors())
        return _error_answer(400, f"Malformed request: {problems}"[:MAX_MESSAGE], None)
    error = as_serving_error(raised)
    return _error_answer(error.http_status, error.message, None)


def _error_answer(status: int, message: str, headers: Any) -> Response:
    text = re.sub(r"[\x00-\x1f]+", " ", message)
    return Response(json.dumps({"error": text}), status, media_type=JSON, headers=headers)
