"""Pseudo-patients of a generator and a classifier: an optimised z each, its images and their labels.

    optimizer = PatientOptimizer(model, classifier, labels, OptimizedCohortOptions())
    for patient, optimum in optimizer.search(optimizer.patients):  # every try; those of a patient in their order
        if optimum.is_reached:
            images = optimizer.images(patient, optimum)

Everything random follows from the cohort's seed, the patient's number and the try. A latent that fails is tried again
from a new start, with a new severity. Where rows of a batch would be empty, further tries run ahead; the first in order
that arrives counts, as if they ran one after the other.
"""

import collections
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tfcxr.backbones.stored_classifier import StoredClassifier
from tfcxr.data.no_finding import is_no_finding
from tfcxr.sampling.cohort_labels import CohortLabels
from tfcxr.sampling.differentiable_generator import differentiable_generator
from tfcxr.sampling.kept_optima import Optimum
from tfcxr.sampling.latent_optimization import (
    LatentObjective,
    LatentStart,
    OptimizationSettings,
    OptimizedLatent,
    log_odds_of,
    optimize_latents,
    truncated_normal,
)
from tfcxr.sampling.optimization_log import target_name
from tfcxr.sampling.pseudo_patients import PseudoPatient, plan_patients
from tfcxr.serving.loaded_model import LoadedModel

START_BOUND = 0.7  # of the standard normal that z starts from
PATIENT_DEVIATION = 0.2  # of the images of a pseudo-patient around its optimum


@dataclasses.dataclass(frozen=True)
class OptimizedCohortOptions:
    """How a cohort is optimised.

    Attributes:
      seed: of the cohort, from 0.
      severity: multiplies |N(1, 1)|, by which a class exceeds its threshold in log odds; 0 stops at the threshold.
      suppress_others: keep classes that are not asked for below their thresholds; it often fails to converge.
      max_tries: latents per pseudo-patient, each from a new start.
      shard_images: images per shard, at most.
      optimization: of the latents.
    """

    seed: int = 0
    severity: float = 1.0
    suppress_others: bool = False
    max_tries: int = 10
    shard_images: int = 2000
    optimization: OptimizationSettings = OptimizationSettings()


@dataclasses.dataclass(frozen=True)
class PatientImages:
    """The images of a pseudo-patient.

    Attributes:
      pixels: uint8 [images, size, size].
      labels: float [images, classes]: 1 present, 0 absent, NaN for a class without a threshold.
      held: images in which every target is still above its threshold without severity; without a target, those in
        which no class is.
    """

    pixels: np.ndarray
    labels: np.ndarray
    held: int


