"""The verdict of a ranking: which cohort is nearest to real patients, or that nothing can be said of it.

The nearest cohort is named where the t-tests tell it from every other one and a draw has `MIN_TELLING_IMAGES` images:
with fewer, a collapsed generator may come out nearest. Real training images, drawn alike, are no competitor but the
floor.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tfcxr.evaluation.feature_distances import MIN_TELLING_IMAGES
from tfcxr.evaluation.metrics import distance_metrics, metrics_of
from tfcxr.evaluation.metrics.metric import ClassDiversity, FeatureDistance
from tfcxr.evaluation.report import html

LEVEL = 0.05  # of the family of all pairs
REAL = "real training images"  # the floor's name among the cohorts


def verdict(
    rows: Sequence[Mapping[str, Any]], tests: Mapping[str, Sequence[Mapping[str, Any]]], split: str, per_draw: int
) -> list[str]:
    """Which cohort is nearest, a sentence for each cohort, nearest first, and one on how many pairs differ.

    Args:
      rows: of the table, by the first `FeatureDistance`, the nearest first.
      tests: by distance, the pairs of `pairwise_t_tests`.
      split: of the real test patients.
      per_draw: images in each draw.
    """
    sentences = [_conclusion(rows, tests, split, per_draw)]
    for place, row in enumerate(rows, start=1):
        found = [f"{metric.title} distance {_distance(row, metric)}" for metric in distance_metrics()]
        for spread in metrics_of(ClassDiversity):
            if (ratio := row.get(f"{spread.name}_ratio")) is not None:
                found.append(f"{spread.spread_title} {ratio:.2f}")
        sentences.append(f"{place}. {row['cohort']}: {', '.join(found)}.")
    differ = [
        f"{metric.title} {sum(pair['is_different'] for pair in tests[metric.name])} of {len(tests[metric.name])} "
        f"({sum(pair['p'] < LEVEL for pair in tests[metric.name])} by each pair's own p)"
        for metric in distance_metrics()
    ]
    sentences.append(
        f"Pairs of cohorts that differ at {LEVEL:g} (Welch's t-tests, adjusted by Holm), by distance: "
        f"{', '.join(differ)}."
    )
    return sentences


def deviation_text(row: Mapping[str, Any], metric: FeatureDistance) -> str:
    """The words " (sd 0.12)" of a row, "" where it has a single draw."""
    shown = html.number(row[f"{metric.name}_deviation"], ".2g")
    return "" if shown == html.number(None) else f" (sd {shown})"


def _conclusion(
    rows: Sequence[Mapping[str, Any]], tests: Mapping[str, Sequence[Mapping[str, Any]]], split: str, per_draw: int
) -> str:
    metric = distance_metrics()[0]
    nearest, *others = (row for row in rows if row["cohort"] != REAL)
    if per_draw < MIN_TELLING_IMAGES:
        return (
            f"Nothing can be said of which cohort is nearest to real patients of {split}: {per_draw} images per draw "
            f"are too few; give {MIN_TELLING_IMAGES} or more, by larger cohorts, more test images or fewer "
            "--set=ranking.draws."
        )
    pairs = [(pair["first"], pair["second"]) for pair in tests[metric.name] if pair["is_different"]]
    apart = {name for pair in pairs if nearest["cohort"] in pair for name in pair}
    alike = [row["cohort"] for row in others if row["cohort"] not in apart]
    draws = f"{nearest['draws']} draws of {per_draw} images"
    if alike:
        further = [row["cohort"] for row in others if row["cohort"] in apart]
        known = f" {nearest['cohort']} is nearer than {', '.join(further)}." if further else ""
        return (
            f"Nothing can be said of which of {', '.join([nearest['cohort'], *alike])} is nearest to real patients of "
            f"{split}: by the {metric.title} distance they do not differ at {LEVEL:g} with {draws}; more images, and "
            f"so larger draws, may tell.{known}"
        )
    floor = next((row for row in rows if row["cohort"] == REAL), None)
    beside = f", {REAL} at {_distance(floor, metric)}" if floor else ""
    return (
        f"{nearest['cohort']} is nearest to real patients of {split}: {metric.title} distance "
        f"{_distance(nearest, metric)}, the next, {others[0]['cohort']}, {_distance(others[0], metric)}{beside}; "
        f"it differs from every other cohort at {LEVEL:g} with {draws}."
    )


def _distance(row: Mapping[str, Any], metric: FeatureDistance) -> str:
    return f"{row[f'{metric.name}_mean']:{metric.format}}{deviation_text(row, metric)}"
