"""Examples -> splits: published ones first, then those of a former build, then new ones by labels or by hash."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from tfcxr.data.label_choice import LabelChoice
from tfcxr.data.records import read_dataset_info, read_patient_keys
from tfcxr.data.schema import hashed_key
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.inspect.data_folders import find_data_folders
from tfrecords_builder.options import BuildOptions
from tfrecords_builder.splits import describe, hashed_split, split_new_patients, split_patients

DEFAULT_SHARES = {"validation": 0.1, "test": 0.1}  # the rest is "train"; a published split needs no share
OTHER_SPLIT = "patient_in_other_official_split"
_PREFERRED = ("test", "validation")  # a patient in two published splits stays in the one that measures


@dataclasses.dataclass(frozen=True)
class Assignment:
    """Who is where.

    Attributes:
      splits: split -> its images.
      rejects: images that would have put a patient into two splits.
      fractions: the shares that patients without a published split were divided by; empty when there are none.
      kept_patients: how many are where a former build had them.
      moved_patients: how many a published list has taken out of the split of the former build.
    """

    splits: dict[str, list[RawExample]]
    rejects: tuple[Reject, ...]
    fractions: Mapping[str, float]
    kept_patients: int
    moved_patients: int


def assign_splits(
    examples: list[RawExample],
    options: BuildOptions,
    dataset: str,
    kept_splits: Mapping[str, str],
    labels: LabelChoice,
) -> Assignment:
    """Gives every patient one split.

    Args:
      dataset: the reader's name, with which patients are hashed.
      kept_splits: patient key -> split of a former build; empty without one.
      labels: whose shares are balanced.

    Raises:
      ValueError: fractions for a split that is published, or too few patients for the splits.
    """
    examples, rejects = keep_patients_together(examples)
    official = sorted({example.official_split for example in examples} - {""})
    patients: dict[str, list[RawExample]] = {}
    for example in examples:
        patients.setdefault(example.patient_id, []).append(example)
    former = {}
    if kept_splits:
        keys = {patient: patient_key(dataset, images[0], options.salt) for patient, images in patients.items()}
        former = {patient: kept_splits[key] for patient, key in keys.items() if key in kept_splits}
    divisible = {patient: images for patient, images in patients.items() if not images[0].official_split}
    kept = {patient: former[patient] for patient in divisible if former.get(patient, "") not in ("", *official)}
    fractions = _fractions(options, official, bool(divisible))
    splits: dict[str, list[RawExample]] = {name: [] for name in (*fractions, *official)}
    for patient, split in _divide(divisible, kept, fractions, options, labels).items():
        splits.setdefault(split, []).extend(divisible[patient])
    moved = 0
    for patient, images in patients.items():
        if split := images[0].official_split:
            splits[split] += images
            moved += former.get(patient, split) != split
    return Assignment(splits, tuple(rejects), fractions, len(kept), moved)


def patient_key(dataset: str, example: RawExample, salt: bytes) -> str:
    """The patient's key as records hold it; the data set's name is hashed too, so that sets do not mix."""
    return hashed_key(f"{dataset}/{example.patient_id}", salt)


def read_kept_splits(folder: str, dataset: str, salt_fingerprint: str) -> dict[str, str]:
    """Patient key -> split in a former build, so that its patients stay where they were.

    Args:
      folder: a data folder, or a folder of several sizes.

    Raises:
      FileNotFoundError: no finished build there.
      ValueError: a build of another data set or another salt, whose patients cannot be recognised.
    """
    data_dir = find_data_folders(folder)[0]
    info = read_dataset_info(data_dir)
    if info.name != dataset:
        raise ValueError(f"--keep_splits {data_dir} is a build of {info.name}, expected one of {dataset}")
    if info.salt_fingerprint != salt_fingerprint:
        raise ValueError(f"--keep_splits {data_dir} was built with another --salt_file: its patients cannot be known")
    splits = [name for name, split in info.splits.items() if split.images]
    return {key: split for split in splits for key in read_patient_keys(data_dir, split)}


def preference(split: str) -> tuple[int, str]:
    """Orders splits by which one keeps what is in several: those that measure first."""
    return (_PREFERRED.index(split) if split in _PREFERRED else len(_PREFERRED), split)


def keep_patients_together(examples: list[RawExample]) -> tuple[list[RawExample], list[Reject]]:
    """Drops images that would put a patient of one published split into another split too, and names them."""
    official: dict[str, str] = {}
    for example in examples:
        if example.official_split:
            known = official.get(example.patient_id, example.official_split)
            official[example.patient_id] = min(known, example.official_split, key=preference)
    kept, moved = [], []
    for example in examples:
        split = official.get(example.patient_id, "")
        if example.official_split == split:
            kept.append(example)
        else:
            moved.append(Reject(example.key, OTHER_SPLIT, f"the patient has images in the published split {split!r}"))
    return kept, moved


def _fractions(options: BuildOptions, official: list[str], is_any_divisible: bool) -> Mapping[str, float]:
    if not is_any_divisible:
        if options.splits is not None:
            raise ValueError("every image of this data set has a published split; leave out --splits and --folds")
        return {}
    if options.splits is None:
        shares = {name: share for name, share in DEFAULT_SHARES.items() if name not in official}
        return {"train": 1 - sum(shares.values()), **shares}
    if clash := [name for name in options.splits if name in official]:
        raise ValueError(
            f"split {clash[0]!r} is published with this data set and kept as it is; name other splits than "
            f"{', '.join(official)} in --splits={describe(options.splits)}"
        )
    return options.splits


def _divide(
    divisible: Mapping[str, list[RawExample]],
    kept: Mapping[str, str],
    fractions: Mapping[str, float],
    options: BuildOptions,
    labels: LabelChoice,
) -> dict[str, str]:
    """Patient -> split of those without a published one."""
    if not divisible:
        return {}
    if options.split_by == "hash":
        return {patient: kept.get(patient) or hashed_split(patient, fractions, options.seed) for patient in divisible}
    means = {patient: _mean_label(images, labels) for patient, images in divisible.items()}
    if kept:
        return split_new_patients(means, kept, fractions, options.seed)
    return split_patients(means, fractions, options.seed)


def _mean_label(examples: list[RawExample], chosen: LabelChoice) -> np.ndarray:
    """float [chosen labels]: the mean over a patient's images of what is known, 0 where nothing is."""
    labels = chosen.of(np.array([example.label for example in examples], float))
    known = ~np.isnan(labels)
    return np.where(known, labels, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
