"""Frechet distance of the Gaussians fitted to two sets of features (Heusel et al. 2017, equation 6).

    distance = frechet_distance(synthetic_features, real_features)

    |mean_a - mean_b|^2 + trace(cov_a + cov_b - 2 (cov_a cov_b)^(1/2))        (Dowson, Landau 1982, equation 4)

With centred features A, B the trace of the root is the nuclear norm of A B^T, the sum of the roots of the eigenvalues
of A B^T B A^T. Where images are more than features, A is replaced by R of its QR decomposition, which has the same
covariance. So nothing is larger than the smaller of images and features.

**The distance depends on the number of images**: the fewer, the larger, even between two halves of one set. Compare
distances of one number of images only, and print what two sets of real images of that number give.
"""

import numpy as np

from tfcxr.evaluation.metrics.feature_sets import checked_features
from tfcxr.evaluation.metrics.last_result import remember_last
from tfcxr.evaluation.metrics.metric import Estimate, FeatureDistance

MIN_IMAGES = 2
MAX_ROUNDING = 1e-7  # of the root's trace, at worst: the root of a small eigenvalue has half of its digits


@remember_last
def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Squared Frechet (2-Wasserstein) distance of two Gaussians with the sets' means and covariances.

    Both are float [images, features] of two images or more. The distance is 0 or more, computed in float64; covariances
    are divided by images - 1.

    Raises:
      ValueError: another shape, fewer than two images, or values that are not finite.
    """
    gap, first, second = _centred(first, second)
    return _distance(gap, first, second, _root_trace(first, second))


@remember_last
def frechet_estimate(
    first: np.ndarray,
    second: np.ndarray,
    first_groups: np.ndarray | None = None,
    second_groups: np.ndarray | None = None,
) -> Estimate:
    """The distance with its 95 % interval: how far it moves with other images of the same number.

    An infinitesimal jackknife (Jaeckel 1972): the derivative of the distance by the weight of each image, summed by
    patient. One decomposition gives all of them, where leaving out parts would need twenty. A bootstrap would repeat
    images, which alone raises the distance: its resamples lie beside the estimate.

    Args:
      first: float [images, features]; `second`: likewise.
      first_groups: [images], equal for the images of one patient; None: each image is a group of its own.
      second_groups: likewise.

    Raises:
      ValueError: what `frechet_distance` refuses, or fewer than two groups in a set.
    """
    groups = [
        np.arange(len(rows)) if names is None else np.unique(names, return_inverse=True)[1]
        for rows, names in ((first, first_groups), (second, second_groups))
    ]
    counts = [int(numbers.max(initial=-1)) + 1 for numbers in groups]
    gap, first, second = _centred(first, second)
    if min(counts) < 2:
        raise ValueError(f"an interval needs two patients or more in each set, got {counts[0]}, {counts[1]}")
    roots, of_first, of_second = _root_shares(first, second)
    ratio = np.sqrt(len(first) / len(second))
    variance = 0.0
    for rows, side, shares, numbers, count in (
        (first, 2 * gap, ratio * of_first, groups[0], counts[0]),
        (second, -2 * gap, of_second / ratio, groups[1], counts[1]),
    ):
        influence = rows @ side + np.square(rows).sum(axis=1) - shares
        by_group = np.bincount(numbers, influence - influence.mean()) / len(rows)
        variance += np.square(by_group).sum() * count / (count - 1)
    distance = _distance(gap, first, second, roots)
    reach = 1.96 * float(np.sqrt(variance))
    return Estimate(distance, max(distance - reach, 0.0), distance + reach)


def _centred(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gap between the means, float64 [features], and both sets without their means."""
    first, second = checked_features(first, second, MIN_IMAGES, np.float64)
    varies = (first != first[0]).any(0), (second != second[0]).any(0)
    means = [np.where(side, rows.mean(0), rows[0]) for side, rows in zip(varies, (first, second), strict=True)]
    first -= means[0]  # in place: these are copies
    second -= means[1]
    return means[0] - means[1], first, second


def _distance(gap: np.ndarray, first: np.ndarray, second: np.ndarray, root_trace: float) -> float:
    degrees = len(first) - 1, len(second) - 1
    traces = sum(float(np.vdot(rows, rows)) / degree for rows, degree in zip((first, second), degrees, strict=True))
    return max(float(gap @ gap) + traces - 2.0 * root_trace / float(np.sqrt(degrees[0] * degrees[1])), 0.0)


def _root_trace(first: np.ndarray, second: np.ndarray) -> float:
    """Trace of the root of the product of two scatter matrices, from centred features [images, features]."""
    if len(first) > len(second):
        first, second = second, first
    first, second = _alive(first, second)
    factor = first if len(first) <= first.shape[1] else np.linalg.qr(first, mode="r")
    product = second @ factor.T
    return _sum_of_roots(np.linalg.eigvalsh(product.T @ product)[-_rank(first) :], product)


def _root_shares(first: np.ndarray, second: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The trace of the root, and each image's share of it: float64 [images] of both sets, each with that sum."""
    if len(first) > len(second):
        trace, of_second, of_first = _root_shares(second, first)
        return trace, of_first, of_second
    first, second = _alive(first, second)
    basis, factor = (None, first) if len(first) <= first.shape[1] else np.linalg.qr(first)
    product = second @ factor.T
    eigenvalues, vectors = np.linalg.eigh(product.T @ product)
    eigenvalues, vectors = eigenvalues[-_rank(first) :], vectors[:, -_rank(first) :]
    roots = np.sqrt(np.maximum(eigenvalues, np.finfo(np.float64).eps * eigenvalues.max(initial=0.0)))
    inverse = np.divide(1.0, roots, out=np.zeros_like(roots), where=roots > 0)
    of_first = np.square(vectors if basis is None else basis @ vectors) @ roots
    return _sum_of_roots(eigenvalues, product), of_first, np.square(product @ vectors) @ inverse


def _sum_of_roots(eigenvalues: np.ndarray, product: np.ndarray) -> float:
    """Sum of the singular values of `product`, from the eigenvalues of its square unless rounding spoils them."""
    rounding = np.finfo(np.float64).eps * eigenvalues.max(initial=0.0)
    roots = np.sqrt(np.maximum(eigenvalues, rounding))
    if rounding == 0:
        return 0.0
    if (rounding / (2.0 * roots)).sum() <= MAX_ROUNDING * roots.sum():
        return float(np.sqrt(np.maximum(eigenvalues, 0.0)).sum())
    return float(np.linalg.svd(product, compute_uv=False).sum())


def _alive(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Without the features that one of the sets does not vary in; they add nothing to the root."""
    varies = first.any(axis=0) & second.any(axis=0)
    return (first, second) if varies.all() else (first[:, varies], second[:, varies])


def _rank(rows: np.ndarray) -> int:
    """The largest rank that centred rows can have."""
    return min(len(rows) - 1, rows.shape[1])


FRECHET = FeatureDistance(
    name="frechet",
    title="Frechet",
    better="lower",
    distance=lambda first, second, seed: frechet_distance(first, second),
    interval=lambda first, second, first_groups, second_groups, seed: frechet_estimate(
        first, second, first_groups, second_groups
    ),
    meaning="How far the features of two sets of images lie apart, by their mean and spread: 0 for equal sets; lower "
    "is better, down to what real images have among themselves.",
    note="The Frechet distance depends on the number of images and grows when they are few: compare rows of one number "
    "only. Its interval is an infinitesimal jackknife by patient.",
)
