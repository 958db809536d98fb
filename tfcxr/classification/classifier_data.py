"""The real patients of a classifier: training, validation and test images, no patient in two of them."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcxr.data.records import read_dataset_info
from tfcxr.data.schema import DatasetInfo
from tfcxr.data.sizes import find_size
from tfcxr.evaluation.cohorts import Cohort, load_cohort, split_off_validation, training_leaks
from tfcxr.evaluation.labelled_images import LabelledImages


@dataclasses.dataclass(frozen=True)
class ClassifierData:
    """What a classifier learns from and is tested on.

    Attributes:
      info: of the data folder.
      label_names: in the order of all labels.
      training: images and labels.
      validation: likewise.
      validation_patients: string [images], the patient of each validation image.
      training_patients: string [patients], of training and validation images.
      tests: by split.
      facts: name, splits, counts and fingerprints, ready for JSON.
    """

    info: DatasetInfo
    label_names: tuple[str, ...]
    training: LabelledImages
    validation: LabelledImages
    validation_patients: np.ndarray
    training_patients: np.ndarray
    tests: dict[str, Cohort]
    facts: dict[str, Any]


def load_classifier_data(
    data_dir: str | os.PathLike,
    labels: Sequence[str],
    train_split: str,
    validation_split: str,
    test_splits: Sequence[str],
    validation_fraction: float,
    seed: int,
) -> ClassifierData:
    """Opens the splits; images are read when they are used.

    Args:
      data_dir: of one size, or a folder that holds one size.
      labels: to learn; () is all of them.
      validation_split: "" for whole patients of the training split, chosen by the seed.
      validation_fraction: share of its images that these patients have.

    Raises:
      FileNotFoundError: no data folder, or a shard is missing.
      ValueError: synthetic or unlabelled data, no such split or label, one split for two purposes, or patients in two.
    """
    folder = find_size(data_dir)
    info = read_dataset_info(folder)
    if info.is_synthetic:
        raise ValueError(f"{folder} holds synthetic images ({info.name}); train a classifier on real patients")
    if not info.label_names:
        raise ValueError(f"{folder} has no labels, so nothing can be learned; build it from labelled images")
    used = [train_split, *([validation_split] if validation_split else []), *test_splits]
    if len(set(used)) < len(used):
        raise ValueError(
            f"{', '.join(used)} names a split twice; training, validation and test need splits of their own"
        )
    names = tuple(name.strip() for name in labels) or tuple(info.label_names)
    if len(names) == 1 and info.is_single_label:
        raise ValueError(
            f"--labels={names[0]} leaves a single one of the exclusive classes of {folder}, so there is nothing to "
            f"tell it from; name two or more of {', '.join(info.label_names)}"
        )
    real = load_cohort(folder, info, [train_split], names)
    validation = load_cohort(folder, info, [validation_split], names) if validation_split else None
    tests = {split: load_cohort(folder, info, [split], names) for split in test_splits}
    if shared := training_leaks(real, validation, tests, info, dict.fromkeys(tests, info)):
        raise ValueError(f"{shared[0]}; choose other splits, or build them by patient")
    facts = {
        "name": info.name,
        "notice": info.notice,
        "licence": info.source.get("licence", ""),
        "salt_fingerprint": info.salt_fingerprint,
        "training": real.identity,
        "validation": validation.identity if validation else {"fraction_of_training": validation_fraction},
    }
    if validation is None:
        is_kept_back = split_off_validation(real.patient_keys, validation_fraction, seed)
        sides = real.labelled.where(~is_kept_back), real.labelled.where(is_kept_back)
        of_validation = real.patient_keys[is_kept_back]
    else:
        sides, of_validation = (real.labelled, validation.labelled), validation.patient_keys
    patients = np.unique(np.concatenate([real.patient_keys, of_validation]))
    return ClassifierData(info, names, *sides, of_validation, patients, tests, facts)
