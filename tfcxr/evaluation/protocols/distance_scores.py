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
    shas = {", ".join(real.facts["splits"]): real.facts["sha256"] for real in (cohorts.real, *cohorts.tests.values())}
    rule = "smallest half of the real images, or the cohort" + (f", at most {images}" if images else "")
    shared = {"version": data["version"], "seed": data["seed"], "floor_draws": data["floor_draws"], "n_rule": rule}
    first_test = next(iter(cohorts.tests.values())).facts["splits"][0]
    scores, main = [], distance_metrics()
    for extractor, found in data["extractors"].items():
        is_first = extractor == next(iter(data["extractors"]))
        for comparison in found["comparisons"]:
            split = comparison["set"]
            passport = {**shared, "extractor": found["passport"], "real": shas[split]}
            parts = {("", ""): comparison} | {(label, ""): part for label, part in comparison["by_label"].items()}
            parts |= {("", group): part for group, part in comparison["by_group"].items()}
            for (label, group), compared in parts.items():
                scores += [
                    Score(
                        metric=metric.name,
                        value=compared["at_floor_size"][metric.name]["mean"],
                        low=compared["at_floor_size"][metric.name]["interval"][0],
                        high=compared["at_floor_size"][metric.name]["interval"][1],
                        of_real=compared["floor"][metric.name]["mean"],
                        images=compared["floor"]["images"],
                        better=metric.better,
                        extractor=extractor,
                        split=split,
                        label=label,
                        group=group,
                        passport={**passport, **metric.settings},
                        is_headline=is_first and compared is comparison and split == first_test and metric in main,
                    )
                    for metric in metrics_of(FeatureDistance)
                ]
    for split, compared in data["of_images"].items():
        scores += [
            Score(
                metric=metric.name,
                value=compared["score"][metric.name]["mean"],
                low=compared["score"][metric.name]["interval"][0],
                high=compared["score"][metric.name]["interval"][1],
                of_real=compared["floor"][metric.name]["mean"],
                images=compared["images"],
                better=metric.better,
                split=split,
                passport={**shared, "real": shas[split], **metric.settings},
            )
            for metric in metrics_of(ImageDistance)
        ]
    return scores
