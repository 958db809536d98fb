"""Kernel distance: unbiased squared MMD of two sets of features (Binkowski et al. 2018, section 4).

    result = kernel_distance(synthetic_features, real_features, subsets=100, subset_size=1000, seed=0)

Unlike the Frechet distance its expectation does not depend on the number of images, so it serves where images are few;
it is 0 on average for two sets of one distribution, and may then come out below 0.

The kernel between all images is computed once, in float32 and in stripes, and each subset's sums are products of it
with the subset's indicator vector: faster than a kernel for each subset, and the memory does not grow with `subsets`.
"""

import dataclasses
import math

import numpy as np

MIN_ROWS = 4  # two subsets of two
STRIPE_ROWS = 2048  # columns of the kernel that are in memory at once


@dataclasses.dataclass(frozen=True)
class KernelDistance:
    """Mean over subsets, the 95 % interval (low, high) for sets of this size, and what it was computed with."""

    mean: float
    low: float
    high: float
    subsets: int
    subset_size: int


def kernel_distance(
    first: np.ndarray,
    second: np.ndarray,
    subsets: int,
    subset_size: int,
    seed: int = 0,
    first_groups: np.ndarray | None = None,
    second_groups: np.ndarray | None = None,
) -> KernelDistance:
    """Squared maximum mean discrepancy under the cubic polynomial kernel (x y / features + 1)^3.

    Each subset takes `subset_size` images of each set, without repeating one. The interval follows from the spread over
    subsets, scaled to the sets' own size by sqrt(m / (N - m)) (Politis, Romano 1994: subsampling): subsets of half the
    images spread as the distance of all does. Near 0 it is wider than it need be.

    Args:
      first, second: float [images, features], as many features.
      subset_size: from 2 to half of the smaller set.
      first_groups, second_groups: one value an image, equal for the images of one patient. Subsets then hold whole
        groups, and about `subset_size` images. Each image is a group of its own where left out.

    Raises:
      ValueError: another shape, values that are not finite, fewer than 2 subsets, a subset size out of range, or
        groups of which a subset would hold none or all.
    """
    sides = [_checked(first, "first"), _checked(second, "second")]
    if sides[0].shape[1] != sides[1].shape[1]:
        raise ValueError(f"expected sets of as many features, got {sides[0].shape[1]} and {sides[1].shape[1]}")
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
    return KernelDistance(mean, mean - 1.96 * deviation, mean + 1.96 * deviation, subsets, subset_size)


def _checked(features: np.ndarray, name: str) -> np.ndarray:
    features = np.asarray(features)
    if features.ndim != 2 or len(features) < MIN_ROWS:
        raise ValueError(
            f"expected features [images, features] of {MIN_ROWS} images or more, got shape {features.shape} as the "
            f"{name} set"
        )
    features = features.astype(np.float32)
    if not np.isfinite(features).all():
        rows = int((~np.isfinite(features)).any(1).sum())
        raise ValueError(f"features of {rows} of {len(features)} images of the {name} set are not finite")
    return features


def _indicators(
    rows: int, groups: np.ndarray | None, subsets: int, subset_size: int, generator: np.random.Generator
) -> np.ndarray:
    """float32 [subsets, rows], 1 where a row is in a subset; every subset holds as many groups."""
    group_of_row = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(group_of_row.max()) + 1
    groups_a_subset = max(round(count * subset_size / rows), 2)
    if groups_a_subset >= count:
        raise ValueError(f"subsets need four patients or more in each set, got {count}")
    ranks = generator.permuted(np.tile(np.arange(count), (subsets, 1)), axis=1)
    return (ranks < groups_a_subset)[:, group_of_row].astype(np.float32)


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
