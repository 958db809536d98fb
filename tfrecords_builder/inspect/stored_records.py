"""What is on disk, record by record, for `verify` and `inspect`: data folders, shards that may be damaged, flaws.

Training reads through `tfcxr.data.schema.parse_batch`, which stops at the first record that is not as it should be.
Here a record is taken apart by itself, without decoding its pixels, so that every flaw can be named and counted.
"""

import math
import pathlib
import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError

from tfcxr.data.pipeline import READ_BUFFER_BYTES
from tfcxr.data.records import read_dataset_info
from tfcxr.data.schema import (
    FEATURES,
    INFO_FILE,
    MAX_AGE_YEARS,
    OPTIONAL_FEATURES,
    DatasetInfo,
    ShardInfo,
)

VIEWS = (b"", b"PA", b"AP", b"LATERAL")
SEXES = (b"", b"F", b"M")
LABEL_VALUES = ("positive", "negative", "unknown")

# Kinds of flaw, as `verify` prints them.
NO_EXAMPLE = "record is no tf.train.Example"
MISSING_FEATURE = "feature is missing or not of its kind"
UNKNOWN_FEATURE = "feature is not of the schema, it may tell what must stay private"
EMPTY_KEY = "image key or patient key is empty"
LABEL_LENGTH = "label vector has the wrong length"
LABEL_VALUE = "label value is none of 0, 1 and NaN"
NOT_ONE_LABEL = "not exactly one label is 1, though labels exclude each other"
IMAGE_SIZE = "height or width is not the info's"
PIXELS = "stored pixels are not as the info says"
AGE = "age is not between 0 and 90 years"
VIEW_OR_SEX = "view or sex is not one of the schema's"

BATCH_BYTES = 32 * 2**20  # of serialised records in memory at a time
MAX_BATCH = 256
PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


class StoredRecord(NamedTuple):
    """A record without its pixels.

    Attributes:
      key, patient_key, view, sex: bytes, empty where absent. label: 1, 0 or NaN (unknown) a label name.
      age: years, NaN where absent.
      flaws: what is wrong with the record, pairs of kind and detail.
    """

    key: bytes = b""
    patient_key: bytes = b""
    label: tuple[float, ...] = ()
    view: bytes = b""
    sex: bytes = b""
    age: float = math.nan
    flaws: Sequence[tuple[str, str]] = ()


def find_data_folders(data_dir: str | pathlib.Path) -> list[pathlib.Path]:
    """`data_dir` itself where it has an info file, else its folders named after sizes, the smallest first.

    A folder of a size that has shards but no info file is among them, so that it is not overlooked.

    Raises:
      FileNotFoundError: no such folder, or neither it nor a folder in it is a data folder.
    """
    data_dir = pathlib.Path(data_dir)
    if data_dir.is_dir() and not (data_dir / INFO_FILE).is_file():
        sizes = [entry for entry in data_dir.iterdir() if entry.name.isdecimal() and entry.is_dir()]
        folders = [size for size in sizes if (size / INFO_FILE).is_file() or any(size.glob("*.tfrecord"))]
        if any((folder / INFO_FILE).is_file() for folder in folders):
            return sorted(folders, key=lambda folder: int(folder.name))
    if not (data_dir / INFO_FILE).is_file():
        read_dataset_info(data_dir)  # which says what is wrong
    return [data_dir]


def read_usable_info(folder: pathlib.Path) -> DatasetInfo:
    """Reads `dataset_info.json` and checks that its fields are of their kinds, whoever wrote or edited it.

    Raises:
      FileNotFoundError: no info file. ValueError: one that is damaged, of another schema version, or has a wrong field.
    """
    try:
        info = read_dataset_info(folder)
    except AttributeError as error:  # a list or text in the place of a mapping
        raise ValueError(f"{folder / INFO_FILE} does not hold the fields of a data set: {error}") from error
    if flaw := _wrong_field(info):
        raise ValueError(f"{folder / INFO_FILE} does not describe a data set: {flaw}")
    return info


