"""How fast an exported model draws."""

import statistics
import time
from typing import Any

import numpy as np

from tfcxr.serving.loaded_model import LoadedModel

WARM_UP = 3  # draws that are not timed


def measure_generation(model: LoadedModel, batch_size: int, repeats: int) -> dict[str, Any]:
    """Draws batches from a SavedModel, and single images; medians."""
    figures: dict[str, Any] = {"batch_size": batch_size, "timed_draws": repeats}
    for name, rows in (("milliseconds_per_batch", batch_size), ("milliseconds_per_single_image", 1)):
        label = np.zeros([rows, len(model.description.label_names)], np.float32)
        seconds = []
        for draw in range(WARM_UP + repeats):
            seeds = np.arange(draw * rows, (draw + 1) * rows)
            start = time.perf_counter()
            model.draw(seeds, label)
            seconds.append(time.perf_counter() - start)
        figures[name] = 1000 * statistics.median(seconds[WARM_UP:])
    return {"images_per_second": 1000 * batch_size / figures["milliseconds_per_batch"]} | figures
