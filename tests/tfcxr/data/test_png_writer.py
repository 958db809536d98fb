"""PNG files of real and synthetic images."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from tfcxr.data.png_writer import png_bytes
from tfcxr.data.synthetic_facts import SyntheticFacts


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_are_read_back_and_a_synthetic_file_tells_its_facts(dtype):
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (5, 7)).astype(dtype)
    facts = SyntheticFacts("acgan/1", "ab" * 32, ("Erguß", "sex F"), seed=2**40, truncation=0.7)
    data = png_bytes(image, facts)
    assert b"tEXttfcxr\0" in data
    read = Image.open(io.BytesIO(data))
    np.testing.assert_array_equal(np.asarray(read), image)
    assert json.loads(read.text["tfcxr"]) == {
        "synthetic": True,
        "model": "acgan/1",
        "weights_sha256": "ab" * 32,
        "labels": ["Erguß", "sex F"],
        "seed": 2**40,
        "truncation": 0.7,
    }
    assert read.text["Description"].startswith("Synthetic image, shows no patient; model acgan/1, weights abababababab")


def test_a_real_image_is_not_marked():
    assert Image.open(io.BytesIO(png_bytes(np.zeros((5, 7), np.uint8), None))).text == {}
