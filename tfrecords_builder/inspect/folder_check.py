"""One data folder against its own `dataset_info.json`: every problem is collected, none stops the search.

Memory holds 16 bytes per image, a hash of its key and one of its patient's, whatever the number and size of images.
"""

import collections
import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Container, Sequence

import numpy as np

from tfcxr.data.atomic import TEMPORARY_MARK
from tfcxr.data.croissant import CROISSANT_FILE, shard_checksums
from tfcxr.data.records import file_sha256, stored_patient_keys
from tfcxr.data.schema import DatasetInfo, ShardInfo, SplitInfo, count_labels, named_counts
from tfrecords_builder.inspect.stored_records import (
    PIXELS,
    StoredRecord,
    check_record,
    decode_pixels,
    key_hash,
    places_of,
    read_shard,
)

EXAMPLES_SHOWN = 3

# Kinds of problem, beside the flaws of single records in `stored_records`.
NO_SHARD = "shard is missing"
SHARD_BYTES = "shard has not the recorded size"
ALTERED_SHARD = "shard was altered, its SHA-256 is not the recorded one"
DAMAGED_SHARD = "shard is damaged"
SHARD_IMAGES = "shard has not the recorded number of records"
STRAY_FILE = "file is not named by the info"
COUNTS = "count is not the info's"
KEY_TWICE = "image key occurs more than once"
PATIENT_IN_SPLITS = "patient is in more than one split"
PATIENT_KEYS = "list of patients is not that of the records"
CROISSANT = f"{CROISSANT_FILE} does not describe these shards"


@dataclasses.dataclass(frozen=True)
class Problem:
    """One kind of problem in one folder: how often it was found, and the first few places."""

    folder: str
    kind: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        more = f"; and {self.count - len(self.examples)} more" if self.count > len(self.examples) else ""
        text = f"{self.kind} ({self.count}): {'; '.join(self.examples)}{more}"
        # Names in damaged files are not ours.
        return "".join(letter if letter.isprintable() else "?" for letter in text)


