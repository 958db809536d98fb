"""The analysis of `mrmc` by another way: an analysis of variance of jackknife pseudovalues.

Dorfman, Berbaum & Metz (1992), with the simplified error term and the degrees of freedom of Hillis (2007). It equals
Obuchowski & Rockette's analysis with jackknife covariances (Hillis et al. 2005), so it checks that one. It needs every
reader's rating of every case.
"""

import numpy as np

from tfcxr.reader_study.statistics.area_estimates import AverageArea, Comparison, compare_means, estimate_average
from tfcxr.reader_study.statistics.auc_covariances import empirical_areas, leave_one_out


def pseudovalues(ratings: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """n times the area of all n cases less n - 1 times the area without one, float [modalities, readers, cases].

    Args:
      ratings: float [modalities, readers, cases], higher for more like truth 1.
      truth: 0 or 1 [cases].

    Raises:
      ValueError: a missing rating, or what `empirical_areas` raises.
    """
    areas = empirical_areas(ratings, truth)
    if missing := int(np.isnan(areas.placements).sum()):
        raise ValueError(f"{missing} ratings are missing; pseudovalues need every reader's rating of every case")
    cases = len(areas.truth)
    return cases * areas.values[..., np.newaxis] - (cases - 1) * leave_one_out(areas)


def average_area_by_pseudovalues(ratings: np.ndarray, truth: np.ndarray) -> AverageArea:
    """The reader-averaged area of one modality, as `mrmc.average_area` gives it.

    Args:
      ratings: float [readers, cases], higher for more like truth 1.
      truth: 0 or 1 [cases].

    Raises:
      ValueError: fewer than two readers, or what `pseudovalues` raises.
    """
    values = pseudovalues(np.asarray(ratings, float)[np.newaxis], truth)[0]
    readers, cases = values.shape
    if readers < 2:
        raise ValueError("one reader says nothing of how readers differ; expected ratings of two or more readers")
    of_readers, of_cases, of_both = _two_way(values)
    return estimate_average(values.mean(), of_readers, max(of_cases - of_both, 0.0), values.size, readers)


def compare_modalities_by_pseudovalues(ratings: np.ndarray, truth: np.ndarray) -> Comparison:
    """Tests whether modalities have the same area, as `mrmc.compare_modalities` does.

    F = MS(T) / (MS(T x R) + max(MS(T x C) - MS(T x R x C), 0)).

    Args:
      ratings: float [modalities, readers, cases], higher for more like truth 1.
      truth: 0 or 1 [cases].

    Raises:
      ValueError: fewer than two readers or modalities, or what `pseudovalues` raises.
    """
    values = pseudovalues(ratings, truth)
    modalities, readers, cases = values.shape
    if min(modalities, readers) < 2:
        raise ValueError(f"expected two or more modalities and readers, got {modalities} and {readers}")
    mean_of = {kept: values.mean(axis=tuple({0, 1, 2} - set(kept)), keepdims=True) for kept in _KEPT}
    degrees = {0: modalities - 1, 1: readers - 1, 2: cases - 1}
    sizes = dict(enumerate(values.shape))

    def square(*factors: int) -> float:
        """Mean square of a factor or an interaction: means with lower orders taken away by inclusion and exclusion."""
        effect = sum((-1) ** (len(factors) - len(kept)) * mean_of[kept] for kept in _KEPT if set(kept) <= set(factors))
        repeats = np.prod([sizes[factor] for factor in sizes if factor not in factors])
        return float(repeats * np.square(effect).sum() / np.prod([degrees[factor] for factor in factors]))

    squares = {
        "mean_square_modalities": square(0),
        "mean_square_readers": square(1),
        "mean_square_interaction": square(0, 1),
        "mean_square_modalities_cases": square(0, 2),
        "mean_square_all": square(0, 1, 2),
    }
    extra = max(squares["mean_square_modalities_cases"] - squares["mean_square_all"], 0.0)
    return compare_means(values.mean(axis=(1, 2)), squares, extra, readers * cases, readers, squares)


_KEPT = ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2))


def _two_way(values: np.ndarray) -> tuple[float, float, float]:
    """Mean squares of readers, cases and both, of float [readers, cases]."""
    readers, cases = values.shape
    by_reader, by_case = values.mean(axis=1), values.mean(axis=0)
    rest = values - by_reader[:, np.newaxis] - by_case + values.mean()
    return (
        float(cases * np.var(by_reader, ddof=1)),
        float(readers * np.var(by_case, ddof=1)),
        float(np.square(rest).sum() / ((readers - 1) * (cases - 1))),
    )
