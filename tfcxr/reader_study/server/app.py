"""The web application of a study: the page, the images of the current item, and the answers.

README.md describes the interface. No answer but that to a training example tells what is synthetic.
"""

import math
import os
import pathlib
import sqlite3
from collections.abc import Callable
from typing import Annotated, Any

import fastapi
import jinja2
import pydantic
from absl import logging
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from tfcxr.reader_study.answers import AlreadyAnsweredError, Answer
from tfcxr.reader_study.design_file import Design
from tfcxr.reader_study.server.answer_form import AnswerRequest, check_answer, sentence
from tfcxr.reader_study.server.body_limit import BodyLimit
from tfcxr.reader_study.server.security_headers import SecurityHeaders
from tfcxr.reader_study.server.served_study import ServedStudy
from tfcxr.reader_study.server.session import NoConsentError, NotCurrentError
from tfcxr.reader_study.server.study_key import COOKIE, MAX_CHARACTERS, StudyKey

FOLDER = pathlib.Path(__file__).parent
PAGE_TEMPLATES = ("study.html", "key.html", "not_found.html")
STATIC_TYPES = {".css": "text/css", ".js": "text/javascript"}
ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#1d5f8a"/>'
    b'<path d="M4 4h3v8H4zM9 4h3v8H9z" fill="#fff"/></svg>'
)
MAX_BODY_BYTES = 2**16
COOKIE_SECONDS = 90 * 24 * 3600
UNKNOWN_LINK = "This link belongs to no reader of this study; open the link that you were given, whole."
STATUSES: dict[type[Exception], int] = {NoConsentError: 403, NotCurrentError: 409, AlreadyAnsweredError: 409}


class KeyRequest(pydantic.BaseModel):
    """The study key that a reader typed."""

    key: Annotated[str, pydantic.Field(max_length=MAX_CHARACTERS)]


def create_app(
    study_dir: str | os.PathLike, study_key: str = "", on_finished: Callable[[str], None] | None = None
) -> fastapi.FastAPI:
    """The application of the study in `study_dir`.

    Args:
      study_dir: the study's folder.
      study_key: passphrase that each browser is asked for; "" for none.
      on_finished: called with the key of each reader who has given the last answer.

    Raises:
      FileNotFoundError: no study, or a file of it is missing.
      ValueError: a damaged or changed study, or answers to another one.
    """
    study = ServedStudy(study_dir)
    app = fastapi.FastAPI(title="tfcxr reader study", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.study = study
    app.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES)
    app.add_middleware(SecurityHeaders)
    key = StudyKey(study_key, study.design.checksum) if study_key else None
    pages = _pages(study.design)
    _add_errors(app, pages)
    _add_static(app)
    _add_page(app, study, key, pages)
    _add_answers(app, study, key, on_finished)
    return app


class _RefusedError(Exception):
    """Ends a request with a status and one sentence, as a page where `is_page`."""

    def __init__(self, status: int, text: str, is_page: bool = False, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.is_page, self.headers = status, text, is_page, headers


def _pages(design: Design) -> dict[str, str]:
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(FOLDER / "templates"), autoescape=True)
    return {
        name: templates.get_template(name).render(title=design.title, sentence=UNKNOWN_LINK) for name in PAGE_TEMPLATES
    }


def _add_errors(app: fastapi.FastAPI, pages: dict[str, str]) -> None:
    @app.exception_handler(_RefusedError)
    async def refuse(_: Request, refusal: _RefusedError) -> Response:
        if refusal.is_page:
            return HTMLResponse(pages["not_found.html"], refusal.status)
        return JSONResponse({"error": refusal.text}, refusal.status, refusal.headers)

    @app.exception_handler(RequestValidationError)
    async def refuse_form(_: Request, error: RequestValidationError) -> Response:
        return JSONResponse({"error": sentence(list(error.errors()))}, 422)

    @app.exception_handler(HTTPException)
    async def refuse_path(_: Request, error: HTTPException) -> Response:
        if error.status_code == 400:  # bytes that are no text
            return JSONResponse({"error": "the body is not JSON; nothing was stored"}, 422)
        return JSONResponse({"error": f"{error.detail}; open the link that you were given"}, error.status_code)

    @app.exception_handler(sqlite3.Error)
    async def refuse_storing(_: Request, error: sqlite3.Error) -> Response:
        logging.error("an answer was not stored: %s", error)
        return JSONResponse({"error": "the server cannot store answers now; it is tried again"}, 503)


