"""The web page: pictures of the loaded models, cohorts to look through, and model cards.

The page itself calls TensorFlow Serving's REST protocol for pictures; what else it needs is here. Its HTML, styles and
modules hold nothing of any model, so the server asks for no API token before it sends them.
"""

import asyncio
import os
import pathlib
from collections.abc import Sequence
from typing import Annotated, Any

import fastapi
import grpc
import jinja2
import numpy as np
import pydantic
import tensorflow as tf
from fastapi import Query, Response
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

import tfcxr
from tfcxr.data.dicom_writer import dicom_bytes
from tfcxr.data.synthetic_facts import SyntheticFacts
from tfcxr.models.base import latents_from_seeds
from tfcxr.server.batching import Batcher
from tfcxr.server.card_html import card_html
from tfcxr.server.cohort_browser import CohortBrowser
from tfcxr.server.model_manager import ModelManager
from tfcxr.server.page_models import asked_for, page_models
from tfcxr.server.servable import DEFAULT_SIGNATURE, Servable
from tfcxr.server.serving_error import ServingError, invalid
from tfcxr.serving.model_card import CARD_FILE

FOLDER = pathlib.Path(__file__).parent
STATIC_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
Seed = Annotated[int, pydantic.Field(ge=-(2**63), lt=2**63)]
MODEL_PATH = "/page/models/{name}"
COHORT_PATH = "/page/cohorts/{number}"


class PictureRequest(pydantic.BaseModel):
    """One picture to download as DICOM.

    Attributes:
      model: its name.
      version: of the model.
      seed: of the picture.
      label: a value per label and condition; None for a model that reads no label.
      truncation: None for a model without.
    """

    model: str
    version: int
    seed: Seed
    label: list[float] | None = None
    truncation: float | None = None


def router(manager: ModelManager, batcher: Batcher, cohorts: Sequence[str | os.PathLike] = ()) -> fastapi.APIRouter:
    """The routes of the page; `cohorts` are the data folders that it shows.

    Raises:
      FileNotFoundError: one of them without a finished build.
      ValueError: one with a damaged description.
    """
    routes = fastapi.APIRouter(include_in_schema=False)
    _add_page(routes)
    _add_models(routes, manager)
    _add_dicom(routes, manager, batcher)
    _add_cohorts(routes, CohortBrowser(cohorts))
    return routes


def _add_page(routes: fastapi.APIRouter) -> None:
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(FOLDER / "templates"), autoescape=True)
    page = templates.get_template("page.html").render(version=tfcxr.__version__)
    static = {
        path.name: (path.read_bytes(), STATIC_TYPES[path.suffix])
        for path in (FOLDER / "static").iterdir()
        if path.suffix in STATIC_TYPES
    }

    @routes.get("/")
    def show_page() -> Response:
        return HTMLResponse(page, headers=HEADERS)

    @routes.get("/page/static/{name}")
    def static_file(name: str) -> Response:
        if name not in static:
            raise ServingError(grpc.StatusCode.NOT_FOUND, "the page has no such file")
        content, media_type = static[name]
        return Response(content, media_type=media_type, headers=HEADERS)


def _add_models(routes: fastapi.APIRouter, manager: ModelManager) -> None:
    @routes.get("/page/models")
    def models() -> dict[str, Any]:
        return {"models": page_models(manager)}

    @routes.get(f"{MODEL_PATH}/card")
    def card(name: str, version: int | None = None) -> Response:
        with manager.use(name, version) as servable:
            path = servable.path / CARD_FILE
            if not path.is_file():
                raise ServingError(grpc.StatusCode.NOT_FOUND, f"{name} has no model card")
            return HTMLResponse(card_html(path.read_text(encoding="utf-8")), headers=HEADERS)

    @routes.get(f"{MODEL_PATH}/latents")
    def latents(
        name: str, seed: Annotated[list[Seed], Query(min_length=1, max_length=2)], version: int | None = None
    ) -> dict[str, Any]:
        """z of one or two seeds."""
        with manager.use(name, version) as servable:
            if servable.description is None or not servable.description.latent_size:
                raise invalid(f"{name} makes no images of z, so its seeds have none")
            z = latents_from_seeds(tf.constant(seed, tf.int64), servable.description.latent_size)
        return {"latents": z.numpy().tolist()}


def _add_dicom(routes: fastapi.APIRouter, manager: ModelManager, batcher: Batcher) -> None:
    @routes.post("/page/dicom")
    async def dicom(request: PictureRequest) -> Response:
        image, facts = await _generated(manager, batcher, request)
        file = await run_in_threadpool(dicom_bytes, image, facts)
        return Response(file, media_type="application/dicom", headers=HEADERS)


def _add_cohorts(routes: fastapi.APIRouter, browser: CohortBrowser) -> None:
    @routes.get("/page/cohorts")
    def cohorts() -> dict[str, Any]:
        return {"cohorts": browser.facts()}

    @routes.get(f"{COHORT_PATH}/images")
    def images(number: int, split: str, label: str = "", start: int = 0, count: int = 24) -> dict[str, Any]:
        return browser.images(number, split, label, start, count)

    @routes.get(f"{COHORT_PATH}/picture")
    def picture(number: int, split: str, position: int) -> Response:
        return Response(browser.picture(number, split, position), media_type="image/png", headers=HEADERS)


async def _generated(
    manager: ModelManager, batcher: Batcher, request: PictureRequest
) -> tuple[np.ndarray, SyntheticFacts]:
    """The picture, uint8 [height, width], and where it comes from."""
    inputs: dict[str, np.ndarray] = {"seed": np.array([request.seed], np.int64)}
    if request.label is not None:
        inputs["label"] = np.array([request.label], np.float32)
    if request.truncation is not None:
        inputs["truncation"] = np.array(request.truncation, np.float32)
    with manager.use(request.model, request.version) as servable:
        facts = _facts(servable, request)
        outputs = await asyncio.wrap_future(batcher.submit(servable, DEFAULT_SIGNATURE, inputs))
    if "copies_refused" in outputs and not outputs["is_accepted"][0]:
        message = "every candidate of this seed was a copy of a training image, so there is no picture"
        raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, message)
    return outputs["image"][0, ..., 0], facts


def _facts(servable: Servable, request: PictureRequest) -> SyntheticFacts:
    description = servable.description
    if description is None or description.kind == "super_resolution":
        raise invalid(f"{servable.name} generates no pictures")
    return SyntheticFacts(
        model=f"{servable.name}/{servable.version}",
        weights_sha256=description.weights_sha256,
        labels=asked_for(description, request.label or ()),
        seed=request.seed,
        truncation=1.0 if request.truncation is None else request.truncation,
    )
