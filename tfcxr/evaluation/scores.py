"""From predictions to scores with intervals: several trainings of one classifier on one test set.

**What is resampled:** the test patients, with the same draws for every arm and seed. In each resample a score is the
mean over the classifier's seeds, and the interval is the middle 95 % of these means. It says how much the score depends
on which patients were tested; how much it depends on the classifier's random start is the range over seeds, given
beside it. Neither covers the choice of training images.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcxr.evaluation.metrics import metrics_of
from tfcxr.evaluation.metrics.classification import (
    confusion_matrix,
    percentile_interval,
    roc_auc,
    support,
    youden_threshold,
)
from tfcxr.evaluation.metrics.metric import ConfusionScore, LabelScore

THRESHOLD_RULES = {"at_half": "threshold .5", "at_youden": "threshold by Youden's J on validation images"}


@dataclasses.dataclass(frozen=True)
class ArmScores:
    """Scores of one arm on one test set.

    Attributes:
      summary: ready for JSON: for each `LabelScore`, its mean over labels under its name, "NAME_by_label" and
        "labels_without_NAME"; for each rule of `THRESHOLD_RULES`, every `ConfusionScore` and the confusion.
      rows: by `LabelScore`, float64 [1 + resamples], the mean over labels and seeds: of all patients, then of each
        resample.
    """

    summary: dict[str, Any]
    rows: dict[str, np.ndarray]


def score_labels(label_names: Sequence[str], is_single_label: bool) -> list[int]:
    """Columns that have an AUC of their own: of two exclusive labels only the last, as the first has the same."""
    return [len(label_names) - 1] if is_single_label and len(label_names) == 2 else list(range(len(label_names)))


def youden_thresholds(labels: np.ndarray, probability: np.ndarray, is_single_label: bool) -> list[float] | None:
    """A threshold for each scored label, chosen on validation images.

    Both are float [images, labels]; labels NaN where unknown.

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
    """Scores the predictions of one arm, one array per seed.

    Args:
      labels: float32 [images, labels], NaN where unknown.
      probabilities: float32 [images, labels] each.
      thresholds: what `youden_thresholds` gave for each seed.
      resamples: float32 [resamples, images], how often each image counts (`patient_resamples`).
    """
    weights = np.concatenate([np.ones([1, len(labels)], np.float32), resamples])
    columns = score_labels(label_names, is_single_label)
    summary: dict[str, Any] = {}
    rows = {}
    for metric in metrics_of(LabelScore):
        values = np.stack([label_rows(metric, labels, probability, columns, weights) for probability in probabilities])
        scored = np.isfinite(values[0, :, 0])  # labels with positives and negatives among all test images
        macro = values[:, scored].mean(1) if scored.any() else np.full([len(values), len(weights)], np.nan)
        summary[metric.name] = seed_summary(macro)
        summary[f"{metric.name}_by_label"] = {
            label_names[column]: seed_summary(values[:, index]) for index, column in enumerate(columns)
        }
        summary[f"labels_without_{metric.name}"] = [
            label_names[column] for column, has_score in zip(columns, scored, strict=True) if not has_score
        ]
        rows[metric.name] = macro.mean(0)
    halves = [None if is_single_label and len(label_names) > 2 else [0.5] * len(columns)] * len(probabilities)
    for rule, chosen in zip(THRESHOLD_RULES, (halves, thresholds), strict=True):
        if chosen[0] is None and rule != "at_half":
            continue  # the most probable label is predicted, whatever the threshold
        confusions = [
            _confusions(labels, probability, is_single_label, threshold, weights)
            for probability, threshold in zip(probabilities, chosen, strict=True)
        ]
        summary[rule] = {"thresholds": [list(values) if values else None for values in chosen]}
        summary[rule] |= _threshold_scores(label_names, is_single_label, np.stack(confusions))
    return ArmScores(summary, rows)


def label_rows(
    metric: LabelScore, labels: np.ndarray, probability: np.ndarray, columns: Sequence[int], weights: np.ndarray
) -> np.ndarray:
    """Scores float64 [columns, rows of weights] of one training.

    Args:
      labels: float [images, labels], NaN where unknown.
      probability: float [images, labels].
      columns: of the labels to score.
      weights: float [rows, images], how often each image counts.
    """
    rows = []
    for column in columns:
        known = ~np.isnan(labels[:, column])
        rows.append(metric.score(labels[known, column] == 1, probability[known, column], weights[:, known]))
    return np.stack(rows)


