"""Frechet distance of infinitely many images (Chong, Forsyth 2020, section 4.1): its part that N does not explain.

    distance = frechet_at_infinity(synthetic_features, real_features)

The distance falls about linearly in 1 / N. It is taken of all images, of halves and of quarters, and the intercept of a
straight line through these is the distance of infinitely many.

Differs from the paper: N is that of both sides, since real images are few as well; there are three values of 1 / N,
each the mean over parts that together hold every image once, in place of one draw at 15 values of N.
"""

import numpy as np

from tfcxr.evaluation.metrics.frechet_distance import frechet_distance, frechet_estimate
from tfcxr.evaluation.metrics.metric import Estimate, FeatureDistance

DIVISORS = (1, 2, 4)  # of N
MIN_IMAGES = 2 * DIVISORS[-1]


def frechet_at_infinity(first: np.ndarray, second: np.ndarray, seed: int = 0) -> float:
    """The intercept of the distance over 1 / N, on average 0 for sets of one distribution, and then also below 0.

    Args:
      first: float [images, features]; `second`: as many features.
      seed: of the parts.

    Raises:
      ValueError: fewer than eight images in a set, or what `frechet_distance` refuses.
    """
    return _intercept(frechet_distance(first, second), first, second, seed)


def _intercept(whole: float, first: np.ndarray, second: np.ndarray, seed: int) -> float:
    """Of the line through `whole`, the distance of all images, and the mean distances of their parts."""
    if min(len(first), len(second)) < MIN_IMAGES:
        raise ValueError(
            f"an extrapolated Frechet distance needs {MIN_IMAGES} images or more in each set, got {len(first)} and "
            f"{len(second)}"
        )
    generator = np.random.default_rng(seed)
    sides = [(rows, generator.permutation(len(rows))) for rows in (first, second)]
    means = [whole]
    for parts in DIVISORS[1:]:
        chosen = [[rows[order[part::parts]] for rows, order in sides] for part in range(parts)]
        means.append(np.mean([frechet_distance(*pair) for pair in chosen]))
    return float(np.polyfit(DIVISORS, means, 1)[1])


def _estimate(
    first: np.ndarray,
    second: np.ndarray,
    first_groups: np.ndarray | None,
    second_groups: np.ndarray | None,
    seed: int,
) -> Estimate:
    """With the interval of the distance of all images: parts that hold each image once move with it."""
    whole = frechet_estimate(first, second, first_groups, second_groups)
    value, reach = _intercept(whole.mean, first, second, seed), whole.high - whole.mean
    return Estimate(value, value - reach, value + reach)


FRECHET_AT_INFINITY = FeatureDistance(
    name="frechet_at_infinity",
    title="Frechet at infinite N",
    better="lower",
    distance=frechet_at_infinity,
    interval=_estimate,
    can_be_negative=True,
    is_in_verdicts=False,
    settings={"divisors_of_n": DIVISORS},
    meaning="What the Frechet distance would be of infinitely many images, by extrapolation: about 0 for sets of one "
    "kind; lower is better.",
    note="The Frechet distance at infinite N is the intercept of a line through the distances of all images, of halves "
    "and of quarters, over 1 / N. It depends less on the number of images, not at all only where images are many more "
    "than features.",
)
