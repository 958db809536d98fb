"""What each arm of synthetic-train/real-test trains and validates on: synthetic images, real ones, or both."""

import itertools

import numpy as np

from tfcxr.data.stored_images import StoredImages, join_images
from tfcxr.protocols.cohorts import Cohort, Comparison, split_off_validation
from tfcxr.protocols.label_checks import check_labels, counts_of_labels, listed, missing_labels
from tfcxr.protocols.settings import EvaluationSettings

LabelledImages = tuple[StoredImages, np.ndarray]
"""Images, and their labels float32 [images, labels]."""


def arm_images(
    settings: EvaluationSettings, comparison: Comparison, arm: str, seed: int
) -> tuple[LabelledImages, LabelledImages]:
    """What an arm trains on and what it validates on, unread."""
    sides: list[Cohort] = {
        "synthetic": [comparison.synthetic],
        "real": [comparison.real],
        "both": [comparison.synthetic, comparison.real],
    }[arm]
    if comparison.validation is not None:
        training = [(side.images, side.labels) for side in sides]
        return _joined(training), (comparison.validation.images, comparison.validation.labels)
    training, validation = [], []
    for side in sides:
        groups = np.arange(len(side.images)) if side is comparison.synthetic else side.patient_keys
        is_kept_back = split_off_validation(groups, settings.classifier.validation_fraction, seed)
        training.append((side.images.where(~is_kept_back), side.labels[~is_kept_back]))
        validation.append((side.images.where(is_kept_back), side.labels[is_kept_back]))
    return _joined(training), _joined(validation)


def check_kept_back(settings: EvaluationSettings, comparison: Comparison) -> list[str]:
    """What labels are missing where trainings keep back images of their own to validate on.

    Raises:
      ValueError: a training whose images have no label to learn, or that validates on images without a known one.
    """
    if comparison.validation is not None:
        return []
    names, trainings, missing = comparison.label_names, [], set()
    for arm, seed in itertools.product(settings.arms, settings.classifier_seeds):
        (_, labels), (_, kept_back) = arm_images(settings, comparison, arm, seed)
        where = f"what arm {arm}, seed {seed}, trains on"
        check_labels(where, counts_of_labels(labels, names), comparison.is_single_label, "learned")
        counts = counts_of_labels(kept_back, names)
        if not any(map(sum, counts.values())):
            raise ValueError(
                f"what arm {arm}, seed {seed}, keeps back to validate on holds no known label; raise --images or give "
                "--validation_split"
            )
        if lacking := missing_labels(counts, comparison.is_single_label):
            trainings.append(f"{arm} (seed {seed})")
            missing.update(lacking)
    if not trainings:
        return []
    return [
        f"what the trainings {listed(trainings)} keep back to validate on holds no {listed(sorted(missing))}: their "
        "end, and the threshold of what is missing (.5), are chosen without it; --images or --validation_split can "
        "give more"
    ]


def _joined(parts: list[LabelledImages]) -> LabelledImages:
    images, labels = zip(*parts, strict=True)
    return join_images(images), np.concatenate(labels)
