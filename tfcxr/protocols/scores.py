"""From predictions to scores with intervals: several trainings of one classifier on one test set.

**What is resampled:** the test patients, `resamples` times, with the same draws for every arm and seed. In each
resample a score is the mean over the classifier's seeds, and the interval is the middle 95 % of these means. It
says how much the score depends on which patients were tested; how much it depends on the classifier's random
start is the range over seeds, given beside it. Neither covers the choice of training images.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcxr.metrics.classification import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    per_class_scores,
    percentile_interval,
    roc_auc,
    youden_threshold,
)


@dataclasses.dataclass(frozen=True)
class ArmScores:
    """Scores of one arm on one test set.

    Attributes:
      summary: ready for JSON.
      auc_rows: float64 [1 + resamples], the mean over seeds of the AUC: of all patients, then of each resample.
    """

    summary: dict[str, Any]
    auc_rows: np.ndarray


def score_labels(label_names: Sequence[str], is_single_label: bool) -> list[int]:
    """Columns that have an AUC of their own: of two exclusive labels only the last, since the first one's is equal."""
    return [len(label_names) - 1] if is_single_label and len(label_names) == 2 else list(range(len(label_names)))


def youden_thresholds(labels: np.ndarray, probability: np.ndarray, is_single_label: bool) -> list[float] | None:
    """A threshold for each scored label, chosen on validation images.

    Args:
      labels, probability: float [images, labels]; labels NaN where unknown.

    Returns:
      None for three or more exclusive labels, where the most probable one is predicted.
    """
    if is_single_label and labels.shape[1] > 2:
        return None
    thresholds = []
    for column in score_labels(range(labels.shape[1]), is_single_label):
        known = ~np.isnan(labels[:, column])
        thresholds.append(youden_threshold(labels[known, column] == 1, probability[known, column]))
    return thresholds


def score_arm(
    label_names: Sequence[str],
    is_single_label: bool,
    labels: np.ndarray,
    probabilities: Sequence[np.ndarray],
    thresholds: Sequence[list[float] | None],
    resamples: np.ndarray,
) -> ArmScores:
    """Scores the predictions of one arm, one array a seed.

    Args:
      labels: float32 [images, labels], NaN where unknown.
      probabilities: float32 [images, labels] each. thresholds: what `youden_thresholds` gave for each seed.
      resamples: float32 [resamples, images], how often each image counts (`patient_resamples`).
    """
    weights = np.concatenate([np.ones([1, len(labels)], np.float32), resamples])
    columns = score_labels(label_names, is_single_label)
    auc = np.stack([_auc_rows(labels, probability, columns, weights) for probability in probabilities])
    scored = np.isfinite(auc[0, :, 0])  # labels with positives and negatives among all test images
    macro = auc[:, scored].mean(1) if scored.any() else np.full([len(auc), len(weights)], np.nan)
    summary: dict[str, Any] = {
        "auc": _summary(macro),
        "auc_by_label": {label_names[column]: _summary(auc[:, index]) for index, column in enumerate(columns)},
        "labels_without_auc": [
            label_names[column] for column, has_auc in zip(columns, scored, strict=True) if not has_auc
        ],
    }
    halves = [None if is_single_label and len(label_names) > 2 else [0.5] * len(columns)] * len(probabilities)
    for rule, chosen in (("at_half", halves), ("at_youden", thresholds)):
        if chosen[0] is None and rule == "at_youden":
            continue
        confusions = [
            _confusions(labels, probability, is_single_label, threshold, weights)
            for probability, threshold in zip(probabilities, chosen, strict=True)
        ]
        summary[rule] = {"thresholds": [list(values) if values else None for values in chosen]}
        summary[rule] |= _threshold_scores(label_names, is_single_label, np.stack(confusions))
    return ArmScores(summary, macro.mean(0))


