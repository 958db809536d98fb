"""How fast an exported model draws or enlarges."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tfcxr.serving.loaded_model import LoadedModel

WARM_UP = 3  # draws that are not timed


def measure_generation(model: LoadedModel, batch_size: int, repeats: int) -> dict[str, Any]:
    """Draws batches from a SavedModel, and single images; medians."""

    def draw(rows: int, index: int) -> None:
        model.generate(
            np.arange(index * rows, (index + 1) * rows), np.zeros([rows, len(model.description.label_names)])
        )

    return _measure(draw, batch_size, repeats)


def measure_enhancing(model: LoadedModel, batch_size: int, repeats: int) -> dict[str, Any]:
    """Enlarges batches of images to the size that the model was trained on, and single images; medians."""
    description = model.description
    size = description.image_size // description.scale
    images = np.random.default_rng(0).integers(256, size=[batch_size, size, size, description.channels], dtype=np.uint8)
    figures = _measure(lambda rows, _: model.super_resolve(images[:rows]), batch_size, repeats)
    return figures | {"from_pixels": size, "to_pixels": description.image_size}


def _measure(work: Callable[[int, int], Any], batch_size: int, repeats: int) -> dict[str, Any]:
    """Times `work(rows, index)` on batches and on single rows."""
    figures: dict[str, Any] = {"batch_size": batch_size, "timed_draws": repeats}
    for name, rows in (("milliseconds_per_batch", batch_size), ("milliseconds_per_single_image", 1)):
        seconds = []
        for index in range(WARM_UP + repeats):
            start = time.perf_counter()
            work(rows, index)
            seconds.append(time.perf_counter() - start)
        figures[name] = 1000 * statistics.median(seconds[WARM_UP:])
    return {"images_per_second": 1000 * batch_size / figures["milliseconds_per_batch"]} | figures
