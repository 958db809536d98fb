"""Examples -> splits: published ones first, then those a former build chose, then new ones by labels or by hash."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from tfcxr.data.schema import hashed_key
from tfrecords_builder.datasets.reader import RawExample, Reject
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
    kept_patients: int = 0
    moved_patients: int = 0


def assign_splits(
    examples: list[RawExample], options: BuildOptions, dataset: str, kept_splits: Mapping[str, str]
) -> Assignment:
    """Gives every patient one split.

    Args:
      dataset: the reader's name, with which patients are hashed.
      kept_splits: patient key -> split of a former build; empty without one.

    Raises:
      ValueError: fractions for a split that is published, or too few patients for the splits.
    """
    examples, rejects = keep_patients_together(examples)
    official = sorted({example.official_split for example in examples} - {""})
    divisible: dict[str, list[RawExample]] = {}
    for example in examples:
        if not example.official_split:
            divisible.setdefault(example.patient_id, []).append(example)
    fractions = _fractions(options, official, bool(divisible))
    patient_key = lambda patient: hashed_key(f"{dataset}/{patient}", options.salt)  # noqa: E731
    kept = {}
    if kept_splits:
        found = {patient: kept_splits.get(patient_key(patient)) for patient in divisible}
        kept = {patient: split for patient, split in found.items() if split and split not in official}
    splits: dict[str, list[RawExample]] = {name: [] for name in (*fractions, *official)}
    for patient, split in _divide(divisible, kept, fractions, options).items():
        splits.setdefault(split, []).extend(divisible[patient])
    moved = set()
    for example in examples:
        if example.official_split:
            splits[example.official_split].append(example)
            if kept_splits and kept_splits.get(patient_key(example.patient_id), example.official_split) != (
                example.official_split
            ):
                moved.add(example.patient_id)
    return Assignment(splits, tuple(rejects), fractions, len(kept), len(moved))


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
) -> dict[str, str]:
    if not divisible:
        return {}
    if options.split_by == "hash":
        return {patient: kept.get(patient) or hashed_split(patient, fractions, options.seed) for patient in divisible}
    labels = {patient: _mean_label(images) for patient, images in divisible.items()}
    if kept:
        return split_new_patients(labels, kept, fractions, options.seed)
    return split_patients(labels, fractions, options.seed)


def _mean_label(examples: list[RawExample]) -> np.ndarray:
    """float [labels]: the mean over a patient's images of what is known, NaN where nothing is."""
    labels = np.array([example.label for example in examples], float)
    known = ~np.isnan(labels)
    counts = known.sum(axis=0)
    means = np.where(known, labels, 0.0).sum(axis=0) / np.maximum(counts, 1)
    return np.where(counts > 0, means, math.nan)
