"""The records of a merge: where each lies in the input shards, and which shard of the result it goes to.

Each input shard is a job of a worker, which checks its SHA-256 and gives of each record its keys, its place and its
length, about 100 bytes; no pixel is decoded or kept. The order of the result is that of a hash of seed and image key,
so it depends on the images alone, not on the order of the folders.
"""

import collections
import dataclasses
import functools
import hashlib
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tfcxr.data.records import check_shard, divide_into_shards, shard_name, shard_paths
from tfcxr.data.schema import ShardInfo, count_labels, named_counts
from tfcxr.data.tfrecord import CHECKSUM_BYTES, HEAD_BYTES
from tfrecords_builder.inspect.data_folders import keep_splits_advice
from tfrecords_builder.inspect.merge_inputs import MergedLabels, MergeInput, MergeOptions
from tfrecords_builder.inspect.stored_records import UNREADABLE, StoredRecord, check_record, read_shard
from tfrecords_builder.worker_pool import run_jobs

WORTH_A_WORKER = 5000  # images, of a seventh of a millisecond each to read, and likewise to write


@dataclasses.dataclass(frozen=True)
class SplitPlan:
    """One split of the result.

    Attributes:
      patients: bytes [patients], their keys, each once.
      labels: label name -> counts, see `SplitInfo`.
      shards: rows of the record table of each shard, in writing order.
    """

    name: str
    patients: np.ndarray
    labels: dict[str, dict[str, int]]
    shards: tuple[np.ndarray, ...]

    @property
    def images(self) -> int:
        return sum(map(len, self.shards))

    def file(self, index: int) -> str:
        """File name of one shard."""
        return shard_name(self.name, index, len(self.shards))


@dataclasses.dataclass(frozen=True)
class MergePlan:
    """All of a merge but the bytes.

    Attributes:
      files: the input shards, each with the number of its input.
      file, offset, length: int64 [records]: in which of `files` a record lies, where its bytes begin, how many.
      splits: of the result.
    """

    files: tuple[tuple[int, pathlib.Path], ...]
    file: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    splits: tuple[SplitPlan, ...]


class _ReadJob(NamedTuple):
    """One input shard of a split; `number` is its input's, `place` numbers the pairs of input and split."""

    number: int
    entry: MergeInput
    split: str
    place: int
    shard: ShardInfo

    @property
    def path(self) -> pathlib.Path:
        return self.entry.folder / self.shard.file


class _ShardTable(NamedTuple):
    """The records of one input shard that go into the result.

    Attributes:
      columns: name -> [records], of key, patient_key, length and offset.
      counts: of labels, see `count_labels`.
      ambiguous: records without exactly one label.
    """

    columns: dict[str, np.ndarray]
    counts: np.ndarray
    ambiguous: int


def plan_merge(
    inputs: Sequence[MergeInput], labels: MergedLabels, options: MergeOptions, workers: int = 0
) -> MergePlan:
    """Reads the facts of every record, refuses images and patients that occur twice, and fills the shards.

    Raises:
      FileNotFoundError: an input shard is missing.
      ValueError: an altered or damaged input shard, an image key twice, a patient in two splits, no image at all, or
        images without exactly one label where the result is to be single-label.
      ChildProcessError: a worker process died.
    """
    jobs = _read_jobs(inputs, options)
    places = [(job.entry, job.split) for _, (job, *_) in itertools.groupby(jobs, lambda job: job.place)]
    if not places:
        raise ValueError("the splits to merge hold no image")
    with tqdm(total=sum(job.shard.images for job in jobs), desc="reading keys", unit=" images", disable=None) as bar:
        tables = run_jobs(functools.partial(_read_shard_table, labels), jobs, len(jobs), workers, bar, WORTH_A_WORKER)
    if labels.is_single_label:
        _refuse_ambiguous(jobs, tables, labels)
    columns = {name: np.concatenate([table.columns[name] for table in tables]) for name in tables[0].columns}
    keys, patients = columns["key"], columns["patient_key"]
    if not len(keys):
        raise ValueError(f"no image has any of the labels {', '.join(labels.names)}")
    file = np.repeat(np.arange(len(jobs)), [len(table.columns["key"]) for table in tables])
    place = np.array([job.place for job in jobs])[file]
    _refuse_images_twice(keys, place, places)
    _refuse_patients_in_two_splits(patients, place, places)
    split_names = list(dict.fromkeys(split for _, split in places))
    split_of_row = np.array([split_names.index(split) for _, split in places])[place]
    shuffled = np.array([_shuffle_number(options.seed, key) for key in keys], np.uint64)
    splits = []
    for number, name in enumerate(split_names):
        rows = np.flatnonzero(split_of_row == number)
        rows = rows[np.lexsort((keys[rows], shuffled[rows]))]
        shards = tuple(rows[part] for part in divide_into_shards(len(rows), options.shard_images))
        of_split = sum(table.counts for job, table in zip(jobs, tables, strict=True) if job.split == name)
        splits.append(SplitPlan(name, np.unique(patients[rows]), named_counts(labels.names, of_split), shards))
    files = tuple((job.number, job.path) for job in jobs)
    return MergePlan(files, file, columns["offset"], columns["length"], tuple(splits))