def mean_auc(label_names: Sequence[str], is_single_label: bool, labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean AUC over labels that have positives and negatives; NaN where none has.

    Both are float [images, labels]: labels with NaN where unknown, and probabilities or logits.
    """
    values = []
    for column in score_labels(label_names, is_single_label):
        known = ~np.isnan(labels[:, column])
        values.append(roc_auc(labels[known, column] == 1, scores[known, column])[0])
    values = [value for value in values if np.isfinite(value)]
    return float(np.mean(values)) if values else float("nan")


def shares_of_real(arm: ArmScores, real: ArmScores) -> dict[str, dict[str, Any]]:
    """How much of what is learned from real images an arm learns, for each `LabelScore`.

    (score - chance) / (real score - chance), such as (AUC - .5) / (real AUC - .5): 0 is chance, 1 as much as real
    images teach. Scores themselves would have a ratio near 1 wherever both are near chance. Both sides of the interval
    have the same patients. NaN where the real arm is not clearly above chance.
    """
    shares = {}
    for metric in metrics_of(LabelScore):
        learned, of_real = (scores.rows[metric.name] - metric.chance for scores in (arm, real))
        values = np.full(len(learned), np.nan)
        if metric.is_clear(real.summary[metric.name]):
            np.divide(learned, of_real, out=values, where=of_real > 0)
        shares[metric.name] = {"mean": float(values[0]), "interval": list(percentile_interval(values[1:]))}
    return shares


def seed_summary(rows: np.ndarray) -> dict[str, Any]:
    """Mean over seeds, each seed and the interval of scores [seeds, 1 + resamples]."""
    over_seeds = rows.mean(0)
    return {
        "mean": float(over_seeds[0]),
        "interval": list(percentile_interval(over_seeds[1:])),
        "by_seed": [float(value) for value in rows[:, 0]],
    }


def score_text(summary: dict[str, Any]) -> str:
    """ "0.912 (0.870 to 0.950)" of a summary, or words where the score or its interval has no value."""
    if not math.isfinite(summary["mean"]):
        return "unknown"
    low, high = summary["interval"]
    if not math.isfinite(low):
        return f"{summary['mean']:.3f} (no interval: no resample of the patients has one)"
    return f"{summary['mean']:.3f} ({low:.3f} to {high:.3f})"


def _confusions(
    labels: np.ndarray,
    probability: np.ndarray,
    is_single_label: bool,
    thresholds: list[float] | None,
    weights: np.ndarray,
) -> np.ndarray:
    """Confusion matrices [rows, tables, classes, classes]: one table of all exclusive labels, or one per label."""
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
    """Scores of confusion matrices [seeds, rows, tables, classes, classes], averaged over tables and seeds.

    "per_class" has a row per class with its "intervals"; "macro" has their mean, or sum, with interval.
    """
    of_class = lambda scores: scores[:, :, 0] if is_single_label else scores[..., 1]  # noqa: E731
    per_class = {  # [seeds, rows, labels] each
        metric.name: of_class(metric.score(confusions)) for metric in metrics_of(ConfusionScore) if metric.is_per_class
    }
    summaries = [
        {name: seed_summary(values[:, :, index]) for name, values in per_class.items()}
        for index in range(len(label_names))
    ]
    names = ["labels"] if is_single_label else list(label_names)
    return {
        **{
            metric.name: seed_summary(_over_labels(metric.score(confusions)))
            for metric in metrics_of(ConfusionScore)
            if not metric.is_per_class
        },
        "per_class": [
            {
                "label": label,
                **{name: found["mean"] for name, found in summary.items()},
                "intervals": {name: found["interval"] for name, found in summary.items()},
            }
            for label, summary in zip(label_names, summaries, strict=True)
        ],
        "macro": {
            metric.name: seed_summary(_over_classes(metric, per_class[metric.name], of_class(support(confusions))))
            for metric in metrics_of(ConfusionScore)
            if metric.is_per_class
        },
        "confusion": {name: confusions[:, 0, table].mean(0).tolist() for table, name in enumerate(names)},
    }


def _over_classes(metric: ConfusionScore, values: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Mean or sum [seeds, rows] of values [seeds, rows, classes] over the classes that have images among all patients.

    A class that has images and is never predicted has no precision; here it counts 0, as in scikit-learn.
    """
    is_there = images[0, 0] > 0
    values = np.where(np.isnan(values) & (images > 0), 0.0, values)[:, :, is_there]
    if not is_there.any():
        return np.full(values.shape[:2], np.nan)
    return values.sum(2) if metric.over_classes == "sum" else values.mean(2)


def _over_labels(scores: np.ndarray) -> np.ndarray:
    """Mean [seeds, rows] of scores [seeds, rows, tables] over the labels that have one of all patients; else NaN."""
    scored = np.isfinite(scores[:, 0]).all(0)
    return scores[:, :, scored].mean(2) if scored.any() else np.full(scores.shape[:2], np.nan)
