"""Scores of the arms of train on synthetic, test on real: of all test patients, and of each group of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from tfcxr.evaluation.cohorts import Cohort, Cohorts
from tfcxr.evaluation.metrics import metrics_of
from tfcxr.evaluation.metrics.classification import patient_resamples
from tfcxr.evaluation.metrics.metric import ConfusionScore, LabelScore
from tfcxr.evaluation.report.score import Score
from tfcxr.evaluation.scores import THRESHOLD_RULES, ArmScores, score_arm, shares_of_real
from tfcxr.evaluation.subgroups import usable_groups
from tfcxr.evaluation.trainings import Training
from tfcxr.evaluation.underdiagnosis import underdiagnosis_gap

BOOTSTRAP_SEED = 0
NO_VALUE = {"mean": float("nan"), "interval": [float("nan")] * 2}


def score_test(
    cohorts: Cohorts, split: str, trainings: Mapping[str, Sequence[Training]], resamples: int
) -> dict[str, Any]:
    """One test split's scores by arm, of all patients and by group; all share their resampled patients.

    Returns:
      facts of the split; "arms", what `score_arm` gave by arm; "shares_of_real" by arm; and "groups", for each the same
      with "images", "patients" and "underdiagnosis" by arm.
    """
    test, names, is_single_label = cohorts.tests[split], cohorts.label_names, cohorts.is_single_label
    logging.info("resampling the patients of %s %d times", split, resamples)
    draws = patient_resamples(test.patient_keys, resamples, BOOTSTRAP_SEED)
    predictions = {arm: [item.predictions[split] for item in finished] for arm, finished in trainings.items()}
    thresholds = {arm: [item.facts["thresholds"] for item in finished] for arm, finished in trainings.items()}

    def scores_of(chosen: np.ndarray) -> dict[str, Any]:
        by_arm = {
            arm: score_arm(
                names,
                is_single_label,
                test.labels[chosen],
                [probability[chosen] for probability in predictions[arm]],
                thresholds[arm],
                draws[:, chosen],
            )
            for arm in trainings
        }
        return {"arms": {arm: scores.summary for arm, scores in by_arm.items()}, "shares_of_real": _shares(by_arm)}

    groups = {}
    for group, chosen in usable_groups(test.groups, test.patient_keys, test.labels).items():
        gaps = {
            arm: underdiagnosis_gap(
                names, is_single_label, test.labels, predictions[arm], thresholds[arm], draws, chosen
            )
            for arm in trainings
        }
        facts = {"images": int(chosen.sum()), "patients": len(np.unique(test.patient_keys[chosen]))}
        groups[group] = facts | scores_of(chosen) | {"underdiagnosis": gaps}
    return {**test.facts, **scores_of(np.ones(len(test.labels), bool)), "groups": groups}


def score_gan_test(
    label_names: Sequence[str],
    is_single_label: bool,
    synthetic: Cohort,
    probabilities: Sequence[np.ndarray],
    resamples: int,
) -> dict[str, Any]:
    """How well classifiers of real images recognise the labels of synthetic ones, one array per seed.

    Images are resampled, as no patient stands behind them. Returns what `score_arm` gives, without thresholds.
    """
    draws = patient_resamples(np.arange(len(synthetic.labels)), resamples, BOOTSTRAP_SEED)
    none = [[0.5] * synthetic.labels.shape[1]] * len(probabilities)
    summary = score_arm(label_names, is_single_label, synthetic.labels, probabilities, none, draws).summary
    return {name: value for name, value in summary.items() if name not in THRESHOLD_RULES}


def report_scores(
    tests: Mapping[str, Mapping[str, Any]], gan_test: Mapping[str, Any] | None, passport: Mapping[str, Any]
) -> list[Score]:
    """Every number as a row of scores.csv.

    Args:
      tests: by split, what `score_test` gave.
      gan_test: what `score_gan_test` gave; None without a real arm.
      passport: without what is the test split's own.
    """
    rows: list[Score] = []
    for split, test in tests.items():
        of_split = passport | {"test": test["sha256"]}
        for group, scores in {"": test, **test["groups"]}.items():
            rows += _split_scores(split, group, scores, of_split)
    if gan_test:
        metric = metrics_of(LabelScore)[0]
        split, test = next(iter(tests.items()))
        real = test["arms"]["real"]
        summaries = {"": (gan_test[metric.name], real[metric.name])} | {
            label: (summary, real[f"{metric.name}_by_label"][label])
            for label, summary in gan_test[f"{metric.name}_by_label"].items()
        }
        for label, (summary, of_real) in summaries.items():
            how = {"label": label, "subject": "real", "passport": passport | {"of_real": split}}
            images = passport.get("synthetic_images", passport["images_per_side"])
            rows.append(_score("gan_test", summary, of_real, images, "higher", **how))
    return rows


def _split_scores(split: str, group: str, scores: Mapping[str, Any], passport: Mapping[str, Any]) -> Iterator[Score]:
    arms = scores["arms"]
    for arm, summary in arms.items():
        how = {"subject": arm, "split": split, "group": group, "passport": passport}
        real, images, is_main = arms.get("real", {}), scores["images"], arm == "synthetic" and not group
        for metric in metrics_of(LabelScore):
            is_headline = is_main and metric is metrics_of(LabelScore)[0]
            of_real, better = real.get(metric.name), metric.better
            yield _score(metric.name, summary[metric.name], of_real, images, better, **how, is_headline=is_headline)
            for label, of_label in summary[f"{metric.name}_by_label"].items():
                of_real = real.get(f"{metric.name}_by_label", {}).get(label)
                yield _score(metric.name, of_label, of_real, images, better, **how, label=label)
            if arm in scores["shares_of_real"]:
                share = scores["shares_of_real"][arm][metric.name]
                name, one = f"{metric.name}_share_of_real", {"mean": 1.0}
                yield _score(name, share, one, images, "higher", **how, is_headline=is_headline)
        for rule in (rule for rule in THRESHOLD_RULES if rule in summary):
            for metric in (metric for metric in metrics_of(ConfusionScore) if not metric.is_per_class):
                of_real = real.get(rule, {}).get(metric.name)
                yield _score(f"{metric.name}_{rule}", summary[rule][metric.name], of_real, images, metric.better, **how)
            if not group:
                yield from _class_scores(rule, summary[rule], real.get(rule), images, **how)
        if group:
            gaps = scores["underdiagnosis"]
            yield _score("underdiagnosis_gap", gaps[arm], gaps.get("real"), images, "lower", **how)


def _class_scores(
    rule: str, summary: Mapping[str, Any], real: Mapping[str, Any] | None, images: int, **how: Any
) -> Iterator[Score]:
    """Precision, recall and F1 of each class, and their means."""
    for metric in metrics_of(ConfusionScore):
        if not metric.is_per_class or metric.over_classes == "sum":
            continue
        of_real = real and real["macro"][metric.name]
        yield _score(
            f"macro_{metric.name}_{rule}", summary["macro"][metric.name], of_real, images, metric.better, **how
        )
        for index, row in enumerate(summary["per_class"]):
            of_class, of_real = (
                side and {"mean": side[metric.name], "interval": side["intervals"][metric.name]}
                for side in (row, real and real["per_class"][index])
            )
            name, label = f"{metric.name}_{rule}", row["label"]
            yield _score(name, of_class, of_real, images, metric.better, **how, label=label)


def _score(
    metric: str, summary: Mapping[str, Any], of_real: Mapping[str, Any] | None, images: int, better: str, **how: Any
) -> Score:
    low, high = summary["interval"]
    real = (of_real or NO_VALUE)["mean"]
    return Score(
        metric=metric, value=summary["mean"], low=low, high=high, of_real=real, images=images, better=better, **how
    )


def _shares(by_arm: Mapping[str, ArmScores]) -> dict[str, dict[str, Any]]:
    if "real" not in by_arm:
        return {}
    return {arm: shares_of_real(scores, by_arm["real"]) for arm, scores in by_arm.items() if arm != "real"}