def ratio_summary(numerator: ArmScores, denominator: ArmScores) -> dict[str, Any]:
    """Ratio of two arms' AUCs, NaN over one of 0, with an interval from the same resampled patients on both sides."""
    missing = np.full(len(numerator.auc_rows), np.nan)
    ratios = np.divide(numerator.auc_rows, denominator.auc_rows, out=missing, where=denominator.auc_rows > 0)
    return {"mean": float(ratios[0]), "interval": list(percentile_interval(ratios[1:]))}


def score_text(summary: dict[str, Any]) -> str:
    """ "0.912 (0.870 to 0.950)" of a summary, or words where the score or its interval has no value."""
    if not math.isfinite(summary["mean"]):
        return "unknown"
    low, high = summary["interval"]
    if not math.isfinite(low):
        return f"{summary['mean']:.3f} (no interval: no resample of the patients has one)"
    return f"{summary['mean']:.3f} ({low:.3f} to {high:.3f})"


def _auc_rows(labels: np.ndarray, probability: np.ndarray, columns: list[int], weights: np.ndarray) -> np.ndarray:
    """AUC float64 [scored labels, rows of weights]."""
    rows = []
    for column in columns:
        known = ~np.isnan(labels[:, column])
        rows.append(roc_auc(labels[known, column] == 1, probability[known, column], weights[:, known]))
    return np.stack(rows)


def _confusions(
    labels: np.ndarray,
    probability: np.ndarray,
    is_single_label: bool,
    thresholds: list[float] | None,
    weights: np.ndarray,
) -> np.ndarray:
    """Confusion matrices [rows, tables, classes, classes]: one table of all exclusive labels, or one a label."""
    if is_single_label:
        known = ~np.isnan(labels).any(1)
        predicted = probability.argmax(1) if thresholds is None else (probability[:, -1] >= thresholds[0]).astype(int)
        true = np.nan_to_num(labels).argmax(1)
        return confusion_matrix(true[known], predicted[known], labels.shape[1], weights[:, known])[:, None]
    tables = []
    for column in range(labels.shape[1]):
        known = ~np.isnan(labels[:, column])
        predicted = (probability[known, column] >= thresholds[column]).astype(int)
        tables.append(confusion_matrix(labels[known, column].astype(int), predicted, 2, weights[:, known]))
    return np.stack(tables, 1)


def _threshold_scores(label_names: Sequence[str], is_single_label: bool, confusions: np.ndarray) -> dict[str, Any]:
    """Scores of confusion matrices [seeds, rows, tables, classes, classes], averaged over tables and seeds."""
    per_class = per_class_scores(confusions[:, 0])  # [seeds, tables, classes] each
    rows = []
    for index, name in enumerate(label_names):
        table, position = (0, index) if is_single_label else (index, 1)
        values = {metric: float(value[:, table, position].mean()) for metric, value in per_class.items()}
        rows.append({"label": name, **values})
    names = ["labels"] if is_single_label else list(label_names)
    return {
        "accuracy": _summary(_over_labels(accuracy(confusions))),
        "balanced_accuracy": _summary(_over_labels(balanced_accuracy(confusions))),
        "per_class": rows,
        "confusion": {name: confusions[:, 0, table].mean(0).tolist() for table, name in enumerate(names)},
    }


def _over_labels(scores: np.ndarray) -> np.ndarray:
    """Mean [seeds, rows] of scores [seeds, rows, tables] over the labels that have one of all patients; else NaN."""
    scored = np.isfinite(scores[:, 0]).all(0)
    return scores[:, :, scored].mean(2) if scored.any() else np.full(scores.shape[:2], np.nan)


def _summary(rows: np.ndarray) -> dict[str, Any]:
    """Mean over seeds, each seed and the interval of scores [seeds, 1 + resamples]."""
    over_seeds = rows.mean(0)
    return {
        "mean": float(over_seeds[0]),
        "interval": list(percentile_interval(over_seeds[1:])),
        "by_seed": [float(value) for value in rows[:, 0]],
    }