class ProblemTally:
    """Counts problems by kind and keeps a few examples of each, so that a million of them need no memory."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.notes: list[str] = []  # what could not be judged
        self._counts: collections.Counter[str] = collections.Counter()
        self._examples: dict[str, list[str]] = collections.defaultdict(list)

    def add(self, kind: str, *examples: str, count: int = 1) -> None:
        """Counts `count` problems that a few examples stand for; none when it is 0."""
        if count:
            self._counts[kind] += count
            kept = self._examples[kind]
            kept.extend(examples[: EXAMPLES_SHOWN - len(kept)])

    def problems(self) -> list[Problem]:
        """What was added, one entry per kind, in the order in which the kinds were met."""
        return [Problem(str(self.folder), kind, n, tuple(self._examples[kind])) for kind, n in self._counts.items()]


@dataclasses.dataclass(frozen=True)
class SplitContents:
    """What the shards of a split were found to hold.

    Attributes:
      is_whole: whether every shard was read to its end; counts mean nothing otherwise.
      labels: int64 [labels, 3], see `schema.count_labels`.
      keys: uint64 [images], hashes in stored order.
      patients: uint64 [patients], hashes, each once.
      key_order: digest of all keys in stored order.
      facts: digest of all that is stored beside key and pixels, in stored order.
    """

    is_whole: bool
    images: int
    labels: np.ndarray
    keys: np.ndarray
    patients: np.ndarray
    key_order: str
    facts: str


@dataclasses.dataclass
class FolderContents:
    """What a data folder was found to hold; `constant` of the `decoded` pictures have one grey value only."""

    folder: pathlib.Path
    info: DatasetInfo
    splits: dict[str, SplitContents]
    decoded: int = 0
    constant: int = 0


def check_folder(
    folder: pathlib.Path,
    info: DatasetInfo,
    to_decode: Container[int],
    tally: ProblemTally,
    on_images: Callable[[int], object],
) -> FolderContents:
    """Reads a data folder once and adds to `tally` whatever is not as the info says.

    Args:
      to_decode: positions of the records, counted over all splits, whose pixels are decoded.
      on_images: called with a number of images that were read.
    """
    check = _FolderCheck(folder, info, to_decode, tally, on_images)
    named = {shard.file for split in info.splits.values() for shard in split.shards}
    for path in sorted({*folder.glob("*.tfrecord"), *folder.glob(f"{TEMPORARY_MARK}*")}):
        if path.name not in named:
            tally.add(STRAY_FILE, path.name)
    for name, split in info.splits.items():
        check.read_split(name, split)
    splits = check.contents.splits
    for kind, of_patients in ((KEY_TWICE, False), (PATIENT_IN_SPLITS, True)):
        twice = _repeated([split.patients if of_patients else split.keys for split in splits.values()])
        tally.add(kind, *places_of(folder, info, twice[:EXAMPLES_SHOWN], of_patients), count=len(twice))
    _check_patient_keys(check.contents, tally)
    _check_croissant(folder, info, tally)
    return check.contents


class _FolderCheck:
    def __init__(self, folder, info, to_decode, tally, on_images) -> None:
        self.contents = FolderContents(folder, info, {})
        self._to_decode, self._tally, self._on_images = to_decode, tally, on_images
        self._position = 0  # of a shard's first record among those of all splits, by the info

    def read_split(self, name: str, split: SplitInfo) -> None:
        info = self.contents.info
        self._keys, self._patients = bytearray(), bytearray()
        self._key_order, self._facts = hashlib.sha256(), hashlib.sha256()
        self._labels = np.zeros((len(info.label_names), 3), np.int64)
        images, is_whole = 0, True
        for shard in split.shards:
            read, shard_is_whole = self._read_shard(shard)
            images += read
            is_whole &= shard_is_whole
            self._position += shard.images
        patients = np.unique(np.frombuffer(bytes(self._patients), "<u8"))
        found = SplitContents(
            is_whole,
            images,
            self._labels,
            np.frombuffer(bytes(self._keys), "<u8"),
            patients,
            self._key_order.hexdigest(),
            self._facts.hexdigest(),
        )
        self.contents.splits[name] = found
        if is_whole:
            _check_counts(name, split, info.label_names, found, self._tally)
        else:
            self._tally.notes.append(f"the counts of split {name!r} were not compared, for not all of it can be read")

    def _read_shard(self, shard: ShardInfo) -> tuple[int, bool]:
        """How many records a shard holds, and whether it could be read to its end."""
        path = self.contents.folder / shard.file
        if not path.is_file():
            self._tally.add(NO_SHARD, shard.file)
            return 0, False
        size = path.stat().st_size
        if size != shard.bytes:
            self._tally.add(SHARD_BYTES, f"{shard.file}, {size} bytes instead of {shard.bytes}")
        elif file_sha256(path) != shard.sha256:
            self._tally.add(ALTERED_SHARD, shard.file)
        read = 0
        try:
            for serialized in read_shard(path, shard):
                record, place = check_record(serialized, self.contents.info), f"record {read} of {shard.file}"
                for kind, detail in record.flaws:
                    self._tally.add(kind, f"{place}: {detail}")
                self._count(record)
                if not record.flaws and self._position + read in self._to_decode:
                    self._decode(serialized, place)
                read += 1
                self._on_images(1)
        except ValueError as error:
            self._tally.add(DAMAGED_SHARD, f"{shard.file}, {error}")
            return read, False
        if read != shard.images:
            self._tally.add(SHARD_IMAGES, f"{shard.file}, {read} instead of {shard.images}")
        return read, True

    def _count(self, record: StoredRecord) -> None:
        if record.key:
            self._keys += key_hash(record.key)
            self._key_order.update(key_hash(record.key))
        if record.patient_key:
            self._patients += key_hash(record.patient_key)
        self._facts.update(repr(record[1:6]).encode())
        if len(record.label) == len(self._labels):
            self._labels += count_labels(np.array([record.label], np.float32))

    def _decode(self, serialized: bytes, place: str) -> None:
        try:
            pixels = decode_pixels(serialized, self.contents.info)
        except ValueError as error:
            self._tally.add(PIXELS, f"{place}: {error}")
            return
        self.contents.decoded += 1
        self.contents.constant += bool((pixels == pixels[0, 0]).all())


def _check_counts(
    name: str, split: SplitInfo, label_names: Sequence[str], found: SplitContents, tally: ProblemTally
) -> None:
    for what, count in (("images", found.images), ("patients", len(found.patients))):
        if count != getattr(split, what):
            tally.add(COUNTS, f"split {name} holds {count} {what}, the info says {getattr(split, what)}")
    for label, counts in named_counts(label_names, found.labels).items():
        for state, count in counts.items():
            if count != (expected := split.labels[label][state]):
                tally.add(COUNTS, f"split {name} holds {count} images with {label} {state}, the info says {expected}")


def _check_patient_keys(contents: FolderContents, tally: ProblemTally) -> None:
    """Compares the list of patients beside the shards with the records."""
    try:
        stored = stored_patient_keys(contents.folder, contents.info)
    except (OSError, ValueError) as error:
        tally.add(PATIENT_KEYS, str(error))
        return
    if stored is None:
        if contents.info.patient_keys_sha256:
            tally.add(PATIENT_KEYS, "the file is missing; the records are read in its place, which takes longer")
        return
    for name, split in contents.splits.items():
        hashes = [int.from_bytes(key_hash(key.encode()), "little") for key in stored.get(name, ())]
        if split.is_whole and sorted(hashes) != split.patients.tolist():
            detail = f"of split {name} it holds {len(hashes)} keys, the records have {len(split.patients)}"
            tally.add(PATIENT_KEYS, detail + ", which are others" * (len(hashes) == len(split.patients)))


def _check_croissant(folder: pathlib.Path, info: DatasetInfo, tally: ProblemTally) -> None:
    """Compares checksums alone: publishers may add to the file. Folders of earlier versions have none."""
    path = folder / CROISSANT_FILE
    if not path.is_file():
        return
    way_on = f"python -m tfcxr.card --data_dir={folder} writes it again"
    try:
        found = shard_checksums(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        tally.add(CROISSANT, f"{error}; {way_on}")
        return
    expected = {shard.file: shard.sha256 for split in info.splits.values() for shard in split.shards}
    if found != expected:
        names = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        tally.add(CROISSANT, f"names or checksums of {', '.join(names[:EXAMPLES_SHOWN])} differ; {way_on}")


def _repeated(hashes: Sequence[np.ndarray]) -> np.ndarray:
    """The values that occur more than once in all of some uint64 arrays, sorted."""
    values = np.sort(np.concatenate([np.zeros(0, "<u8"), *hashes]))
    return np.unique(values[1:][values[1:] == values[:-1]])
