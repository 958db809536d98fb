"""Distances between sets of images themselves, with their floor: every `ImageDistance` of `METRICS`, no extractor."""

from typing import Any

import numpy as np

from tfcxr.evaluation.cohorts import Cohort
from tfcxr.evaluation.feature_distances import SEED, halvings
from tfcxr.evaluation.metrics import metrics_of
from tfcxr.evaluation.metrics.metric import ImageDistance

MAX_IMAGES = 500  # per side


def compare_images(synthetic: Cohort, real: Cohort) -> dict[str, Any]:
    """How far synthetic images are from halves of real patients, and these halves from each other, at equal N.

    Returns:
      "images", N on each side; "score" and "floor", by metric {"mean", "interval"} over `FLOOR_DRAWS` divisions of the
      real patients and draws of synthetic images: where such draws fall.
    """
    random = np.random.default_rng(SEED)
    halves = halvings(real.patient_keys)
    count = min(MAX_IMAGES, len(synthetic.images), *(min(half.sum(), (~half).sum()) for half in halves))
    draw = lambda rows: np.sort(random.permutation(rows)[:count])  # noqa: E731
    metrics = metrics_of(ImageDistance)
    found: dict[str, list[list[float]]] = {"score": [], "floor": []}
    for is_first in halves:
        first, second = (real.images[draw(np.flatnonzero(half))] for half in (is_first, ~is_first))
        made = synthetic.images[draw(len(synthetic.images))]
        found["score"].append([metric.distance(made, first) for metric in metrics])
        found["floor"].append([metric.distance(first, second) for metric in metrics])
    return {"images": int(count)} | {
        name: {
            metric.name: {"mean": float(draws.mean()), "interval": list(_spread(draws))}
            for metric, draws in zip(metrics, np.array(values).T, strict=True)
        }
        for name, values in found.items()
    }


def _spread(draws: np.ndarray) -> tuple[float, float]:
    reach = 1.96 * float(draws.std(ddof=1))
    return max(float(draws.mean()) - reach, 0.0), float(draws.mean()) + reach
