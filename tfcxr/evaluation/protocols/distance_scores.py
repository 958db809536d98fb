"""The numbers of `distances`, one by one: every metric by extractor, real set, label and group, at the floor's N."""

from collections.abc import Mapping
from typing import Any

from tfcxr.evaluation.cohorts import Cohorts
from tfcxr.evaluation.metrics import distance_metrics, metrics_of
from tfcxr.evaluation.metrics.metric import FeatureDistance, ImageDistance
from tfcxr.evaluation.report.score import Score


def distance_scores(data: Mapping[str, Any], cohorts: Cohorts, images: int) -> list[Score]:
    """Scores of what `distances` found; `of_real` is the floor's mean, halves of the same real patients.

    The headline is every distance that verdicts go by, by the first extractor against the first test split.

    Args:
      data: of the report.
      cohorts: what was compared.
      images: the setting.
    """
    shas = {name: real.facts["sha256"] for name, real in cohorts.real_sets.items()}
    rule = "smallest half of the real images, or the cohort" + (f", at most {images}" if images else "")
    shared = {"version": data["version"], "seed": data["seed"], "floor_draws": data["floor_draws"], "n_rule": rule}
    first_test = next(iter(cohorts.tests))
    scores, main = [], distance_metrics()
    for extractor, found in data["extractors"].items():
        is_first = extractor == next(iter(data["extractors"]))
        for comparison in found["comparisons"]:
            split = comparison["set"]
            passport = {**shared, "extractor": found["passport"], "real": shas[split]}
            parts = {("", ""): comparison} | {(label, ""): part for label, part in comparison["by_label"].items()}
            parts |= {("", group): part for group, part in comparison["by_group"].items()}
            for (label, group), compared in parts.items():
                of_part = compared["floor"]["images"], compared["at_floor_size"], compared["floor"]
                facts = {"extractor": extractor, "split": split, "label": label, "group": group}
                is_main = is_first and compared is comparison and split == first_test
                for metric in metrics_of(FeatureDistance):
                    scores.append(_score(metric, *of_part, passport, is_headline=is_main and metric in main, **facts))
    for split, compared in data["of_images"].items():
        of_split = compared["images"], compared["score"], compared["floor"]
        passport = {**shared, "real": shas[split]}
        scores += [_score(metric, *of_split, passport, split=split) for metric in metrics_of(ImageDistance)]
    return scores


def _score(
    metric: FeatureDistance | ImageDistance,
    images: int,
    found: Mapping[str, Any],
    floor: Mapping[str, Any],
    passport: Mapping[str, Any],
    **facts: Any,
) -> Score:
    low, high = found[metric.name]["interval"]
    return Score(
        metric=metric.name,
        value=found[metric.name]["mean"],
        low=low,
        high=high,
        of_real=floor[metric.name]["mean"],
        images=images,
        better=metric.better,
        passport={**passport, **metric.settings},
        **facts,
    )
