"""A study with images, and two servers of it: the package's own, and the HTTP interface in its shortest form.

The short one has no page and checks little: consent first, the current item, one final answer. Simulated readers must
get along with both.
"""

import csv
import hashlib
import importlib.util
import pathlib

import cv2
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tfcxr.reader_study.answers import Answer, AnswerStore
from tfcxr.reader_study.design_file import (
    IMAGES_FOLDER,
    LINKS_FILE,
    Design,
    ImageOrigin,
    Item,
    Reader,
    read_design,
    token_sha256,
    write_study,
)


def make_design(*, readers=3, grids=1, pairs=2, singles=2, exposure_seconds=None):
    """A study's design and key; every other image is synthetic."""
    key, items = {}, {}

    def new_images(count):
        names = [f"image{len(key) + number:04}" for number in range(count)]
        for number, name in enumerate(names):
            key[name] = ImageOrigin(number % 2 == 1, "cgan" if number % 2 else "nih", f"record {name}", ("Mass",))
        return tuple(names)

    items["training"] = Item("single", new_images(1), is_training=True)
    items |= {f"grid{number}": Item("grid", new_images(6)) for number in range(grids)}
    items |= {f"pair{number}": Item("pair", new_images(2)) for number in range(pairs)}
    for number in range(0, singles, 2):
        for place, image in enumerate(new_images(2)):
            items[f"single{number + place}"] = Item("single", (image,), exposure_seconds=exposure_seconds)
    design = Design(
        title="A study",
        consent="Please look.",
        diagnoses=("Effusion", "Mass"),
        seed=1,
        display_size=16,
        items=items,
        readers={f"R{number}": Reader("", tuple(items), token_sha256(f"token-{number}")) for number in range(readers)},
        image_sha256={image: hashlib.sha256(_png(image)).hexdigest() for image in key},
        training_solutions={"training": (False,)},
    )
    return design, key


def write_files(folder, design, key):
    """The whole folder of a study, links included."""
    folder.mkdir(parents=True, exist_ok=True)
    write_study(folder, design, key)
    (folder / IMAGES_FOLDER).mkdir()
    for image in key:
        (folder / IMAGES_FOLDER / f"{image}.png").write_bytes(_png(image))
    with (folder / LINKS_FILE).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["reader", "group", "path"])
        writer.writerows([name, "", f"/r/token-{name[1:]}"] for name in design.readers)


@pytest.fixture
def designed():
    """What makes a design and its key."""
    return make_design


@pytest.fixture
def written():
    """What writes a study's folder."""
    return write_files


@pytest.fixture
def study(tmp_path):
    """A study of three readers: its folder, design and key."""
    design, key = make_design()
    write_files(tmp_path / "study", design, key)
    return tmp_path / "study", design, key


@pytest.fixture(params=["own", "short"])
def make_app(request):
    """Each of the two servers."""
    if request.param == "short":
        return create_app
    if importlib.util.find_spec("tfcxr.reader_study.server.app") is None:
        pytest.skip("the package's own server is not there")
    from tfcxr.reader_study.server import app

    return app.create_app


def _png(image):
    seed = int(image.removeprefix("image"))
    return cv2.imencode(".png", np.full([16, 16], seed, np.uint8))[1].tobytes()


def create_app(folder):
    """An application that serves the study in `folder`."""
    folder = pathlib.Path(folder)
    design = read_design(folder)
    store = AnswerStore(folder, design)
    readers = {reader.token_sha256: name for name, reader in design.readers.items()}

    def current(reader):
        finished = store.finished_items(reader)
        return next((item for item in design.readers[reader].items if item not in finished), None)

    def has_consented(reader):
        return any(row.event == "consent" for row in store.rows(reader))

    def reader_of(request):
        return readers.get(token_sha256(request.path_params["token"]))

    def error(status, text):
        return JSONResponse({"error": text}, status)

    def page(request: Request) -> Response:
        return PlainTextResponse("page") if reader_of(request) else error(404, "unknown link")

    def state(request: Request) -> Response:
        if (reader := reader_of(request)) is None:
            return error(404, "unknown link")
        name, shown = current(reader), None
        if name is not None and has_consented(reader):
            item = design.items[name]
            facts = {"is_training": item.is_training, "exposure_seconds": item.exposure_seconds, "answer": None}
            shown = {"item": name, "kind": item.kind, "images": item.images} | facts
        items, done = design.readers[reader].items, len(store.finished_items(reader))
        facts = {"total": len(items), "done": done, "item": shown, "has_consented": has_consented(reader)}
        return JSONResponse({"title": design.title, "consent": design.consent, "diagnoses": design.diagnoses} | facts)

    def image(request: Request) -> Response:
        reader, name = reader_of(request), request.path_params["image"]
        if reader is None or name not in design.items[current(reader)].images:
            return error(404, "not an image of the current item")
        return Response((folder / IMAGES_FOLDER / f"{name}.png").read_bytes(), media_type="image/png")

    async def answers(request: Request) -> Response:
        if (reader := reader_of(request)) is None:
            return error(404, "unknown link")
        answer = Answer(reader=reader, **await request.json())
        if answer.event != "consent" and not has_consented(reader):
            return error(403, "no consent yet")
        if answer.event != "consent" and answer.item != current(reader):
            return error(409, f"{answer.item} is not the current item")
        stored = store.add(answer)
        is_solved = answer.event == "final" and design.items[answer.item].is_training
        solution = list(design.training_solutions[answer.item]) if is_solved else None
        return JSONResponse({"stored": stored, "solution": solution})

    return Starlette(
        routes=[
            Route("/r/{token}", page),
            Route("/r/{token}/state", state),
            Route("/r/{token}/images/{image}.png", image),
            Route("/r/{token}/answers", answers, methods=["POST"]),
        ]
    )
