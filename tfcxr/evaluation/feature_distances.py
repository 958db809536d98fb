"""Distances between sets of features, with interval and floor: every `FeatureDistance` of `METRICS`.

draws = [extractor.features(images) for images in independent_cohorts]
distances_of_draws(draws, extractor.features(real_images))["frechet"]   # one value per draw, for a t-test
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcxr.evaluation.cohorts import split_off_validation
from tfcxr.evaluation.metrics import distance_metrics, metrics_of
from tfcxr.evaluation.metrics.metric import FeatureDistance

SEED = 0  # of subsets, halves and draws
FLOOR_DRAWS = 10  # random halvings of the real patients
MIN_IMAGES = 8
MIN_TELLING_IMAGES = 50  # per side, also of a single label; below it a distance is mostly that of few images
MIN_PATIENTS = 4  # below it, halves and intervals by patient say nothing
MIN_HALF_IMAGES = 8  # of the real images; an extrapolated Frechet distance needs them


@dataclasses.dataclass(frozen=True)
class FeatureSet:
    """Features of one set of images.

    Attributes:
      rows: float32 [images, features].
      labels: float [images, labels], NaN where unknown.
      patients: [images], equal for the images of one patient; None where each image is a patient of its own.
    """

    rows: np.ndarray
    labels: np.ndarray
    patients: np.ndarray | None = None

    def where(self, chosen: np.ndarray) -> "FeatureSet":
        """The images of a mask or of positions."""
        return FeatureSet(
            self.rows[chosen], self.labels[chosen], None if self.patients is None else self.patients[chosen]
        )

    def some(self, count: int, generator: np.random.Generator) -> "FeatureSet":
        """`count` images at random."""
        return self.where(np.sort(generator.permutation(len(self.rows))[:count]))


def halvings(patients: np.ndarray) -> list[np.ndarray]:
    """Masks bool [images] of the first of two halves, in random divisions that keep a patient's images together."""
    return [split_off_validation(patients, 0.5, draw) for draw in range(FLOOR_DRAWS)]


def smallest_half(patients: np.ndarray) -> int:
    """Images of the smallest half of all `halvings`; few where one patient has most of the images."""
    return min(min(is_first.sum(), (~is_first).sum()) for is_first in halvings(patients))


def distances_of_draws(draws: Sequence[np.ndarray], real: np.ndarray, seed: int = SEED) -> dict[str, np.ndarray]:
    """One distance per draw, of several independent cohorts from the same real images, for a t-test.

    Args:
      draws: features float [images, features] of one extractor, as many images in each.
      real: features float [images, features] of at least as many real images; so many of them are taken, the same for
        every draw.
      seed: of that choice and of random distances; keep it across the cohorts that are compared.

    Returns:
      by distance, float64 [draws].

    Raises:
      ValueError: no draw, draws of different sizes, fewer real images, or features that the metrics refuse.
    """
    sizes = sorted({len(draw) for draw in draws})
    if len(sizes) != 1:
        raise ValueError(
            f"expected draws of one number of images, got {sizes or 'no draw'}; distances may depend on it"
        )
    if len(real) < sizes[0]:
        raise ValueError(f"expected at least as many real images as a draw has, {sizes[0]}, got {len(real)}")
    real = real[np.sort(np.random.default_rng(seed).permutation(len(real))[: sizes[0]])]
    return {
        metric.name: np.array([metric.distance(draw, real, seed) for draw in draws]) for metric in distance_metrics()
    }


def compare(
    synthetic: FeatureSet, real: FeatureSet, training: FeatureSet | None = None, images: int = 0
) -> dict[str, Any]:
    """The score of synthetic images against real ones, and its references.

    Args:
      real: with its patients: `MIN_IMAGES` images of `MIN_PATIENTS` patients or more, halves of `MIN_HALF_IMAGES`.
      training: real training images to compare with `real` as well, or None.
      images: N, on each side; 0 is as many as the smaller side has.

    Returns:
      "score" at N images per side; "floor", halves of the real patients at n images, N or fewer; "at_floor_size", the
      score at n; "real_training_images" against `real` at N, or None. Each holds "images" and, for each distance,
      {"mean", "interval"}.
    """
    metrics = metrics_of(FeatureDistance)
    count = images or min(len(synthetic.rows), len(real.rows))
    generator = np.random.default_rng(SEED)
    score = _estimates(synthetic.some(count, generator), real.some(count, generator))
    halves = [(real.where(is_first), real.where(~is_first)) for is_first in halvings(real.patients)]
    floor_count = min(count, *(len(half.rows) for pair in halves for half in pair))
    floors, scores = [], []
    for pair in halves:
        first, second = (half.some(floor_count, generator).rows for half in pair)
        floors.append([metric.distance(first, second, SEED) for metric in metrics])
        drawn = synthetic.some(floor_count, generator).rows
        scores.append([metric.distance(drawn, first, SEED) for metric in metrics])
    floor: dict[str, Any] = {"images": floor_count}
    at_floor_size: dict[str, Any] = {"images": floor_count}
    of_this_size = _estimates(synthetic.some(floor_count, generator), real.some(floor_count, generator))
    for index, metric in enumerate(metrics):
        halves_apart = np.array(floors)[:, index]
        floor[metric.name] = _summary(metric, float(halves_apart.mean()), float(halves_apart.std(ddof=1)))
        found = of_this_size[metric.name]
        deviation = (found["interval"][1] - found["mean"]) / 1.96
        at_floor_size[metric.name] = _summary(metric, float(np.mean(scores, axis=0)[index]), deviation)
    of_training = None
    if training is not None and len(training.rows) >= count:
        of_training = _estimates(training.some(count, generator), real.some(count, generator))
    return {
        "score": score,
        "floor": floor,
        "at_floor_size": at_floor_size if floor_count < count else score,
        "real_training_images": of_training,
    }


def _estimates(first: FeatureSet, second: FeatureSet) -> dict[str, Any]:
    """All distances with their intervals, by patient on sides that have enough of them."""
    groups = [
        None if side.patients is None or len(np.unique(side.patients)) < MIN_PATIENTS else side.patients
        for side in (first, second)
    ]
    estimates: dict[str, Any] = {"images": len(first.rows)}
    for metric in metrics_of(FeatureDistance):
        mean, low, high = metric.estimate(first.rows, second.rows, *groups, SEED)
        estimates[metric.name] = {"mean": mean, "interval": [low, high]}
    return estimates | {"interval_by": ["image" if group is None else "patient" for group in groups]}


def _summary(metric: FeatureDistance, mean: float, deviation: float) -> dict[str, Any]:
    low = mean - 1.96 * deviation
    return {"mean": mean, "interval": [low if metric.can_be_negative else max(low, 0.0), mean + 1.96 * deviation]}
