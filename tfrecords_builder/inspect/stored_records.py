"""The records of shards that may be damaged, for `verify` and `inspect`: each with its flaws, and hashes of its keys.

Training reads through `tfcxr.data.parsing.parse_batch`, which stops at the first record that is not as it should be.
Here a record is taken apart by itself, without decoding its pixels, so that every flaw can be named and counted.
"""

import collections
import contextlib
import hashlib
import math
import pathlib
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from tfcxr.data.example import Example
from tfcxr.data.schema import FEATURES, MAX_AGE_YEARS, OPTIONAL_FEATURES, DatasetInfo, ShardInfo, record_image
from tfcxr.data.tfrecord import read_records
from tfrecords_builder.images.png import decode_png

VIEWS = (b"", b"PA", b"AP", b"LATERAL")
SEXES = (b"", b"F", b"M")

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
UNREADABLE = (NO_EXAMPLE, MISSING_FEATURE, LABEL_LENGTH)  # flaws of a record that cannot be used at all

PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


class StoredRecord(NamedTuple):
    """A record without its pixels.

    Attributes:
      key, patient_key, view, sex: bytes, empty where absent.
      label: 1, 0 or NaN (unknown) per label name.
      age: years, NaN where absent.
      flaws: (kind, detail) pairs of what is wrong with the record.
    """

    key: bytes = b""
    patient_key: bytes = b""
    label: tuple[float, ...] = ()
    view: bytes = b""
    sex: bytes = b""
    age: float = math.nan
    flaws: Sequence[tuple[str, str]] = ()


def read_shard(path: pathlib.Path, shard: ShardInfo) -> Iterator[bytes]:
    """Yields the serialised records of a shard.

    Raises:
      ValueError: the file is missing or damaged; all records before the damage were yielded.
    """
    read = 0
    try:
        for record in read_records(path):
            yield record
            read += 1
    except FileNotFoundError as error:
        raise ValueError("missing") from error
    except ValueError as error:
        raise ValueError(f"damaged after record {read} of {shard.images}: {error}") from error


def key_hash(key: bytes) -> bytes:
    """8 bytes that stand for a key; among ten million keys two share them with a chance of one in 370,000."""
    return hashlib.blake2b(key, digest_size=8).digest()


def key_hashes(
    folder: pathlib.Path, info: DatasetInfo, on_images: Callable[[int], object]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Split -> hashes of its image keys and of its patient keys, uint64 [images] and [patients].

    Args:
      on_images: called with a number of images that were read.

    Raises:
      ValueError: a shard is missing or damaged.
    """
    hashes = {}
    for name, split in info.splits.items():
        keys, patients = bytearray(), bytearray()
        for shard in split.shards:
            try:
                for serialized in read_shard(folder / shard.file, shard):
                    record = check_record(serialized, info)
                    keys += key_hash(record.key)
                    patients += key_hash(record.patient_key)
                    on_images(1)
            except ValueError as error:
                raise ValueError(f"shard {folder / shard.file} is {error}") from error
        hashes[name] = np.frombuffer(keys, "<u8"), np.unique(np.frombuffer(patients, "<u8"))
    return hashes


def places_of(folder: pathlib.Path, info: DatasetInfo, hashes: np.ndarray, of_patients: bool = False) -> list[str]:
    """Where a few keys stand, found by another reading: a text such as "1f3a in train, 1f3a in test" for each.

    Shards that cannot be read are passed over.
    """
    found = {value.tobytes(): collections.Counter() for value in hashes.astype("<u8")}
    shards = [(name, shard) for name, split in info.splits.items() for shard in split.shards] if found else ()
    for name, shard in shards:
        with contextlib.suppress(ValueError):
            for serialized in read_shard(folder / shard.file, shard):
                record = check_record(serialized, info)
                key = record.patient_key if of_patients else record.key
                if (places := found.get(key_hash(key))) is not None:
                    places[f"{text_of(key)} in {name}"] += 1
    times = lambda place, count: place if count == 1 else f"{place} {count} times"  # noqa: E731
    return [", ".join(times(place, count) for place, count in places.items()) for places in found.values()]


def check_record(serialized: bytes, info: DatasetInfo) -> StoredRecord:
    """Takes one serialised record apart and names everything that is not as the schema and the info say."""
    try:
        found = Example.FromString(serialized).features.feature
    except DecodeError:
        return StoredRecord(flaws=[(NO_EXAMPLE, f"{len(serialized)} bytes")])
    flaws = [(UNKNOWN_FEATURE, repr(name)) for name in sorted(found) if name not in FEATURES]
    values: dict[str, Any] = {}
    for name, kind in FEATURES.items():
        if name not in found and name in OPTIONAL_FEATURES:
            continue
        # Asked first, for a look at an absent name would add it.
        stored = tuple(getattr(found[name], kind).value) if name in found else ()
        if name == "label":
            values[name] = stored
        elif len(stored) == 1:
            (values[name],) = stored
        else:
            flaws.append((MISSING_FEATURE, f"{name!r} has {len(stored)} values of {kind}, expected 1"))
    texts = [values.get(name, b"") for name in ("image/key", "patient/key", "view", "patient/sex")]
    key, patient_key, view, sex = texts
    record = StoredRecord(key, patient_key, values["label"], view, sex, values.get("patient/age", math.nan), flaws)
    _check_values(record, info)
    _check_pixels(values, info, flaws)
    return record


def decode_pixels(serialized: bytes, info: DatasetInfo) -> np.ndarray:
    """The picture of a record without flaws, uint8 or uint16 [size, size]; a PNG is checked to its end, as in training.

    Raises:
      ValueError: damaged pixels.
    """
    if info.encoding == "raw":
        return record_image(serialized, info)
    return decode_png(Example.FromString(serialized).features.feature["image/bytes"].bytes_list.value[0]).pixels


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
