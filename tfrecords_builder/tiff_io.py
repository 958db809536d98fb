"""TIFF file -> radiograph, through Pillow: 1 to 16 bits of grey, palette, 8 bits of colour, any compression it knows.

White-is-zero pictures are inverted; colour, alpha and 16 bits follow the rules of `image_io`; the orientation tag is
applied. Pillow cuts colour of 16 bits down to 8, so that is refused, as are floats, signed numbers and inks.
"""

import io
import math

import numpy as np
from PIL import Image, ImageOps

from tfrecords_builder.radiograph import (
    ImageError,
    Radiograph,
    check_size,
    decoder_errors,
    luma,
    over_black,
    range_maximum,
)

TIFF_SIGNATURES = (b"II*\0", b"MM\0*")
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 256, 257, 258, 262, 339
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_COMPRESSION, _SAMPLES, _ROWS_A_STRIP = 259, 277, 278
_STRIP_OFFSETS, _STRIP_LENGTHS, _TILE_OFFSETS, _TILE_LENGTHS = 273, 279, 324, 325
_WHITE_IS_ZERO, _UNSIGNED, _NOT_COMPRESSED = 0, 1, 1
_GREY_MODES, _COLOUR_MODES = ("1", "L", "LA", "I;16", "I;16B", "I;16N", "I;16L"), ("P", "PA", "RGB", "RGBA", "RGBX")


def decode_tiff(data: bytes) -> Radiograph:
    """The radiograph in a TIFF file's bytes.

    Raises:
      ImageError: "too_large", "multi_frame" for several pages, "unsupported_format" for numbers or colours that
        are no picture of 8 or 16 bits, "truncated" or "unreadable".
    """
    order = "little" if data[:2] == b"II" else "big"
    page = int.from_bytes(data[4:8], order)
    if page + 6 + 12 * int.from_bytes(data[page : page + 2], order) > len(data):
        raise ImageError("truncated", "the file ends before or inside its first page's tags")
    with decoder_errors("Pillow"):
        try:
            image = Image.open(io.BytesIO(data), formats=["TIFF"])
        except Image.DecompressionBombError:
            raise ImageError("too_large", "more pixels than Pillow opens") from None
        with image:
            _check_header(image, len(data))
            is_inverted = image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
            image.load()  # newer versions of Pillow apply the orientation here, and then take its tag away
            return Radiograph(_grey(ImageOps.exif_transpose(image), is_inverted))


def _check_header(image: Image.Image, file_bytes: int) -> None:
    """Refuses what cannot be decoded faithfully before any pixel is."""
    tags = image.tag_v2
    check_size(*image.size)
    check_size(tags.get(_TILE_WIDTH, 1), tags.get(_TILE_HEIGHT, 1))
    if getattr(image, "is_animated", False):
        raise ImageError("multi_frame", "a TIFF file of several pages")
    bits, sample_format = _bits_of_samples(tags), tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))
    if any(number != _UNSIGNED for number in sample_format):
        raise ImageError("unsupported_format", f"a TIFF of signed or floating numbers, {max(bits)} bits")
    if image.mode not in _GREY_MODES + _COLOUR_MODES:
        raise ImageError("unsupported_format", f"a TIFF of colour mode {image.mode}")
    if max(bits) > (16 if image.mode in _GREY_MODES else 8):
        raise ImageError("unsupported_format", f"a TIFF of colour mode {image.mode} with {max(bits)} bits")
    _check_parts(tags, file_bytes)


def _check_parts(tags: dict, file_bytes: int) -> None:
    """The strips or tiles must be there: Pillow takes the rows of a missing one for black."""
    width, height = tags[_WIDTH], tags[_HEIGHT]  # image.size has the orientation applied
    if _STRIP_OFFSETS in tags:
        offsets, lengths = tags[_STRIP_OFFSETS], tags.get(_STRIP_LENGTHS)
        expected = math.ceil(height / max(1, min(height, tags.get(_ROWS_A_STRIP, height))))
    else:
        offsets, lengths = tags.get(_TILE_OFFSETS, ()), tags.get(_TILE_LENGTHS)
        expected = math.ceil(width / tags.get(_TILE_WIDTH, width)) * math.ceil(height / tags.get(_TILE_HEIGHT, height))
    lengths = lengths or [file_bytes - offset for offset in offsets]  # some old writers leave them out
    if min(len(offsets), len(lengths)) < expected:
        raise ImageError("unreadable", f"{len(offsets)} strips or tiles, expected {expected}")
    if any(offset + length > file_bytes for offset, length in zip(offsets, lengths, strict=False)):
        raise ImageError("truncated", "the TIFF's pixels end before their place")
    if tags.get(_COMPRESSION, _NOT_COMPRESSED) == _NOT_COMPRESSED:
        row_bytes = (width * sum(_bits_of_samples(tags)) + 7) // 8
        if sum(lengths) < row_bytes * height:
            raise ImageError("truncated", f"{sum(lengths)} bytes of pixels, expected {row_bytes * height}")


def _bits_of_samples(tags: dict) -> tuple[int, ...]:
    bits, samples = tags.get(_BITS, (1,)), tags.get(_SAMPLES, 1)
    return bits * samples if len(bits) == 1 else bits


def _grey(image: Image.Image, is_inverted: bool) -> np.ndarray:
    """Decoded picture -> uint8 or uint16 [height, width]."""
    if image.mode in ("P", "PA"):
        image = image.convert("RGB" if image.mode == "P" else "RGBA")
    pixels = np.asarray(image)
    if image.mode == "1":
        return pixels.astype(np.uint8) * 255
    if image.mode == "L":
        return pixels  # Pillow has inverted it
    if image.mode == "LA":
        return over_black(pixels[..., 0], pixels[..., 1])
    if pixels.ndim == 2:
        pixels = pixels.astype(np.uint16)
        # The true range, not 65535, so that 12 bits in 16 do not end up at the white end.
        return range_maximum(pixels) - pixels if is_inverted else pixels
    grey = luma(np.ascontiguousarray(pixels[..., :3]))
    return over_black(grey, pixels[..., 3]) if image.mode == "RGBA" else grey
