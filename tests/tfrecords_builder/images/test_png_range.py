"""What is white in a PNG of 16 bits, with and without an `sBIT` chunk; files made here."""

import struct
import zlib

import numpy as np
import pytest

from tfrecords_builder.images.image_file import decode
from tfrecords_builder.images.png import png_range
from tfrecords_builder.images.radiograph import Radiograph

RANGE = "white_not_as_declared"


def chest(bits: int) -> np.ndarray:
    """uint16 [48, 64], brightest about .93 and mean about .4 of the range of `bits`."""
    y, x = np.mgrid[0:48, 0:64]
    blob = (0.15 + 0.7 * np.exp(-((x - 26) ** 2 + (y - 27) ** 2) / 450)) * (1 + 0.1 * np.sin(x))
    return np.rint((2**bits - 1) * blob).astype(np.uint16)


def png(pixels: np.ndarray, significant: tuple[int, ...] = ()) -> bytes:
    """A PNG of grey, grey with alpha, colour, or colour with alpha, with an `sBIT` chunk if there is one."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = pixels.shape[:2]
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[1 if pixels.ndim == 2 else pixels.shape[2]]
    rows = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, colour_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    if significant:
        parts.insert(1, chunk(b"sBIT", bytes(significant)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def repeated(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Samples scaled as the PNG specification does it: shifted up, their highest bits repeated below."""
    return (pixels << (16 - bits)) | (pixels >> (2 * bits - 16))


def multiplied(pixels: np.ndarray, bits: int) -> np.ndarray:
    return np.rint(pixels * (65535 / (2**bits - 1))).astype(np.uint16)


def shifted(pixels: np.ndarray, bits: int) -> np.ndarray:
    return pixels << (16 - bits)


def mean(image: Radiograph) -> float:
    return float(image.pixels.mean()) / image.white * 255


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_bits_in_the_low_end_without_a_word_are_noticed(bits):
    image = decode(png(chest(bits)))
    detail = f"white is {2**bits - 1}, the PNG's depth of 16 bits declares 65535"
    assert (image.white, image.notices) == (2**bits - 1, ((RANGE, detail),))


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_significant_bits_in_the_low_end_are_noticed(bits):
    image = decode(png(chest(bits), (bits,)))
    assert (image.white, image.notices) == (
        2**bits - 1,
        ((RANGE, f"white is {2**bits - 1}, sBIT of the PNG declares 65535"),),
    )


def test_significant_bits_that_no_detector_has_are_followed():
    assert decode(png(chest(11), (11,))).white == 2047
    assert decode(png(chest(11))).white == 4095


@pytest.mark.parametrize("scale", [repeated, multiplied, shifted])
@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("darker", [1, 4, 30])
def test_a_picture_that_is_scaled_is_not_brightened_however_dark_it_is(scale, bits, darker):
    pixels = scale(chest(bits) // darker, bits)
    image = decode(png(pixels, (bits,)))
    assert (image.white, image.notices) == (65535, ())
    np.testing.assert_array_equal(image.pixels, pixels)


def test_significant_bits_of_colour_and_alpha():
    grey, alpha = chest(12), np.full((48, 64), 65535, np.uint16)
    for pixels, significant in (
        (np.dstack([grey] * 3), (12, 12, 12)),
        (np.dstack([grey, alpha]), (12, 16)),
        (np.dstack([grey, grey, grey, alpha]), (12, 12, 12, 16)),
    ):
        image = decode(png(pixels, significant))
        assert (image.white, [kind for kind, _ in image.notices]) == (4095, [RANGE])
        np.testing.assert_allclose(image.pixels, grey, atol=1)


def test_significant_bits_of_eight():
    low = (chest(8) >> 3).astype(np.uint8)  # five bits in the low end
    assert decode(png(low, (5,))).white == 31
    scaled = (low << 3) | (low >> 2)
    assert (decode(png(scaled, (5,))).white, decode(png(scaled, (5,))).notices) == (255, ())


def test_as_many_significant_bits_as_there_are_say_nothing():
    assert decode(png(chest(12), (16,))).white == 4095
    assert decode(png(chest(16), (16,))).notices == ()


def test_range_by_hand():
    assert png_range(np.array([0, 16, 4080], np.uint16), 12) == 65535  # multiples of 16: scaled, and dark
    assert png_range(np.array([0, 17, 4080], np.uint16), 12) == 4095
    assert png_range(np.array([0, 17, 4096], np.uint16), 12) == 65535
    assert png_range(np.array([0, 17, 900], np.uint16), 12) == 1023  # as for DICOM's BitsStored of 12
    assert png_range(np.array([0, 3, 200], np.uint8), 6) == 255
    assert png_range(np.array([0, 3, 60], np.uint8), 6) == 63
