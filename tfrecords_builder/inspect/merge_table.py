"""The records of a merge: where each lies in the input shards, and which shard of the result it goes to.

One pass reads every input shard, checks its SHA-256, and keeps of a record its keys, its place and its length, about
100 bytes; no pixel is decoded or kept. The order of the result is that of a hash of seed and image key, so it depends
on the images alone, not on the order of the folders.
"""

import collections
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfcxr.data.pipeline import READ_BUFFER_BYTES
from tfcxr.data.records import divide_into_shards, shard_name, shard_paths
from tfcxr.data.schema import DatasetInfo, count_labels, named_counts, parse_facts
from tfrecords_builder.inspect.merge_inputs import MergedLabels, MergeInput, MergeOptions

BATCH_BYTES = 32 * 2**20  # records parsed at once
_HEAD_BYTES, _TAIL_BYTES = 12, 4  # what a TFRecord file has before a record (length, checksum) and after it


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
    lengths, ambiguous = [], 0
    for batch in _facts(paths, entry.info, split):
        lengths.append(batch["length"].astype(np.int64))
        for name in ("key", "patient_key"):
            table.columns[name].append(batch[name].astype(np.bytes_))
        absent = np.full(len(batch["key"]), labels.absent, np.float32)
        own = [absent if column is None else batch["label"][:, column] for column in entry.columns]
        aligned = np.stack(own, axis=1)
        counts += count_labels(aligned)
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
    """Keys, label and length in bytes of a split's records."""

    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        return parse_facts(serialized, info) | {"length": tf.strings.length(serialized)}

    split_bytes = sum(shard.bytes for shard in info.splits[split].shards)
    batch_size = max(1, min(1024, BATCH_BYTES * info.splits[split].images // (split_bytes + 1)))
    records = tf.data.TFRecordDataset(paths, buffer_size=READ_BUFFER_BYTES).batch(batch_size).map(parse)
    try:
        yield from records.as_numpy_iterator()
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        folder = pathlib.Path(paths[0]).parent
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
