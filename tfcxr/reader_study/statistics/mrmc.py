"""Several readers, the same cases: areas under ROC curves for readers and cases at large, not only for those at hand.

The model is that of Obuchowski & Rockette (1995): the area of modality i by reader j is

    area_ij = mean + modality_i + reader_j + (modality x reader)_ij + error_ij,

where errors are correlated because the cases are the same: Cov1 between modalities of one reader, Cov2 between readers
of one modality, Cov3 between both. Degrees of freedom are those of Hillis (2007, Statistics in Medicine 26). `dbm`
computes the same from pseudovalues.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy import stats

from tfcxr.reader_study.statistics.area_estimates import (
    CHANCE,
    AverageArea,
    Comparison,
    compare_means,
    estimate_average,
)
from tfcxr.reader_study.statistics.auc_covariances import (
    SMALLEST_VARIANCE,
    Areas,
    area_interval,
    delong,
    empirical_areas,
    score_variance,
)


def average_area(
    ratings: np.ndarray, truth: np.ndarray, covariances: Callable[[Areas], np.ndarray] = delong
) -> AverageArea:
    """The reader-averaged area of one modality with its interval, readers and cases both random.

    The variance is (MS(R) + r max(Cov2, 0)) / r with (MS(R) + r max(Cov2, 0))^2 / (MS(R)^2 / (r - 1)) degrees of
    freedom, where r is the number of readers and MS(R) the variance of their areas (Hillis 2007). Where that is 0, such
    as when all readers are always right, interval and test are those of one reader by `auc_covariances.area_interval`.

    Args:
      ratings: float [readers, cases], higher for more like truth 1; NaN where not rated.
      truth: 0 or 1 [cases].
      covariances: `auc_covariances.delong` or `jackknife`.

    Raises:
      ValueError: fewer than two readers, or what `empirical_areas` raises.
    """
    ratings = np.asarray(ratings, float)
    areas = empirical_areas(ratings[np.newaxis], truth)
    _check_readers(areas)
    values, covariance = areas.values[0], covariances(areas)[0, :, 0, :]
    readers = len(values)
    between = (covariance.sum() - np.trace(covariance)) / (readers * (readers - 1))
    square, extra = float(np.var(values, ddof=1)), readers * max(between, 0.0)
    found = estimate_average(values.mean(), square, extra, readers, readers)
    if found.standard_error**2 > SMALLEST_VARIANCE:
        uncertain = square**2 / (readers - 1) + extra**2 / _case_degrees_of_freedom(areas)
        degrees = (square + extra) ** 2 / uncertain if uncertain else float("inf")
        return dataclasses.replace(found, degrees_with_cases=degrees)
    counts = int((~areas.truth).sum()), int(areas.truth.sum())
    low, high = area_interval(found.area, 0.0, *counts)
    error = np.sqrt(score_variance(np.array(CHANCE), *counts))
    p_value = float(2 * stats.norm.sf(abs(found.area - CHANCE) / error))
    return dataclasses.replace(found, low=low, high=high, p_value=p_value)


def compare_modalities(
    ratings: np.ndarray, truth: np.ndarray, covariances: Callable[[Areas], np.ndarray] = delong
) -> Comparison:
    """Tests whether modalities have the same area, readers and cases both random.

    F = MS(T) / (MS(T x R) + r max(Cov2 - Cov3, 0)); r is the number of readers (Hillis 2007).

    Args:
      ratings: float [modalities, readers, cases], higher for more like truth 1; NaN where not rated.
      truth: 0 or 1 [cases].
      covariances: `auc_covariances.delong` or `jackknife`.

    Raises:
      ValueError: fewer than two readers or modalities, or what `empirical_areas` raises.
    """
    areas = empirical_areas(ratings, truth)
    _check_readers(areas)
    modalities, readers = areas.values.shape
    if modalities < 2:
        raise ValueError("a comparison needs two or more modalities; average_area estimates the area of one")
    squares = mean_squares(areas.values)
    components = squares | covariance_components(covariances(areas))
    extra = readers * max(components["covariance_2"] - components["covariance_3"], 0.0)
    return compare_means(areas.values.mean(axis=1), squares, extra, readers, readers, components)


def covariance_components(covariances: np.ndarray) -> dict[str, float]:
    """Mean variance and Cov1, Cov2, Cov3 of [modalities, readers, modalities, readers]."""
    modalities, readers = covariances.shape[:2]
    first, reader, second, other = np.indices(covariances.shape)
    same_modality, same_reader = first == second, reader == other
    masks = {
        "variance": same_modality & same_reader,
        "covariance_1": ~same_modality & same_reader,
        "covariance_2": same_modality & ~same_reader,
        "covariance_3": ~same_modality & ~same_reader,
    }
    return {name: float(covariances[mask].mean()) for name, mask in masks.items()}


def mean_squares(values: np.ndarray) -> dict[str, float]:
    """MS(T), MS(R) and MS(T x R) of [modalities, readers]."""
    modalities, readers = values.shape
    by_modality, by_reader = values.mean(axis=1), values.mean(axis=0)
    rest = values - by_modality[:, np.newaxis] - by_reader + values.mean()
    return {
        "mean_square_modalities": float(readers * np.var(by_modality, ddof=1)),
        "mean_square_readers": float(modalities * np.var(by_reader, ddof=1)),
        "mean_square_interaction": float(np.square(rest).sum() / ((modalities - 1) * (readers - 1))),
    }


def _case_degrees_of_freedom(areas: Areas) -> float:
    """Of the part of the variance that is due to the cases: placements averaged over readers, within each truth."""
    rated = ~np.isnan(areas.placements[0]).all(axis=0)
    placements, truth = np.nanmean(areas.placements[0][:, rated], axis=0), areas.truth[rated]
    total, uncertain = 0.0, 0.0
    for of_truth in (truth, ~truth):
        own = placements[of_truth]
        part = float(np.var(own, ddof=1) / len(own))
        total, uncertain = total + part, uncertain + part**2 / (len(own) - 1)
    return total**2 / uncertain if uncertain else float("inf")


def _check_readers(areas: Areas) -> None:
    if areas.values.shape[1] < 2:
        raise ValueError("one reader says nothing of how readers differ; expected ratings of two or more readers")
