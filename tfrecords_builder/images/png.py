"""PNG file -> radiograph, by OpenCV: every colour type and depth. `gAMA`, `cHRM` and `iCCP` are not applied."""

import struct
import zlib
from typing import NamedTuple

import cv2
import numpy as np

from tfrecords_builder.images.radiograph import (
    ImageError,
    Radiograph,
    check_size,
    content_digest,
    decode_with_opencv,
    over_black,
    range_maximum,
    range_notices,
    true_white,
)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_SIGNIFICANT = {0: 1, 2: 3, 4: 1, 6: 3}  # colour type -> how many bytes of sBIT are of colours, not of alpha


class _Chunks(NamedTuple):
    """What a PNG's chunks say.

    Attributes:
      transparent: the transparent level of a grey picture, as the decoder gives it, or None.
      significant_bits: of a sample, at most as many as it has; 0 where the file does not say.
    """

    transparent: int | None
    significant_bits: int


def decode_png(data: bytes) -> Radiograph:
    """The radiograph in a PNG file's bytes; its content is the file's.

    Raises:
      ImageError: "truncated", "unreadable", "too_large", or "multi_frame" for an animation.
    """
    chunks = _check_chunks(data)
    damage = "the PNG's chunks are sound, but its compressed pixels are damaged or too few"
    image = decode_with_opencv(data, cv2.IMREAD_UNCHANGED, "PNG", damage)
    pixels = image
    if image.ndim == 3:  # OpenCV's order is blue, green, red
        pixels = cv2.cvtColor(image[..., :3], cv2.COLOR_BGR2GRAY)
        if image.shape[2] == 4:
            pixels = over_black(pixels, image[..., 3])
    elif chunks.transparent is not None:  # OpenCV leaves out the transparent level of grey, though not that of colour
        image[image == chunks.transparent] = 0
    full = int(np.iinfo(pixels.dtype).max)
    if chunks.significant_bits:
        samples = image if image.ndim == 2 else image[..., :3]
        white, declaration = png_range(samples, chunks.significant_bits), "sBIT of the PNG"
    else:
        white, declaration = range_maximum(pixels), f"the PNG's depth of {8 * pixels.itemsize} bits"
    return Radiograph(pixels, white, content_digest(data), range_notices(white, full, declaration))


def png_range(samples: np.ndarray, significant_bits: int) -> int:
    """The white of a PNG whose `sBIT` chunk says that fewer bits are significant than its samples have.

    The PNG specification (third edition, 11.3.2.7) scales such samples to the full range, so that white is the
    largest sample there can be, however dark the picture. But many writers leave them in the low bits. So:
      a sample above 2**bits - 1      they are scaled: white is the largest sample.
      all are levels of a scaling     they are scaled too, if the picture is dark: shifted, shifted with their highest
                                      bits repeated, or multiplied and rounded, as writers do it.
      otherwise                       they are in the low bits: `true_white` of the brightest, at most 2**bits - 1.

    Args:
      samples: uint8 or uint16 of any shape, grey or colour before luma.
      significant_bits: fewer than the type's.
    """
    depth, bits = 8 * samples.itemsize, significant_bits
    full, brightest = 2**depth - 1, int(samples.max(initial=0))
    if brightest >= 2**bits:
        return full
    levels = np.arange(2**bits, dtype=np.int64)
    is_level = np.zeros(full + 1, bool)
    is_level[levels << (depth - bits)] = True
    is_level[(levels * full) // (2**bits - 1)] = True
    is_level[(2 * levels * full + 2**bits - 1) // (2 * (2**bits - 1))] = True
    repeated, filled = levels, bits
    while filled < depth:
        repeated, filled = repeated << bits | levels, filled + bits
    is_level[repeated >> (filled - depth)] = True
    return full if is_level[samples].all() else true_white(brightest, 2**bits - 1)


def _check_chunks(data: bytes) -> _Chunks:
    """Walks the chunks to the last one; every check sum must fit."""
    position, is_first, transparent, significant_bits = len(PNG_SIGNATURE), True, None, 0
    while position + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        if is_first and (kind != b"IHDR" or length != 13):
            raise ImageError("unreadable", f"the first PNG chunk is {kind!r} of {length} bytes, expected IHDR of 13")
        start, end = position + 8, position + 12 + length
        if end > len(data):
            break
        if zlib.crc32(data[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise ImageError("unreadable", f"the check sum of PNG chunk {kind!r} is wrong")
        if is_first:
            width, height, bits, colour_type = struct.unpack(">IIBB", data[start : start + 10])
            check_size(width, height)
            if bits not in _COLOUR_TYPES.get(colour_type, ()):
                raise ImageError("unreadable", f"PNG colour type {colour_type} does not go with {bits} bits")
            is_first = False
        if kind == b"acTL" and int.from_bytes(data[start : start + 4], "big") > 1:
            raise ImageError("multi_frame", "an animated PNG")
        if kind == b"tRNS" and colour_type == 0 and length == 2:
            level = int.from_bytes(data[start : start + 2], "big")
            transparent = level * 255 // (2**bits - 1) if bits < 8 else level  # as the decoder widens to 8 bits
        if kind == b"sBIT" and bits >= 8 and colour_type in _SIGNIFICANT:
            significant_bits = max(data[start : start + min(length, _SIGNIFICANT[colour_type])], default=0)
            significant_bits = significant_bits if significant_bits < bits else 0
        if kind == b"IEND":
            return _Chunks(transparent, significant_bits)
        position = end
    raise ImageError("truncated", "the PNG's end chunk is missing")
