"""Kernel distance: unbiased squared MMD of two sets of features (Binkowski et al. 2018, section 4).

    result = kernel_distance(synthetic_features, real_features, subsets=100, subset_size=1000, seed=0)

Unlike the Frechet distance its expectation does not depend on the number of images, so it serves where images are few;
it is 0 on average for two sets of one distribution, and may then come out below 0.

The kernel between all images is computed once, in float32 and in stripes, and each subset's sums are products of it
with the subset's indicator vector: faster than a kernel for each subset, and the memory does not grow with `subsets`.
"""

import math

import numpy as np

from tfcxr.evaluation.metrics.feature_sets import checked_features
from tfcxr.evaluation.metrics.metric import Estimate, FeatureDistance

MIN_IMAGES = 4  # two subsets of two
STRIPE_ROWS = 2048  # columns of the kernel that are in memory at once
SUBSETS = 100  # in reports
LARGEST_SUBSET = 1000  # in reports; half of the images where that is less


def kernel_distance(
    first: np.ndarray,
    second: np.ndarray,
    subsets: int,
    subset_size: int,
    seed: int = 0,
    first_groups: np.ndarray | None = None,
    second_groups: np.ndarray | None = None,
) -> Estimate:
    """Squared maximum mean discrepancy under the cubic polynomial kernel (x y / features + 1)^3.

    Each subset takes `subset_size` images of each set, without repeating one. The interval follows from the spread over
    subsets, scaled to the sets' own size by sqrt(m / (N - m)) (Politis, Romano 1994: subsampling): subsets of half the
    images spread as the distance of all does. Near 0 it is wider than it need be.

    Args:
      first: float [images, features]; `second`: as many features.
      subsets: two or more.
      subset_size: from 2 to half of the smaller set.
      first_groups: [images], equal for the images of one patient; subsets then hold whole groups, and about
        `subset_size` images. None: each image is a group of its own. `second_groups`: likewise.

    Raises:
      ValueError: another shape, values that are not finite, fewer than 2 subsets, a subset size out of range, or
        groups of which a subset would hold none or all.
    """
    sides = checked_features(first, second, MIN_IMAGES, np.float32)
    smaller = min(len(rows) for rows in sides)
    if not 2 <= subset_size <= smaller // 2:
        raise ValueError(
            f"subset_size must be from 2 to half of the smaller set, {smaller // 2}, got {subset_size}; "
            "larger subsets are too much alike for an interval"
        )
    if subsets < 2:
        raise ValueError(f"an interval needs 2 subsets or more, got {subsets}")
    generator = np.random.default_rng(seed)
    chosen = [
        _indicators(len(rows), groups, subsets, subset_size, generator)
        for rows, groups in zip(sides, (first_groups, second_groups), strict=True)
    ]
    # A constant that is taken off every kernel value cancels in the distance, and so does most of the rounding.
    shift = float(_kernel(sides[0][:STRIPE_ROWS], sides[1][:STRIPE_ROWS]).mean())
    within = [
        _sums(rows, rows, indicator, indicator, shift, without_diagonal=True)
        for rows, indicator in zip(sides, chosen, strict=True)
    ]
    between = _sums(*sides, *chosen, shift)
    counts = [indicator.sum(1, dtype=np.float64) for indicator in chosen]
    values = sum(total / (count * (count - 1)) for total, count in zip(within, counts, strict=True))
    values = values - 2 * between / (counts[0] * counts[1])
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) * math.sqrt(subset_size / (smaller - subset_size) + 1 / subsets)
    return Estimate(mean, mean - 1.96 * deviation, mean + 1.96 * deviation)


def _indicators(
    rows: int, groups: np.ndarray | None, subsets: int, subset_size: int, generator: np.random.Generator
) -> np.ndarray:
    """float32 [subsets, rows], 1 where a row is in a subset; all subsets hold equally many groups."""
    group_of_row = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(group_of_row.max()) + 1
    groups_per_subset = max(round(count * subset_size / rows), 2)
    if groups_per_subset >= count:
        raise ValueError(f"subsets need four patients or more in each set, got {count}")
    ranks = generator.permuted(np.tile(np.arange(count), (subsets, 1)), axis=1)
    return (ranks < groups_per_subset)[:, group_of_row].astype(np.float32)


def _kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    products = first @ second.T
    products *= np.float32(1 / first.shape[1])
    products += np.float32(1)
    return products * products * products


def _sums(
    first: np.ndarray,
    second: np.ndarray,
    first_chosen: np.ndarray,
    second_chosen: np.ndarray,
    shift: float,
    without_diagonal: bool = False,
) -> np.ndarray:
    """float64 [subsets]: sums of (kernel - shift) over a subset's pairs of rows."""
    totals = np.zeros(len(first_chosen))
    for start in range(0, len(second), STRIPE_ROWS):
        stop = min(start + STRIPE_ROWS, len(second))
        stripe = _kernel(first, second[start:stop])
        stripe -= np.float32(shift)
        if without_diagonal:
            stripe[np.arange(start, stop), np.arange(stop - start)] = 0.0
        column_sums = first_chosen @ stripe
        totals += np.einsum("sj,sj->s", column_sums, second_chosen[:, start:stop], dtype=np.float64)
    return totals


def _in_reports(
    first: np.ndarray,
    second: np.ndarray,
    first_groups: np.ndarray | None,
    second_groups: np.ndarray | None,
    seed: int,
) -> Estimate:
    subset_size = min(LARGEST_SUBSET, min(len(first), len(second)) // 2)
    return kernel_distance(first, second, SUBSETS, subset_size, seed, first_groups, second_groups)


KERNEL = FeatureDistance(
    name="kernel",
    title="kernel",
    better="lower",
    distance=lambda first, second, seed: _in_reports(first, second, None, None, seed).mean,
    interval=_in_reports,
    can_be_negative=True,
    settings={"kernel": "cubic polynomial", "subsets": SUBSETS, "largest_subset": LARGEST_SUBSET},
    meaning="How far the features of two sets of images lie apart, on average over any number of images: about 0 for "
    "sets of one kind; lower is better.",
    note="The kernel distance (squared, unbiased) does not depend on the number of images, and may fall below 0 for "
    f"alike sets. Its interval is the spread over {SUBSETS} subsets of at most {LARGEST_SUBSET} images.",
)
