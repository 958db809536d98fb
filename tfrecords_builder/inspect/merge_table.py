"""The records of a merge: where each lies in the input shards, and which shard of the result it goes to.

One pass reads every input shard, checks its SHA-256, and keeps of a record its keys, its place and its length, about
100 bytes; no pixel is decoded or kept. The order of the result is that of a hash of seed and image key, so it depends
on the images alone, not on the order of the folders.
"""

import collections
import contextlib
import dataclasses
import hashlib
import math
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfcxr.data.pipeline import READ_BUFFER_BYTES
from tfcxr.data.records import shard_name, shard_paths
from tfcxr.data.schema import DatasetInfo, parse_batch
from tfrecords_builder.inspect.merge_inputs import MergedLabels, MergeInput, MergeOptions

BATCH_BYTES = 32 * 2**20  # records parsed at once
_HEAD_BYTES, _TAIL_BYTES = 12, 4  # what a TFRecord file has before a record (length, checksum) and after it
_MANY_SHARDS, _WORTH_A_SHARD = 8, 100  # as the builder divides a split


@dataclasses.dataclass(frozen=True)
class SplitPlan:
    """One split of the result.

    Attributes:
      patients: how many. labels: label name -> {"positive", "negative", "unknown"} counts.
      shards: rows of the record table of each shard, in writing order.
    """

    name: str
    patients: int
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
    _refuse_images_twice(keys, place, table.places)
    _refuse_patients_in_two_splits(patients, place, table.places)
    split_names = list(dict.fromkeys(split for _, split in table.places))
    split_of_row = np.array([split_names.index(split) for _, split in table.places])[place]
    shuffled = np.array([_shuffle_number(options.seed, key) for key in keys], np.uint64)
    splits = []
    for number, name in enumerate(split_names):
        rows = np.flatnonzero(split_of_row == number)
        rows = rows[np.lexsort((keys[rows], shuffled[rows]))]
        counts = {
            label: dict(zip(("positive", "negative", "unknown"), map(int, of_label), strict=True))
            for label, of_label in zip(labels.names, table.counts[name], strict=True)
        }
        shards = _divide(rows, options.shard_images)
        splits.append(SplitPlan(name, len(np.unique(patients[rows])), counts, shards))
    places = {name: table.column(name) for name in ("file", "offset", "length")}
    return MergePlan(tuple(table.files), **places, splits=tuple(splits))


def align(label: np.ndarray, columns: Sequence[int | None], absent: float) -> np.ndarray:
    """Labels [images, own names] -> [images, names of the result]."""
    aligned = np.full((len(label), len(columns)), absent, label.dtype)
    for index, column in enumerate(columns):
        if column is not None:
            aligned[:, index] = label[:, column]
    return aligned


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
    lengths, ambiguous = [], 0
    for batch in _facts(paths, entry.info, split):
        lengths.append(batch["length"].astype(np.int64))
        for name in ("key", "patient_key"):
            table.columns[name].append(batch[name].astype(np.bytes_))
        aligned = align(batch["label"], entry.columns, labels.absent)
        counts += np.stack([aligned == 1, aligned == 0, np.isnan(aligned)], axis=-1).sum(axis=0)
        ambiguous += int(((aligned == 1).sum(axis=1) != 1).sum())
        bar.update(len(aligned))
    if labels.is_single_label and ambiguous:
        raise ValueError(
            f"{ambiguous} images of {entry.folder} (split {split}) do not have exactly one of the labels "
            f"{', '.join(labels.names)}; name them all in --labels, or merge without --single_label"
        )
    length = np.concatenate(lengths)
    table.columns["length"].append(length)
    table.columns["place"].append(np.full(len(length), len(table.places)))
    table.places.append((entry, split))
    first = 0
    for path, shard in zip(paths, entry.info.splits[split].shards, strict=True):
        own = length[first : first + shard.images]
        first += shard.images
        ends = np.cumsum(own + _HEAD_BYTES + _TAIL_BYTES)
        if len(own) < shard.images or (ends[-1] if shard.images else 0) != shard.bytes:
            raise ValueError(f"shard {path} does not hold the {shard.images} images of its info file; build it again")
        table.columns["offset"].append(ends - _TAIL_BYTES - own)
        table.columns["file"].append(np.full(len(own), len(table.files)))
        table.files.append((number, pathlib.Path(path)))


def _facts(paths: Sequence[str], info: DatasetInfo, split: str) -> Iterator[dict[str, np.ndarray]]:
    """Keys, label and length in bytes of a split's records; tf.data leaves out the pixels, which nobody asks for."""

    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = parse_batch(serialized, info)
        facts = {name: parsed[name] for name in ("key", "patient_key", "label")}
        return facts | {"length": tf.strings.length(serialized)}

    split_bytes = sum(shard.bytes for shard in info.splits[split].shards)
    batch_size = max(1, min(1024, BATCH_BYTES * info.splits[split].images // (split_bytes + 1)))
    records = tf.data.TFRecordDataset(paths, buffer_size=READ_BUFFER_BYTES).batch(batch_size).map(parse)
    with _damage_told(split, pathlib.Path(paths[0]).parent):
        yield from records.as_numpy_iterator()


@contextlib.contextmanager
def _damage_told(split: str, folder: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        raise ValueError(f"a record of split {split} in {folder} is damaged: {error.message}") from error


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
        pairs = zip(where[before[shared]], where[after[shared]], strict=True)
        raise ValueError(
            f"{len(np.unique(key[before[shared]]))} patients would be in two splits: {_count_pairs(pairs, places)}; "
            "build these data sets with the same --splits and --seed, or leave one out"
        )


def _count_pairs(pairs: Iterator[tuple[int, int]], places: Sequence[tuple[MergeInput, str]]) -> str:
    counted = collections.Counter(tuple(sorted(pair)) for pair in pairs)
    name = [f"{entry.folder} (split {split})" for entry, split in places]
    return ", ".join(
        f"{count} in {name[first]} and {name[second] if first != second else 'there again'}"
        for (first, second), count in sorted(counted.items())
    )


def _shuffle_number(seed: int, key: bytes) -> int:
    return int.from_bytes(hashlib.sha256(b"%d\0%b" % (seed, key)).digest()[:8], "big")


def _divide(rows: np.ndarray, shard_images: int) -> tuple[np.ndarray, ...]:
    total = len(rows)
    count = max(math.ceil(total / shard_images), min(_MANY_SHARDS, math.ceil(total / _WORTH_A_SHARD)))
    return tuple(rows[total * index // count : total * (index + 1) // count] for index in range(count))
