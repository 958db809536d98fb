"""The rare label of a frontier: few real images of it, synthetic ones added, and all real ones as the ceiling.

Of the real training images, those of all patients without the label stay, and of the patients with it as many, in an
order of each seed's own, as have no more than `real_positives` images of it together. Synthetic images of the label are
added in growing ratios to that number. AUC, sensitivity and specificity are of that label alone, on real patients whom
nobody has seen, at the threshold by Youden's J on validation images. The gain is over the same real images without
synthetic ones, on the same resampled patients; p-values are two-sided, by the paired bootstrap, adjusted by Holm.

A generator that learned from all real images hands on what they taught, so a gain is what giving away the cohort is
worth to somebody who has few. Validation images are those of `validation_splits`, all of them, or a share of the
drawn ones.
"""

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.evaluation import kept, label_checks
from tfcxr.evaluation.cohorts import Cohort, Cohorts, split_off_validation
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.labelled_images import LabelledImages, join
from tfcxr.evaluation.metrics.classification import AUC, patient_resamples, percentile_interval, two_sided_p
from tfcxr.evaluation.metrics.pairwise_tests import holm
from tfcxr.evaluation.protocols.frontier_minority_page import page_parts, report_scores, sentences
from tfcxr.evaluation.protocols.frontier_trainings import FOLDER, train_mixes
from tfcxr.evaluation.report import html
from tfcxr.evaluation.report.report import Findings
from tfcxr.evaluation.scores import label_rows, seed_summary
from tfcxr.evaluation.trainings import Training, TrainingTask, find_or_train
from tfcxr.evaluation.underdiagnosis import predicted_labels, weighted_share
from tfcxr.registry import nearest_name

METHOD = (__doc__ or "").partition("\n\n")[2]
VERSION = 1  # raise it when a change makes kept trainings wrong
BOOTSTRAP_SEED = 0


@dataclasses.dataclass(frozen=True)
class MinorityMix:
    """What is trained by each seed.

    Attributes:
      label: the rare one.
      real_positives: real images that have it, at most.
      ratio: synthetic images that have it, for each of these.
      is_ceiling: has all real images.
    """

    label: str
    real_positives: int
    ratio: float = 0.0
    is_ceiling: bool = False

    @property
    def synthetic_images(self) -> int:
        """That are added, all of them with the label."""
        return round(self.ratio * self.real_positives)

    def __str__(self) -> str:
        if self.is_ceiling:
            return f"all {self.real_positives} real {self.label}"
        return f"{self.real_positives} real + {self.synthetic_images} synthetic {self.label}"


def run_minority(
    evaluation: Evaluation,
    cohorts: Cohorts,
    label: str,
    real_positives: Sequence[int],
    ratios: Sequence[float],
    resamples: int,
) -> Findings:
    """Trains what is not trained yet and tests it.

    Args:
      label: the rare one.
      real_positives: images of it that are kept, each number by itself.
      ratios: of synthetic images of it; 0 is among them.
      resamples: of the test patients.

    Raises:
      ValueError: no such label, as many positives asked for as there are, a draw or a test split that lacks the label.
    """
    if label not in cohorts.label_names:
        raise ValueError(f"frontier.minority={label} is no label here; {nearest_name(label, cohorts.label_names)}")
    column = cohorts.label_names.index(label)
    mixes, left_out = _mixes(cohorts, label, column, real_positives, ratios)
    cohorts = cohorts.with_notices(left_out)
    for split, test in cohorts.tests.items():
        if not {0.0, 1.0} <= set(test.labels[:, column]):
            raise ValueError(f"{evaluation.test_split_flag(split)} does not hold images with and without {label}")
    kept_positives = {
        f"{mix.real_positives}": [_check_draw(cohorts, mix, column, seed) for seed in evaluation.classifier_seeds]
        for mix in mixes
        if not mix.ratio
    }
    trainings = train_mixes(
        evaluation,
        mixes,
        lambda mix, seed: _find_or_train(evaluation, cohorts, mix, column, seed),
        lambda mix: len(cohorts.real.images) + mix.synthetic_images,
    )
    tests = {
        split: {**test.facts, "cells": _score(cohorts, test, split, trainings, column, resamples)}
        for split, test in cohorts.tests.items()
    }
    seconds = sum(one.facts["seconds"] for finished in trainings.values() for one in finished)
    passport = {
        "protocol": f"frontier_minority {VERSION}",
        "classifier": evaluation.classifier.identity,
        "classifier_seeds": list(evaluation.classifier_seeds),
        "real": cohorts.real.facts["sha256"],
        "validation": cohorts.validation and cohorts.validation.facts["sha256"],
        "label_names": list(cohorts.label_names),
    }
    return Findings(
        title=f"Few real images of {label}",
        verdict=[said for split, test in tests.items() for said in sentences(label, split, test["cells"])],
        data={"version": VERSION, "label": label, "kept_positives": kept_positives, "tests": tests, "seconds": seconds},
        introduction=f"{len(mixes)} mixes by {len(evaluation.classifier_seeds)} seeds, "
        f"{html.text(evaluation.classifier.architecture)}, {seconds:.0f} seconds.",
        parts=[*page_parts(label, kept.plain_json(tests)), f"<h2>How it was done</h2><p>{html.text(METHOD)}</p>"],
        cohorts=cohorts.facts,
        shared_patients=cohorts.shared_patients,
        notices=cohorts.notices,
        scores=[
            score
            for split, test in tests.items()
            for score in report_scores(label, split, test, passport | {"test": test["sha256"]})
        ],
    )


