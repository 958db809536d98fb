"""What a record is: a radiograph with its labels, as a `tf.train.Example`, and the `dataset_info.json` beside it.

Everything that is stored about an image goes through `encode_record`; `tfcxr.data.parsing` makes tensors of it. Nothing
here imports TensorFlow, so that the builder and its workers start at once.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from google.protobuf.message import DecodeError

from tfcxr.data.example import Example

SCHEMA_VERSION = 1
INFO_FILE = "dataset_info.json"
RAW_SIZE_LIMIT = 256  # pixels; larger images are stored as PNG unless the builder is told otherwise
ENCODINGS = ("raw", "png")
LABEL_STATES = ("positive", "negative", "unknown")
# feature -> where a `tf.train.Feature` keeps its values
REQUIRED_FEATURES = {
    "image/bytes": "bytes_list",
    "image/height": "int64_list",
    "image/width": "int64_list",
    "image/key": "bytes_list",
    "label": "float_list",
    "patient/key": "bytes_list",
}
OPTIONAL_FEATURES = {"view": "bytes_list", "patient/sex": "bytes_list", "patient/age": "float_list"}
FEATURES = REQUIRED_FEATURES | OPTIONAL_FEATURES
MAX_AGE_YEARS = 90.0  # ages above 89 are stored as this one, so that nobody is recognised by age


@dataclasses.dataclass(frozen=True)
class Record:
    """One radiograph as it is stored.

    Attributes:
      image: uint8 or uint16 [height, width], one channel.
      key: name of the image, unique in its data set, free of any identifier (see `hashed_key`).
      label: one value a label name, in the order of `DatasetInfo.label_names`: 1 present, 0 absent, NaN unknown.
      patient_key: salted hash of the patient's identifier, equal for all images of one patient.
      view: "PA", "AP", "LATERAL" or "" where unknown.
      age: years, NaN where unknown. sex: "F", "M" or "" where unknown.
    """

    image: np.ndarray
    key: str
    label: tuple[float, ...]
    patient_key: str
    view: str = ""
    age: float = math.nan
    sex: str = ""


@dataclasses.dataclass(frozen=True)
class ShardInfo:
    """One TFRecord file: its name beside the info file, how many images and bytes it holds, and its SHA-256."""

    file: str
    images: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class SplitInfo:
    """Counts of one split. `labels` maps each label name to its counts by `LABEL_STATES`."""

    images: int
    patients: int
    labels: dict[str, dict[str, int]]
    shards: tuple[ShardInfo, ...]


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What `dataset_info.json` says of the shards beside it.

    Attributes:
      name: the data set's registry name, or the model's for a synthetic cohort.
      label_names: order of the `label` feature.
      is_single_label: whether exactly one label of each image is 1 (softmax) or any number (sigmoid).
      image_size: height and width in pixels.
      bits: 8 or 16 bits a pixel. encoding: "raw" or "png".
      splits: by name, such as "train", "validation", "held_out", "test".
      images_read, images_written, rejected: their sum is checked, read = written + sum of rejected by reason.
      preprocessing: every argument of the steps between raw file and record.
      source: homepage, citation and licence text of the raw data.
      is_synthetic: whether a generator, not a patient, made the images.
      provenance: for synthetic images the model, the hash of its weights, seeds, label plan and acceptance rate.
      salt_fingerprint: tells whether two builds hashed patients with one salt, without telling the salt.
      notice: a sentence every user of the data must see, such as that a phantom is not a patient.
      notices: what is odd about images that were written all the same, such as "duplicate", kind -> images.
      patient_keys_sha256: SHA-256 of the patients' keys beside the shards; "" where they stand in the records alone.
    """

    name: str
    label_names: tuple[str, ...]
    is_single_label: bool
    image_size: int
    bits: int
    encoding: str
    splits: dict[str, SplitInfo]
    images_read: int
    images_written: int
    rejected: dict[str, int]
    preprocessing: dict[str, Any]
    source: dict[str, str]
    is_synthetic: bool = False
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    salt_fingerprint: str = ""
    notice: str = ""
    notices: dict[str, int] = dataclasses.field(default_factory=dict)
    patient_keys_sha256: str = ""
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.images_read != self.images_written + sum(self.rejected.values()):
            raise ValueError(
                f"{self.images_read} images were read, but {self.images_written} written and "
                f"{sum(self.rejected.values())} rejected do not add up to that"
            )
        if self.encoding not in ENCODINGS or self.bits not in (8, 16):
            raise ValueError(
                f"expected encoding in {ENCODINGS} and 8 or 16 bits, got {self.encoding!r} and {self.bits}"
            )
        if len(set(self.label_names)) != len(self.label_names):
            raise ValueError(f"label names occur twice: {self.label_names}")

    @property
    def shards_sha256(self) -> str:
        """SHA-256 over those of all shards: what tells one build from another."""
        shards = sorted((shard.file, shard.sha256) for split in self.splits.values() for shard in split.shards)
        return hashlib.sha256(json.dumps(shards).encode()).hexdigest()

    def to_json(self) -> str:
        """The text of `dataset_info.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, origin: str = INFO_FILE) -> "DatasetInfo":
        """Reads what `to_json` wrote.

        Raises:
          ValueError: not JSON, a field missing or unknown, or another schema version than this package reads.
        """
        try:
            fields = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{origin} is not JSON ({error}); build the data set again") from error
        version = fields.get("schema_version") if isinstance(fields, dict) else None
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"{origin} has schema version {version}, this package reads version {SCHEMA_VERSION}; "
                "build the data set again with python -m tfrecords_builder"
            )
        try:
            splits = {
                name: SplitInfo(**{**split, "shards": tuple(ShardInfo(**shard) for shard in split["shards"])})
                for name, split in fields.pop("splits").items()
            }
            fields["label_names"] = tuple(fields["label_names"])
            return cls(**fields, splits=splits)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{origin} does not hold the fields of a data set: {error}") from error


def default_encoding(image_size: int) -> str:
    """Raw pixels up to 256 px, where they read six times faster; PNG above, where they are too large."""
    return "raw" if image_size <= RAW_SIZE_LIMIT else "png"


def count_labels(labels: np.ndarray) -> np.ndarray:
    """Label values [images, labels] -> int64 [labels, 3], how many are of each of `LABEL_STATES`."""
    return np.stack([labels == 1, labels == 0, np.isnan(labels)], axis=-1).sum(axis=0, dtype=np.int64)


def named_counts(label_names: Sequence[str], counts: np.ndarray) -> dict[str, dict[str, int]]:
    """What `count_labels` gave, as `SplitInfo.labels` holds it."""
    return {
        name: dict(zip(LABEL_STATES, of_label, strict=True))
        for name, of_label in zip(label_names, counts.tolist(), strict=True)
    }


def hashed_key(identifier: str, salt: bytes, length: int = 16) -> str:
    """Salted SHA-256 of an identifier in hexadecimal; the identifier cannot be found from it without the salt."""
    return hashlib.sha256(salt + b"\0" + identifier.encode()).hexdigest()[:length]


def encode_record(record: Record, encoding: str) -> bytes:
    """Serialises a record as a `tf.train.Example`; the same record gives the same bytes everywhere.

    Raises:
      ValueError: an image that is not uint8/uint16 [height, width], or a label value that is not 0, 1 or NaN.
    """
    image = record.image
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"expected a uint8 or uint16 image [height, width], got {image.dtype} {image.shape}")
    if any(value not in (0.0, 1.0) and not math.isnan(value) for value in record.label):
        raise ValueError(f"expected label values 0, 1 or NaN (unknown), got {record.label}")
    example = Example()
    features = example.features.feature  # filled in place, which is ten times faster than from smaller messages
    features["image/bytes"].bytes_list.value.append(_encode_pixels(image, encoding))
    features["image/height"].int64_list.value.append(image.shape[0])
    features["image/width"].int64_list.value.append(image.shape[1])
    features["image/key"].bytes_list.value.append(record.key.encode())
    features["label"].float_list.value.extend(record.label)
    features["patient/key"].bytes_list.value.append(record.patient_key.encode())
    if record.view:
        features["view"].bytes_list.value.append(record.view.encode())
    if record.sex:
        features["patient/sex"].bytes_list.value.append(record.sex.encode())
    if not math.isnan(record.age):
        features["patient/age"].float_list.value.append(MAX_AGE_YEARS if record.age > 89.0 else record.age)
    return example.SerializeToString(deterministic=True)


def record_image(example: bytes, info: DatasetInfo) -> np.ndarray:
    """The image of one serialised record, uint8 or uint16 [size, size].

    Raises:
      ValueError: not a record, or one without an image of the data set's size and depth.
    """
    try:
        features = Example.FromString(example).features.feature
        image = _stored_image(features["image/bytes"].bytes_list.value[0], info)
    except (DecodeError, IndexError, ValueError, cv2.error) as error:
        raise ValueError(f"it holds no image ({error})") from error
    if image is None or image.shape != (info.image_size, info.image_size) or image.itemsize != info.bits // 8:
        got = "no PNG file" if image is None else f"{image.dtype} {image.shape}"
        raise ValueError(f"expected an image of {info.image_size} px and {info.bits} bits, got {got}")
    return image


def _encode_pixels(image: np.ndarray, encoding: str) -> bytes:
    if encoding == "raw":
        return image.astype(image.dtype.newbyteorder("<"), copy=False).tobytes()
    return cv2.imencode(".png", image)[1].tobytes()  # several times faster than TensorFlow's encoder


def rewrite_record(
    example: bytes, info: DatasetInfo, columns: Sequence[int | None], absent: float, encoding: str
) -> bytes:
    """A serialised record of data set `info` under other label names, its pixels stored as `encoding`.

    Args:
      columns: for each new label name its place among `info.label_names`, or None where `info` does not have it.
      absent: label value where `columns` says None: 0 absent, or NaN unknown.
    """
    message = Example.FromString(example)
    features = message.features.feature
    label, pixels = features["label"].float_list.value, features["image/bytes"].bytes_list.value
    label[:] = [absent if column is None else label[column] for column in columns]
    if encoding != info.encoding:
        image = _stored_image(pixels[0], info)
        if image is None:
            raise ValueError("the pixels of a record are no PNG file; build its data set again")
        pixels[0] = _encode_pixels(image, encoding)
    return message.SerializeToString(deterministic=True)


def _stored_image(pixels: bytes, info: DatasetInfo) -> np.ndarray | None:
    """The image of one record, uint8 or uint16 [size, size]; None where it is no PNG."""
    if info.encoding == "raw":
        return np.frombuffer(pixels, "u1" if info.bits == 8 else "<u2").reshape(info.image_size, info.image_size)
    return cv2.imdecode(np.frombuffer(pixels, np.uint8), cv2.IMREAD_UNCHANGED)
