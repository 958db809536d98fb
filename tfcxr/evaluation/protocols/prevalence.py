"""Prevalence: which labels does one classifier see in real and in synthetic images, and how often together?

The classifier is the evaluation's own, trained on real training images; its thresholds are Youden's, on real images
that it was not trained on. The share of images that it gives each label is compared between synthetic images and real
test patients, with intervals of `resamples` bootstraps by patient, and so are the shares of pairs of labels. Both sides
have the same classifier's mistakes, so a difference is one of the images. Where a cohort has labels of its own, their
shares are compared as well. One number sums up each comparison: the mean absolute difference of shares over labels.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.config import check_range
from tfcxr.evaluation.cohorts import Cohort, check_folders, load_cohorts, split_off_validation
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.feature_extractor import find_or_train_extractor
from tfcxr.evaluation.feature_distances import halvings
from tfcxr.evaluation.metrics.label_shares import bootstrap_shares, share_differences
from tfcxr.evaluation.protocols.protocol import Protocol
from tfcxr.evaluation.report import html
from tfcxr.evaluation.report.report import Findings
from tfcxr.evaluation.report.score import Score
from tfcxr.evaluation.scores import score_labels, youden_thresholds

VERSION = 2
BY_CLASSIFIER, BY_LABEL = "given by the classifier", "labels of the images"


@dataclasses.dataclass(frozen=True)
class PrevalenceSettings:
    """How intervals are made.

    Attributes:
      resamples: bootstraps by patient.
    """

    resamples: int = 10_000

    def __post_init__(self) -> None:
        check_range(self, "resamples", minimum=100)


def run(evaluation: Evaluation, settings: PrevalenceSettings) -> Findings:
    """Classifies both sides and compares shares.

    Raises:
      FileNotFoundError: a folder or shard is missing.
      ValueError: what `load_cohorts` and `train_classifier` refuse.
    """
    check_folders(evaluation, allows_unlabelled=True)
    cohorts = load_cohorts(evaluation, evaluation.label_names)
    names, is_single_label = cohorts.label_names, cohorts.is_single_label
    extractor = find_or_train_extractor(evaluation, cohorts.real, cohorts.validation, names, is_single_label)
    if cohorts.validation is None:  # those that the training kept back
        seed, share = evaluation.classifier_seeds[0], evaluation.classifier.validation_fraction
        chosen_on = cohorts.real.labelled.where(split_off_validation(cohorts.real.patient_keys, share, seed))
    else:
        chosen_on = cohorts.validation.labelled
    probability, _ = extractor.classifier.predict(chosen_on.images)
    thresholds = youden_thresholds(chosen_on.labels, probability, is_single_label)
    columns = list(score_labels(range(len(names)), is_single_label))
    sides = {"synthetic": cohorts.only_synthetic} | {f"real {split}": test for split, test in cohorts.tests.items()}
    found = {}
    has_label = {BY_CLASSIFIER: {}, BY_LABEL: {}}  # how it is known -> side -> bool [images, labels], patients [images]
    for side, cohort in sides.items():
        given = _given(extractor.classifier.predict(cohort.images)[0], thresholds, columns)
        has_label[BY_CLASSIFIER][side] = given, cohort.patient_keys
        if (known := _known(cohort, columns))[1].size:
            has_label[BY_LABEL][side] = known
        found[side] = {
            "shares": bootstrap_shares(given, cohort.patient_keys, settings.resamples),
            "known_share": _known_shares(cohort, columns),
            "together": (given.T.astype(np.float64) @ given) / len(given),
        }
    labels = [names[column] for column in columns]
    differences = {
        how: {
            side: _difference(*of_side["synthetic"], *of_side[side], settings.resamples)
            for side in of_side
            if side != "synthetic"
        }
        for how, of_side in has_label.items()
        if "synthetic" in of_side
    }
    data = {"version": VERSION, "label_names": labels, "resamples": settings.resamples, "sides": found}
    data |= {"differences": differences}
    passport = {"version": VERSION, "resamples": settings.resamples, "classifier": extractor.facts["weights_sha256"]}
    return Findings(
        title="Prevalence",
        verdict=[_sentence(side, found, labels) for side in found if side != "synthetic"],
        data=data,
        introduction=f"Labels that {html.text(evaluation.classifier.architecture)}, trained on real images, gives.",
        parts=[*_page_parts(found, labels), _difference_table(differences)],
        cohorts=cohorts.facts,
        shared_patients=cohorts.shared_patients,
        notices=cohorts.notices,
        scores=[
            score
            for how, of_sides in differences.items()
            for split, test in cohorts.tests.items()
            if f"real {split}" in of_sides
            for score in _scores(
                how, split, of_sides[f"real {split}"], labels, passport | {"real": test.facts["sha256"]}
            )
        ],
    )


def _given(probability: np.ndarray, thresholds: Sequence[float] | None, columns: Sequence[int]) -> np.ndarray:
    """bool [images, labels]: which labels the classifier gives."""
    if thresholds is None:
        return probability.argmax(axis=1)[:, None] == np.array(columns)
    return probability[:, columns] >= np.array(thresholds)


def _known_shares(cohort: Cohort, columns: Sequence[int]) -> list[float | None]:
    """Shares of the labels that the images have, None where the cohort has none."""
    if not cohort.labels.shape[1]:
        return [None] * len(columns)
    return [float(np.nanmean(cohort.labels[:, column])) for column in columns]


def _known(cohort: Cohort, columns: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """bool [images, labels] and patients [images], of the images of which all labels are known."""
    if not cohort.labels.shape[1]:
        return np.zeros([0, len(columns)], bool), cohort.patient_keys[:0]
    labels = cohort.labels[:, columns]
    is_known = ~np.isnan(labels).any(axis=1)
    return labels[is_known] == 1, cohort.patient_keys[is_known]


def _difference(
    made: np.ndarray, made_patients: np.ndarray, real: np.ndarray, real_patients: np.ndarray, resamples: int
) -> dict[str, Any]:
    """`share_differences`, and "of_real": the mean between halves of the real patients."""
    halves = [np.abs(real[half].mean(axis=0) - real[~half].mean(axis=0)).mean() for half in halvings(real_patients)]
    found = share_differences(made, made_patients, real, real_patients, resamples)
    return found | {"of_real": float(np.mean(halves)), "images": [len(made), len(real)]}


def _scores(
    how: str, split: str, found: Mapping[str, Any], labels: Sequence[str], passport: Mapping[str, Any]
) -> list[Score]:
    shared = {"images": found["images"][1], "subject": how, "split": split, "passport": passport}
    low, high = found["interval"]
    mean = Score(
        metric="mean_prevalence_difference",
        value=found["mean"],
        low=low,
        high=high,
        of_real=found["of_real"],
        better="lower",
        is_headline=how == BY_CLASSIFIER,
        **shared,
    )
    by_label = zip(labels, found["by_label"]["mean"], found["by_label"]["interval"], strict=True)
    return [
        mean,
        *(
            Score(
                metric="prevalence_difference",
                value=value,
                low=low,
                high=high,
                of_real=0.0,
                better="real",
                label=label,
                **shared,
            )
            for label, value, (low, high) in by_label
        ),
    ]


def _sentence(side: str, found: Mapping[str, Mapping[str, Any]], labels: Sequence[str]) -> str:
    synthetic, real = found["synthetic"]["shares"], found[side]["shares"]
    apart = [
        f"{label} ({made:.1%} of synthetic, {held:.1%} of real images)"
        for label, made, held, is_apart in zip(
            labels,
            synthetic["mean"],
            real["mean"],
            (synthetic["low"] > real["high"]) | (synthetic["high"] < real["low"]),
            strict=True,
        )
        if is_apart
    ]
    if not apart:
        return f"The classifier gives synthetic images and {side} images labels equally often, within their intervals."
    return (
        f"Against {side}, the classifier gives these labels to another share of synthetic images: {'; '.join(apart)}."
    )


def _page_parts(found: Mapping[str, Mapping[str, Any]], labels: Sequence[str]) -> list[str]:
    rows = [
        [
            html.text(label),
            *(
                f"{side['shares']['mean'][index]:.1%} <span class=interval>[{side['shares']['low'][index]:.1%}, "
                f"{side['shares']['high'][index]:.1%}]</span>"
                + ("" if side["known_share"][index] is None else f"; labelled {side['known_share'][index]:.1%}")
                for side in found.values()
            ),
        ]
        for index, label in enumerate(labels)
    ]
    parts = [html.table(["share of images given", *map(html.text, found)], rows)]
    if len(labels) > 1:
        for name, side in found.items():
            cells = [
                [html.text(label), *(f"{value:.1%}" for value in row)]
                for label, row in zip(labels, side["together"], strict=True)
            ]
            parts.append(html.table([f"together, {html.text(name)}", *map(html.text, labels)], cells))
    return parts


def _difference_table(differences: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [html.text(how), html.text(side), html.estimate(found), html.number(found["of_real"])]
        for how, of_sides in differences.items()
        for side, found in of_sides.items()
    ]
    header = ["mean absolute difference of shares", "against", "synthetic", "halves of the real patients"]
    return html.table(header, rows)


PREVALENCE = Protocol(
    name="prevalence",
    question="does a classifier of real images see each label as often in synthetic images as in real patients?",
    settings_class=PrevalenceSettings,
    run=run,
)
