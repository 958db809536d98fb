"""Shares of images that have each label, and how far those of two sets are apart, with bootstraps by patient.

    bootstrap_shares(has_label, patient_keys, resamples=10_000)["low"]

130,000 images of 32,000 patients and 15 labels take two seconds, 10,000 bootstraps and all.
"""

from typing import Any

import numpy as np


def bootstrap_shares(
    has_label: np.ndarray, patients: np.ndarray, resamples: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """Share of images with each label, and its 95 % interval by patient.

    Args:
      has_label: bool [images, labels].
      patients: [images], equal for the images of one patient.

    Returns:
      "mean" float64 [labels], "low" and "high" likewise.
    """
    number = np.unique(patients, return_inverse=True)[1]
    draws = [bootstrap_means(column, number, resamples, seed) for column in has_label.T]
    low, high = np.quantile(draws, [0.025, 0.975], axis=1)
    return {"mean": has_label.mean(axis=0), "low": low, "high": high}


def share_differences(
    first: np.ndarray,
    first_patients: np.ndarray,
    second: np.ndarray,
    second_patients: np.ndarray,
    resamples: int,
    seed: int = 0,
) -> dict[str, Any]:
    """Differences of the shares of two sets, first - second, and the mean of their absolute values.

    The interval of that mean keeps each difference's sign: a bootstrap of absolute values lies above them, as its noise
    counts as a difference too.

    Args:
      first: bool [images, labels]; `second`: as many labels.
      first_patients: [images], equal for the images of one patient; `second_patients`: likewise.

    Returns:
      "mean" and "interval" of the absolute difference; "by_label" {"mean" float64 [labels], "interval" [labels, 2]}.
    """
    sides = [
        (rows, np.unique(patients, return_inverse=True)[1])
        for rows, patients in ((first, first_patients), (second, second_patients))
    ]
    apart = first.mean(axis=0) - second.mean(axis=0)
    sign = np.sign(apart).astype(int)

    def draws(weights: np.ndarray) -> np.ndarray:
        """Differences of the two sets' means of labels weighted by whole numbers."""
        of_first, of_second = (
            bootstrap_means(rows @ weights, number, resamples, seed + side) for side, (rows, number) in enumerate(sides)
        )
        return of_first - of_second

    by_label = [draws(one) for one in np.eye(len(apart), dtype=int)]
    return {
        "mean": float(np.abs(apart).mean()),
        "interval": np.maximum(np.quantile(draws(sign) / len(sign), [0.025, 0.975]), 0.0),
        "by_label": {"mean": apart, "interval": np.quantile(by_label, [0.025, 0.975], axis=1).T},
    }


def bootstrap_means(values: np.ndarray, patients: np.ndarray, resamples: int, seed: int = 0) -> np.ndarray:
    """Means over the images of patients that are drawn with replacement: float64 [resamples].

    Patients with equal numbers of images and equal sums are drawn together: their counts in a resample are multinomial,
    the same distribution as patient by patient.

    Args:
      values: whole numbers, int or bool [images].
      patients: int [images], numbered from 0 without gaps.
    """
    sizes, sums = np.bincount(patients), np.bincount(patients, values).astype(np.int64)
    lowest, span = sums.min(), np.ptp(sums) + 1
    kinds, patients_of_kind = np.unique(sizes * span + sums - lowest, return_counts=True)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(sizes), patients_of_kind / len(sizes), resamples).astype(np.float64)
    return (drawn @ (kinds % span + lowest)) / (drawn @ (kinds // span))
