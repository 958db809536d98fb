"""Whether the server lives, is ready, and still draws the pictures that its models drew when they were exported."""

import json
import threading
import time

from absl import logging
from fastapi import APIRouter, Response

from tfcxr.server.model_manager import ModelManager
from tfcxr.server.servable import Servable
from tfcxr.server.serving_error import ServingError
from tfcxr.serving.golden import check_golden

CHECK_SECONDS = 10.0  # a check draws pictures; its answer is kept for so long
JSON = "application/json"
WELL = ("same", "unknown")
HEALTHY = (*WELL, "rounded")


class Health:
    """Looks after the models that are served."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager
        self._lock, self._checked_at = threading.Lock(), 0.0
        self._found: dict[str, dict[str, str]] = {}

    def check(self) -> dict[str, dict[str, str]]:
        """Model -> version, "state" and "sentence" of its golden pictures; drawn anew after `CHECK_SECONDS`."""
        with self._lock:
            if time.monotonic() - self._checked_at > CHECK_SECONDS or not self._found:
                self._found = {name: self._check_model(name) for name in self._manager.names()}
                self._checked_at = time.monotonic()
            return self._found

    def log(self) -> None:
        """Warns of models that draw other pictures than when they were exported."""
        for name, found in self.check().items():
            if found["state"] not in WELL:
                logging.warning("version %s of %s: %s", found["version"], name, found["sentence"])

    def _check_model(self, name: str) -> dict[str, str]:
        try:
            with self._manager.use(name) as servable:
                return {"version": str(servable.version), **golden_state(servable)}
        except ServingError as error:
            return {"version": "", "state": "failed", "sentence": error.message}


def golden_state(servable: Servable) -> dict[str, str]:
    """What came of drawing a version's golden pictures again: "state" and "sentence" of a `GoldenResult`."""
    if servable.description is None:
        return {"state": "unknown", "sentence": "A model of another program, which holds no golden pictures."}
    result = check_golden(servable.description, lambda inputs: servable.run("", inputs, ("image",))["image"])
    return {"state": result.state, "sentence": result.sentence}


def router(manager: ModelManager, health: Health) -> APIRouter:
    """`/livez`, `/readyz` and `/healthz`; they need no API token."""
    routes = APIRouter()

    @routes.get("/livez", summary="The process answers.")
    def livez() -> Response:
        return _answer(200, {"status": "live"})

    @routes.get("/readyz", summary="Every model has a version that is served.", responses={503: {}})
    def readyz() -> Response:
        is_ready = manager.is_ready
        return _answer(200 if is_ready else 503, {"status": "ready" if is_ready else "not ready"})

    @routes.get("/healthz", summary="Models draw the pictures they drew when they were exported.", responses={503: {}})
    def healthz() -> Response:
        models = health.check()
        is_well = manager.is_ready and all(found["state"] in HEALTHY for found in models.values())
        return _answer(200 if is_well else 503, {"status": "ok" if is_well else "unwell", "models": models})

    return routes


def _answer(status: int, document: dict) -> Response:
    return Response(json.dumps(document), status, media_type=JSON)
