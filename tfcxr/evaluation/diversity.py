"""How much images of one class differ from each other, synthetic beside real: collapse, which no AUC shows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.evaluation.cohorts import Cohort, Cohorts
from tfcxr.evaluation.extractors.classifier import TrainedClassifier
from tfcxr.evaluation.label_checks import listed
from tfcxr.evaluation.metrics import metrics_of
from tfcxr.evaluation.metrics.metric import ClassDiversity
from tfcxr.evaluation.report import html

SEED = 0
MAX_IMAGES = 1000  # of each class and side; feature distances are taken between all pairs of them

FeatureDiversity = dict[str, dict[str, dict[str, list[float] | None]]]
"""Metric -> side ("synthetic", "real", "test") -> label -> [mean, low, high], or None with fewer than two images."""


def feature_metrics() -> list[ClassDiversity]:
    """The metrics that read a classifier's features."""
    return [metric for metric in metrics_of(ClassDiversity) if metric.reads == "features"]


def feature_diversity(cohorts: Cohorts, classifier: TrainedClassifier) -> FeatureDiversity:
    """Diversity of a classifier's last hidden features within each class.

    "test" is the first test set: real images that the classifier was not trained on.
    """
    sides = {"synthetic": cohorts.only_synthetic, "real": cohorts.real, "test": next(iter(cohorts.tests.values()))}
    found: FeatureDiversity = {metric.name: {side: {} for side in sides} for metric in feature_metrics()}
    for side, cohort in sides.items():
        chosen = [_class_images(cohort, column) for column in range(len(cohorts.label_names))]
        used = np.unique(np.concatenate(chosen))
        features = classifier.predict(cohort.images.where(used))[1] if len(used) else np.zeros([0, 0])
        for name, positions in zip(cohorts.label_names, chosen, strict=True):
            of_class = features[np.searchsorted(used, positions)]
            for metric in feature_metrics():
                estimate = list(metric.measure(of_class, 0, SEED)) if len(of_class) >= 2 else None
                found[metric.name][side][name] = estimate
    return found


def diversity_rows(
    cohorts: Cohorts, feature_diversity_by_seed: Sequence[FeatureDiversity], pairs: int
) -> list[dict[str, Any]]:
    """One row per label: each `ClassDiversity` of each side, and its ratio of synthetic to real.

    Args:
      feature_diversity_by_seed: what `feature_diversity` gave for each real-trained classifier; they are averaged.
      pairs: image pairs per label.

    Returns:
      rows with "SIDE_METRIC": [mean, low, high] or None, and "METRIC_ratio", of the metric's `spread`.
    """
    sides = {"synthetic": cohorts.only_synthetic, "real": cohorts.real}
    rows = []
    for column, name in enumerate(cohorts.label_names):
        chosen = {side: _class_images(cohort, column) for side, cohort in sides.items()}
        row: dict[str, Any] = {"label": name} | {f"{side}_images": len(positions) for side, positions in chosen.items()}
        for metric in metrics_of(ClassDiversity):
            if metric.reads == "images":
                values = {
                    side: list(metric.measure(cohort.images.where(chosen[side]), pairs, SEED))
                    for side, cohort in sides.items()
                    if len(chosen[side]) >= 2
                }
            else:
                values = _mean_over_seeds([found[metric.name] for found in feature_diversity_by_seed], name)
            row |= {f"{side}_{metric.name}": values.get(side) for side in _sides_of(metric)}
            row[f"{metric.name}_ratio"] = spread_ratio(metric, values.get("synthetic"), values.get("real"))
        rows.append(row)
    return rows


def diversity_table(rows: Sequence[dict[str, Any]]) -> str:
    """HTML of what `diversity_rows` gave, plain, and what the metrics mean."""
    header, metrics = ["class"], metrics_of(ClassDiversity)
    for metric in metrics:
        first, *more = ({"test": "real, test"}.get(side, side) for side in _sides_of(metric))
        header += [f"{html.text(metric.title)} {first}", *more, html.text(metric.spread_title)]
    cells = [[html.text(row["label"])] for row in rows]
    for row, shown in zip(rows, cells, strict=True):
        for metric in metrics:
            for side in _sides_of(metric):
                found = row[f"{side}_{metric.name}"]
                summary = {"mean": found[0], "interval": found[1:]} if found else None
                shown.append(html.estimate(summary, metric.format))
            shown.append(html.number(row[f"{metric.name}_ratio"]))
    of_real = {metric.name: _values_of_real(metric, rows) for metric in metrics}
    return html.table(header, cells) + html.explained(metrics, of_real)


def _values_of_real(metric: ClassDiversity, rows: Sequence[dict[str, Any]]) -> str:
    """The value of real images, from the least to the largest class, such as "0.51 to 0.56"; "" where none has one."""
    values = [found[0] for row in rows if (found := row[f"real_{metric.name}"])]
    shown = dict.fromkeys(html.number(value, metric.format) for value in (min(values), max(values))) if values else {}
    return " to ".join(shown)


def _sides_of(metric: ClassDiversity) -> tuple[str, ...]:
    """The sides that a metric is computed for."""
    return ("synthetic", "real") if metric.reads == "images" else ("synthetic", "real", "test")


def spread_ratio(
    metric: ClassDiversity, synthetic: Sequence[float] | None, real: Sequence[float] | None
) -> float | None:
    """How many times as much as real images synthetic ones differ, of two estimates; None without a ratio."""
    if not synthetic or not real or not metric.spread(real[0]) > metric.least_spread:
        return None
    return metric.spread(synthetic[0]) / metric.spread(real[0])


def diversity_notices(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence for the labels whose diversity could not be compared."""
    few = [row["label"] for row in rows if min(row["synthetic_images"], row["real_images"]) < 2]
    alike = []
    if headline := next(iter(metrics_of(ClassDiversity)), None):
        alike = [row["label"] for row in rows if row["label"] not in few and row[f"{headline.name}_ratio"] is None]
    notices = []
    if few:
        notices.append(f"diversity needs two images on each side, which {listed(few)} lacks")
    if alike:
        notices.append(f"real training images of {listed(alike)} are all the same: no ratio of diversity to them")
    return notices


def _mean_over_seeds(
    by_seed: Sequence[Mapping[str, Mapping[str, list[float] | None]]], label: str
) -> dict[str, list[float]]:
    means = {}
    for side in by_seed[0] if by_seed else ():
        values = [found[side][label] for found in by_seed if found[side][label] is not None]
        if values:
            means[side] = np.mean(values, axis=0).tolist()
    return means


def _class_images(cohort: Cohort, column: int) -> np.ndarray:
    """Positions of up to `MAX_IMAGES` images that have the label."""
    positions = np.flatnonzero(cohort.labels[:, column] == 1)
    chosen = np.random.default_rng(SEED).permutation(len(positions))[:MAX_IMAGES]
    return positions[np.sort(chosen)]
