"""Prevalence: which labels does one classifier see in real and in synthetic images, and how often together?

The classifier is the evaluation's own, trained on real training images; its thresholds are Youden's, on real images
that it was not trained on. The share of images that it gives each label is compared between synthetic images and real
test patients, with intervals of `resamples` bootstraps by patient, and so are the shares of pairs of labels. Both sides
have the same classifier's mistakes, so a difference is one of the images.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.config import check_range
from tfcxr.evaluation.cohorts import Cohort, check_folders, load_cohorts, split_off_validation
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.feature_extractor import find_or_train_extractor
from tfcxr.evaluation.protocols.protocol import Protocol
from tfcxr.evaluation.report import html
from tfcxr.evaluation.report.report import Findings
from tfcxr.evaluation.scores import score_labels, youden_thresholds

VERSION = 1
SEED = 0


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
    for side, cohort in sides.items():
        given = _given(extractor.classifier.predict(cohort.images)[0], thresholds, columns)
        found[side] = {
            "shares": bootstrap_shares(given, cohort.patient_keys, settings.resamples),
            "known_share": _known_shares(cohort, columns),
            "together": (given.T.astype(np.float64) @ given) / len(given),
        }
    labels = [names[column] for column in columns]
    data = {"version": VERSION, "label_names": labels, "resamples": settings.resamples, "sides": found}
    return Findings(
        title="Prevalence",
        verdict=[_sentence(side, found, labels) for side in found if side != "synthetic"],
        data=data,
        introduction=f"Labels that {html.text(evaluation.classifier.architecture)}, trained on real images, gives.",
        parts=_page_parts(found, labels),
        cohorts=cohorts.facts,
        shared_patients=cohorts.shared_patients,
        notices=cohorts.notices,
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


def bootstrap_shares(
    given: np.ndarray, patients: np.ndarray, resamples: int, seed: int = SEED
) -> dict[str, np.ndarray]:
    """Share of images with each label, and its 95 % interval by patient.

    Patients with equal numbers of images and labels are drawn together: their counts in a resample are multinomial, the
    same distribution as patient by patient, in seconds for hundreds of thousands of images.

    Args:
      given: bool [images, labels].
      patients: [images].

    Returns:
      "mean" float64 [labels], "low" and "high" likewise.
    """
    _, number = np.unique(patients, return_inverse=True)
    count = int(number.max()) + 1
    sums = np.stack([np.bincount(number, column, count) for column in (np.ones(len(given)), *given.T)], axis=1)
    kinds, patients_of_kind = np.unique(sums, axis=0, return_counts=True)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(count, patients_of_kind / count, resamples) @ kinds
    low, high = np.quantile(drawn[:, 1:] / drawn[:, :1], [0.025, 0.975], axis=0)
    return {"mean": given.mean(axis=0), "low": low, "high": high}


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


PREVALENCE = Protocol(
    name="prevalence",
    question="does a classifier of real images see each label as often in synthetic images as in real patients?",
    settings_class=PrevalenceSettings,
    run=run,
)