class PatientOptimizer:
    """Optimises the latents of a cohort's pseudo-patients.

    Attributes:
      patients: the whole plan.
      objective: what is optimised.
    """

    def __init__(
        self,
        model: LoadedModel,
        classifier: StoredClassifier,
        labels: CohortLabels,
        options: OptimizedCohortOptions,
    ) -> None:
        """Checks that the model, the classifier and the labels fit.

        Raises:
          ValueError: a model without a `latent` signature or conditional on other labels than the classifier's, or a
            label without a threshold.
        """
        generate = differentiable_generator(model)
        _check_labels(model, classifier, labels)
        self._model, self._classifier, self._labels, self._options = model, classifier, labels, options
        self.objective = LatentObjective(
            generate, classifier.logits, classifier.is_single_label, model.description.chunk_rows
        )
        probabilities = [classifier.thresholds[name] for name in classifier.label_names]
        self._thresholds = np.array([np.nan if p is None else log_odds_of(p) for p in probabilities], np.float32)
        self.patients = plan_patients(labels, options.seed)

    def targets(self, patient: PseudoPatient) -> np.ndarray:
        """float32 [classes], 1 for what its images shall show."""
        return self._labels.rows[patient.row]

    def search(
        self, patients: Sequence[PseudoPatient], tries_before: Mapping[int, int] | None = None
    ) -> Iterator[tuple[PseudoPatient, Optimum]]:
        """Patients with each of their tries, in order; one that is reached is the patient's last.

        Args:
          tries_before: number of a patient -> tries of an earlier run, which are not repeated.

        Raises:
          ValueError: none of the latents of a patient reached its thresholds, or a score that is not finite.
        """
        tries_before = tries_before or {}
        waiting = collections.deque(_Search(patient, tries_before.get(patient.number, 0)) for patient in patients)
        running: list[_Search] = []

        def next_start() -> LatentStart | None:
            if not waiting:
                return None
            running.append(waiting.popleft())
            return self._start(running[-1])

        def spare_start() -> LatentStart | None:
            ready = [search for search in running if search.started < self._options.max_tries]
            return self._start(min(ready, key=lambda search: search.started - search.ended)) if ready else None

        settings = self._options.optimization
        for latent in optimize_latents(self.objective, next_start, settings, spare_start, _is_wanted):
            if not _is_wanted(latent.start):
                continue
            search, tries = latent.start.subject
            for ended in search.end(tries, latent):
                if not ended.is_reached and search.ended >= self._options.max_tries:
                    raise ValueError(self._nothing_reached(search.patient, ended))
                assert ended.first_log_odds is not None and ended.log_odds is not None
                log_odds = ended.first_log_odds.tolist(), ended.log_odds.tolist()
                yield search.patient, Optimum(search.ended, ended.z, ended.shortfalls, *log_odds)
            if search.ended == search.started or search.is_found:
                running.remove(search)
                if not search.is_found:
                    waiting.appendleft(search)

    def images(self, patient: PseudoPatient, optimum: Optimum) -> PatientImages:
        """The images around an optimum."""
        targets = self.targets(patient)
        random = np.random.default_rng([self._options.seed, patient.number, 0])  # tries count from 1
        around = random.normal(0.0, PATIENT_DEVIATION, [patient.images, len(optimum.z)])
        conditions = np.tile(self._condition(targets), [patient.images, 1])
        outputs = self.objective.render((optimum.z + around).astype(np.float32), conditions)
        pixels, log_odds = (output.numpy() for output in outputs)
        found = np.where(np.isnan(self._thresholds), np.nan, log_odds >= self._thresholds)
        others = np.zeros_like(found) if self._classifier.is_single_label else found
        shows = found == 1
        is_held = shows[:, targets == 1].all(axis=1) if targets.any() else ~shows.any(axis=1)
        labels = self._without_contradiction(np.where(targets == 1, 1.0, others), targets)
        return PatientImages(pixels, labels, int(is_held.sum()))

    def _start(self, search: "_Search") -> LatentStart:
        search.started += 1
        start = self.start(search.patient, search.started)
        return dataclasses.replace(start, subject=(search, search.started))

    def start(self, patient: PseudoPatient, tries: int) -> LatentStart:
        """A try of a patient, counted from 1."""
        targets, options = self.targets(patient), self._options
        random = np.random.default_rng([options.seed, patient.number, tries])
        z = truncated_normal(random, self._model.description.latent_size, START_BOUND)
        severity = options.severity * np.abs(random.normal(1.0, 1.0, len(targets)))
        # an image without any label is one in which no class reaches its threshold
        is_kept_below = (targets == 0) & (options.suppress_others or not targets.any())
        has_threshold = ~np.isnan(self._thresholds)
        thresholds = np.where(has_threshold, self._thresholds, 0) + targets * severity
        directions = (targets - is_kept_below) * has_threshold
        return LatentStart(
            patient, z, self._condition(targets), thresholds.astype(np.float32), directions.astype(np.float32)
        )

    def _without_contradiction(self, labels: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """No image has both a finding and "No Finding", unless both were asked for: what was asked for holds."""
        is_none = np.array([is_no_finding(name) for name in self._classifier.label_names])
        shows_finding = (labels[:, ~is_none] == 1).any(axis=1, keepdims=True)
        is_healthy = targets[is_none].any()
        wrong = (targets == 0) & (labels == 1) & np.where(is_none, shows_finding & ~is_healthy, is_healthy)
        return np.where(wrong, 0.0, labels)

    def _condition(self, targets: np.ndarray) -> np.ndarray:
        """What a conditional generator is asked for: the targets in the order of its own labels."""
        columns = [self._classifier.label_names.index(name) for name in self._model.description.label_names]
        return targets[columns].astype(np.float32)

    def _nothing_reached(self, patient: PseudoPatient, latent: OptimizedLatent) -> str:
        names = target_name(self.targets(patient), self._classifier.label_names)
        return (
            f"no latent of {self._model.path} reached the thresholds of {names} in {self._options.max_tries} tries of "
            f"{latent.steps} steps, the last fell short by {latent.shortfalls[-1]:.3g} in log odds; what was found is "
            "kept: the same command with a higher --optimize_tries resumes from it, or choose a lower --severity, more "
            "--optimize_steps or other labels, and another --out_dir"
        )


@dataclasses.dataclass(eq=False)
class _Search:
    """The tries of a patient: how many were started, and how many have ended with all before them."""

    patient: PseudoPatient
    ended: int

    def __post_init__(self) -> None:
        self.started = self.ended
        self.first_reached = math.inf
        self._ahead: dict[int, OptimizedLatent] = {}  # ended before an earlier one

    def end(self, tries: int, latent: OptimizedLatent) -> Iterator[OptimizedLatent]:
        """The tries whose turn has come, up to the first that is reached; `ended` counts them."""
        self._ahead[tries] = latent
        if latent.is_reached:
            self.first_reached = min(self.first_reached, tries)
        while not self.is_found and (ended := self._ahead.pop(self.ended + 1, None)) is not None:
            self.ended += 1
            yield ended

    @property
    def is_found(self) -> bool:
        """Whether the last of the ended is reached."""
        return self.ended == self.first_reached


def _is_wanted(start: LatentStart) -> bool:
    """Not behind a try that is reached."""
    search, tries = start.subject
    return tries <= search.first_reached


def _check_labels(model: LoadedModel, classifier: StoredClassifier, labels: CohortLabels) -> None:
    conditions, names = model.description.label_names, classifier.label_names
    if conditions and set(conditions) != set(names):
        raise ValueError(
            f"{model.path} is conditional on {', '.join(conditions)}, but {classifier.path} knows {', '.join(names)}; "
            "give a classifier of the same labels, or a generator without labels"
        )
    asked = [name for name, value in zip(names, labels.rows.max(axis=0), strict=True) if value == 1]
    if missing := [name for name in asked if classifier.thresholds[name] is None]:
        raise ValueError(
            f"{classifier.path} has no threshold for {', '.join(missing)}: its validation images had no positive or no "
            "negative one; ask for other labels with --counts, or train it with more validation images"
        )
