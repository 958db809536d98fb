"""Golden pictures: does a model still draw what it drew when it was exported?

An export draws two requests and keeps what came of them in the field `golden` of `model.json`. Whoever loads the model
draws them again:

    model = LoadedModel("saved_models/acgan")
    result = check_golden(model.description, lambda inputs: model.call("generate", **inputs)["image"])
    result.state, result.sentence  # "same", "The model draws the 2 golden pictures of its export, bit for bit."

Other bits are not always another picture: other processors add in another order, and a pixel may be off by one grey
level. So the mean grey values of 8 x 8 places are kept beside the hash.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from tfcxr.serving.model_card import ModelDescription

PLACES = 8  # to each side
ROUNDING = 1.0  # grey levels by which the mean of a place may differ: every pixel off by one
DTYPES = {"seed": np.int64, "label": np.float32, "truncation": np.float32, "image": np.uint8}
Draw = Callable[[dict[str, np.ndarray]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class GoldenResult:
    """How the pictures compare.

    Attributes:
      state: "same" bits; "rounded" otherwise by another processor; "differs", other pictures; "unknown" where the
        export holds no golden pictures.
      sentence: the same for people.
    """

    state: Literal["same", "rounded", "differs", "unknown"]
    sentence: str


def golden_pictures(requests: Sequence[Mapping[str, np.ndarray]], draw: Draw) -> tuple[dict[str, Any], ...]:
    """What `model.json` keeps of the picture of each request, plain JSON.

    Args:
      requests: inputs of `serving_default` by name, each of one row.
      draw: inputs -> uint8 [1, height, width, channels].

    Returns:
      Of each request its inputs, and the picture's shape [height, width, channels], the SHA-256 of its bytes and the
      mean grey values `grey` of 8 x 8 places, row by row.
    """
    return tuple(
        {"inputs": {name: value.tolist() for name, value in request.items()}, **_facts(draw(dict(request))[0])}
        for request in requests
    )


def check_golden(description: ModelDescription, draw: Draw) -> GoldenResult:
    """Draws the golden pictures of an export again and compares.

    Args:
      description: of the export.
      draw: inputs of `serving_default` by name -> uint8 [1, height, width, channels]; what it raises is raised here.
    """
    golden = description.golden
    if not golden:
        return GoldenResult("unknown", "The export holds no golden pictures; export it again to have them checked.")
    largest = 0.0
    for expected in golden:
        inputs = {name: np.array(value, DTYPES[name]) for name, value in expected["inputs"].items()}
        found = _facts(draw(inputs)[0])
        if found["sha256"] == expected["sha256"] and found["shape"] == expected["shape"]:
            continue
        if found["shape"] != expected["shape"]:
            sentence = f"A golden picture has the shape {found['shape']}, expected {expected['shape']}"
            return GoldenResult("differs", f"{sentence}; this is not the model that model.json describes.")
        largest = max(largest, float(np.abs(np.subtract(found["grey"], expected["grey"])).max()), 0.01)
    if not largest:
        return GoldenResult("same", f"The model draws the {len(golden)} golden pictures of its export, bit for bit.")
    measured = f"places of {PLACES} x {PLACES} differ by up to {largest:.2g} grey levels on average"
    if largest <= ROUNDING:
        return GoldenResult("rounded", f"This processor rounds otherwise than the exporter's: {measured}.")
    return GoldenResult(
        "differs",
        f"The model draws other pictures than when it was exported: {measured}; its files or TensorFlow changed, "
        "export it again.",
    )


def _facts(image: np.ndarray) -> dict[str, Any]:
    """Of a picture uint8 [height, width, channels]."""
    rows = np.array_split(image.mean(axis=-1), min(PLACES, len(image)))
    grey = [[round(float(place.mean()), 2) for place in np.array_split(row, len(rows), axis=1)] for row in rows]
    return {
        "shape": list(image.shape),
        "sha256": hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest(),
        "grey": grey,
    }
