"""Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020), authenticity (Alaa et al.
2022, section 3.3) of synthetic features.

Balls around the rows of one set, each as wide as the distance to its k-th neighbour, stand for the set. Precision: the
share of synthetic images inside a real ball. Recall: the share of real images inside a synthetic ball. Density: how
many real balls a synthetic image is in, over k; clipped, no image counts more than 1, so that a crowded spot makes up
for no image outside. Coverage: the share of real balls with a synthetic image inside. An image on the border is
outside, except at distance 0, so that constant sets score 1.

Authenticity: the share of synthetic images that are farther from their nearest real image than that one is from its
nearest other real image.
"""

import numpy as np

from tfcxr.evaluation.metrics.last_result import remember_last
from tfcxr.evaluation.metrics.metric import Estimate, FeatureDistance
from tfcxr.evaluation.metrics.nearest_neighbours import radii, squared_distances

K = 5
NOTE = (
    f"Precision, recall, density and coverage take balls of k = {K} neighbours around the images of one set; they "
    "depend on k and on the number of images, and their intervals are at fixed balls. Clipped density counts no image "
    "more than once."
)
OF_SYNTHETIC = ("precision", "density", "clipped_density", "authenticity")  # one value per synthetic image


@remember_last
def manifold_scores(synthetic: np.ndarray, real: np.ndarray, k: int = K) -> dict[str, np.ndarray]:
    """What each image contributes; scores are the means.

    Args:
      synthetic: float [images, features].
      real: float [images, features].
      k: neighbours.

    Returns:
      float64 [synthetic images] of the names in `OF_SYNTHETIC`, "recall" and "coverage" float64 [real images].

    Raises:
      ValueError: k images or fewer on a side.
    """
    if min(len(synthetic), len(real)) <= k:
        raise ValueError(
            f"precision and recall with k = {k} need {k + 1} images or more on each side, got {len(synthetic)} "
            f"synthetic and {len(real)} real ones"
        )
    real_radii, real_apart = radii(real, k, 1)
    (synthetic_radii,) = radii(synthetic, k)
    authentic = np.empty(len(synthetic), bool)
    density, recall, covered = np.empty(len(synthetic)), np.zeros(len(real), bool), np.zeros(len(real), bool)
    for block, squares in squared_distances(synthetic, real):
        is_in_real = (squares < real_radii) | (squares == 0)
        density[block] = is_in_real.sum(axis=1) / k
        covered |= is_in_real.any(axis=0)
        nearest = squares.argmin(axis=1)
        authentic[block] = squares[np.arange(len(nearest)), nearest] > real_apart[nearest]
        recall |= ((squares < synthetic_radii[block][:, None]) | (squares == 0)).any(axis=0)
    return {
        "precision": (density > 0).astype(np.float64),
        "density": density,
        "clipped_density": np.minimum(density, 1.0),
        "authenticity": authentic.astype(np.float64),
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
    values = manifold_scores(synthetic, real)[name]
    groups = synthetic_groups if name in OF_SYNTHETIC else real_groups
    number = np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
    mean = float(values.mean())
    sums = np.bincount(number, values - mean)
    deviation = float(np.sqrt(np.square(sums).sum() * len(sums) / max(len(sums) - 1, 1))) / len(values)
    high = mean + 1.96 * deviation
    return Estimate(mean, max(mean - 1.96 * deviation, 0.0), high if name == "density" else min(high, 1.0))


def _metric(name: str, meaning: str) -> FeatureDistance:
    return FeatureDistance(
        name=f"feature_{name}" if name in ("precision", "recall") else name,  # a classifier has precision too
        title=name.replace("_", " "),
        better="real" if name == "authenticity" else "higher",
        settings={} if name == "authenticity" else {"k": K},
        distance=lambda synthetic, real, seed: float(manifold_scores(synthetic, real)[name].mean()),
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
    _metric(
        "clipped_density",
        "As density, but an image in a crowded spot counts once: higher is better, up to what real images have.",
    ),
    _metric("coverage", "The share of real images with a synthetic one as near as their neighbours; higher is better."),
    _metric(
        "authenticity",
        "The share of synthetic images that are farther from their nearest real image than that one is from other real "
        "images: best where real images have it, as below that they may be copies, and above unlike any real one.",
    ),
)
