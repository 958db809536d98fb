"""A data folder on disk: `<split>-00000-of-00008.tfrecord` shards, what describes them, and the patients' keys."""

import contextlib
import errno
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO

import numpy as np
from google.protobuf.message import DecodeError

from tfcxr.data.atomic import atomic_path, write_atomically
from tfcxr.data.croissant import CROISSANT_FILE, croissant_text
from tfcxr.data.example import Example
from tfcxr.data.label_choice import choose_labels
from tfcxr.data.schema import INFO_FILE, DatasetInfo, ShardInfo, SplitInfo
from tfcxr.data.tfrecord import BUFFER_BYTES, framed, read_records

PATIENT_KEYS_FILE = "patient_keys.json"
_MANY_SHARDS, _WORTH_A_SHARD = 8, 100  # small splits get several shards too, so that these can be shuffled
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def shard_name(split: str, index: int, count: int) -> str:
    """The file name of shard `index` of `count`."""
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord"


def divide_into_shards(images: int, shard_images: int) -> list[slice]:
    """The images of each shard of a split, nearly equally many, at most `shard_images`."""
    count = max(math.ceil(images / shard_images), min(_MANY_SHARDS, math.ceil(images / _WORTH_A_SHARD)))
    return [slice(images * index // count, images * (index + 1) // count) for index in range(count)]


class OpenShard:
    """A shard while it is written; `info` is its description once it is whole, None before."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest = file, hashlib.sha256()
        self._images = self._bytes = 0
        self.info: ShardInfo | None = None

    def write(self, example: bytes) -> None:
        """Appends one serialised record."""
        data = framed(example)
        self._file.write(data)
        self._digest.update(data)
        self._images += 1
        self._bytes += len(data)

    def finish(self, name: str) -> None:
        """Describes the shard under its final name."""
        self.info = ShardInfo(name, self._images, self._bytes, self._digest.hexdigest())


@contextlib.contextmanager
def open_shard(path: str | os.PathLike) -> Iterator[OpenShard]:
    """Opens one TFRecord file for writing, which appears only when the block ends and the file is whole.

    Raises:
      OSError: the disk is full or the folder cannot be written to.
    """
    path = pathlib.Path(path)
    try:
        with atomic_path(path) as temporary, temporary.open("wb", buffering=BUFFER_BYTES) as file:
            shard = OpenShard(file)
            yield shard
    except OSError as error:
        if error.errno in _NO_SPACE and error.filename is None:
            error.filename = str(path)
        raise
    shard.finish(path.name)


def write_shard(path: str | os.PathLike, examples: Iterable[bytes]) -> ShardInfo:
    """Writes serialised records to one TFRecord file, which appears only when it is whole.

    Raises:
      OSError: the disk is full or the folder cannot be written to.
    """
    with open_shard(path) as shard:
        for example in examples:
            shard.write(example)
    assert shard.info is not None  # it was closed
    return shard.info


def write_dataset_info(data_dir: str | os.PathLike, info: DatasetInfo) -> None:
    """Writes `croissant.json`, then `dataset_info.json`; it comes last, so a folder that has one is complete."""
    write_croissant(data_dir, info)
    write_atomically(pathlib.Path(data_dir) / INFO_FILE, info.to_json())


def write_croissant(data_dir: str | os.PathLike, info: DatasetInfo) -> pathlib.Path:
    """Writes `croissant.json`, the same description for catalogues of data sets."""
    path = pathlib.Path(data_dir) / CROISSANT_FILE
    write_atomically(path, croissant_text(info))
    return path


def read_dataset_info(data_dir: str | os.PathLike) -> DatasetInfo:
    """Reads `dataset_info.json` of a data folder.

    Raises:
      FileNotFoundError: no such folder, or a folder that holds no finished build.
      ValueError: a damaged info file or one of another schema version.
    """
    data_dir = pathlib.Path(data_dir)
    if not data_dir.is_dir():
        raise FileNotFoundError(f"data folder {data_dir} does not exist; python -m tfrecords_builder makes one")
    path = data_dir / INFO_FILE
    if not path.is_file():
        sizes = sorted((entry.parent.name for entry in data_dir.glob(f"[0-9]*/{INFO_FILE}")), key=len)
        hint = (
            f"it holds builds at {', '.join(sizes)} px: name one of those folders"
            if sizes
            else "it is empty, not a data folder, or its build did not finish"
        )
        raise FileNotFoundError(f"{data_dir} has no {INFO_FILE}; {hint}")
    return DatasetInfo.from_json(path.read_text(encoding="utf-8"), str(path))


def write_patient_keys(data_dir: str | os.PathLike, keys: Mapping[str, Iterable[str]]) -> str:
    """Writes each split's patient keys beside its shards, so that nobody need read the records for them.

    Returns:
      SHA-256 of the file, for `DatasetInfo.patient_keys_sha256`.
    """
    path = pathlib.Path(data_dir) / PATIENT_KEYS_FILE
    write_atomically(path, json.dumps({split: sorted(set(of_split)) for split, of_split in keys.items()}) + "\n")
    return file_sha256(path)


def stored_patient_keys(data_dir: str | os.PathLike, info: DatasetInfo) -> dict[str, list[str]] | None:
    """Split -> its patient keys, each once, sorted; None for a folder without the file, as earlier versions wrote it.

    Raises:
      ValueError: the file is not the one that was written.
    """
    path = pathlib.Path(data_dir) / PATIENT_KEYS_FILE
    if not info.patient_keys_sha256 or not path.is_file():
        return None
    if file_sha256(path) != info.patient_keys_sha256:
        raise ValueError(
            f"{path} was altered: its SHA-256 is not the recorded one; remove it, and the records are read instead"
        )
    return json.loads(path.read_text(encoding="utf-8"))


def read_patient_keys(data_dir: str | os.PathLike, split: str, labels: Sequence[str] = ()) -> list[str]:
    """The patient keys of a split, each once, sorted.

    They stand beside the shards; every record is read for a data folder of an earlier version, and where the choice of
    `labels` leaves out images.

    Raises:
      ValueError: no such split or label, an altered file of keys, or a record that cannot be read.
    """
    info = read_dataset_info(data_dir)
    paths, choice = shard_paths(data_dir, info, split), choose_labels(info, labels)
    if not choice.drops_images and (stored := stored_patient_keys(data_dir, info)) is not None:
        return sorted({key for name in split.split(",") for key in stored[name.strip()]})
    keys: set[str] = set()
    try:
        for path in paths:
            for record in read_records(path):
                features = Example.FromString(record).features.feature
                if choice.keeps(np.array([features["label"].float_list.value], np.float32))[0]:
                    keys.add(features["patient/key"].bytes_list.value[0].decode())
    except (DecodeError, IndexError, ValueError) as error:
        raise ValueError(f"a record of split {split!r} in {data_dir} is damaged: {error}") from error
    return sorted(keys)


def split_info(info: DatasetInfo, split: str) -> SplitInfo:
    """One split of a data set, or several with commas between as one, such as "fold_1,fold_2,fold_3".

    Raises:
      ValueError: no such split, one without images, or one that is named twice.
    """
    names = [name.strip() for name in split.split(",")]
    if len(set(names)) < len(names):
        raise ValueError(f"split {split!r} names a split twice")
    for name in names:
        if name not in info.splits:
            raise ValueError(f"data set {info.name} has no split {name!r}; it has {', '.join(info.splits)}")
        if not info.splits[name].images:
            raise ValueError(f"split {name!r} of data set {info.name} holds no image")
    parts = [info.splits[name] for name in names]
    labels = {
        label: {count: sum(part.labels[label][count] for part in parts) for count in counts}
        for label, counts in parts[0].labels.items()
    }
    return SplitInfo(
        images=sum(part.images for part in parts),
        patients=sum(part.patients for part in parts),  # no patient is in two splits
        labels=labels,
        shards=tuple(shard for part in parts for shard in part.shards),
    )


def shard_paths(
    data_dir: str | os.PathLike, info: DatasetInfo, split: str, verify_checksums: bool = False
) -> list[str]:
    """Paths of a split's shards, after a look at each: present, of the recorded size and, on request, unaltered.

    Raises:
      FileNotFoundError: a shard is missing.
      ValueError: a shard is truncated, or altered (found with `verify_checksums` only).
    """
    paths = []
    for shard in split_info(info, split).shards:
        path = pathlib.Path(data_dir) / shard.file
        check_shard(path, shard, verify_checksums)
        paths.append(str(path))
    return paths


def check_shard(path: pathlib.Path, shard: ShardInfo, verify_checksum: bool = False) -> None:
    """Looks at one shard; raises as `shard_paths` does."""
    if not path.is_file():
        raise FileNotFoundError(f"shard {path} is missing; build the data set again")
    size = path.stat().st_size
    if size != shard.bytes:
        raise ValueError(f"shard {path} is damaged: expected {shard.bytes} bytes, found {size}; build it again")
    if verify_checksum and file_sha256(path) != shard.sha256:
        raise ValueError(f"shard {path} was altered: its SHA-256 is not the recorded one; build it again")


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with pathlib.Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def is_whole(path: pathlib.Path, shard: ShardInfo) -> bool:
    """Whether a shard is there, as it was written."""
    return path.is_file() and file_sha256(path) == shard.sha256
