"""Examples of a data set -> who is in which split and which shard, before any pixel is read."""

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tfcxr.data.records import shard_name
from tfrecords_builder.datasets.reader import RawExample, Reader, Reject
from tfrecords_builder.options import BuildOptions
from tfrecords_builder.splits import describe, split_patients

DEFAULT_SPLITS = {"train": 0.8, "validation": 0.1, "test": 0.1}
DEFAULT_SPLITS_BESIDE_TEST = {"train": 0.9, "validation": 0.1}
OTHER_SPLIT = "patient_in_other_official_split"
_PREFERRED = ("test", "validation")  # a patient in two published splits stays in the one that measures
_MANY_SHARDS, _WORTH_A_SHARD = 8, 100


@dataclasses.dataclass(frozen=True)
class ShardJob:
    """One shard to write: all sizes of `examples`, in this order."""

    split: str
    index: int
    count: int
    examples: tuple[RawExample, ...]

    @property
    def file(self) -> str:
        """The shard's file name, the same in the folder of each size."""
        return shard_name(self.split, self.index, self.count)


@dataclasses.dataclass(frozen=True)
class Plan:
    """All of a build that does not need pixels.

    Attributes:
      images_read: examples and rejects that the reader gave.
      rejects: images refused before their pixels were read.
      jobs: the shards, split by split.
      fractions: the shares that patients without a published split were divided by; empty when there are none.
      fingerprint: hash of every example and reject, to notice raw data that changed.
    """

    images_read: int
    rejects: tuple[Reject, ...]
    jobs: tuple[ShardJob, ...]
    fractions: Mapping[str, float]
    fingerprint: str


def make_plan(reader: Reader, options: BuildOptions) -> Plan:
    """Lists the examples, gives each patient a split, and each split its shards.

    Raises:
      ValueError: no image at all, none that can be used, fractions for a split that is published, too few patients
        for the splits, a label of another length than the reader's names; with `on_error` "stop" any reject.
    """
    examples, rejects, fingerprint = _list_examples(reader)
    if options.on_error == "stop" and rejects:
        raise ValueError(stop_message(rejects[0]))
    images_read = len(examples) + len(rejects)
    if not examples:
        raise ValueError(nothing_left_message(images_read, rejects, str(reader.raw_dir)))
    examples, moved = _keep_patients_together(examples)
    splits, fractions = _assign_splits(examples, options)
    jobs = []
    for split, members in splits.items():
        members.sort(key=lambda example: _shuffle_key(options.seed, example.key))
        jobs += _shards(split, members, options.shard_images)
    return Plan(images_read, (*rejects, *moved), tuple(jobs), fractions, fingerprint)


def stop_message(reject: Reject) -> str:
    """The sentence that ends a build with `on_error` "stop"."""
    detail = f" ({reject.detail})" if reject.detail else ""
    return f"{reject.key} cannot be used: {reject.reason}{detail}; --on_error=skip counts such images and goes on"


def nothing_left_message(images_read: int, rejects: Iterable[Reject], where: str) -> str:
    """The sentence for a data set without one usable image."""
    if not images_read:
        return f"found no image in {where}; expected the data set's published layout there"
    counts = ", ".join(f"{reason} {count}" for reason, count in sorted(count_reasons(rejects).items()))
    return f"none of {images_read} images in {where} can be used: {counts}"


def count_reasons(rejects: Iterable[Reject]) -> dict[str, int]:
    """Reason -> number of rejects."""
    counts: dict[str, int] = {}
    for reject in rejects:
        counts[reject.reason] = counts.get(reject.reason, 0) + 1
    return counts


def _list_examples(reader: Reader) -> tuple[list[RawExample], list[Reject], str]:
    examples, rejects, keys = [], [], set()
    digest = hashlib.sha256()
    for entry in reader.examples():
        digest.update(repr(entry).encode())
        if isinstance(entry, Reject):
            rejects.append(entry)
        elif entry.key in keys:
            rejects.append(Reject(entry.key, "duplicate_key", "an image of this name came before"))
        elif len(entry.label) != len(reader.label_names):
            raise ValueError(f"{entry.key} has {len(entry.label)} label values, expected {len(reader.label_names)}")
        else:
            keys.add(entry.key)
            examples.append(entry)
    return examples, rejects, digest.hexdigest()


def _keep_patients_together(examples: list[RawExample]) -> tuple[list[RawExample], list[Reject]]:
    """Drops images that would put a patient of one published split into another split too, and names them."""
    official: dict[str, str] = {}
    for example in examples:
        if example.official_split:
            known = official.get(example.patient_id, example.official_split)
            official[example.patient_id] = min(known, example.official_split, key=_preference)
    kept, moved = [], []
    for example in examples:
        split = official.get(example.patient_id, "")
        if example.official_split == split:
            kept.append(example)
        else:
            moved.append(Reject(example.key, OTHER_SPLIT, f"the patient has images in the published split {split!r}"))
    return kept, moved


def _preference(split: str) -> tuple[int, str]:
    return (_PREFERRED.index(split) if split in _PREFERRED else len(_PREFERRED), split)


def _assign_splits(
    examples: list[RawExample], options: BuildOptions
) -> tuple[dict[str, list[RawExample]], Mapping[str, float]]:
    """Split -> its images, and the fractions that were used for those without a published split."""
    official = sorted({example.official_split for example in examples} - {""})
    divisible: dict[str, list[RawExample]] = {}
    for example in examples:
        if not example.official_split:
            divisible.setdefault(example.patient_id, []).append(example)
    fractions = options.splits
    if fractions is None:
        fractions = DEFAULT_SPLITS_BESIDE_TEST if "test" in official else DEFAULT_SPLITS
    elif clash := [name for name in fractions if name in official]:
        raise ValueError(
            f"split {clash[0]!r} is published with this data set and kept as it is; name other splits than "
            f"{', '.join(official)} in --splits={describe(fractions)}"
        )
    if not divisible:
        if options.splits is not None:
            raise ValueError("every image of this data set has a published split; leave out --splits")
        fractions = {}
    splits: dict[str, list[RawExample]] = {name: [] for name in (*fractions, *official)}
    if divisible:
        labels = {patient: _mean_label(images) for patient, images in divisible.items()}
        for patient, split in split_patients(labels, fractions, options.seed).items():
            splits[split] += divisible[patient]
    for example in examples:
        if example.official_split:
            splits[example.official_split].append(example)
    return splits, fractions


def _mean_label(examples: list[RawExample]) -> np.ndarray:
    """float [labels]: the mean over a patient's images of what is known, NaN where nothing is."""
    labels = np.array([example.label for example in examples], float)
    known = ~np.isnan(labels)
    counts = known.sum(axis=0)
    means = np.where(known, labels, 0.0).sum(axis=0) / np.maximum(counts, 1)
    return np.where(counts > 0, means, math.nan)


def _shuffle_key(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{key}".encode()).digest()


def _shards(split: str, examples: list[RawExample], shard_images: int) -> list[ShardJob]:
    total = len(examples)
    count = max(math.ceil(total / shard_images), min(_MANY_SHARDS, math.ceil(total / _WORTH_A_SHARD)))
    bounds = [total * index // count for index in range(count + 1)]
    return [ShardJob(split, index, count, tuple(examples[bounds[index] : bounds[index + 1]])) for index in range(count)]


def arguments_of(reader: Reader) -> dict[str, Any]:
    """A reader's public settings, which must be JSON values, without the raw folder's path."""
    return {
        name: value
        for name, value in sorted(vars(reader).items())
        if name not in ("raw_dir", "label_names") and name[0] != "_"
    }
