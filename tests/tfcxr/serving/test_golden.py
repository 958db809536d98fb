"""Golden pictures: drawn by every kind of export, and what is told from what."""

import dataclasses
import json
import re

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.serving.cascade import export_cascade
from tfcxr.serving.gate import Gate
from tfcxr.serving.golden import check_golden, golden_pictures
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.model_card import read_description

IMAGE = np.random.default_rng(0).integers(0, 256, (1, 20, 36, 1), np.uint8)
REQUEST = {"seed": np.array([7]), "label": np.array([[1, 0]], np.float32), "truncation": np.ones(1, np.float32)}


@pytest.fixture
def described(tiny_export):
    """Draws `IMAGE` in its golden picture."""
    golden = golden_pictures([REQUEST], lambda inputs: IMAGE)
    return dataclasses.replace(read_description(tiny_export), golden=golden)


def drawn_by(path):
    """Function inputs -> image of an exported version, as a server has it."""
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    return lambda inputs: signature(**{name: tf.constant(value) for name, value in inputs.items()})["image"].numpy()


def test_an_export_keeps_two_pictures_of_the_first_label(tiny_export):
    description = read_description(tiny_export)
    first, second = description.golden
    assert first["inputs"] == {"seed": [1], "label": [[1.0, 0.0]], "truncation": [1.0]}
    assert second["inputs"]["seed"] == [2] and first["sha256"] != second["sha256"]
    assert first["shape"] == [32, 32, 1] and np.shape(first["grey"]) == (8, 8)
    image = LoadedModel(tiny_export).generate(np.array([1]), np.array([[1, 0]]))[0, ..., 0]
    np.testing.assert_allclose(first["grey"], image.reshape(8, 4, 8, 4).mean(axis=(1, 3)), atol=0.01)
    assert json.loads((tiny_export / "model.json").read_text())["golden"] == list(description.golden)
    assert check_golden(description, drawn_by(tiny_export)).state == "same"


@pytest.mark.thorough
def test_models_without_labels_and_cascades_keep_theirs(unlabelled_export, tiny_export, tiny_enlarger, tmp_path):
    cascade = export_cascade(tiny_export, tiny_enlarger, tmp_path / "cascade", Gate(0.0, 2))
    for path in (unlabelled_export, cascade):
        result = check_golden(read_description(path), drawn_by(path))
        assert (result.state, "2 golden pictures" in result.sentence) == ("same", True)
    assert read_description(cascade).golden[0]["shape"] == [64, 64, 1]
    assert set(read_description(unlabelled_export).golden[0]["inputs"]) == {"seed", "truncation"}


def test_the_inputs_come_back_with_the_dtypes_of_the_signature(described):
    given = []
    check_golden(described, lambda inputs: given.append(inputs) or IMAGE)
    assert {name: value.dtype.name for name, value in given[0].items()} == {
        "seed": "int64",
        "label": "float32",
        "truncation": "float32",
    }
    for name, value in REQUEST.items():
        np.testing.assert_array_equal(given[0][name], value)


def test_rounding_is_told_from_another_picture(described):
    off_by_one = np.where(IMAGE == 255, IMAGE, IMAGE + 1)
    for image, state, sentence in (
        (IMAGE, "same", "The model draws the 1 golden pictures of its export, bit for bit."),
        (off_by_one, "rounded", "rounds otherwise .* up to 1 grey levels on average"),
        (np.roll(IMAGE, 3, axis=1), "differs", "draws other pictures than when it was exported: .* export it again"),
        (IMAGE[:, :16], "differs", r"has the shape \[16, 36, 1\], expected \[20, 36, 1\]"),
    ):
        result = check_golden(described, lambda inputs, image=image: image)
        assert result.state == state
        assert re.search(sentence, result.sentence), result.sentence


def test_a_single_pixel_is_noticed(described):
    image = IMAGE.copy()
    image[0, 3, 3, 0] ^= 1
    assert check_golden(described, lambda inputs: image).state == "rounded"


def test_an_earlier_export_holds_none(tiny_export, tmp_path):
    fields = json.loads((tiny_export / "model.json").read_text())
    del fields["golden"]
    (tmp_path / "model.json").write_text(json.dumps(fields))
    result = check_golden(read_description(tmp_path), lambda inputs: pytest.fail("nothing to draw"))
    assert (result.state, result.sentence[:39]) == ("unknown", "The export holds no golden pictures; ex")
