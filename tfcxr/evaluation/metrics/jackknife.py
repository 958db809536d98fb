"""A 95 % interval of any distance of two sets of features, by a jackknife over parts (Shao, Wu 1989)."""

from collections.abc import Callable

import numpy as np

PARTS = 20


def jackknife_interval(
    distance: Callable[[np.ndarray, np.ndarray], float],
    first: np.ndarray,
    second: np.ndarray,
    first_groups: np.ndarray | None = None,
    second_groups: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[float, float]:
    """(low, high) around the distance: how far it moves with other images of the same number.

    Both sets are divided into `PARTS` parts or as many as there are groups, whole groups (patients) together, and the
    distance is taken without each part in turn. A bootstrap would repeat images, which alone raises a Frechet
    distance: its resamples lie beside the estimate.

    Args:
      distance: of two sets float [images, features], such as `first` and `second`.
      first_groups: [images], equal for the images of one patient; None: each image is a group of its own.
      second_groups: likewise.

    Raises:
      ValueError: fewer than two groups in a set, or what `distance` refuses.
    """
    sides = (first, first_groups), (second, second_groups)
    group_of_row = [
        np.arange(len(rows)) if groups is None else np.unique(groups, return_inverse=True)[1] for rows, groups in sides
    ]
    group_counts = [int(groups.max()) + 1 for groups in group_of_row]
    parts = min(PARTS, *group_counts)
    if parts < 2:
        raise ValueError(
            f"an interval needs two patients or more in each set, got {group_counts[0]}, {group_counts[1]}"
        )
    generator = np.random.default_rng(seed)
    first_part, second_part = (
        (generator.permutation(count) % parts)[groups] for count, groups in zip(group_counts, group_of_row, strict=True)
    )
    without = np.array([distance(first[first_part != part], second[second_part != part]) for part in range(parts)])
    deviation = np.sqrt((parts - 1) / parts * ((without - without.mean()) ** 2).sum())
    whole = distance(first, second)
    return whole - 1.96 * deviation, whole + 1.96 * deviation
