"""What the page asks the server for: models, latents, downloads and cards; and that nothing else is given away."""

import asyncio
import concurrent.futures
import io
import json
import re
import types

import numpy as np
import pydicom
import pytest
import tensorflow as tf

from tfcxr.data.conditions import condition_columns
from tfcxr.models.base import latents_from_seeds
from tfcxr.server import page
from tfcxr.server.page import FOLDER
from tfcxr.server.page_models import asked_for, condition_choices
from tfcxr.server.serving_error import ServingError
from tfcxr.serving.model_card import read_description

PICTURE = {"model": "tiny", "version": 1, "seed": 7, "label": [0, 1], "truncation": 0.5}
INPUTS = {"seed": [7], "label": [[0, 1]], "truncation": 0.5}
# words that would present a picture as what a clinician found in a patient
CLINICAL = re.compile(r"diagnos|prognos|screening|triage|abnormal|clinical", re.IGNORECASE)


def test_the_page_and_its_files_forbid_inline_scripts_and_strangers(rest):
    answer = rest.get("/")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    assert not re.search(r"<script>|<style|style=|onclick|https?://", answer.text)
    files = re.findall(r'(?:src|href)="(page/static/[^"]+)"', answer.text)
    assert len(files) == 3
    for file in files:
        assert rest.get(f"/{file}").status_code == 200


def test_modules_load_nothing_but_each_other(rest):
    for path in (FOLDER / "static").glob("*.js"):
        answer = rest.get(f"/page/static/{path.name}")
        assert answer.headers["content-type"].startswith("text/javascript")
        for module in re.findall(r'from "(.+)"', answer.text):
            assert (path.parent / module).is_file(), module


@pytest.mark.parametrize(
    "name", ["../page.py", "%2e%2e%2fpage.py", "..%2Ftemplates%2Fpage.html", "page.py", "/etc/passwd", ""]
)
def test_no_other_file_is_served(rest, name):
    answer = rest.get(f"/page/static/{name}")
    assert answer.status_code == 404 and "import" not in answer.text


def test_the_page_says_what_it_is_and_nothing_clinical():
    texts = {path.name: path.read_text() for path in (*FOLDER.glob("templates/*"), *FOLDER.glob("static/*.js"))}
    assert "For research and teaching only" in texts["page.html"]
    assert [(name, CLINICAL.search(text)) for name, text in texts.items() if CLINICAL.search(text)] == []


def test_models_tell_what_the_form_asks_for(rest, saved_models):
    foreign, tiny = rest.get("/page/models").json()["models"]
    assert foreign == {
        "name": "half_plus_two",
        "versions": [
            {
                "version": 123,
                "kind": "unknown",
                "signatures": ["classify_x_to_y", "fail", "regress_x_to_y", "serving_default", "total", "types"],
            }
        ],
    }
    (facts,) = tiny["versions"]
    description = read_description(saved_models / "tiny" / "1")
    assert facts["label_names"] == ["NORMAL", "PNEUMONIA"] and facts["is_single_label"] and facts["reads_label"]
    assert facts["has_truncation"] and facts["has_card"] and facts["conditions"] == []
    assert {"png", "latent", "serving_default"} <= set(facts["signatures"])
    assert (facts["image_size"], facts["steps"]) == (32, 7)
    assert facts["weights_sha256"] == description.weights_sha256


def test_conditions_are_asked_for_by_the_values_of_their_columns():
    view, sex, age = condition_choices(condition_columns(["view", "sex", "age"]))
    assert view["choices"][1] == {"text": "AP", "values": [0.0, 1.0, 0.0]} and view["unknown"] == [0.5, 0.5, 0.5]
    assert sex["choices"] == [{"text": "F", "values": [1.0]}, {"text": "M", "values": [0.0]}]
    assert age == {"name": "age", "unknown": [0.5], "scale": 100.0}