def _wrong_field(info: DatasetInfo) -> str:
    """A sentence on the first field that is not of its kind, "" when all are."""
    if not info.label_names or not all(isinstance(name, str) for name in info.label_names):
        return f"label_names expects texts, got {list(info.label_names)}"
    if not _is_count(info.image_size) or info.image_size == 0:
        return f"image_size expects pixels, got {info.image_size!r}"
    for field in ("rejected", "notices", "preprocessing", "source", "provenance"):
        if not isinstance(getattr(info, field, {}), dict):
            return f"{field} expects names with values, got {getattr(info, field)!r}"
    for name, split in info.splits.items():
        if not _is_count(split.images) or not _is_count(split.patients):
            return f"split {name!r} expects numbers of images and patients, got {split.images!r}, {split.patients!r}"
        if not isinstance(split.labels, dict) or set(split.labels) != set(info.label_names):
            return f"split {name!r} counts other labels than the label_names {', '.join(info.label_names)}"
        for label, counts in split.labels.items():
            if (
                not isinstance(counts, dict)
                or set(counts) != set(LABEL_VALUES)
                or not all(map(_is_count, counts.values()))
            ):
                return f"label {label!r} of split {name!r} expects counts {', '.join(LABEL_VALUES)}, got {counts}"
        for shard in split.shards:
            if not isinstance(shard.file, str) or not re.fullmatch(r"[^/\\]+\.tfrecord", shard.file):
                return f"a shard of split {name!r} expects a file name beside the info, got {shard.file!r}"
            if not _is_count(shard.images) or not _is_count(shard.bytes):
                return f"shard {shard.file} expects numbers of images and bytes, got {shard.images!r}, {shard.bytes!r}"
    return ""


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def read_shard(path: pathlib.Path, shard: ShardInfo) -> Iterator[Sequence[bytes]]:
    """Yields the serialised records of a shard in batches.

    Raises:
      ValueError: the file is damaged; all records before the damage were yielded.
    """
    batch_size = max(1, min(MAX_BATCH, BATCH_BYTES * max(shard.images, 1) // max(shard.bytes, 1)))
    records = tf.data.TFRecordDataset(str(path), buffer_size=READ_BUFFER_BYTES)
    read = 0
    try:
        for batch in records.batch(batch_size).prefetch(2).as_numpy_iterator():
            read += len(batch)
            yield batch
        return
    except tf.errors.OpError:
        pass  # a whole batch is lost when one of its records is, so the last ones are read again one by one
    rest: list[bytes] = []
    damage = None
    try:
        for record in records.skip(read).as_numpy_iterator():
            rest.append(record)
    except tf.errors.OpError as error:
        damage = error
    yield rest
    if damage is not None:
        raise ValueError(f"damaged after record {read + len(rest)} of {shard.images}") from damage


def check_record(serialized: bytes, info: DatasetInfo) -> StoredRecord:
    """Takes one serialised record apart and names everything that is not as the schema and the info say."""
    try:
        found = tf.train.Example.FromString(serialized).features.feature
    except DecodeError:
        return StoredRecord(flaws=[(NO_EXAMPLE, f"{len(serialized)} bytes")])
    flaws = [(UNKNOWN_FEATURE, repr(name)) for name in sorted(found) if name not in FEATURES]
    values: dict[str, Any] = {}
    for name, kind in FEATURES.items():
        if name in found:  # asked first, for a look at an absent name would add it
            value = getattr(found[name], kind).value
        elif name in OPTIONAL_FEATURES:
            continue
        else:
            value = ()
        if name == "label":
            values[name] = tuple(value)
        elif len(value) == 1:
            values[name] = value[0]
        else:
            flaws.append((MISSING_FEATURE, f"{name!r} has {len(value)} values of {kind}, expected 1"))
    record = StoredRecord(
        key=values.get("image/key", b""),
        patient_key=values.get("patient/key", b""),
        label=values["label"],
        view=values.get("view", b""),
        sex=values.get("patient/sex", b""),
        age=values.get("patient/age", math.nan),
        flaws=flaws,
    )
    _check_values(record, info)
    _check_pixels(values, info, flaws)
    return record


def _check_values(record: StoredRecord, info: DatasetInfo) -> None:
    flaws, label = record.flaws, record.label
    if not record.key or not record.patient_key:
        flaws.append((EMPTY_KEY, "image/key" if not record.key else "patient/key"))
    if len(label) != len(info.label_names):
        flaws.append((LABEL_LENGTH, f"{len(label)} values for {len(info.label_names)} label names"))
    elif info.is_single_label and label.count(1.0) != 1:
        flaws.append((NOT_ONE_LABEL, f"{label.count(1.0)} are"))
    if any(value != 0 and value != 1 and not math.isnan(value) for value in label):
        flaws.append((LABEL_VALUE, ", ".join(f"{value:g}" for value in label)))
    if record.age < 0 or record.age > MAX_AGE_YEARS:  # NaN is neither
        flaws.append((AGE, f"{record.age:g}"))
    if record.view not in VIEWS or record.sex not in SEXES:
        flaws.append((VIEW_OR_SEX, f"{text_of(record.view)!r}, {text_of(record.sex)!r}"))


def _check_pixels(values: dict[str, Any], info: DatasetInfo, flaws: list[tuple[str, str]]) -> None:
    size, pixels = info.image_size, values.get("image/bytes")
    height, width = values.get("image/height", size), values.get("image/width", size)
    if (height, width) != (size, size):
        flaws.append((IMAGE_SIZE, f"{height} x {width}, expected {size} x {size}"))
    if pixels is None:
        return
    if info.encoding == "raw":
        expected = size * size * info.bits // 8
        if len(pixels) != expected:
            flaws.append((PIXELS, f"{len(pixels)} bytes, expected {expected} of raw pixels"))
    elif pixels[:16] != PNG_START or len(pixels) < 26:
        flaws.append((PIXELS, "no PNG file"))
    elif (header := struct.unpack(">IIBB", pixels[16:26])) != (size, size, info.bits, 0):
        stored = "PNG of {} x {} px, {} bits, colour type {}".format(*header)
        flaws.append((PIXELS, f"{stored}; expected {size} x {size} px, {info.bits} bits, colour type 0 (grey)"))


def text_of(key: bytes) -> str:
    """Bytes of a record as text that can be printed, at most 40 characters."""
    text = key.decode(errors="replace")
    return text if len(text) <= 40 else text[:39] + "…"
