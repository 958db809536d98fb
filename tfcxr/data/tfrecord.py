"""The TFRecord format without TensorFlow: how a record stands in a file, and how files are read and checked.

A file is a sequence of: length (uint64), its checksum (uint32), the record, its checksum (uint32), all little-endian.
A checksum is a masked CRC-32C, as in `tensorflow/core/lib/hash/crc32c.h`.
"""

import os
import pathlib
import struct
from collections.abc import Iterator

import google_crc32c

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


def _checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF)
