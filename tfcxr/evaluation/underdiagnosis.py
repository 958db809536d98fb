"""Underdiagnosis: how much more often a classifier misses findings in one group of patients than in all others.

Seyyed-Kalantari, Zhang, McDermott, Chen, Ghassemi 2021 compare false-negative rates of groups; a classifier trained on
synthetic images may widen the gap that one trained on real images has.

Differs from the paper: a finding is missed when its own label is not predicted, not only when "No Finding" is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcxr.data.no_finding import is_no_finding
from tfcxr.evaluation.scores import seed_summary


def underdiagnosis_gap(
    label_names: Sequence[str],
    is_single_label: bool,
    labels: np.ndarray,
    probabilities: Sequence[np.ndarray],
    thresholds: Sequence[list[float] | None],
    resamples: np.ndarray,
    is_in_group: np.ndarray,
) -> dict[str, Any]:
    """False-negative rate of the group less that of all others, mean over findings that both sides have.

    Args:
      label_names, is_single_label, labels, probabilities, thresholds, resamples: as for `score_arm`.
      is_in_group: bool [images].

    Returns:
      "mean", "interval" and "by_seed"; above 0 the group is underdiagnosed, NaN where no finding is on both sides.
    """
    weights = np.concatenate([np.ones([1, len(labels)], np.float32), resamples])
    columns = [column for column, name in enumerate(label_names) if not is_no_finding(name)]
    by_seed = []
    for probability, threshold in zip(probabilities, thresholds, strict=True):
        predicted = predicted_labels(probability, threshold, is_single_label)
        gaps = []
        for column in columns:
            is_ill = labels[:, column] == 1
            if (is_ill & is_in_group).any() and (is_ill & ~is_in_group).any():
                is_missed, sides = ~predicted[:, column], (is_in_group, ~is_in_group)
                rates = [weighted_share(is_missed, is_ill & side, weights) for side in sides]
                gaps.append(rates[0] - rates[1])
        by_seed.append(np.mean(gaps, axis=0) if gaps else np.full(len(weights), np.nan))
    return seed_summary(np.stack(by_seed))


def predicted_labels(probability: np.ndarray, thresholds: list[float] | None, is_single_label: bool) -> np.ndarray:
    """Which labels are predicted, bool [images, labels]."""
    if thresholds is None:
        return probability == probability.max(axis=1, keepdims=True)
    if is_single_label:
        is_last = probability[:, -1] >= thresholds[0]
        return np.stack([~is_last, is_last], axis=1)
    return probability >= np.asarray(thresholds)


def weighted_share(is_marked: np.ndarray, chosen: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share of the chosen images that are marked, [rows of weights]; NaN where none is drawn."""
    drawn = weights[:, chosen].astype(np.float64)
    totals = drawn.sum(axis=1)
    return np.divide(drawn @ is_marked[chosen], totals, out=np.full(len(weights), np.nan), where=totals > 0)
