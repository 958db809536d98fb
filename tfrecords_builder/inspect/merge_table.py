"""The records of a merge: where each lies in the input shards, and which shard of the result it goes to.

One pass reads every input shard, checks its SHA-256, and keeps of a record its keys, its place and its length, about
100 bytes; no pixel is decoded or kept. The order of the result is that of a hash of seed and image key, so it depends
on the images alone, not on the order of the folders.
"""

import collections
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from tqdm import tqdm

from tfcxr.data.records import divide_into_shards, shard_name, shard_paths
from tfcxr.data.schema import ShardInfo, count_labels, named_counts
from tfcxr.data.tfrecord import CHECKSUM_BYTES, HEAD_BYTES
from tfrecords_builder.inspect.data_folders import keep_splits_advice
from tfrecords_builder.inspect.merge_inputs import MergedLabels, MergeInput, MergeOptions
from tfrecords_builder.inspect.stored_records import UNREADABLE, StoredRecord, check_record, read_shard


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


@dataclasses.dataclass
class _Table:
    """Columns of all records, a piece a batch; `place` numbers the pairs of input and split."""

    columns: dict[str, list[np.ndarray]] = dataclasses.field(default_factory=lambda: collections.defaultdict(list))
    files: list[tuple[int, pathlib.Path]] = dataclasses.field(default_factory=list)
    places: list[tuple[MergeInput, str]] = dataclasses.field(default_factory=list)
    counts: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def column(self, name: str) -> np.ndarray:
        return np.concatenate(self.columns[name])


def plan_merge(inputs: Sequence[MergeInput], labels: MergedLabels, options: MergeOptions) -> MergePlan:
    """Reads the facts of every record, refuses images and patients that occur twice, and fills the shards.

    Raises:
      FileNotFoundError: an input shard is missing.
      ValueError: an altered or damaged input shard, an image key twice, a patient in two splits, no image at all, or
        images without exactly one label where the result is to be single-label.
    """
    table = _read_table(inputs, labels, options)
    if not table.places:
        raise ValueError("the splits to merge hold no image")
    keys, patients, place = table.column("key"), table.column("patient_key"), table.column("place")
    if not len(keys):
        raise ValueError(f"no image has any of the labels {', '.join(labels.names)}")
    _refuse_images_twice(keys, place, table.places)
    _refuse_patients_in_two_splits(patients, place, table.places)
    split_names = list(dict.fromkeys(split for _, split in table.places))
    split_of_row = np.array([split_names.index(split) for _, split in table.places])[place]
    shuffled = np.array([_shuffle_number(options.seed, key) for key in keys], np.uint64)
    splits = []
    for number, name in enumerate(split_names):
        rows = np.flatnonzero(split_of_row == number)
        rows = rows[np.lexsort((keys[rows], shuffled[rows]))]
        shards = tuple(rows[part] for part in divide_into_shards(len(rows), options.shard_images))
        counts = named_counts(labels.names, table.counts[name])
        splits.append(SplitPlan(name, np.unique(patients[rows]), counts, shards))
    places = {name: table.column(name) for name in ("file", "offset", "length")}
    return MergePlan(tuple(table.files), **places, splits=tuple(splits))


def _read_table(inputs: Sequence[MergeInput], labels: MergedLabels, options: MergeOptions) -> _Table:
    table = _Table()
    wanted = {
        (number, split): counts.images
        for number, entry in enumerate(inputs)
        for split, counts in entry.info.splits.items()
        if counts.images and (options.splits is None or split in options.splits)
    }
    with tqdm(total=sum(wanted.values()), desc="reading keys", unit=" images", disable=None) as bar:
        for number, split in wanted:
            _read_split(table, number, inputs[number], split, labels, bar)
    return table


def _read_split(table: _Table, number: int, entry: MergeInput, split: str, labels: MergedLabels, bar: tqdm) -> None:
    counts = table.counts.setdefault(split, np.zeros((len(labels.names), 3), np.int64))
    paths = shard_paths(entry.folder, entry.info, split, verify_checksums=True)
    ambiguous = 0
    for path, shard in zip(map(pathlib.Path, paths), entry.info.splits[split].shards, strict=True):
        rows = list(_read_rows(path, shard, entry, split, bar))
        lengths = np.array([length for _, length in rows], np.int64)
        ends = np.cumsum(HEAD_BYTES + lengths + CHECKSUM_BYTES)
        if len(rows) != shard.images or (ends[-1] if len(rows) else 0) != shard.bytes:
            raise ValueError(f"shard {path} does not hold the {shard.images} images of its info file; build it again")
        absent = np.full(len(rows), labels.absent, np.float32)
        own = np.array([record.label for record, _ in rows], np.float32).reshape(-1, len(entry.label_names))
        aligned = np.stack([absent if column is None else own[:, column] for column in entry.columns], axis=1)
        positives = (aligned == 1).sum(axis=1)
        is_kept = positives > 0 if labels.drops_images else np.full(len(rows), True)
        counts += count_labels(aligned[is_kept])
        ambiguous += int((positives[is_kept] != 1).sum())
        columns = {
            "key": np.array([record.key for record, _ in rows], np.bytes_),
            "patient_key": np.array([record.patient_key for record, _ in rows], np.bytes_),
            "length": lengths,
            "offset": ends - CHECKSUM_BYTES - lengths,
            "place": np.full(len(rows), len(table.places)),
            "file": np.full(len(rows), len(table.files)),
        }
        for name, column in columns.items():
            table.columns[name].append(column[is_kept])
        table.files.append((number, path))
    table.places.append((entry, split))
    if labels.is_single_label and ambiguous:
        raise ValueError(
            f"{ambiguous} images of {entry.folder} (split {split}) do not have exactly one of the labels "
            f"{', '.join(labels.names)}; name them all in --labels, or merge without --single_label"
        )


def _read_rows(
    path: pathlib.Path, shard: ShardInfo, entry: MergeInput, split: str, bar: tqdm
) -> Iterator[tuple[StoredRecord, int]]:
    """The records of a shard without their pixels, each with its length in bytes."""
    try:
        for serialized in read_shard(path, shard):
            record = check_record(serialized, entry.info)
            if flaws := [f"{kind} ({detail})" for kind, detail in record.flaws if kind in UNREADABLE]:
                raise ValueError("; ".join(flaws))
            yield record, len(serialized)
            bar.update()
    except ValueError as error:
        raise ValueError(f"a record of split {split} in {entry.folder} is damaged: {error}") from error


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
