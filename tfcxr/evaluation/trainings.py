"""Classifiers that protocols train and test on real patients; each finished one is kept, so nothing is done twice.

training = find_or_train(path, task, cohorts, depends_on, "1 of 12: real, seed 0")
training.predictions["test"]  # float32 [images, labels]
"""

import dataclasses
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from tfcxr.data.atomic import write_atomically
from tfcxr.evaluation import kept
from tfcxr.evaluation.cohorts import Cohort, Cohorts
from tfcxr.evaluation.extractors.classifier import TrainedClassifier, open_classifier, train_classifier
from tfcxr.evaluation.extractors.classifier_config import ClassifierConfig
from tfcxr.evaluation.extractors.fitting import Fit
from tfcxr.evaluation.labelled_images import LabelledImages
from tfcxr.evaluation.scores import youden_thresholds

WEIGHTS_SUFFIX = ".weights.h5"


@dataclasses.dataclass(frozen=True)
class TrainingTask:
    """What is trained.

    Attributes:
      config: of the classifier.
      seed: of its weights and of the order of the images.
      training: what it learns from.
      validation: on which its end and threshold are chosen.
      start: a finished training whose weights it starts from; None starts as `config` says.
      steps_per_epoch: as for `fit_classifier`.
      keeps_weights: for `Training.open`.
    """

    config: ClassifierConfig
    seed: int
    training: LabelledImages
    validation: LabelledImages
    start: "Training | None" = None
    steps_per_epoch: int | None = None
    keeps_weights: bool = False


@dataclasses.dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes:
      path: of its facts; weights, where they are kept, lie beside it.
      facts: seed, numbers of images, curves, best epoch, seconds and thresholds, ready for JSON.
      predictions: test split -> probabilities float32 [images, labels].
    """

    path: pathlib.Path
    facts: dict[str, Any]
    predictions: dict[str, np.ndarray]

    @property
    def weights_path(self) -> pathlib.Path:
        """FILE.weights.h5."""
        return self.path.with_suffix(WEIGHTS_SUFFIX)

    def open(self, config: ClassifierConfig, cohorts: Cohorts) -> TrainedClassifier:
        """The classifier, where its weights were kept."""
        fit = Fit(self.facts["curves"], self.facts["best_epoch"], self.facts["seconds"])
        size, labels = cohorts.real.images.shape[1], len(cohorts.label_names)
        return open_classifier(config, self.weights_path, fit, size, labels, cohorts.is_single_label)


def find_or_train(
    path: pathlib.Path, task: TrainingTask, cohorts: Cohorts, depends_on: Mapping[str, Any], description: str
) -> Training:
    """A training from `path` where it is kept under the same key, else made now, tested on every test split and kept.

    Args:
      depends_on: what decides the training images, beside all that is known here.

    Raises:
      ValueError: what `train_classifier` refuses.
    """
    config, tests = task.config, cohorts.tests
    key = kept.key_of(
        {
            "classifier": config.identity,
            "seed": task.seed,
            "start": task.start and task.start.facts["key"],
            "steps_per_epoch": task.steps_per_epoch,
            "validation": cohorts.validation and cohorts.validation.identity,
            "tests": {split: test.identity for split, test in tests.items()},
            "label_names": cohorts.label_names,
            "software": kept.software_versions(),
            **depends_on,
        }
    )
    found = kept.find(path, key)
    if found and (not task.keeps_weights or path.with_suffix(WEIGHTS_SUFFIX).is_file()):
        logging.info("%s is taken from %s", description, path)
        return Training(path, *found)
    logging.info("%s: training on %d images", description, len(task.training.images))
    classifier = train_classifier(
        config, task.training, task.validation, cohorts.is_single_label, task.seed, description,
        start=task.start and task.start.weights_path, steps_per_epoch=task.steps_per_epoch,
    )  # fmt: skip
    probability, _ = classifier.predict(task.validation.images)
    facts = {
        "seed": task.seed,
        "training_images": len(task.training.images),
        "validation_images": len(task.validation.images),
        **dataclasses.asdict(classifier.fit),
        "thresholds": youden_thresholds(task.validation.labels, probability, cohorts.is_single_label),
    }
    predictions = {split: classifier.predict(test.images)[0] for split, test in tests.items()}
    path.unlink(missing_ok=True)  # never old facts beside new weights
    if task.keeps_weights:
        classifier.save(path.with_suffix(WEIGHTS_SUFFIX))
    return Training(path, kept.keep(path, key, facts, predictions), predictions)


def write_predictions(
    path: pathlib.Path, test: Cohort, label_names: Sequence[str], by_arm: Mapping[str, Sequence[np.ndarray]]
) -> None:
    """Keeps what later comparisons on the same patients need, as an .npz file.

    It holds "labels" float32 [images, labels], NaN where unknown; "patients" int [images], equal for the images of one
    patient; "label_names"; and by arm float32 [seeds, images, labels].
    """
    buffer = io.BytesIO()
    patients = np.unique(test.patient_keys, return_inverse=True)[1]
    arms = {arm: np.stack(predictions) for arm, predictions in by_arm.items()}
    np.savez(buffer, labels=test.labels, patients=patients, label_names=np.array(label_names), **arms)
    write_atomically(path, buffer.getvalue())