def _add_static(app: fastapi.FastAPI) -> None:
    static = {
        path.name: (path.read_bytes(), STATIC_TYPES[path.suffix])
        for path in (FOLDER / "static").iterdir()
        if path.suffix in STATIC_TYPES
    } | {"icon.svg": (ICON, "image/svg+xml")}

    @app.get("/static/{name}")
    async def static_file(name: str) -> Response:
        if name not in static:
            raise _RefusedError(404, "the page has no such file")
        content, media_type = static[name]
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})


def _add_page(app: fastapi.FastAPI, study: ServedStudy, key: StudyKey | None, pages: dict[str, str]) -> None:
    @app.get("/r/{token}")
    def page(token: str, request: Request) -> Response:
        if study.reader_of(token) is None:
            raise _RefusedError(404, UNKNOWN_LINK, is_page=True)
        is_let_in = key is None or key.has_cookie(request.cookies.get(COOKIE, ""))
        return HTMLResponse(pages["study.html" if is_let_in else "key.html"])

    @app.post("/r/{token}/key")
    def give_key(token: str, given: KeyRequest, request: Request) -> Response:
        if study.reader_of(token) is None:
            raise _RefusedError(404, UNKNOWN_LINK)
        if key is None:
            return Response(status_code=204)
        address = request.client.host if request.client else ""
        if wait := key.seconds_to_wait(address):
            text = f"too many wrong keys; try again in {math.ceil(wait / 60)} minutes"
            raise _RefusedError(429, text, headers={"Retry-After": str(math.ceil(wait))})
        if not key.is_right(given.key, address):
            raise _RefusedError(403, "that is not the study key; see the message that your link came with")
        response = Response(status_code=204)
        is_tls = request.url.scheme == "https"
        response.set_cookie(COOKIE, key.cookie, COOKIE_SECONDS, secure=is_tls, httponly=True, samesite="lax")
        return response


def _add_answers(
    app: fastapi.FastAPI, study: ServedStudy, key: StudyKey | None, on_finished: Callable[[str], None] | None
) -> None:
    session = study.session

    def reader_of(token: str, request: Request) -> str:
        found = study.reader_of(token)
        if found is None:
            raise _RefusedError(404, UNKNOWN_LINK)
        if key is not None and not key.has_cookie(request.cookies.get(COOKIE, "")):
            raise _RefusedError(401, "give the study key first; reload the page")
        return found

    @app.get("/r/{token}/state")
    def state(reader: Annotated[str, fastapi.Depends(reader_of)]) -> dict[str, Any]:
        return session.state(reader)

    @app.get("/r/{token}/images/{image}.png")
    def image(reader: Annotated[str, fastapi.Depends(reader_of)], image: str) -> Response:
        current = session.current_item(reader)
        if current is None or image not in current[1].images:
            raise _RefusedError(404, "the current item has no such image")
        try:
            return Response(study.image(image), media_type="image/png")
        except (OSError, ValueError) as error:
            logging.error("%s", error)
            raise _RefusedError(
                503, "an image of this item cannot be read; tell the person who sent you the link"
            ) from error

    @app.post("/r/{token}/answers")
    def add_answer(reader: Annotated[str, fastapi.Depends(reader_of)], given: AnswerRequest) -> dict[str, Any]:
        if given.event == "consent" and given.item:
            raise _RefusedError(422, "the consent belongs to no item; nothing was stored")
        if given.item and given.item not in study.design.readers[reader].items:
            raise _RefusedError(409, f"{given.item[:40]} is not the item that you are asked now")
        item = study.design.items[given.item] if given.item else None
        try:
            answer = check_answer(study.design, item, given.event, given.answer)
        except ValueError as error:
            raise _RefusedError(422, str(error)) from None
        try:
            is_stored = session.add(Answer(reader=reader, **{**given.model_dump(), "answer": answer}))
        except (NoConsentError, NotCurrentError, AlreadyAnsweredError) as error:
            raise _RefusedError(STATUSES[type(error)], str(error)) from None
        if on_finished and is_stored and given.event == "final" and study.is_finished(reader):
            on_finished(reader)
        return {"stored": is_stored, "solution": session.solution(given.item) if given.event == "final" else None}
