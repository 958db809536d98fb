"""Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020) of synthetic features.

Balls around the rows of one set, each as wide as the distance to its k-th neighbour, stand for the set. Precision: the
share of synthetic images inside a real ball. Recall: the share of real images inside a synthetic ball. Density: how
many real balls a synthetic image is in, over k. Coverage: the share of real balls with a synthetic image inside.
An image on the border is outside, except at distance 0, so that constant sets score 1.
"""

import numpy as np

from tfcxr.evaluation.metrics.metric import Estimate, FeatureDistance
from tfcxr.evaluation.metrics.nearest_neighbours import radii, squared_distances

K = 5
NOTE = (
    f"Precision, recall, density and coverage take balls of {K} neighbours around the images of one set; they depend "
    "on the number of images, and their intervals are at fixed balls."
)


def manifold_scores(synthetic: np.ndarray, real: np.ndarray, k: int = K) -> dict[str, np.ndarray]:
    """What each image contributes; scores are the means.

    Args:
      synthetic: float [images, features].
      real: float [images, features].
      k: neighbours.

    Returns:
      "precision" and "density" float64 [synthetic images], "recall" and "coverage" float64 [real images].

    Raises:
      ValueError: k images or fewer on a side.
    """
    if min(len(synthetic), len(real)) <= k:
        raise ValueError(
            f"precision and recall with k = {k} need {k + 1} images or more on each side, got {len(synthetic)} "
            f"synthetic and {len(real)} real ones"
        )
    real_radii, synthetic_radii = radii(real, k), radii(synthetic, k)
    density, recall, covered = np.empty(len(synthetic)), np.zeros(len(real), bool), np.zeros(len(real), bool)
    for block, squares in squared_distances(synthetic, real):
        is_in_real = (squares < real_radii) | (squares == 0)
        density[block] = is_in_real.sum(axis=1) / k
        covered |= is_in_real.any(axis=0)
        recall |= ((squares < synthetic_radii[block][:, None]) | (squares == 0)).any(axis=0)
    return {
        "precision": (density > 0).astype(np.float64),
        "density": density,
        "recall": recall.astype(np.float64),
        "coverage": covered.astype(np.float64),
    }


def _estimate(
    name: str,
    synthetic: np.ndarray,
    real: np.ndarray,
    synthetic_groups: np.ndarray | None,
    real_groups: np.ndarray | None,
) -> Estimate:
    """The mean of what images contribute, with an interval by patient at fixed balls."""
    values = _memo(synthetic, real)[name]
    groups = synthetic_groups if name in ("precision", "density") else real_groups
    number = np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
    mean = float(values.mean())
    sums = np.bincount(number, values - mean)
    deviation = float(np.sqrt(np.square(sums).sum() * len(sums) / max(len(sums) - 1, 1))) / len(values)
    high = mean + 1.96 * deviation
    return Estimate(mean, max(mean - 1.96 * deviation, 0.0), high if name == "density" else min(high, 1.0))


_last: list[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]] = []


def _memo(synthetic: np.ndarray, real: np.ndarray) -> dict[str, np.ndarray]:
    """`manifold_scores`, once for the four metrics of one pair of sets."""
    if not (_last and _last[0][0] is synthetic and _last[0][1] is real):
        _last[:] = [(synthetic, real, manifold_scores(synthetic, real))]
    return _last[0][2]


def _metric(name: str, meaning: str) -> FeatureDistance:
    return FeatureDistance(
        name=name if name in ("density", "coverage") else f"feature_{name}",  # a classifier has precision too
        title=name,
        better="higher",
        distance=lambda synthetic, real, seed: float(_memo(synthetic, real)[name].mean()),
        interval=lambda synthetic, real, groups, real_groups, seed: _estimate(
            name, synthetic, real, groups, real_groups
        ),
        format=".3f",
        meaning=meaning,
        note=NOTE if name == "precision" else "",
    )


MANIFOLD = (
    _metric("precision", "The share of synthetic images that look like real ones; higher is better."),
    _metric("recall", "The share of real images that the synthetic ones have the like of; higher is better."),
    _metric("density", "How densely real images lie around a synthetic one; higher is better, 1 is as real images do."),
    _metric("coverage", "The share of real images with a synthetic one as near as their neighbours; higher is better."),
)
