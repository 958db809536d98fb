"""How well a classifier tells each label, in AUC with intervals by a bootstrap of patients."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.evaluation.metrics.classification import AUC, patient_resamples, youden_threshold
from tfcxr.evaluation.scores import label_rows, score_text, seed_summary

BOOTSTRAP_SEED = 0
MACRO = "macro"
WIDTH = 27  # of a column


def score_split(
    label_names: Sequence[str], labels: np.ndarray, probability: np.ndarray, patients: np.ndarray, resamples: int
) -> dict[str, Any]:
    """AUC of each label and their mean, over the labels that have both sides.

    Args:
      labels: float32 [images, labels], NaN where unknown.
      probability: float32 [images, labels].
      patients: string [images], who are resampled.

    Returns:
      "images", "patients", "macro" and, by label, "labels", each with "mean" and "interval"; NaN where a side lacks.
    """
    weights = patient_resamples(patients, resamples, BOOTSTRAP_SEED)
    weights = np.concatenate([np.ones([1, len(labels)], np.float32), weights])
    rows = label_rows(AUC, labels, probability, range(len(label_names)), weights)
    scored = [row for row in rows if np.isfinite(row[0])]
    macro = np.mean(scored, axis=0) if scored else np.full(len(weights), np.nan)
    by_label = {
        name: _summary(row) | {"positives": int((labels[:, column] == 1).sum())}
        for column, (name, row) in enumerate(zip(label_names, rows, strict=True))
    }
    return {
        "images": len(labels),
        "patients": len(np.unique(patients)),
        MACRO: _summary(macro),
        "labels": by_label,
    }


def label_thresholds(
    label_names: Sequence[str], labels: np.ndarray, probability: np.ndarray
) -> dict[str, float | None]:
    """Probability with the largest Youden's J of each label, None where the images lack a side."""
    thresholds: dict[str, float | None] = {}
    for column, name in enumerate(label_names):
        known = ~np.isnan(labels[:, column])
        is_positive = labels[known, column] == 1
        has_both = is_positive.any() and not is_positive.all()
        thresholds[name] = youden_threshold(is_positive, probability[known, column]) if has_both else None
    return thresholds


def score_table(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """A line for each label and one for their mean, a column for each split."""
    splits = list(scores)
    names = [*next(iter(scores.values()))["labels"], MACRO]
    width = max(map(len, [*names, "AUC"])) + 2
    lines = ["AUC".ljust(width) + "".join(split.ljust(WIDTH) for split in splits)]
    for name in names:
        cells = [scores[split][MACRO] if name == MACRO else scores[split]["labels"][name] for split in splits]
        lines.append(name.ljust(width) + "".join(score_text(cell).ljust(WIDTH) for cell in cells))
    return "\n".join(line.rstrip() for line in lines)


def _summary(row: np.ndarray) -> dict[str, Any]:
    summary = seed_summary(row[None])
    return {"mean": summary["mean"], "interval": summary["interval"]}