def _read_jobs(inputs: Sequence[MergeInput], options: MergeOptions) -> list[_ReadJob]:
    """The shards to read; each is there and of the recorded size."""
    jobs: list[_ReadJob] = []
    for number, entry in enumerate(inputs):
        light = entry.without_splits()  # it goes to a worker with each shard
        for split, described in entry.info.splits.items():
            if described.images and (options.splits is None or split in options.splits):
                place = jobs[-1].place + 1 if jobs else 0
                shard_paths(entry.folder, entry.info, split)
                jobs += [_ReadJob(number, light, split, place, shard) for shard in described.shards]
    return jobs


def _read_shard_table(labels: MergedLabels, job: _ReadJob, on_image: Callable[[], object]) -> _ShardTable:
    """Checks a shard's SHA-256 and takes its records apart, without their pixels."""
    entry, shard = job.entry, job.shard
    check_shard(job.path, shard, verify_checksum=True)
    rows = list(_read_rows(job, on_image))
    lengths = np.array([length for _, length in rows], np.int64)
    ends = np.cumsum(HEAD_BYTES + lengths + CHECKSUM_BYTES)
    if len(rows) != shard.images or (ends[-1] if len(rows) else 0) != shard.bytes:
        raise ValueError(f"shard {job.path} does not hold the {shard.images} images of its info file; build it again")
    absent = np.full(len(rows), labels.absent, np.float32)
    own = np.array([record.label for record, _ in rows], np.float32).reshape(-1, len(entry.label_names))
    aligned = np.stack([absent if column is None else own[:, column] for column in entry.columns], axis=1)
    positives = (aligned == 1).sum(axis=1)
    is_kept = positives > 0 if labels.drops_images else np.full(len(rows), True)
    columns = {
        "key": np.array([record.key for record, _ in rows], np.bytes_),
        "patient_key": np.array([record.patient_key for record, _ in rows], np.bytes_),
        "length": lengths,
        "offset": ends - CHECKSUM_BYTES - lengths,
    }
    kept = {name: column[is_kept] for name, column in columns.items()}
    return _ShardTable(kept, count_labels(aligned[is_kept]), int((positives[is_kept] != 1).sum()))


def _read_rows(job: _ReadJob, on_image: Callable[[], object]) -> Iterator[tuple[StoredRecord, int]]:
    """The records of a shard without their pixels, each with its length in bytes."""
    try:
        for serialized in read_shard(job.path, job.shard):
            record = check_record(serialized, job.entry.info)
            if flaws := [f"{kind} ({detail})" for kind, detail in record.flaws if kind in UNREADABLE]:
                raise ValueError("; ".join(flaws))
            yield record, len(serialized)
            on_image()
    except ValueError as error:
        raise ValueError(f"a record of split {job.split} in {job.entry.folder} is damaged: {error}") from error


def _refuse_ambiguous(jobs: Sequence[_ReadJob], tables: Sequence[_ShardTable], labels: MergedLabels) -> None:
    for _, of_place in itertools.groupby(zip(jobs, tables, strict=True), lambda pair: pair[0].place):
        pairs = list(of_place)
        job = pairs[0][0]
        if ambiguous := sum(table.ambiguous for _, table in pairs):
            raise ValueError(
                f"{ambiguous} images of {job.entry.folder} (split {job.split}) do not have exactly one of the labels "
                f"{', '.join(labels.names)}; name them all in --labels, or merge without --single_label"
            )


def _refuse_images_twice(keys: np.ndarray, place: np.ndarray, places: Sequence[tuple[MergeInput, str]]) -> None:
    order = np.argsort(keys, kind="stable")
    twice = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    if len(twice):
        pairs = zip(place[order[twice]], place[order[twice + 1]], strict=True)
        raise ValueError(
            f"{len(twice)} images would be there twice: {_count_pairs(pairs, places)}; leave out one of the folders"
        )


def _refuse_patients_in_two_splits(
    patients: np.ndarray, place: np.ndarray, places: Sequence[tuple[MergeInput, str]]
) -> None:
    names = list(dict.fromkeys(split for _, split in places))
    distinct = [np.unique(patients[place == number]) for number in range(len(places))]
    key = np.concatenate(distinct)
    where = np.repeat(np.arange(len(places)), [len(found) for found in distinct])
    split = np.array([names.index(split) for _, split in places])[where]
    order = np.lexsort((split, key))
    before, after = order[:-1], order[1:]
    # An empty key says that nothing is known of the patient.
    shared = (key[before] == key[after]) & (split[before] != split[after]) & (key[before] != b"")
    if shared.any():
        pairs = list(zip(where[before[shared]], where[after[shared]], strict=True))
        first, second = (places[number][0] for number in sorted(pairs[0]))
        advice = "leave one of the folders out"
        if first.info.name == second.info.name:
            advice = f"{keep_splits_advice(first.folder, second.folder)}; or {advice}"
        patient_count = len(np.unique(key[before[shared]]))
        raise ValueError(f"{patient_count} patients would be in two splits: {_count_pairs(pairs, places)}; {advice}")


def _count_pairs(pairs: Iterable[tuple[int, int]], places: Sequence[tuple[MergeInput, str]]) -> str:
    counted = collections.Counter(tuple(sorted(pair)) for pair in pairs)
    name = [f"{entry.folder} (split {split})" for entry, split in places]
    return ", ".join(
        f"{count} in {name[first]} and {name[second] if first != second else 'there again'}"
        for (first, second), count in sorted(counted.items())
    )


def _shuffle_number(seed: int, key: bytes) -> int:
    return int.from_bytes(hashlib.sha256(b"%d\0%b" % (seed, key)).digest()[:8], "big")
