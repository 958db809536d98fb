"""The TFRecord format without TensorFlow: how a record stands in a file, and how files are read and checked.

`read_records` goes through a file from its start; `record_positions` and `read_record` reach any record of it.

A file is a sequence of: length (uint64), its checksum (uint32), the record, its checksum (uint32), all little-endian.
A checksum is a masked CRC-32C, as in `tensorflow/core/lib/hash/crc32c.h`.
"""

import os
import pathlib
import struct
from collections.abc import Iterator

import google_crc32c
import numpy as np

LENGTH_BYTES, CHECKSUM_BYTES = 8, 4
HEAD_BYTES = LENGTH_BYTES + CHECKSUM_BYTES  # before a record; `CHECKSUM_BYTES` follow it
BUFFER_BYTES = 1 << 20
_MASK = 0xA282EAD8


def framed(record: bytes) -> bytes:
    """A record as it stands in a file."""
    length = struct.pack("<Q", len(record))
    return b"".join((length, _checksum(length), record, _checksum(record)))


def read_records(path: str | os.PathLike) -> Iterator[bytes]:
    """Yields the records of a file; memory holds one at a time.

    Raises:
      ValueError: the file is cut off, or a length or a record does not fit its checksum; all before it were yielded.
      OSError: it cannot be read.
    """
    with pathlib.Path(path).open("rb", buffering=BUFFER_BYTES) as file:
        rest = os.fstat(file.fileno()).st_size
        while rest:
            head = file.read(HEAD_BYTES)
            length, checksum = head[:LENGTH_BYTES], head[LENGTH_BYTES:]
            if len(head) == HEAD_BYTES and _checksum(length) != checksum:
                raise ValueError("the length of a record does not fit its checksum")
            size = int.from_bytes(length, "little")
            rest -= HEAD_BYTES + size + CHECKSUM_BYTES
            if rest < 0:  # the size is not read before this, for it may be any
                raise ValueError("the file is cut off")
            record = file.read(size)
            if _checksum(record) != file.read(CHECKSUM_BYTES):
                raise ValueError("a record does not fit its checksum")
            yield record


def record_positions(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Where the records of a file stand; only their heads are read.

    Returns:
      int64 [records], the first byte of each; int32 [records], its bytes.

    Raises:
      ValueError: the file is cut off, or a length does not fit its checksum.
      OSError: it cannot be read.
    """
    starts, lengths = [], []
    with pathlib.Path(path).open("rb", buffering=0) as file:
        size, position = os.fstat(file.fileno()).st_size, 0
        while position < size:
            head = os.pread(file.fileno(), HEAD_BYTES, position)
            if len(head) < HEAD_BYTES or _checksum(head[:LENGTH_BYTES]) != head[LENGTH_BYTES:]:
                raise ValueError(f"{path} is damaged: the length of a record does not fit its checksum")
            starts.append(position + HEAD_BYTES)
            lengths.append(int.from_bytes(head[:LENGTH_BYTES], "little"))
            position = starts[-1] + lengths[-1] + CHECKSUM_BYTES
    if position != size:
        raise ValueError(f"{path} is damaged: it is cut off")
    return np.array(starts, np.int64), np.array(lengths, np.int32)


def read_record(file_descriptor: int, start: int, length: int) -> bytes:
    """One record of an open file, by what `record_positions` gave.

    Raises:
      ValueError: the record does not fit its checksum, or the file is shorter than it was.
      OSError: it cannot be read.
    """
    data = os.pread(file_descriptor, length + CHECKSUM_BYTES, start)
    record = data[:length]
    if _checksum(record) != data[length:]:
        raise ValueError("a record does not fit its checksum")
    return record


def _checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF)
