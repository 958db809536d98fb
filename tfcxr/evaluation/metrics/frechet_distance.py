"""Frechet distance of the Gaussians fitted to two sets of features (Heusel et al. 2017, equation 6).

    distance = frechet_distance(synthetic_features, real_features)

    |mean_a - mean_b|^2 + trace(cov_a + cov_b - 2 (cov_a cov_b)^(1/2))        (Dowson, Landau 1982, equation 4)

The trace of the root needs no root: with cov_a = L L^T it is the sum of the roots of the eigenvalues of L^T cov_b L,
and with centred features A, B it is the nuclear norm of A B^T, which is smaller where images are fewer than features.
Both are many times faster than a matrix square root.

**The distance depends on the number of images**: the fewer, the larger, even between two halves of one set. Compare
distances of one number of images only, and print what two sets of real images of that number give.
"""

import numpy as np

from tfcxr.evaluation.metrics.feature_sets import checked_features
from tfcxr.evaluation.metrics.metric import FeatureDistance

MIN_IMAGES = 2
MAX_ROUNDING = 1e-11  # of the root's trace; a root makes the rounding of small eigenvalues large


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Squared Frechet (2-Wasserstein) distance of two Gaussians with the sets' means and covariances.

    Both are float [images, features] of two images or more. The distance is 0 or more, computed in float64; covariances
    are divided by images - 1.

    Raises:
      ValueError: another shape, fewer than two images, or values that are not finite.
    """
    first, second = checked_features(first, second, MIN_IMAGES, np.float64)
    varies = (first != first[0]).any(0) & (second != second[0]).any(0)  # a dead feature adds nothing to the root
    means = first.mean(0), second.mean(0)
    first -= means[0]  # in place: these are copies
    second -= means[1]
    degrees = len(first) - 1, len(second) - 1
    traces = [float(np.vdot(rows, rows)) / degree for rows, degree in zip((first, second), degrees, strict=True)]
    alive = (first, second) if varies.all() else (first[:, varies], second[:, varies])
    root_trace = _root_trace(*alive) / np.sqrt(degrees[0] * degrees[1])
    distance = float(((means[0] - means[1]) ** 2).sum()) + sum(traces) - 2.0 * root_trace
    return max(distance, 0.0)


def _root_trace(first: np.ndarray, second: np.ndarray) -> float:
    """Trace of the root of the product of two scatter matrices, from centred features [images, features]."""
    features = first.shape[1]
    if not features:
        return 0.0
    if min(len(first), len(second)) > features:
        try:
            factor = np.linalg.cholesky(first.T @ first)
        except np.linalg.LinAlgError:  # features that depend on each other: below, without squares
            pass
        else:
            eigenvalues = np.linalg.eigvalsh(factor.T @ (second.T @ second) @ factor)
            rounding = np.finfo(np.float64).eps * eigenvalues[-1]
            roots = np.sqrt(np.maximum(eigenvalues, rounding))
            if (rounding / (2.0 * roots)).sum() <= MAX_ROUNDING * roots.sum():
                return float(roots.sum())
    # R of a QR decomposition has the same scatter as the rows it was made from, and no more rows than features.
    shorter = [np.linalg.qr(rows, mode="r") if len(rows) > features else rows for rows in (first, second)]
    return float(np.linalg.svd(shorter[0] @ shorter[1].T, compute_uv=False).sum())


FRECHET = FeatureDistance(
    name="frechet",
    title="Frechet",
    better="lower",
    distance=lambda first, second, seed: frechet_distance(first, second),
    meaning="How far the features of two sets of images lie apart, by their mean and spread: 0 for equal sets; lower "
    "is better, down to what real images have among themselves.",
    note="The Frechet distance depends on the number of images and grows when they are few: compare rows of one number "
    "only. Its interval is a jackknife over 20 parts.",
)
