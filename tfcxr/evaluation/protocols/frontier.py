"""Frontier: how many synthetic images help how many real ones, and what that costs in privacy.

Classifiers are trained on some real images alone and with synthetic ones added, in several ratios (as ChexGen and
RoentGen-v2 report), and tested on real patients whom nobody has seen. Each seed draws images of its own, and a larger
draw holds the smaller ones. The gain is the AUC less that of the same real images alone, on the same resampled
patients: its p-value is two-sided, by the paired bootstrap, and adjusted by Holm for all gains on a test set. That asks
whether other patients would show the gain. Whether other draws and starts of the classifier would is asked beside it,
by a t-test of the pairs of each seed, unadjusted.

More images mean more gradient steps, which help by themselves: with `compute=equal_steps` all trainings on the same
real images take as many steps, those of classifier.max_epochs epochs of the real images alone.

A generator that learned from all real images hands on what they taught to classifiers of a few of them: such a gain is
what giving away the cohort is worth beside those few, not data from nothing.

Privacy is counted beside it: real training images that have a near copy among the synthetic ones in use, nearer by grey
values at 32 px than all but 1 % of test images are to any training image. By chance 1 % of synthetic images are.

`minority=LABEL` asks for one rare label instead, see `frontier_minority.py`.

Each finished training is kept in `out_dir/frontier`, so a killed evaluation continues where it stopped.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.config import check_names, check_range
from tfcxr.evaluation import kept, label_checks
from tfcxr.evaluation.cohorts import Cohort, Cohorts, check_folders, load_cohorts, split_off_validation
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.extractors import PIXELS, open_extractors
from tfcxr.evaluation.labelled_images import LabelledImages, join
from tfcxr.evaluation.metrics import metrics_of
from tfcxr.evaluation.metrics.classification import patient_resamples, percentile_interval, two_sided_p
from tfcxr.evaluation.metrics.metric import LabelScore
from tfcxr.evaluation.metrics.nearest_neighbours import Nearest, nearest
from tfcxr.evaluation.metrics.pairwise_tests import holm, paired_t_test
from tfcxr.evaluation.protocols.frontier_minority import run_minority
from tfcxr.evaluation.protocols.frontier_trainings import FOLDER, train_mixes
from tfcxr.evaluation.protocols.frontier_verdict import page_parts, report_scores, sentences
from tfcxr.evaluation.protocols.protocol import Protocol
from tfcxr.evaluation.report import html
from tfcxr.evaluation.report.report import Findings
from tfcxr.evaluation.scores import score_arm
from tfcxr.evaluation.trainings import Training, TrainingTask, find_or_train

METHOD = (__doc__ or "").partition("\n\n")[2]
VERSION = 1  # raise it when a change makes kept trainings wrong
BOOTSTRAP_SEED = 0
COMPUTE = ("early_stopping", "equal_steps")
FALSE_ALARMS = 0.01  # share of test images that count as copies


@dataclasses.dataclass(frozen=True)
class FrontierSettings:
    """What is trained: every ratio with every number of real images, by every seed.

    Attributes:
      ratios: synthetic images for each real one; 0 is among them.
      real_images: real training images; 0 is all.
      compute: early_stopping ends each training where validation gets no better; equal_steps gives all trainings on the
        same real images as many gradient steps.
      bootstrap_resamples: of the test patients, for intervals and p-values; no p-value is below 2 / resamples.
      minority: a rare label, of which few real images are kept and synthetic ones added; `ratios` then count synthetic
        images of the label for each real one of it.
      real_positives: real images of `minority` that are kept; the patients of the others are left out.
    """

    ratios: tuple[float, ...] = (0.0, 1.0, 4.0)
    real_images: tuple[int, ...] = (100, 0)
    compute: tuple[str, ...] = ("early_stopping",)
    bootstrap_resamples: int = 2000
    minority: str = ""
    real_positives: tuple[int, ...] = (50,)

    def __post_init__(self) -> None:
        check_range(self, "ratios", "real_images", minimum=0)
        check_range(self, "bootstrap_resamples", minimum=1)
        check_names(self, "compute", COMPUTE)
        if 0 not in self.ratios:
            raise ValueError(f"frontier.ratios needs 0, what real images teach alone, got {list(self.ratios)}")
        check_range(self, "real_positives", minimum=1)
        without_effect = ("real_images", "compute") if self.minority else ("real_positives",)
        for field in dataclasses.fields(self):
            if field.name in without_effect and getattr(self, field.name) != field.default:
                which = f"frontier.minority={self.minority}" if self.minority else "no frontier.minority"
                raise ValueError(f"frontier.{field.name} would have no effect with {which}; leave it out")
        for name in ("ratios", "real_images", "compute", "real_positives"):
            if not getattr(self, name) or len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"frontier.{name} expects different values, got {list(getattr(self, name))}")


@dataclasses.dataclass(frozen=True)
class Mix:
    """What is trained by each seed."""

    real_images: int
    ratio: float
    compute: str

    @property
    def synthetic_images(self) -> int:
        """That are added."""
        return round(self.ratio * self.real_images)

    def __str__(self) -> str:
        return f"{self.real_images} real + {self.synthetic_images} synthetic, {self.compute.replace('_', ' ')}"


def run(evaluation: Evaluation, settings: FrontierSettings) -> Findings:
    """Trains what is not trained yet and tests it.

    Raises:
      FileNotFoundError: a folder or shard is missing.
      ValueError: what `load_cohorts` and `train_classifier` refuse, more real images than there are, or a draw that
        teaches nothing.
    """
    check_folders(evaluation)
    names = evaluation.label_names
    notices = label_checks.check_label_splits(evaluation, must_test=True)
    cohorts = load_cohorts(evaluation, names)
    for split, test in cohorts.tests.items():
        where = evaluation.test_split_flag(split)
        notices += label_checks.check_patients(where, test.labels, test.patient_keys, names)
    if settings.minority:
        how = settings.real_positives, settings.ratios, settings.bootstrap_resamples
        return run_minority(evaluation, cohorts.with_notices(notices), settings.minority, *how)
    mixes, left_out = _mixes(settings, cohorts)
    cohorts = cohorts.with_notices([*notices, *left_out])
    for count, seed in itertools.product({mix.real_images for mix in mixes}, evaluation.classifier_seeds):
        training, _ = _real_images(evaluation, cohorts, count, seed)
        counts = label_checks.counts_of_labels(training.labels, names, cohorts.is_single_label)
        label_checks.check_labels(f"a draw of {count} real images (seed {seed})", counts, "learned")
    trainings = train_mixes(
        evaluation,
        mixes,
        lambda mix, seed: _find_or_train(evaluation, cohorts, mix, seed),
        lambda mix: mix.real_images + mix.synthetic_images,
    )
    copies = _nearest_by_pixels(evaluation, cohorts)
    seeds = evaluation.classifier_seeds
    tests = {}
    for split, test in cohorts.tests.items():
        cells = _score(cohorts, split, trainings, settings.bootstrap_resamples)
        exposed = [_exposed(cohorts, copies, cell["synthetic_images"], seeds) for cell in cells]
        tests[split] = {**test.facts, "cells": [cell | found for cell, found in zip(cells, exposed, strict=True)]}
    finished = [one.facts for of_mix in trainings.values() for one in of_mix]
    data = {"version": VERSION, "tests": tests, "seconds": sum(facts["seconds"] for facts in finished)}
    passport = {
        "protocol": f"frontier {VERSION}",
        "classifier": evaluation.classifier.identity,
        "classifier_seeds": list(seeds),
        "real": cohorts.real.facts["sha256"],
        "validation": cohorts.validation and cohorts.validation.facts["sha256"],
        "label_names": list(names),
    }
    return Findings(
        title="Frontier: synthetic beside real images",
        verdict=[said for split, test in tests.items() for said in sentences(split, test["cells"])],
        data=data,
        introduction=f"{len(finished)} trainings of {html.text(evaluation.classifier.architecture)}, "
        f"{data['seconds']:.0f} seconds.",
        parts=[*page_parts(kept.plain_json(tests)), f"<h2>How it was done</h2><p>{html.text(METHOD)}</p>"],
        cohorts=cohorts.facts,
        shared_patients=cohorts.shared_patients,
        notices=cohorts.notices,
        scores=[
            row
            for split, test in tests.items()
            for row in report_scores(split, test, passport | {"test": test["sha256"]})
        ],
    )


def _mixes(settings: FrontierSettings, cohorts: Cohorts) -> tuple[list[Mix], list[str]]:
    """Those that the cohort has images for, and a sentence on the others."""
    available, mixes, left_out = len(cohorts.real.images), [], []
    for count in settings.real_images:
        if count > available:
            raise ValueError(f"frontier.real_images={count} were asked for, but the training splits hold {available}")
    counts = dict.fromkeys(count or available for count in settings.real_images)
    for mix in itertools.starmap(Mix, itertools.product(counts, sorted(settings.ratios), settings.compute)):
        has_enough = mix.synthetic_images <= len(cohorts.only_synthetic.images)
        mixes.append(mix) if has_enough else left_out.append(f"{mix}")
    images = len(cohorts.only_synthetic.images)
    return mixes, [f"the cohort has {images} images, so these are left out: {'; '.join(left_out)}"] if left_out else []


def _find_or_train(evaluation: Evaluation, cohorts: Cohorts, mix: Mix, seed: int) -> Training:
    """One training, from `out_dir/frontier` where it is kept; without synthetic images it serves all cohorts."""
    config, steps = evaluation.classifier, None
    training, validation = _real_images(evaluation, cohorts, mix.real_images, seed)
    if mix.compute == "equal_steps":
        steps = len(training.images) // min(config.batch_size, len(training.images))
        config = dataclasses.replace(config, patience=config.max_epochs)  # the best epoch is kept all the same
    depends_on = {"version": VERSION, "real": [cohorts.real.identity, mix.real_images], "synthetic": None}
    name = f"real-{mix.real_images}-{mix.compute}"
    if mix.synthetic_images:
        chosen = _drawn(cohorts.only_synthetic, mix.synthetic_images, seed)
        training = join([training, cohorts.only_synthetic.labelled.where(chosen)])
        depends_on["synthetic"] = [cohorts.only_synthetic.identity, mix.synthetic_images]
        name = f"{evaluation.cohort_name}-{mix.synthetic_images}-{name}"
    task = TrainingTask(config, seed, training, validation, steps_per_epoch=steps)
    path = evaluation.out_dir / FOLDER / f"{name}-seed{seed}.json"
    return find_or_train(path, task, cohorts, depends_on, f"{mix}, seed {seed}")


def _real_images(
    evaluation: Evaluation, cohorts: Cohorts, count: int, seed: int
) -> tuple[LabelledImages, LabelledImages]:
    """Real images to train on and to validate on, the same whatever is added to them."""
    chosen = _drawn(cohorts.real, count, seed)
    drawn = cohorts.real.labelled.where(chosen)
    if cohorts.validation is not None:
        return drawn, cohorts.validation.labelled
    patients = cohorts.real.patient_keys[chosen]
    is_kept_back = split_off_validation(patients, evaluation.classifier.validation_fraction, seed)
    return drawn.where(~is_kept_back), drawn.where(is_kept_back)


def _drawn(cohort: Cohort, count: int, seed: int) -> np.ndarray:
    """Positions of `count` images; a larger draw of the same seed holds them too."""
    return np.sort(np.random.default_rng(seed).permutation(len(cohort.images))[:count])


def _score(
    cohorts: Cohorts, split: str, trainings: Mapping[Mix, Sequence[Training]], resamples: int
) -> list[dict[str, Any]]:
    """By mix, its score and its gain over the same real images alone."""
    test, metric = cohorts.tests[split], metrics_of(LabelScore)[0]
    draws = patient_resamples(test.patient_keys, resamples, BOOTSTRAP_SEED)
    scores = {}
    for mix, finished in trainings.items():
        thresholds = [one.facts["thresholds"] for one in finished]
        probabilities = [one.predictions[split] for one in finished]
        names, is_single_label = cohorts.label_names, cohorts.is_single_label
        scores[mix] = score_arm(names, is_single_label, test.labels, probabilities, thresholds, draws)
    cells = []
    for mix, found in scores.items():
        alone = scores[dataclasses.replace(mix, ratio=0.0)]
        difference = found.rows[metric.name] - alone.rows[metric.name]
        gain = {"mean": float(difference[0]), "interval": list(percentile_interval(difference[1:]))}
        score = found.summary[metric.name]
        cells.append(
            {
                **dataclasses.asdict(mix),
                "name": str(mix),
                "synthetic_images": mix.synthetic_images,
                "score": score,
                "gain": gain,
            }
        )
        if mix.ratio:
            gain["p"] = two_sided_p(difference[1:])
            by_seed = (of.summary[metric.name]["by_seed"] for of in (found, alone))
            gain["p_by_seed"] = paired_t_test(*by_seed)
    gains = [cell["gain"] for cell in cells if cell["ratio"]]
    for gain, adjusted in zip(gains, holm(np.array([gain["p"] for gain in gains])), strict=True):
        gain["adjusted_p"] = float(adjusted)
    return cells


def _nearest_by_pixels(evaluation: Evaluation, cohorts: Cohorts) -> Nearest:
    """The nearest training image of each synthetic one, by grey values; an infinite distance where it is no copy."""
    (pixels,) = open_extractors(dataclasses.replace(evaluation, extractors=(PIXELS,)), cohorts)
    test = max(cohorts.tests.values(), key=lambda test: len(test.images))
    training = pixels.features_of(cohorts.real)
    by_chance = nearest(pixels.features_of(test), training).distance
    found = nearest(pixels.features_of(cohorts.only_synthetic), training)
    is_copy = found.distance < np.quantile(by_chance, FALSE_ALARMS, method="lower")
    return Nearest(np.where(is_copy, found.distance, np.inf), found.index)


def _exposed(cohorts: Cohorts, copies: Nearest, count: int, seeds: Sequence[int]) -> dict[str, float]:
    """Share of drawn synthetic images that are near copies, and of training images that have one; means over seeds."""
    draws = [_drawn(cohorts.only_synthetic, count, seed) for seed in seeds]
    originals = [copies.index[chosen][np.isfinite(copies.distance[chosen])] for chosen in draws]
    training = len(cohorts.real.images)
    return {
        "copies": float(np.mean([len(found) for found in originals])) / max(count, 1),
        "exposed": float(np.mean([len(np.unique(found)) for found in originals])) / training,
    }


FRONTIER = Protocol(
    name="frontier",
    question="how many synthetic images help how many real ones, with equal compute too, and how many training images "
    "do they give away?",
    settings_class=FrontierSettings,
    run=run,
    unused=("extractor", "extractor_dir"),
    uses_every_seed=True,
)
