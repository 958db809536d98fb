"""A radiograph -> a PNG file; a synthetic one carries its facts."""

import io
import json

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tfcxr.data.synthetic_facts import SyntheticFacts

FACTS_CHUNK = "tfcxr"  # keyword of the tEXt chunk


def png_bytes(image: np.ndarray, facts: SyntheticFacts | None) -> bytes:
    """A grey PNG file.

    Args:
      image: uint8 or uint16 [height, width].
      facts: of a synthetic image; the file then holds them as JSON in a text chunk `tfcxr`, and as a sentence in
        `Description`. None for a radiograph of a patient.
    """
    text = PngInfo()
    if facts is not None:
        fields = {
            "synthetic": True,
            "model": facts.model,
            "weights_sha256": facts.weights_sha256,
            "labels": facts.labels,
            "seed": facts.seed,
            "truncation": facts.truncation,
        }
        text.add_text(FACTS_CHUNK, json.dumps(fields))
        text.add_text("Description", facts.sentence)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", pnginfo=text)
    return file.getvalue()
