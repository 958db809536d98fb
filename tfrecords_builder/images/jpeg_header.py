"""The structure of a JPEG stream, walked without decoding it: its size, its kind, and whether it is whole.

OpenCV decodes a truncated JPEG without a word and fills the rest with grey, so the markers are checked from the
first to the end marker. Damage inside the compressed data that leaves them whole cannot be told from a picture.
"""

import struct
from typing import NamedTuple

from tfrecords_builder.images.radiograph import ImageError, check_size

LOSSLESS, JPEG_LS = 0xC3, 0xF7  # processes

_segment = struct.Struct(">HH").unpack_from
_SKIPPED = frozenset((0xFFDB, 0xFFC4, 0xFFE0, 0xFFE1, 0xFFFE, 0xFFDD))  # tables, texts: most segments of most files
_NO_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))  # markers that stand alone
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}  # the last is that of JPEG-LS


class JpegHeader(NamedTuple):
    """What a JPEG says of itself.

    Attributes:
      process: marker of its frame header: 0xC0 baseline, 0xC1 extended, 0xC2 progressive, 0xC3 lossless, 0xF7 JPEG-LS.
      bits: of a sample.
      components: 1 grey, 3 colour, 4 with black ink.
      has_adobe_marker: without it nobody knows whether 0 or 255 is full ink.
      has_more_pictures: whether it is the first of several in one file (MPO).
    """

    width: int
    height: int
    process: int
    bits: int
    components: int
    has_adobe_marker: bool
    has_more_pictures: bool


def read_jpeg_header(data: bytes) -> JpegHeader:
    """Walks the segments up to the compressed data, then looks for the end marker behind it.

    Raises:
      ImageError: "truncated", "unreadable" or "too_large".
    """
    position, frame, has_adobe_marker, has_more_pictures = 2, None, False, False
    while position + 4 <= len(data):
        marker, length = _segment(data, position)
        if marker in _SKIPPED:
            position += 2 + length
            if length >= 2:
                continue
        if marker < 0xFF00:
            raise ImageError("unreadable", f"no JPEG marker at byte {position}")
        marker &= 0xFF
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in _NO_LENGTH:
            position += 2
            continue
        if marker == 0xD9:
            raise ImageError("unreadable", "a JPEG without a picture")
        if length < 2:
            raise ImageError("unreadable", f"a JPEG segment of {length} bytes")
        if marker in _FRAME_HEADERS:
            if position + 10 > len(data):
                break
            bits, height, width, components = struct.unpack_from(">BHHB", data, position + 4)
            check_size(width, height)
            frame = (width, height, marker, bits, components)
        elif marker == 0xEE:
            has_adobe_marker |= data[position + 4 : position + 9] == b"Adobe"
        elif marker == 0xE2:
            has_more_pictures |= data[position + 4 : position + 8] == b"MPF\0"
        position += 2 + length
        if marker == 0xDA:
            if frame is None:
                raise ImageError("unreadable", "JPEG data before its size")
            if data.rfind(b"\xff\xd9", position) < 0:
                raise ImageError("truncated", "the JPEG's end marker is missing")
            return JpegHeader(*frame, has_adobe_marker, has_more_pictures)
    raise ImageError("truncated", "the file ends inside the JPEG's header")
