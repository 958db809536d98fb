"""A labelled cohort from any generator with a `latent` signature, by latent class optimisation.

    optimize_cohort(LoadedModel("saved_models/pggan"), StoredClassifier("saved_models/densenet"), labels, "cohorts/lco")

Segal, Rubin, Rubin and Pantanowitz 2021. For each pseudo-patient a z is optimised until the classifier finds its labels
(see `tfcxr.sampling.latent_optimization`), each above its threshold by |N(1, 1)| * severity in log odds. Its 3 to 6
images are of z + N(0, 0.2); they have one patient key and stand in one shard. A label that was asked for is 1; any
other is what the classifier finds in the image, unknown where it has no threshold. "No Finding" beside a finding is 0
unless it was asked for, and then the finding is.

Beside the shards stand `optimization.json` and `optimization.html`. A cohort that was killed is resumed: its whole
shards and every optimum that was found are kept.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import logging
from tqdm import tqdm

from tfcxr.backbones.stored_classifier import StoredClassifier
from tfcxr.data.atomic import write_atomically
from tfcxr.data.records import open_shard, shard_name, write_dataset_info
from tfcxr.data.schema import DatasetInfo, Record, ShardInfo, SplitInfo, default_encoding, encode_record, hashed_key
from tfcxr.data.training_patients import TRAINING_PATIENTS_FILE
from tfcxr.data.unfinished import ResumableWork, resumable_work
from tfcxr.sampling import optimization_log
from tfcxr.sampling.cohort_folder import describe_cohort, write_shards
from tfcxr.sampling.cohort_labels import CohortLabels
from tfcxr.sampling.kept_optima import KeptOptima, Optimum
from tfcxr.sampling.optimization_log import PatientLog
from tfcxr.sampling.optimization_page import write_optimization_page
from tfcxr.sampling.patient_optimizer import (
    PATIENT_DEVIATION,
    START_BOUND,
    OptimizedCohortOptions,
    PatientImages,
    PatientOptimizer,
)
from tfcxr.sampling.pseudo_patients import PseudoPatient, divide_patients, first_of_each_row
from tfcxr.serving.cascade import LUMA
from tfcxr.serving.loaded_model import LoadedModel

SPLIT = "train"
SUMMARY_FILE = "optimization.json"
OPTIMA_FILE = "optima.jsonl"  # of an unfinished cohort
CURVES_PER_TARGET = 12  # kept for the page


def optimize_cohort(
    model: LoadedModel,
    classifier: StoredClassifier,
    labels: CohortLabels,
    out_dir: str | os.PathLike,
    options: OptimizedCohortOptions | None = None,
) -> DatasetInfo:
    """Writes the cohort; one that was killed is resumed, its whole shards and the optima of the others kept.

    Args:
      labels: in the order of the classifier's label names.

    Raises:
      FileExistsError: the folder holds a cohort, or shards of something else.
      ValueError: an unfinished cohort of other arguments, parts that do not fit (see `PatientOptimizer`), or a patient
        none of whose latents reached its thresholds.
      OSError: the disk is full, or a file may not be written.
    """
    cohort = _Cohort(model, classifier, labels, options or OptimizedCohortOptions())
    data_dir = pathlib.Path(out_dir) / str(model.description.image_size)
    with resumable_work(out_dir, "cohort", [data_dir]) as work:
        work.start(cohort.arguments())
        shards = cohort.write_shards(work)
        logs = [log for shard in shards for log in optimization_log.from_json(_log_path(work, shard.file).read_text())]
        summary = optimization_log.summarise(logs, labels, classifier.label_names)
        patients = _training_patients(model, classifier)
        if patients is not None:
            write_atomically(data_dir / TRAINING_PATIENTS_FILE, patients)
        info = cohort.describe(shards, logs, summary, has_patients=patients is not None)
        write_atomically(data_dir / SUMMARY_FILE, json.dumps(summary, indent=2) + "\n")
        write_dataset_info(data_dir, info)
        write_optimization_page(data_dir, summary, cohort.target_names())
    return info


class _Cohort:
    def __init__(
        self,
        model: LoadedModel,
        classifier: StoredClassifier,
        labels: CohortLabels,
        options: OptimizedCohortOptions,
    ) -> None:
        self.model, self.classifier, self.labels, self.options = model, classifier, labels, options
        self.optimizer = PatientOptimizer(model, classifier, labels, options)
        self.search: Iterator[tuple[PseudoPatient, Optimum]] | None = None
        self.kept: KeptOptima  # from the first search on
        self.optima: dict[int, Optimum] = {}  # found, but not written yet
        self.drawn = first_of_each_row(self.optimizer.patients, CURVES_PER_TARGET)

    def arguments(self) -> dict[str, Any]:
        """Everything that the written bytes depend on."""
        rows, order = self.labels.rows.astype("<f4"), self.labels.order.astype("<i4")
        return {
            "weights_sha256": self.model.description.weights_sha256,
            "classifier": self.classifier.sha256,
            "labels": hashlib.sha256(rows.tobytes() + order.tobytes()).hexdigest(),
            **self._settings(),
        }

    def _settings(self) -> dict[str, Any]:
        """The options without those that change no image."""
        settings = dataclasses.asdict(self.options)
        del settings["max_tries"], settings["optimization"]["batch_size"]
        return settings

    def write_shards(self, work: ResumableWork) -> list[ShardInfo]:
        """Writes the shards that are not there yet."""
        parts = divide_patients(self.optimizer.patients, self.options.shard_images)
        writers = {
            shard_name(SPLIT, index, len(parts)): functools.partial(self._write_shard, work, part)
            for index, part in enumerate(parts)
        }
        title = f"optimising latents of {self.model.description.name}"
        with tqdm(total=len(self.labels), unit="img", desc=title, mininterval=1) as progress:
            return write_shards(work, writers, progress)

    def _write_shard(
        self, work: ResumableWork, patients: list[PseudoPatient], path: pathlib.Path, progress: tqdm
    ) -> ShardInfo:
        encoding, logs = default_encoding(self.model.description.image_size), []
        with open_shard(path) as shard:
            for patient in patients:
                optimum = self._optimum(work, patient, progress)
                images = self.optimizer.images(patient, optimum)
                key = self._patient_key(patient)
                for index, (pixels, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
                    record = Record(pixels, f"{key}-{index}", tuple(map(float, label)), patient_key=key)
                    shard.write(encode_record(record, encoding))
                logs.append(self._log(patient, optimum, images))
        write_atomically(_log_path(work, path.name), optimization_log.to_json(logs))
        assert shard.info is not None  # it was closed
        return shard.info

    def _optimum(self, work: ResumableWork, patient: PseudoPatient, progress: tqdm) -> Optimum:
        """A patient's optimum; those of later patients that are found before it are kept for them."""
        if self.search is None:  # this is the first patient of the first unfinished shard
            left = self.optimizer.patients[patient.number :]
            self.kept = KeptOptima(work.folder / OPTIMA_FILE)
            self.optima = dict(self.kept.found)
            progress.update(sum(other.images for other in left if other.number in self.optima))
            progress.refresh()
            unfound = [other for other in left if other.number not in self.optima]
            self.search = self.optimizer.search(unfound, self.kept.tries)
        while patient.number not in self.optima:
            tried, optimum = next(self.search)
            self.kept.add(tried.number, optimum)
            if optimum.is_reached:
                self.optima[tried.number] = optimum
                progress.update(tried.images)
        return self.optima.pop(patient.number)

    def _patient_key(self, patient: PseudoPatient) -> str:
        salt = f"{self.model.description.weights_sha256}{self.classifier.sha256}".encode()
        return f"synthetic-{hashed_key(f'{self.options.seed}/{patient.number}', salt)}"

    def _log(self, patient: PseudoPatient, optimum: Optimum, images: PatientImages) -> PatientLog:
        return PatientLog(
            row=patient.row,
            tries=optimum.tries,
            steps=optimum.steps,
            first_log_odds=optimum.first_log_odds,
            log_odds=optimum.log_odds,
            labels=images.labels.tolist(),
            images_held=images.held,
            curve=optimum.shortfalls if patient.number in self.drawn else [],
        )

    def target_names(self) -> list[str]:
        """Of each image in order: what it was asked to show."""
        return [
            optimization_log.target_name(self.optimizer.targets(patient), self.classifier.label_names)
            for patient in self.optimizer.patients
            for _ in range(patient.images)
        ]

    def describe(
        self, shards: list[ShardInfo], logs: list[PatientLog], summary: dict[str, Any], has_patients: bool
    ) -> DatasetInfo:
        """What is written beside the shards, with the whole provenance."""
        description, classifier = self.model.description, self.classifier
        shown = np.concatenate([np.array(log.labels, float) for log in logs])
        states = {"positive": shown == 1, "negative": shown == 0, "unknown": np.isnan(shown)}
        counts = {
            name: {state: int(is_in[:, column].sum()) for state, is_in in states.items()}
            for column, name in enumerate(classifier.label_names)
        }
        data = description.data
        patients = {"patient_keys_file": TRAINING_PATIENTS_FILE} if has_patients else {}
        notice = (
            f"Synthetic radiographs drawn by {description.version_name.replace('/', ' version ')}, not patients; a "
            "classifier chose and labelled them."
        )
        return describe_cohort(
            name=f"{description.name}_optimized",
            label_names=classifier.label_names,
            is_single_label=classifier.is_single_label,
            image_size=description.image_size,
            splits={SPLIT: SplitInfo(len(shown), len(logs), counts, tuple(shards))},
            preprocessing={"grey": "as generated" if description.channels == 1 else f"luma {LUMA} of red, green, blue"},
            licence=data.get("licence", ""),
            provenance={
                "saved_model": description.version_name,
                "model": description.model,
                "weights_sha256": description.weights_sha256,
                "steps": description.steps,
                "settings": description.settings,
                "seed": self.options.seed,
                "label_plan": self.labels.description,
                "acceptance_rate": summary["success_rate"],
                "optimization": self._describe_optimization(summary),
                "training_data": data | patients,
            },
            salt_fingerprint=data.get("salt_fingerprint", ""),
            notice=" ".join(filter(None, [notice, data.get("notice", "")])),
        )

    def _describe_optimization(self, summary: dict[str, Any]) -> dict[str, Any]:
        counts = ("patients", "images", "images_held", "tries", "failures", "median_steps")
        targets = summary["targets"].items()
        return {
            "classifier_sha256": self.classifier.sha256,
            "thresholds": self.classifier.thresholds,
            "start_bound": START_BOUND,
            "patient_deviation": PATIENT_DEVIATION,
            **self._settings(),
            "labels": "1 for a target; for others what the classifier finds at its own threshold, unknown without one; "
            "No Finding and a finding exclude each other",
            "targets": {name: {count: target[count] for count in counts} for name, target in targets},
        }


def _training_patients(model: LoadedModel, classifier: StoredClassifier) -> str | None:
    """Keys of patients that generator or classifier was trained on, None where the generator does not tell."""
    keys, of_classifier = model.training_patients(), classifier.path / TRAINING_PATIENTS_FILE
    if keys is not None and of_classifier.is_file():
        return "".join(f"{key}\n" for key in sorted({*keys.split(), *of_classifier.read_text("utf-8").split()}))
    logging.warning(
        "it is not known which patients %s was trained on (it has no %s); an evaluation cannot refuse to test on them",
        model.path if keys is None else classifier.path,
        TRAINING_PATIENTS_FILE,
    )
    return keys


def _log_path(work: ResumableWork, shard: str) -> pathlib.Path:
    """Where the notes on the pseudo-patients of a finished shard are."""
    return work.folder / f"{shard}.optimization.json"
