"""An exported cascade as cohorts are drawn from it, and how fast it is."""

import os
import statistics
import time
from typing import Any

import numpy as np
import tensorflow as tf

from tfcxr.serving.cascade_parts import RealismGate
from tfcxr.serving.loaded_model import LoadedModel, find_version
from tfcxr.serving.model_card import read_description

WARM_UP = 2  # draws that are not timed


class LoadedCascade(LoadedModel):
    """An exported cascade, which draws what passed its gate.

    Attributes:
      gate: that it was exported with.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        super().__init__(path)
        settings = self.description.settings
        if self.description.kind != "cascade":
            raise ValueError(f"{self.path} is a {self.description.kind}, expected an exported cascade")
        self.gate = RealismGate(settings["min_realism"], settings["max_tries"])

    def search(self, seed: np.ndarray, label: np.ndarray, truncation: float = 1.0) -> dict[str, np.ndarray]:
        """All outputs of `serving_default` for seeds int64 [batch] and labels float32 [batch, labels]."""
        labels = [tf.constant(label, tf.float32)] if self.description.label_names else []
        outputs = self._functions.draw(tf.constant(seed, tf.int64), *labels, tf.constant(truncation, tf.float32))
        return {name: output.numpy() for name, output in outputs.items()}


def load_drawing_model(path: str | os.PathLike) -> LoadedModel:
    """A model that draws images: a `LoadedCascade` where `path` is one.

    Raises:
      FileNotFoundError: as `LoadedModel`. ValueError: as `LoadedModel`; or a super-resolution model.
    """
    version = find_version(path)
    description = read_description(version)
    if description.kind == "super_resolution":
        raise ValueError(
            f"{version} is a super-resolution model ({description.model}): it enlarges images and draws none. Give an "
            f"exported generator as --saved_model and this one as --super_resolution={path}, or join both with "
            f"python -m tfcxr.export --generator=GENERATOR --super_resolution={path} --out_dir=CASCADE"
        )
    return LoadedCascade(version) if description.kind == "cascade" else LoadedModel(version)


def measure_cascade(model: LoadedCascade, repeats: int) -> dict[str, Any]:
    """Seconds until each class has one accepted image, as woloszyn2025 asks, and until one image is; medians.

    Requests in which an image was not accepted are timed as well, and counted.
    """
    count = max(1, len(model.description.label_names))
    classes = np.eye(count, len(model.description.label_names), dtype=np.float32)
    seconds: dict[str, list[float]] = {"together": [], "one_by_one": []}
    tries, refused = [], 0
    for draw in range(WARM_UP + repeats):
        seeds = np.arange(draw * count, (draw + 1) * count)
        start = time.perf_counter()
        drawn = model.search(seeds, classes)
        middle = time.perf_counter()
        for row in range(count):
            model.search(seeds[row : row + 1], classes[row : row + 1])
        seconds["together"].append(middle - start)
        seconds["one_by_one"].append((time.perf_counter() - middle) / count)
        tries.extend(drawn["tries"].tolist())
        refused += int((~drawn["is_accepted"]).sum())
    return {
        "image_size": model.description.image_size,
        "classes": count,
        "seconds_for_an_image_of_each_class": statistics.median(seconds["together"][WARM_UP:]),
        "seconds_for_a_single_image": statistics.median(seconds["one_by_one"][WARM_UP:]),
        "acceptance_rate": (len(tries) - refused) / sum(tries),
        "images_without_accepted_candidate": refused,
        "timed_draws": repeats,
    }
