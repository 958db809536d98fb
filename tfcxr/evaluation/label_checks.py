"""What a set's labels allow: refused before any training where nothing can be learned or tested, else what is missing.

    counts = counts_of_splits(read_dataset_info("records/64"), ["test"], ("NORMAL", "PNEUMONIA"))
    notices = check_labels("--test_splits=test of records/64", counts, "tested")

A label is usable where some images are known to have it and others not to have it. In messages, `where` names a set and
the verb says what cannot be done without a label: learned, tested or validated.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tfcxr.data.label_choice import choose_labels
from tfcxr.data.records import split_info
from tfcxr.data.schema import DatasetInfo
from tfcxr.evaluation.evaluation import Evaluation

MIN_PATIENTS = 2  # with and without a label; the resamples of one patient are all alike
NAMES_SHOWN = 5
UNTRAINED_EXTRACTORS = "or give --extractor=pixels or a network's file, which need no labels"


@dataclasses.dataclass(frozen=True)
class LabelCounts:
    """Label name -> images that have it, and images that are known not to have it."""

    by_label: Mapping[str, tuple[int, int]]
    is_single_label: bool

    def __add__(self, other: "LabelCounts") -> "LabelCounts":
        pairs = ((name, self.by_label[name], other.by_label[name]) for name in self.by_label)
        sums = {name: (mine[0] + theirs[0], mine[1] + theirs[1]) for name, mine, theirs in pairs}
        return LabelCounts(sums, self.is_single_label)

    @property
    def has_known(self) -> bool:
        """Whether any label is known of any image."""
        return any(map(sum, self.by_label.values()))

    @property
    def missing(self) -> list[str]:
        """What is lacking of labels that are not usable, such as "PNEUMONIA", "known Edema" or "image without Mass"."""
        lacking = []
        for name, (has, lacks) in self.by_label.items():
            if not has:
                lacking.append(name if lacks else f"known {name}")
            elif not lacks and not self.is_single_label:
                lacking.append(f"image without {name}")
        return lacking


def counts_of_splits(info: DatasetInfo, splits: Sequence[str], label_names: Sequence[str]) -> LabelCounts:
    """As `dataset_info.json` counts them; of exclusive classes, without images of those that are not named.

    Raises:
      ValueError: no such split, one without images, or one that is named twice.
    """
    counts = split_info(info, ",".join(splits)).labels
    by_label = {name: (counts[name]["positive"], counts[name]["negative"]) for name in label_names}
    if choose_labels(info, label_names).drops_images:  # what lacks a class is one of the others that are chosen
        images = sum(has for has, _ in by_label.values())
        by_label = {name: (has, images - has) for name, (has, _) in by_label.items()}
    return LabelCounts(by_label, info.is_single_label)


def images_of_splits(info: DatasetInfo, splits: Sequence[str], label_names: Sequence[str]) -> int:
    """Images that are evaluated: all, or those of the exclusive classes `label_names`."""
    split = split_info(info, ",".join(splits))
    if not choose_labels(info, label_names).drops_images:
        return split.images
    return sum(split.labels[name]["positive"] for name in label_names)


def counts_of_labels(labels: np.ndarray, label_names: Sequence[str], is_single_label: bool) -> LabelCounts:
    """Of labels float [images, labels], NaN where unknown."""
    sums = {
        name: (int((column == 1).sum()), int((column == 0).sum()))
        for name, column in zip(label_names, labels.T, strict=True)
    }
    return LabelCounts(sums, is_single_label)


def check_labels(where: str, counts: LabelCounts, verb: str) -> list[str]:
    """A sentence on the labels that are not usable; [] where all are.

    Raises:
      ValueError: no label is usable; the message says what is missing.
    """
    if any(map(min, counts.by_label.values())):
        return tell_labels(where, counts, verb)
    if not counts.by_label:
        raise ValueError(f"{where} has no labels, so nothing can be {verb}; build it from labelled images")
    if not counts.has_known:
        raise ValueError(f"{where} holds no known label, so nothing can be {verb}; give splits whose labels are known")
    held = listed([f"{name} {has}" for name, (has, _) in counts.by_label.items()])
    raise ValueError(
        f"{where} holds no {listed(counts.missing)} ({held}), so nothing can be {verb}; "
        "give splits that hold images with and without a label, or build the records with such a split"
    )


def check_extractor_labels(where: str, counts: LabelCounts) -> None:
    """`check_labels` of what an extractor is trained on; the message names extractors that need no labels."""
    try:
        check_labels(where, counts, "learned")
    except ValueError as error:
        raise ValueError(f"{error}; {UNTRAINED_EXTRACTORS}") from error


def tell_labels(where: str, counts: LabelCounts, verb: str) -> list[str]:
    """A sentence on the labels that are not usable; [] where all are."""
    missing = counts.missing
    which = "it" if len(missing) == 1 else "them"
    return [f"{where} holds no {listed(missing)}, so nothing can be {verb} about {which}"] if missing else []


def check_patients(where: str, labels: np.ndarray, patients: np.ndarray, label_names: Sequence[str]) -> list[str]:
    """Refuses a test set that has no label with `MIN_PATIENTS` patients to either side, for want of an interval.

    Args:
      labels: float [images, labels], NaN where unknown.
      patients: [images], equal for the images of one patient.

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


def check_label_splits(evaluation: Evaluation, must_test: bool) -> list[str]:
    """What labels the test and validation splits lack, by their descriptions alone.

    `must_test` refuses test splits without a usable label, which else are only mentioned.

    Raises:
      ValueError: no such split, or one without a usable label.
    """
    notices, check, names = [], check_labels if must_test else tell_labels, evaluation.label_names
    for name, test in evaluation.test_sets.items():
        counts = counts_of_splits(test.info, [test.split], names)
        notices += check(evaluation.test_split_flag(name), counts, "tested")
    if evaluation.validation_splits:
        where = f"--validation_splits={','.join(evaluation.validation_splits)} of {evaluation.real_dir}"
        counts = counts_of_splits(evaluation.real_info, evaluation.validation_splits, names)
        notices += check_labels(where, counts, "validated")
    return notices


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
