"""TIFF file -> radiograph, through Pillow: 1 to 16 bits of grey, palette, 8 bits of colour, any compression it knows.

White-is-zero pictures are inverted within their range; colour, alpha and 16 bits follow the rules of `image_file`; the
orientation tag is applied. A MaxSampleValue of 2**n - 1 counts as the declared white, see `radiograph.true_white`; any
other, such as the brightest pixel's, does not. Pillow cuts colour of 16 bits down to 8, so that is refused, as are
floats, signed numbers and inks.
"""

import io
import math

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tfrecords_builder.images.radiograph import (
    ImageError,
    Radiograph,
    check_size,
    decoder_errors,
    luma,
    over_black,
    range_notices,
    true_white,
)

TIFF_SIGNATURES = (b"II*\0", b"MM\0*")
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 256, 257, 258, 262, 339
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_COMPRESSION, _SAMPLES, _ROWS_PER_STRIP = 259, 277, 278
_MAX_SAMPLE = 281
_STRIP_OFFSETS, _STRIP_LENGTHS, _TILE_OFFSETS, _TILE_LENGTHS = 273, 279, 324, 325
_WHITE_IS_ZERO, _UNSIGNED, _NOT_COMPRESSED = 0, 1, 1
_BYTES_OF_TYPES = dict(enumerate((1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4), 1))
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
    try:
        with decoder_errors("Pillow"):
            return _decode(data)
    except ImageError as error:
        if error.reason == "unreadable" and _is_cut(data, order, page):
            detail = f"the TIFF ends before what its first page refers to ({error.detail})"
            raise ImageError("truncated", detail) from None
        raise


def _decode(data: bytes) -> Radiograph:
    try:
        image = Image.open(io.BytesIO(data), formats=["TIFF"])
    except Image.DecompressionBombError:
        raise ImageError("too_large", "more pixels than Pillow opens") from None
    except UnidentifiedImageError:
        raise ImageError("unreadable", "its tags describe no kind of TIFF that Pillow knows") from None
    with image:
        _check_header(image, len(data))
        tags = image.tag_v2
        is_inverted, bits = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO, max(_bits_of_samples(tags))
        declared = tags.get(_MAX_SAMPLE, 0)
        try:
            image.load()  # newer versions of Pillow apply the orientation here, and then take its tag away
        except OSError:
            kind = image.info.get("compression", "unknown")
            raise ImageError("unreadable", f"the pixels of the TIFF ({kind}) are damaged or end early") from None
        pixels = _grey(ImageOps.exif_transpose(image))
    if pixels.dtype == np.uint8:
        return Radiograph(pixels)
    brightest, name = int(pixels.max()), "MaxSampleValue (281)"
    declared = max(declared, default=0) if isinstance(declared, tuple) else declared
    if not isinstance(declared, int) or not brightest <= declared < 2**bits or declared & (declared + 1):
        declared, name = 2**bits - 1, "BitsPerSample (258)"
    white = true_white(brightest, declared)
    # The range of what is stored, so that 12 bits in 16 do not end up at the white end.
    return Radiograph(white - pixels if is_inverted else pixels, white, notices=range_notices(white, declared, name))


def _is_cut(data: bytes, order: str, page: int) -> bool:
    """Whether the values of a page's tags, or the next page's tags, lie behind the end of the file."""

    def number(position: int, length: int) -> int:
        return int.from_bytes(data[position : position + length], order)

    end = page + 2 + 12 * number(page, 2)
    for entry in range(page + 2, end, 12):
        length = _BYTES_OF_TYPES.get(number(entry + 2, 2), 1) * number(entry + 4, 4)
        if length > 4 and number(entry + 8, 4) + length > len(data):
            return True
    following = number(end, 4)
    return following > 0 and following + 6 + 12 * number(following, 2) > len(data)


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
        expected = math.ceil(height / max(1, min(height, tags.get(_ROWS_PER_STRIP, height))))
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


def _grey(image: Image.Image) -> np.ndarray:
    """Decoded picture -> uint8 or uint16 [height, width]; Pillow inverts 8 bits where white is zero, and 16 not."""
    if image.mode in ("P", "PA"):
        image = image.convert("RGB" if image.mode == "P" else "RGBA")
    pixels = np.asarray(image)
    if image.mode == "1":
        return pixels.astype(np.uint8) * 255
    if image.mode == "L":
        return pixels
    if image.mode == "LA":
        return over_black(pixels[..., 0], pixels[..., 1])
    if pixels.ndim == 2:
        return pixels.astype(np.uint16)
    grey = luma(np.ascontiguousarray(pixels[..., :3]))
    return over_black(grey, pixels[..., 3]) if image.mode == "RGBA" else grey
