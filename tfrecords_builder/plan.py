"""Examples of a data set -> who is in which split and which shard, before any pixel is read."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from absl import logging

from tfcxr.data.label_choice import LabelChoice, choose_labels
from tfcxr.data.records import divide_into_shards, shard_name
from tfrecords_builder.assignment import Assignment, assign_splits, read_kept_splits
from tfrecords_builder.datasets.reader import RawExample, Reader, Reject
from tfrecords_builder.label_balance import check_exclusive, keep_at_most, shuffle_key
from tfrecords_builder.listing import drop_duplicates, is_fault, keep_labelled, list_examples
from tfrecords_builder.options import BuildOptions


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
      labels: those of interest, of all that an example has.
      assignment: which patients are in which split, and why.
      fingerprint: hash of every example and reject, to notice raw data that changed.
    """

    images_read: int
    rejects: tuple[Reject, ...]
    jobs: tuple[ShardJob, ...]
    labels: LabelChoice
    assignment: Assignment
    fingerprint: str

    @property
    def division(self) -> str:
        """Hash of which image is in which shard and where, which a former build's splits and duplicates change too."""
        digest = hashlib.sha256()
        for job in self.jobs:
            digest.update(repr((job.file, [example.key for example in job.examples])).encode())
        return digest.hexdigest()


class NothingLeftError(ValueError):
    """A data set without one usable image; `rejects` says why of each."""

    def __init__(self, images_read: int, rejects: Iterable[Reject], where: str) -> None:
        self.rejects = tuple(rejects)
        super().__init__(_nothing_left_message(images_read, self.rejects, where))


def plan_build(reader: Reader, options: BuildOptions) -> Plan:
    """Lists the examples, gives each patient a split, and each split its shards.

    Raises:
      NothingLeftError: no image at all, or none that can be used.
      ValueError: fractions for a split that is published, too few patients for the splits, a label of another length
        than the reader's names, an unknown label to choose or keep, joint labels of which at most so many images are
        asked for, duplicates that are an error; with `on_error` "stop" any fault.
    """
    labels = choose_labels(reader, options.labels)
    choose_labels(reader, options.only_labels)  # their names
    if options.max_images_per_label:
        check_exclusive(reader)
    listing = list_examples(reader)
    if options.on_error == "stop" and (faults := list(filter(is_fault, listing.rejects))):
        raise ValueError(stop_message(faults[0]))
    if labels.drops_images:
        listing = keep_labelled(reader, listing, labels.names)
    if options.only_labels:
        listing = keep_labelled(reader, listing, options.only_labels)
    if listing.examples and options.duplicates != "report":
        listing = drop_duplicates(reader, listing, options.workers, options.duplicates == "error")
    if options.max_images_per_label:
        listing = keep_at_most(reader, listing, options.max_images_per_label, options.seed)
    if not listing.examples:
        raise NothingLeftError(listing.images_read, listing.rejects, str(reader.raw_dir))
    kept_splits = {}
    if options.keep_splits:
        kept_splits = read_kept_splits(options.keep_splits, reader.name, options.salt_fingerprint)
    assignment = assign_splits(list(listing.examples), options, reader.name, kept_splits, labels)
    if assignment.moved_patients:
        logging.warning(
            "%d patients change splits: a published list now says otherwise than the former build in %s",
            assignment.moved_patients,
            options.keep_splits,
        )
    jobs = []
    for split, members in assignment.splits.items():
        members.sort(key=lambda example: shuffle_key(options.seed, example.key))
        shards = divide_into_shards(len(members), options.shard_images)
        jobs += [ShardJob(split, index, len(shards), tuple(members[part])) for index, part in enumerate(shards)]
    rejects = (*listing.rejects, *assignment.rejects)
    return Plan(listing.images_read, rejects, tuple(jobs), labels, assignment, listing.fingerprint)


def stop_message(reject: Reject) -> str:
    """The sentence that ends a build with `on_error` "stop"."""
    detail = f" ({reject.detail})" if reject.detail else ""
    return f"{reject.key} cannot be used: {reject.reason}{detail}; --on_error=skip counts such images and continues"


def _nothing_left_message(images_read: int, rejects: Sequence[Reject], where: str) -> str:
    if not images_read:
        return f"found no image in {where}; expected the data set's published layout there"
    counts = Counter(reject.reason for reject in rejects)
    listed = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
    # An example of the commonest fault; of what was chosen, where there is no fault.
    example = max(rejects, key=lambda reject: (is_fault(reject), counts[reject.reason]))
    such_as = f"such as {example.key}, {example.reason}" + (f": {example.detail}" if example.detail else "")
    return f"none of {images_read} images in {where} can be used: {listed}; {such_as}"


def arguments_of(reader: Reader) -> dict[str, Any]:
    """A reader's public settings, which must be JSON values, without the raw folder's path."""
    return {
        name: value
        for name, value in sorted(vars(reader).items())
        if name not in ("raw_dir", "label_names") and name[0] != "_"
    }
