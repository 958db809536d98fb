"""Any records of a split in any order: what shuffling a whole data set needs, without holding one pixel of it.

    reader = RecordReader(shard_paths("records/64", info, "train"), choose_labels(info), images=86_000)
    reader.read(np.array([70_000, 3, 512]))

Every record is checked against its checksum each time it is read.
"""

import contextlib
import functools
import os
import pathlib
import re
import resource
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfcxr.data.example import Example
from tfcxr.data.label_choice import LabelChoice
from tfcxr.data.tfrecord import read_record, record_positions

_MOST_OPEN_SHARDS = max(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2, 16)
_BLOCK = 1000  # records whose labels are looked at together
_RAISED = re.compile(r"(ValueError|FileNotFoundError|PermissionError|OSError): (.*?)\n*(?:Traceback|\Z)", re.DOTALL)


class RecordReader:
    """Random access to the records of some shards, from several threads at once.

    Where each record stands is found out when the first is read: 12 bytes of each are looked at, and 16 bytes are kept;
    where a choice of labels leaves out images, each record is read once for it.

    Args:
      paths: of the shards.
      choice: of labels; the images that it leaves out are not counted.
      images: how many there are by the data set's description.
    """

    def __init__(self, paths: Sequence[str], choice: LabelChoice, images: int) -> None:
        self._paths, self._choice, self._images = list(paths), choice, images
        self._lock = threading.Lock()
        self._positions: _Positions | None = None
        self._open = functools.lru_cache(_MOST_OPEN_SHARDS)(_OpenShard)

    def read(self, places: np.ndarray) -> np.ndarray:
        """The serialised records at some places, an object array of bytes [places].

        Places count the records one shard after the other.

        Raises:
          ValueError: a shard is damaged, or there are not `images` records.
          OSError: a shard is gone or cannot be read.
        """
        with self._lock:  # the first of several threads looks for the records, the others wait for it
            if self._positions is None:
                self._positions = self._find_records()
        return self._read(self._positions.at(places))

    def _read(self, positions: "_Positions") -> np.ndarray:
        records = []
        for shard, start, length in zip(*(column.tolist() for column in positions), strict=True):
            path = self._paths[shard]
            try:
                file = self._open(path)  # held while it is read: another thread may have opened it too
                records.append(read_record(file.file_descriptor, start, length))
            except ValueError as error:
                raise ValueError(f"shard {path} is damaged: {error}; build the data set again") from error
            except OSError as error:
                raise OSError(error.errno, f"{error.strerror} while its records were read", path) from error
        return np.array(records, object)

    def _find_records(self) -> "_Positions":
        found = [record_positions(path) for path in self._paths]
        positions = _Positions(
            np.repeat(np.arange(len(found), dtype=np.int32), [len(starts) for starts, _ in found]),
            np.concatenate([starts for starts, _ in found]),
            np.concatenate([lengths for _, lengths in found]),
        )
        if self._choice.drops_images:
            kept = [
                self._choice.keeps(_labels(self._read(positions.at(slice(first, first + _BLOCK)))))
                for first in range(0, len(positions.starts), _BLOCK)
            ]
            positions = positions.at(np.concatenate(kept))
        if len(positions.starts) != self._images:
            folder = pathlib.Path(self._paths[0]).parent
            raise ValueError(
                f"{folder} is damaged: it holds {len(positions.starts)} images, not {self._images}; build it again"
            )
        return positions


class _Positions(NamedTuple):
    """Where records stand: in which shard, int32, from which byte on, int64, and how many bytes, int32."""

    shards: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    def at(self, places: np.ndarray | slice) -> "_Positions":
        return _Positions(*(column[places] for column in self))


def _labels(records: np.ndarray) -> np.ndarray:
    return np.array([Example.FromString(record).features.feature["label"].float_list.value for record in records])


class _OpenShard:
    """A file that is closed when nobody reads it any more, though others may have taken its place in the cache."""

    def __init__(self, path: str) -> None:
        self.file_descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "file_descriptor"):  # it is not, where opening failed
            os.close(self.file_descriptor)


@contextlib.contextmanager
def reading_errors() -> Iterator[None]:
    """Raises what a reader raised inside a `tf.data` pipeline, of which TensorFlow makes an error of its own.

    Raises:
      ValueError: a shard is damaged. OSError: one is gone or cannot be read.
    """
    try:
        yield
    except (tf.errors.InvalidArgumentError, tf.errors.UnknownError) as error:
        raised = _RAISED.search(error.message)
        if raised is None:
            raise
        kind = ValueError if raised[1] == "ValueError" else OSError
        raise kind(raised[2].strip()) from error