def test_what_a_label_row_asks_for_in_words(tiny_export):
    description = read_description(tiny_export)
    description.settings["conditions"] = ["sex", "age"]
    assert asked_for(description, [0, 1]) == ("PNEUMONIA",)
    assert asked_for(description, [1, 1, 0, 0.6]) == ("NORMAL", "PNEUMONIA", "age 60", "sex M")
    assert asked_for(description, [0, 0, 0.5, 0.5]) == ()


def test_latents_are_those_that_seeds_are_generated_from(rest):
    answer = rest.get("/page/models/tiny/latents", params={"version": 1, "seed": [7, -3]})
    expected = latents_from_seeds(tf.constant([7, -3], tf.int64), 8)
    np.testing.assert_array_equal(np.float32(answer.json()["latents"]), expected)


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/page/models/none/latents?seed=1", 404, "none"),
        ("/page/models/tiny/latents?version=9&seed=1", 404, "tiny"),
        ("/page/models/tiny/latents", 400, "seed"),
        ("/page/models/tiny/latents?seed=1&seed=2&seed=3", 400, "seed"),
        ("/page/models/tiny/latents?seed=9223372036854775808", 400, "seed"),
        ("/page/models/half_plus_two/latents?seed=1", 400, "half_plus_two makes no images of z"),
        ("/page/models/half_plus_two/card", 404, "half_plus_two has no model card"),
        ("/page/models/none/card", 404, "none"),
    ],
)
def test_refusals_are_one_sentence(rest, path, status, message):
    answer = rest.get(path)
    assert answer.status_code == status
    assert message in answer.json()["error"] and "Traceback" not in answer.text


def test_the_card_is_html(rest):
    answer = rest.get("/page/models/tiny/card?version=1")
    assert answer.headers["content-type"].startswith("text/html")
    assert "<h3>tiny, version 1</h3>" in answer.text and "None" not in answer.text.split("</h3>")[0]


@pytest.fixture(scope="module")
def served_image(rest):
    """The picture of `PICTURE`, as TensorFlow Serving's protocol gives it."""
    return np.uint8(rest.post("/v1/models/tiny:predict", json={"inputs": INPUTS}).json()["outputs"])[0, ..., 0]


def test_a_dicom_file_has_the_same_pixels_and_no_patient(rest, served_image):
    dataset = pydicom.dcmread(io.BytesIO(rest.post("/page/dicom", json=PICTURE).content))
    np.testing.assert_array_equal(dataset.pixel_array, served_image)
    assert dataset.SyntheticData == "YES" and "SYNTHETIC" in str(dataset.PatientName)
    for part in ("tiny/1", "seed 7", "truncation 0.5", "generated as: PNEUMONIA"):
        assert part in dataset.DerivationDescription


def test_a_copy_of_a_training_image_is_not_written(server):
    refused = concurrent.futures.Future()
    refused.set_result({"image": np.zeros([1, 2, 2, 1], np.uint8), "is_accepted": [False], "copies_refused": [3]})
    batcher = types.SimpleNamespace(submit=lambda *_: refused)
    routes = page.router(server.manager, batcher).routes
    (dicom,) = [route.endpoint for route in routes if route.path == "/page/dicom"]
    with pytest.raises(ServingError, match="every candidate of this seed was a copy of a training image"):
        asyncio.run(dicom(page.PictureRequest(**PICTURE)))


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"model": "none"}, 404, "none"),
        ({"model": "half_plus_two", "version": 123}, 400, "half_plus_two generates no pictures"),
        ({"label": [1]}, 400, "label"),
        ({"label": None}, 400, "label"),
        ({"label": [float("nan")] * 2}, 400, "label"),
        ({"seed": 2**63}, 400, "seed"),
        ({"seed": "x"}, 400, "seed"),
    ],
)
def test_pictures_that_cannot_be_made_are_refused(rest, changes, status, message):
    body = json.dumps(PICTURE | changes)  # which may hold NaN
    answer = rest.post("/page/dicom", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert message in answer.json()["error"]
