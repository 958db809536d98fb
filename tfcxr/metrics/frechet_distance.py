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

MIN_ROWS = 2
INTERVAL_PARTS = 20
MAX_ROUNDING = 1e-11  # of the root's trace; a root makes the rounding of small eigenvalues large


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Squared Frechet (2-Wasserstein) distance of two Gaussians with the sets' means and covariances.

    Args:
      first, second: float [images, features], two images or more each, as many features.

    Returns:
      the distance, 0 or more, computed in float64; covariances are divided by images - 1.

    Raises:
      ValueError: another shape, fewer than two images, or values that are not finite.
    """
    first, second = _checked(first, "first"), _checked(second, "second")
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"expected sets of as many features, got {first.shape[1]} and {second.shape[1]}")
    varies = (first != first[0]).any(0) & (second != second[0]).any(0)  # a dead feature adds nothing to the root
    means = first.mean(0), second.mean(0)
    first -= means[0]  # in place: they are copies of ours
    second -= means[1]
    degrees = len(first) - 1, len(second) - 1
    traces = [float(np.vdot(rows, rows)) / degree for rows, degree in zip((first, second), degrees, strict=True)]
    alive = (first, second) if varies.all() else (first[:, varies], second[:, varies])
    root_trace = _root_trace(*alive) / np.sqrt(degrees[0] * degrees[1])
    distance = float(((means[0] - means[1]) ** 2).sum()) + sum(traces) - 2.0 * root_trace
    return max(distance, 0.0)


def frechet_interval(
    first: np.ndarray,
    second: np.ndarray,
    first_groups: np.ndarray | None = None,
    second_groups: np.ndarray | None = None,
    parts: int = INTERVAL_PARTS,
    seed: int = 0,
) -> tuple[float, float]:
    """A 95 % interval of the distance of sets of this size, by a jackknife over parts (Shao, Wu 1989).

    Both sets are divided into `parts`, whole groups (patients) together, and the distance is taken without each part
    in turn. A bootstrap would repeat images, which alone raises the distance: its resamples lie beside the estimate.

    The interval says how far the distance moves with other images of the same number, not by how much it would fall
    with more of them.

    Args:
      first, second: what `frechet_distance` takes.
      first_groups, second_groups: one value an image, equal for the images of one patient; each image is a group of
        its own where left out.
      parts: at most; no more than there are groups.

    Returns:
      (low, high) around the distance, low at least 0.

    Raises:
      ValueError: what `frechet_distance` refuses; fewer than two groups in a set, or too few images for its parts.
    """
    sides = [(_checked(first, "first"), first_groups), (_checked(second, "second"), second_groups)]
    group_of_row = [
        np.arange(len(rows)) if groups is None else np.unique(groups, return_inverse=True)[1] for rows, groups in sides
    ]
    group_counts = [int(groups.max()) + 1 for groups in group_of_row]
    parts = min(parts, *group_counts)
    if parts < 2:
        raise ValueError(
            f"an interval needs two patients or more in each set, got {group_counts[0]}, {group_counts[1]}"
        )
    generator = np.random.default_rng(seed)
    part_of_row = [
        (generator.permutation(count) % parts)[groups] for count, groups in zip(group_counts, group_of_row, strict=True)
    ]
    without = np.array(
        [
            frechet_distance(*(rows[chosen != part] for (rows, _), chosen in zip(sides, part_of_row, strict=True)))
            for part in range(parts)
        ]
    )
    deviation = np.sqrt((parts - 1) / parts * ((without - without.mean()) ** 2).sum())
    distance = frechet_distance(first, second)
    return max(distance - 1.96 * deviation, 0.0), distance + 1.96 * deviation


def _checked(features: np.ndarray, name: str) -> np.ndarray:
    features = np.asarray(features)
    if features.ndim != 2 or len(features) < MIN_ROWS:
        raise ValueError(
            f"expected features [images, features] of {MIN_ROWS} images or more, got shape {features.shape} "
            f"as the {name} set"
        )
    features = features.astype(np.float64)  # a copy, always
    if not np.isfinite(features).all():
        rows = int((~np.isfinite(features)).any(1).sum())
        raise ValueError(f"features of {rows} of {len(features)} images of the {name} set are not finite")
    return features


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
