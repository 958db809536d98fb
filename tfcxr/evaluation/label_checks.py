"""What a set's labels allow: refused before any training where nothing can be learned or tested, else what is missing.

    counts = counts_of_splits(read_dataset_info("records/64"), ["test"], ("NORMAL", "PNEUMONIA"))
    notices = check_labels("--test_splits=test of records/64", counts, is_single_label=True, verb="tested")

A label is usable where some images are known to have it and others not to have it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from tfcxr.data.records import split_info
from tfcxr.data.schema import DatasetInfo
from tfcxr.evaluation.evaluation import Evaluation

MIN_PATIENTS = 2  # with and without a label; the resamples of one patient are all alike
NAMES_SHOWN = 5

Counts = Mapping[str, tuple[int, int]]
"""Label name -> images that have it, and images that are known not to have it."""


def counts_of_splits(info: DatasetInfo, splits: Sequence[str], label_names: Sequence[str]) -> Counts:
    """Images with and without each label, as `dataset_info.json` counts them.

    Raises:
      ValueError: no such split, one without images, or one that is named twice.
    """
    counts = split_info(info, ",".join(splits)).labels
    return {name: (counts[name]["positive"], counts[name]["negative"]) for name in label_names}


def counts_of_labels(labels: np.ndarray, label_names: Sequence[str]) -> Counts:
    """Images with and without each label, of labels float [images, labels] with NaN where unknown."""
    return {
        name: (int((column == 1).sum()), int((column == 0).sum()))
        for name, column in zip(label_names, labels.T, strict=True)
    }


def check_labels(where: str, counts: Counts, is_single_label: bool, verb: str) -> list[str]:
    """Refuses a set that has no usable label.

    Args:
      where: names the set in the message, such as "--test_splits=test of records/64".
      counts: of each label.
      is_single_label: exclusive labels.
      verb: what cannot be done without a label: "learned", "tested" or "validated".

    Returns:
      a sentence on the labels that are not usable; [] where all are.

    Raises:
      ValueError: no label is usable; the message says what is missing.
    """
    if any(map(min, counts.values())):
        return tell_labels(where, counts, is_single_label, verb)
    if not counts:
        raise ValueError(f"{where} has no labels, so nothing can be {verb}; build it from labelled images")
    if not any(map(sum, counts.values())):
        raise ValueError(f"{where} holds no known label, so nothing can be {verb}; give splits whose labels are known")
    held = listed([f"{name} {has}" for name, (has, _) in counts.items()])
    raise ValueError(
        f"{where} holds no {listed(missing_labels(counts, is_single_label))} ({held}), so nothing can be {verb}; "
        "give splits that hold images with and without a label, or build the records with such a split"
    )


def tell_labels(where: str, counts: Counts, is_single_label: bool, verb: str) -> list[str]:
    """A sentence on the labels of a set that are not usable, [] where all are; arguments as of `check_labels`."""
    missing = missing_labels(counts, is_single_label)
    which = "it" if len(missing) == 1 else "them"
    return [f"{where} holds no {listed(missing)}, so nothing can be {verb} about {which}"] if missing else []


def missing_labels(counts: Counts, is_single_label: bool) -> list[str]:
    """What a set lacks of labels that are not usable, such as "PNEUMONIA", "known Edema" or "image without Mass"."""
    return [text for name, sides in counts.items() if (text := _missing(name, *sides, is_single_label))]


def check_patients(where: str, labels: np.ndarray, patients: np.ndarray, label_names: Sequence[str]) -> list[str]:
    """Refuses a test set that has no label with `MIN_PATIENTS` patients to either side, for want of an interval.

    Args:
      where: names the set in the message.
      labels: float [images, labels], NaN where unknown.
      patients: [images], equal for the images of one patient.
      label_names: of the columns.

    Returns:
      a sentence on the labels that rest on fewer patients; [] where there are none.

    Raises:
      ValueError: all labels with images to both sides rest on fewer.
    """
    sides = {
        name: tuple(len(np.unique(patients[column == value])) for value in (1, 0))
        for name, column in zip(label_names, labels.T, strict=True)
    }
    tested = {name: numbers for name, numbers in sides.items() if min(numbers)}
    few = [
        f"{name} ({has} with, {lacks} without)"
        for name, (has, lacks) in tested.items()
        if min(has, lacks) < MIN_PATIENTS
    ]
    if not few:
        return []
    sentence = f"{where} holds a single patient with or without {listed(few)}"
    if len(few) < len(tested):
        return [f"{sentence}: such scores are one patient's, and their intervals say nothing"]
    raise ValueError(
        f"{sentence}; an interval by patient needs {MIN_PATIENTS} or more of both: give a larger test split"
    )


def check_arms(
    evaluation: Evaluation, arms: Sequence[str], sides: Mapping[str, Counts], is_single_label: bool
) -> list[str]:
    """What labels classifiers trained on "real", "synthetic" or "both" cannot learn, of the counts of either side.

    Raises:
      ValueError: an arm without a usable label.
    """
    folders = {"real": evaluation.train_splits_flag, "synthetic": f"--synthetic_dir={evaluation.synthetic_dir}"}
    notices = []
    for side in (side for side in folders if side in arms):
        notices += check_labels(folders[side], sides[side], is_single_label, "learned")
    if "both" in arms:
        real, synthetic = sides["real"], sides["synthetic"]
        both = {name: (real[name][0] + synthetic[name][0], real[name][1] + synthetic[name][1]) for name in real}
        check_labels(" and ".join(folders.values()), both, is_single_label, "learned")
    return notices


def check_label_splits(
    evaluation: Evaluation, real_info: DatasetInfo, test_info: DatasetInfo, must_test: bool
) -> list[str]:
    """What labels the test and validation splits lack, by their descriptions alone.

    Args:
      evaluation: names the splits.
      real_info: of the validation splits.
      test_info: of the test splits.
      must_test: refuses test splits without a usable label, which else are only mentioned.

    Raises:
      ValueError: no such split, or one without a usable label.
    """
    names, is_single_label = real_info.label_names, real_info.is_single_label
    notices = []
    for split in evaluation.test_splits:
        counts = counts_of_splits(test_info, [split], names)
        check = check_labels if must_test else tell_labels
        notices += check(evaluation.test_split_flag(split), counts, is_single_label, "tested")
    if evaluation.validation_splits:
        where = f"--validation_splits={','.join(evaluation.validation_splits)} of {evaluation.real_dir}"
        counts = counts_of_splits(real_info, evaluation.validation_splits, names)
        notices += check_labels(where, counts, is_single_label, "validated")
    return notices


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _missing(name: str, has: int, lacks: int, is_single_label: bool) -> str:
    """What of a label a set lacks, "" where it is usable."""
    if not has and not lacks:
        return f"known {name}"
    if not has:
        return name
    return "" if lacks or is_single_label else f"image without {name}"
