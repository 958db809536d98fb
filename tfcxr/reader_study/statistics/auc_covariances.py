"""Areas under empirical ROC curves of several readers and modalities, and how their errors are correlated.

Readers judge the same cases, so their areas err together. `delong` estimates that from the cases' placements,
`jackknife` from leaving out one case at a time. Both need nothing but ranks: any monotone scale gives the same.
"""

import dataclasses

import numpy as np
from scipy import special
from scipy.stats import norm

SMALLEST_VARIANCE = 1e-15  # below it a variance is rounding


@dataclasses.dataclass(frozen=True)
class Areas:
    """Areas and what they are made of; a cell is one modality read by one reader.

    Attributes:
      values: float [modalities, readers], from 0 to 1.
      placements: float [modalities, readers, cases]: for a case of truth 1 the share of truth-0 cases rated below it,
        for one of truth 0 the share of truth-1 cases rated above it, ties counting half; NaN where not rated.
      truth: bool [cases].
    """

    values: np.ndarray
    placements: np.ndarray
    truth: np.ndarray


def empirical_areas(ratings: np.ndarray, truth: np.ndarray) -> Areas:
    """The probability that a case of truth 1 is rated above one of truth 0, ties counting half (Bamber 1975).

    Args:
      ratings: float [modalities, readers, cases], higher for more like truth 1; NaN where not rated.
      truth: 0 or 1 [cases].

    Raises:
      ValueError: other shapes, a truth that is neither 0 nor 1, or a reader with fewer than two rated cases of either
        truth in a modality.
    """
    ratings, truth = np.asarray(ratings, float), np.asarray(truth)
    if ratings.ndim != 3 or truth.shape != ratings.shape[-1:]:
        raise ValueError(
            f"expected ratings [modalities, readers, cases] and truth [cases], got {list(ratings.shape)} and "
            f"{list(truth.shape)}"
        )
    if not np.isin(truth, (0, 1)).all():
        raise ValueError(f"truth must be 0 or 1 for each case, got {sorted(set(truth.tolist()))}")
    is_positive = truth.astype(bool)
    for modality, reader in np.ndindex(ratings.shape[:2]):
        rated = ~np.isnan(ratings[modality, reader])
        counts = (rated & ~is_positive).sum(), (rated & is_positive).sum()
        if min(counts) < 2:
            raise ValueError(
                f"reader {reader} rated {counts[0]} cases of truth 0 and {counts[1]} of truth 1 in modality "
                f"{modality}; an area with a variance needs two or more of each"
            )
    placements = np.full(ratings.shape, np.nan)
    for cell in np.ndindex(ratings.shape[:2]):
        placements[cell] = _placements(ratings[cell], is_positive)
    return Areas(np.nanmean(placements[..., is_positive], axis=-1), placements, is_positive)


def delong(areas: Areas) -> np.ndarray:
    """Covariances of areas by DeLong, DeLong & Clarke-Pearson (1988).

    Differs from the paper: cells may share only some of their cases; then the covariance of the placements is taken
    over shared cases and weighed by their number. Without missing ratings it is the paper's.

    Returns:
      float [modalities, readers, modalities, readers].
    """
    total = np.zeros((areas.values.size, areas.values.size))
    for of_truth in (areas.truth, ~areas.truth):
        placements = areas.placements[..., of_truth].reshape(areas.values.size, -1)
        rated = (~np.isnan(placements)).astype(float)
        counts, shared = rated.sum(1), rated @ rated.T
        filled = np.nan_to_num(placements - np.nanmean(placements, axis=1, keepdims=True))
        means = np.divide(filled @ rated.T, shared, out=np.zeros_like(shared), where=shared > 0)
        products = filled @ filled.T - shared * means * means.T  # means[i, j] of cell i over the cases shared with j
        covariances = np.divide(products, shared - 1, out=np.zeros_like(shared), where=shared > 1)
        total = total + covariances * shared / np.outer(counts, counts)
    np.fill_diagonal(total, np.maximum(np.diag(total), 0))  # rounding may leave less than 0
    return np.reshape(total, areas.values.shape * 2)


def jackknife(areas: Areas) -> np.ndarray:
    """Covariances of areas from leaving out one case at a time, (n - 1) / n times the sum of squares (Efron 1982).

    Returns:
      float [modalities, readers, modalities, readers].
    """
    without = leave_one_out(areas).reshape(areas.values.size, -1)
    deviations = without - without.mean(axis=1, keepdims=True)
    cases = without.shape[1]
    return ((cases - 1) / cases * deviations @ deviations.T).reshape(areas.values.shape * 2)


def leave_one_out(areas: Areas) -> np.ndarray:
    """Areas without each case, float [modalities, readers, cases]; one that was not rated leaves its area as it is."""
    without = np.repeat(areas.values[..., np.newaxis], len(areas.truth), axis=-1)
    for of_truth in (areas.truth, ~areas.truth):
        placements = areas.placements[..., of_truth]
        counts = (~np.isnan(placements)).sum(axis=-1, keepdims=True)
        values = areas.values[..., np.newaxis]
        without[..., of_truth] = np.where(
            np.isnan(placements), values, (counts * values - np.nan_to_num(placements)) / (counts - 1)
        )
    return without


def area_interval(area: float, variance: float, negatives: int, positives: int) -> tuple[float, float]:
    """95 % interval of one reader's area, from 0 to 1.

    It is that of log(area / (1 - area)) +- 1.96 standard errors, by the delta method. Where the variance is 0, such as
    for an area of 1, another sample of cases would still give another area; then it is the score interval of Newcombe
    (2006, part 2, method 5).

    Args:
      area: from 0 to 1.
      variance: of the area.
      negatives: number of rated cases of truth 0.
      positives: number of rated cases of truth 1.
    """
    z = norm.ppf(0.975)
    if variance > SMALLEST_VARIANCE:
        logit, margin = special.logit(area), z * np.sqrt(variance) / (area * (1 - area))
        return float(special.expit(logit - margin)), float(special.expit(logit + margin))
    thetas = np.linspace(0, 1, 100_001)
    margins = z * np.sqrt(score_variance(thetas, negatives, positives))
    inside = thetas[np.abs(area - thetas) <= margins + 1e-9]
    return float(inside.min()), float(inside.max())


def score_variance(areas: np.ndarray, negatives: int, positives: int) -> np.ndarray:
    """Variance of one reader's area if the true area were `areas` (Newcombe 2006, part 2, method 5), by their shape.

    Args:
      areas: float, from 0 to 1.
      negatives: number of rated cases of truth 0.
      positives: number of rated cases of truth 1.
    """
    size = (negatives + positives) / 2 - 1
    spread = 1 + size * ((1 - areas) / (2 - areas) + areas / (1 + areas))
    return areas * (1 - areas) * spread / (negatives * positives)


def _placements(ratings: np.ndarray, is_positive: np.ndarray) -> np.ndarray:
    """Of one cell, float [cases]."""
    rated = ~np.isnan(ratings)
    placements = np.full(ratings.shape, np.nan)
    for own in (is_positive, ~is_positive):
        others = np.sort(ratings[rated & ~own])
        values = ratings[rated & own]
        below = (np.searchsorted(others, values, "left") + np.searchsorted(others, values, "right")) / 2
        placements[rated & own] = below / len(others)
    placements[~is_positive] = 1 - placements[~is_positive]
    return placements
