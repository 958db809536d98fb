"""The structure of a JPEG 2000 stream, walked without decoding it: its size, its numbers, and whether it is whole.

OpenJPEG decodes a stream that was cut without a word, so the lengths of the tile parts (ISO/IEC 15444-1, annex A) are
followed to the end marker. High-Throughput JPEG 2000 has the same structure.
"""

from typing import NamedTuple

from tfrecords_builder.images.radiograph import ImageError

STREAM_START = b"\xff\x4f\xff\x51"  # start of the stream, then its size
_TILE_PART, _END = b"\xff\x90", b"\xff\xd9"


class Jpeg2000Header(NamedTuple):
    """What a JPEG 2000 stream says of itself.

    Attributes:
      components: 1 grey, 3 colour.
      bits: of a sample.
      is_signed: whether samples are two's complements.
    """

    width: int
    height: int
    components: int
    bits: int
    is_signed: bool


def read_jpeg2000_header(data: bytes) -> Jpeg2000Header:
    """Reads the header of a stream, bare or in its box, and checks that all of it is there.

    Raises:
      ImageError: "truncated" or "unreadable".
    """
    start = data.find(STREAM_START) if data[4:8] == b"jP  " else 0
    if start < 0 or not data.startswith(STREAM_START, start):
        raise ImageError("unreadable", "the compressed pixels begin as neither JPEG nor JPEG 2000")
    if start + 43 > len(data):
        raise ImageError("truncated", "the JPEG 2000 stream ends inside its header")
    right, bottom, left, top = (int.from_bytes(data[at : at + 4], "big") for at in range(start + 8, start + 24, 4))
    components, numbers = int.from_bytes(data[start + 40 : start + 42], "big"), data[start + 42]
    _check_tile_parts(data, start + 2)
    return Jpeg2000Header(right - left, bottom - top, components, (numbers & 0x7F) + 1, numbers >= 0x80)


def _check_tile_parts(data: bytes, position: int) -> None:
    """Follows the lengths of the header's segments and of the tile parts to the end marker."""
    while data[position : position + 2] != _END:
        if position + 4 > len(data):
            raise ImageError("truncated", "the end marker of the JPEG 2000 stream is missing")
        length = int.from_bytes(data[position + 2 : position + 4], "big") + 2
        if data[position : position + 2] == _TILE_PART:
            length = int.from_bytes(data[position + 6 : position + 10], "big")
            if not length:  # the last part, which reaches to the end marker
                length = max(data.rfind(_END, position), len(data) - 1) - position
        if length < 4 or data[position] != 0xFF:
            raise ImageError("unreadable", f"no JPEG 2000 marker at byte {position} of the compressed pixels")
        position += length