def keep_positives(is_positive: np.ndarray, patient_keys: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Chooses the patients without a label, and at random as many with it as have `count` images of it or fewer.

    Args:
      is_positive: bool [images].
      patient_keys: string [images].

    Returns:
      bool [images], equal for the images of one patient.
    """
    patients, number = np.unique(patient_keys, return_inverse=True)
    positives = np.bincount(number, weights=is_positive, minlength=len(patients))
    is_kept = positives == 0
    for patient in np.random.default_rng(seed).permutation(np.flatnonzero(positives)):
        if positives[patient] <= count:
            is_kept[patient], count = True, count - positives[patient]
    return is_kept[number]


def _mixes(
    cohorts: Cohorts, label: str, column: int, real_positives: Sequence[int], ratios: Sequence[float]
) -> tuple[list[MinorityMix], list[str]]:
    """Those that the cohort has images for, then the ceiling, and a sentence on the others."""
    available, synthetic = (int((side.labels[:, column] == 1).sum()) for side in (cohorts.real, cohorts.only_synthetic))
    for count in real_positives:
        if count >= available:
            raise ValueError(
                f"frontier.real_positives={count} must be fewer than the {available} images of {label} in the training "
                "splits, which are the ceiling"
            )
    asked = list(itertools.starmap(MinorityMix, itertools.product([label], real_positives, sorted(ratios))))
    mixes = [mix for mix in asked if mix.synthetic_images <= synthetic]
    left_out = "; ".join(str(mix) for mix in asked if mix not in mixes)
    notices = [f"the cohort has {synthetic} images of {label}, so these are left out: {left_out}"] if left_out else []
    return [*mixes, MinorityMix(label, available, is_ceiling=True)], notices


def _real_images(cohorts: Cohorts, mix: MinorityMix, column: int, seed: int) -> np.ndarray:
    """Which real training images a mix has, bool [images]."""
    if mix.is_ceiling:
        return np.ones(len(cohorts.real.labels), bool)
    is_positive = cohorts.real.labels[:, column] == 1
    return keep_positives(is_positive, cohorts.real.patient_keys, mix.real_positives, seed)


def _check_draw(cohorts: Cohorts, mix: MinorityMix, column: int, seed: int) -> int:
    """How many real images of the label a draw has; refuses one that cannot teach it."""
    labels = cohorts.real.labels[_real_images(cohorts, mix, column, seed)][:, [column]]
    counts = label_checks.counts_of_labels(labels, [mix.label], is_single_label=False)
    label_checks.check_labels(f"a draw of {mix} (seed {seed})", counts, "learned")
    return int((labels == 1).sum())


def _find_or_train(evaluation: Evaluation, cohorts: Cohorts, mix: MinorityMix, column: int, seed: int) -> Training:
    """One training, from `out_dir/frontier` where it is kept; without synthetic images it serves all cohorts."""
    chosen = _real_images(cohorts, mix, column, seed)
    training, validation = cohorts.real.labelled.where(chosen), cohorts.validation and cohorts.validation.labelled
    if validation is None:
        patients, share = cohorts.real.patient_keys[chosen], evaluation.classifier.validation_fraction
        is_kept_back = split_off_validation(patients, share, seed)
        training, validation = training.where(~is_kept_back), training.where(is_kept_back)
    depends_on: dict[str, Any] = {"version": VERSION, "minority": mix.label, "synthetic": None}
    depends_on["real"] = [cohorts.real.identity, mix.real_positives]
    name = f"{re.sub(r'[^A-Za-z0-9]+', '-', mix.label)}-{mix.real_positives}"
    if mix.synthetic_images:
        training = join([training, _synthetic_positives(cohorts.only_synthetic, mix, column, seed)])
        depends_on["synthetic"] = [cohorts.only_synthetic.identity, mix.synthetic_images]
        name = f"{evaluation.cohort_name}-{mix.synthetic_images}-{name}"
    path = evaluation.out_dir / FOLDER / f"minority-{name}-seed{seed}.json"
    task = TrainingTask(evaluation.classifier, seed, training, validation)
    return find_or_train(path, task, cohorts, depends_on, f"{mix}, seed {seed}")


def _synthetic_positives(cohort: Cohort, mix: MinorityMix, column: int, seed: int) -> LabelledImages:
    """Images of the label; a larger draw of the same seed holds a smaller one."""
    positives = np.random.default_rng(seed).permutation(np.flatnonzero(cohort.labels[:, column] == 1))
    return cohort.labelled.where(np.sort(positives[: mix.synthetic_images]))


def _score(
    cohorts: Cohorts,
    test: Cohort,
    split: str,
    trainings: Mapping[MinorityMix, Sequence[Training]],
    column: int,
    resamples: int,
) -> list[dict[str, Any]]:
    """By mix, "auc", "sensitivity" and "specificity" of the label, and the AUC's "gain" where images were added."""
    draws = patient_resamples(test.patient_keys, resamples, BOOTSTRAP_SEED)
    weights = np.concatenate([np.ones([1, len(test.labels)], np.float32), draws])
    rows = {mix: _rows(cohorts, test, split, finished, column, weights) for mix, finished in trainings.items()}
    cells = []
    for mix, found in rows.items():
        cell = {**dataclasses.asdict(mix), "name": str(mix), "synthetic_images": mix.synthetic_images}
        cell |= {name: seed_summary(values) for name, values in found.items()}
        if mix.ratio:
            alone = rows[dataclasses.replace(mix, ratio=0.0)]
            difference = found["auc"].mean(0) - alone["auc"].mean(0)
            gain = {"mean": float(difference[0]), "interval": list(percentile_interval(difference[1:]))}
            cell["gain"] = gain | {"p": two_sided_p(difference[1:])}
        cells.append(cell)
    gains = [cell["gain"] for cell in cells if "gain" in cell]
    for gain, adjusted in zip(gains, holm(np.array([gain["p"] for gain in gains])), strict=True):
        gain["adjusted_p"] = float(adjusted)
    return cells


def _rows(
    cohorts: Cohorts, test: Cohort, split: str, finished: Sequence[Training], column: int, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """float64 [seeds, rows of weights] of each score."""
    rows: dict[str, list[np.ndarray]] = {"auc": [], "sensitivity": [], "specificity": []}
    for training in finished:
        probability = training.predictions[split]
        rows["auc"].append(label_rows(AUC, test.labels, probability, [column], weights)[0])
        called = predicted_labels(probability, training.facts["thresholds"], cohorts.is_single_label)[:, column]
        rows["sensitivity"].append(weighted_share(called, test.labels[:, column] == 1, weights))
        rows["specificity"].append(weighted_share(~called, test.labels[:, column] == 0, weights))
    return {name: np.stack(values) for name, values in rows.items()}
