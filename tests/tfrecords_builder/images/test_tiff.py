"""TIFF files made here: every kind of grey, colour, byte order and compression, and damaged ones."""

import io
import struct
import warnings

import numpy as np
import pytest
from PIL import Image, features

from tfrecords_builder.images.image_file import decode
from tfrecords_builder.images.radiograph import ImageError
from tfrecords_builder.images.tiff import decode_tiff

WEIGHTS = np.array([0.2989, 0.5870, 0.1140])
needs_libtiff = pytest.mark.skipif(not features.check("libtiff"), reason="this Pillow was built without libtiff")


def noise(*shape: int, dtype=np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape or (20, 30)).astype(dtype)


def saved(image: np.ndarray | Image.Image, **arguments) -> bytes:
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, "TIFF", **arguments)
    return file.getvalue()


def tiff(pixels: bytes, width: int, height: int, order: str = "<", **tags) -> bytes:
    """A TIFF file of one strip, by hand; `tags` are t258=8 for tag 258, tuples for several numbers."""
    entries = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 0, 277: 1, 278: height, 279: len(pixels)}
    entries = {
        tag: value
        for tag, value in (entries | {int(name[1:]): tags[name] for name in tags}).items()
        if value is not None
    }
    start = 8 + 2 + 12 * len(entries) + 4
    extra, table = b"", b""
    pixels_at = start + sum(4 * len(value) for value in entries.values() if isinstance(value, tuple))
    for tag, value in sorted(entries.items()):
        numbers = value if isinstance(value, tuple) else (pixels_at if tag == 273 else value,)
        if len(numbers) > 1:
            place = start + len(extra)
            extra += struct.pack(f"{order}{len(numbers)}I", *numbers)
            table += struct.pack(f"{order}HHII", tag, 4, len(numbers), place)
        else:
            table += struct.pack(f"{order}HHII", tag, 4, 1, numbers[0])
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return header + struct.pack(f"{order}H", len(entries)) + table + struct.pack(f"{order}I", 0) + extra + pixels


def reason(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode_tiff(data)
    return caught.value.reason


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_of_both_byte_orders(order, dtype):
    image = noise(dtype=dtype)
    data = tiff(image.astype(image.dtype.newbyteorder(order)).tobytes(), 30, 20, order, t258=image.itemsize * 8)
    read = decode(data)
    assert read.pixels.dtype == dtype
    np.testing.assert_array_equal(read.pixels, image)


def test_white_of_sixteen_bits_is_the_true_range():
    assert decode(saved(noise(dtype=np.uint16) // 16)).white == 4095


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_a_white_below_the_declared_one_is_noticed(bits):
    pixels = noise(dtype=np.uint16) >> (16 - bits)
    image = decode(saved(pixels))
    detail = f"white is {2**bits - 1}, BitsPerSample (258) declares 65535"
    assert (image.white, image.notices) == (2**bits - 1, (("white_not_as_declared", detail),))
    assert decode(saved(noise(dtype=np.uint16))).notices == ()


def test_the_largest_sample_counts_where_it_is_a_range():
    eleven = noise(dtype=np.uint16) >> 5
    data = eleven.astype("<u2").tobytes()
    assert decode(tiff(data, 30, 20, t258=16)).white == 4095
    image = decode(tiff(data, 30, 20, t258=16, t281=2047))
    assert (image.white, image.notices) == (2047, ())
    # The brightest pixel's value is none, nor is one that a pixel exceeds.
    for value in (int(eleven.max()) - 100, int(eleven.max()), 255, 70000):
        assert decode(tiff(data, 30, 20, t258=16, t281=value)).white == 4095, value
    image = decode(tiff(data, 30, 20, t258=16, t281=65535))
    assert image.notices == (("white_not_as_declared", "white is 4095, MaxSampleValue (281) declares 65535"),)


def test_one_bit_is_black_and_white():
    bits = noise() > 128
    np.testing.assert_array_equal(decode(saved(Image.fromarray(bits))).pixels, bits * 255)


@pytest.mark.parametrize("bits, expected", [(2, [0, 85, 170, 255]), (4, [17, 187, 17, 187])])
def test_two_and_four_bits_are_widened(bits, expected):
    row = bytes([0b00011011]) if bits == 2 else bytes([0x1B, 0x1B])
    np.testing.assert_array_equal(decode(tiff(row * 3, 4, 3, t258=bits)).pixels, [expected] * 3)


def test_twelve_bits_are_kept():
    row = bytes([0x12, 0x3F, 0xED])  # 0x123 and 0xFED, packed
    read = decode(tiff(row * 3, 2, 3, t258=12))
    assert read.white == 4095
    np.testing.assert_array_equal(read.pixels, [[0x123, 0xFED]] * 3)


def test_white_is_zero_is_inverted():
    image = noise()
    np.testing.assert_array_equal(decode(tiff(image.tobytes(), 30, 20, t262=0)).pixels, 255 - image)
    bits = np.tile(np.array([0b11110000], np.uint8), (4, 1))
    np.testing.assert_array_equal(decode(tiff(bits.tobytes(), 8, 4, t258=1, t262=0)).pixels[0], [0] * 4 + [255] * 4)
    wide = noise(dtype=np.uint16) // 16  # 12 bits
    read = decode(tiff(wide.tobytes(), 30, 20, t258=16, t262=0))
    assert read.white == 4095
    np.testing.assert_array_equal(read.pixels, 4095 - wide)


def test_white_is_zero_keeps_the_range_of_what_is_stored():
    narrow = 3500 + noise(dtype=np.uint16) % 500  # 12 bits whose inverse would fit into 10
    read = decode(tiff(narrow.tobytes(), 30, 20, t258=16, t262=0))
    assert read.white == 4095
    np.testing.assert_array_equal(read.pixels, 4095 - narrow)


def test_colour_becomes_luma_and_equals_that_of_a_png():
    rgb = noise(20, 30, 3)
    read = decode(saved(rgb)).pixels
    assert np.abs(read - rgb @ WEIGHTS).max() <= 1
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    np.testing.assert_array_equal(read, decode(file.getvalue()).pixels)


def test_palette_is_looked_up():
    image = Image.fromarray(noise(20, 30, 3)).quantize(16)
    read = decode(saved(image)).pixels
    assert np.abs(read - np.asarray(image.convert("RGB")) @ WEIGHTS).max() <= 1


def test_alpha_is_composited_on_black_or_ignored():
    grey = noise()
    alpha = np.full((20, 30), 128, np.uint8)
    for channels in ([grey, alpha], [grey, grey, grey, alpha]):
        np.testing.assert_array_equal(decode(saved(np.dstack(channels))).pixels, grey)
    alpha[:, :15], alpha[:, 15:] = 255, 0
    for channels in ([grey, alpha], [grey, grey, grey, alpha]):
        read = decode(saved(np.dstack(channels))).pixels
        np.testing.assert_array_equal(read[:, :15], grey[:, :15])
        assert not read[:, 15:].any()


@needs_libtiff
@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lossless_compression(compression, dtype):
    image = noise(dtype=dtype)
    np.testing.assert_array_equal(decode(saved(image, compression=compression)).pixels, image)


@needs_libtiff
def test_compression_of_one_bit():
    bits = Image.fromarray(noise() > 128)
    np.testing.assert_array_equal(decode(saved(bits, compression="group4")).pixels, np.asarray(bits) * 255)


@needs_libtiff
def test_jpeg_compression():
    image = np.add.outer(np.arange(64) * 2, np.arange(64)).astype(np.uint8)
    assert np.abs(decode(saved(image, compression="jpeg", quality=95)).pixels.astype(int) - image).mean() < 2
    rgb = np.stack([image, image[::-1], image.T], -1) // 2 + 60
    read = decode(saved(rgb, compression="jpeg", quality=95)).pixels
    assert np.abs(read - rgb @ WEIGHTS).mean() < 2


def test_orientation_is_applied():
    image = noise()
    read = decode(saved(image, tiffinfo={274: 6})).pixels
    np.testing.assert_array_equal(read, np.rot90(image, -1))


def test_several_pages_are_multi_frame():
    pages = [Image.fromarray(noise()), Image.fromarray(noise())]
    assert reason(saved(pages[0], save_all=True, append_images=pages[1:])) == "multi_frame"


def test_what_is_no_picture_of_sixteen_bits_is_unsupported():
    assert reason(saved(noise().astype(np.float32))) == "unsupported_format"
    assert reason(saved(noise().astype(np.int32))) == "unsupported_format"
    assert reason(tiff(noise(dtype=np.uint16).tobytes(), 30, 20, t258=16, t339=2)) == "unsupported_format"
    colour = noise(20, 30, 3, dtype=np.uint16)
    assert reason(tiff(colour.tobytes(), 30, 20, t258=(16, 16, 16), t262=2, t277=3)) == "unsupported_format"
    assert reason(saved(Image.fromarray(noise(20, 30, 4), "CMYK"))) == "unsupported_format"


def test_a_kind_that_pillow_does_not_know_is_named():
    with pytest.raises(ImageError, match="unreadable: its tags describe no kind of TIFF that Pillow knows"):
        decode(tiff(noise().tobytes(), 30, 20, t258=9))


def test_a_bomb_is_refused_from_its_header_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for side in (10_001, 60_000):  # Pillow warns of the first and refuses the second itself
            assert reason(tiff(bytes(100), side, side)) == "too_large"
        assert reason(tiff(bytes(100), 100, 100, t322=60_000, t323=60_000, t324=8, t325=100)) == "too_large"


@pytest.mark.parametrize("compression", [None, pytest.param("tiff_lzw", marks=needs_libtiff)])
def test_every_truncation_is_noticed(compression):
    whole = saved(noise(), compression=compression)
    decode_tiff(whole)
    for kept in [*range(4, 140, 3), *range(140, len(whole) - 1, 29), *range(len(whole) - 30, len(whole))]:
        assert reason(whole[:kept]) == "truncated", kept
    assert reason(tiff(noise().tobytes(), 30, 20)[:-1]) == "truncated"
    assert reason(tiff(noise().tobytes(), 30, 20)[:7]) == "truncated"


def test_a_forged_height_is_noticed():
    image = noise()
    for tags in ({"t257": 5000}, {"t257": 5000, "t278": 5000}, {"t257": 40}):
        assert reason(tiff(image.tobytes(), 30, 20, **tags)) in ("unreadable", "truncated"), tags
    assert reason(tiff(image.tobytes(), 30, 20, t279=300)) == "truncated"


def test_several_strips_and_tiles():
    image = noise(32, 32)
    # 9 or 10 tags, of which two have four numbers: the pixels begin at 154 or 166.
    places = tuple(range(154, 154 + 1024, 256))
    strips = tiff(image.tobytes(), 32, 32, t278=8, t273=places, t279=(256,) * 4)
    assert strips[154:] == image.tobytes()
    np.testing.assert_array_equal(decode(strips).pixels, image)
    assert reason(tiff(image.tobytes(), 32, 32, t278=8, t273=places[:3], t279=(256,) * 3)) == "unreadable"

    places = tuple(range(166, 166 + 1024, 256))
    parts = {"t322": 16, "t323": 16, "t324": places, "t325": (256,) * 4, "t273": None, "t278": None, "t279": None}
    tiles = image.reshape(2, 16, 2, 16).transpose(0, 2, 1, 3)
    data = tiff(tiles.tobytes(), 32, 32, **parts)
    assert data[166:] == tiles.tobytes()
    np.testing.assert_array_equal(decode(data).pixels, image)
    assert (
        reason(data.replace(struct.pack("<HHII", 257, 4, 1, 32), struct.pack("<HHII", 257, 4, 1, 64))) == "unreadable"
    )


@needs_libtiff
def test_damaged_compression_is_unreadable():
    data = bytearray(saved(noise(60, 60), compression="tiff_adobe_deflate"))
    data[200:260] = bytes(60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reason(bytes(data)) == "unreadable"


@needs_libtiff
@pytest.mark.parametrize("compression", ["packbits", "tiff_lzw", "tiff_adobe_deflate"])
def test_a_strip_that_ends_early_inside_a_whole_file_is_named(compression):
    data = saved(noise(60, 60), compression=compression)
    with Image.open(io.BytesIO(data)) as image:
        (length,) = image.tag_v2[279]
    tag = struct.pack("<HHII", 279, 4, 1, length)
    assert data.count(tag) == 1
    with pytest.raises(ImageError, match="unreadable: the pixels of the TIFF .* are damaged or end early"):
        decode(data.replace(tag, struct.pack("<HHII", 279, 4, 1, length // 2)))


def test_a_file_of_two_pages_that_is_cut_is_no_single_picture():
    pages = [Image.fromarray(noise()), Image.fromarray(noise())]
    data = saved(pages[0], save_all=True, append_images=pages[1:])
    for end in range(8, len(data), 7):
        assert reason(data[:end]) in ("truncated", "multi_frame"), end


def test_equal_pictures_are_found_whatever_their_compression():
    assert decode(saved(noise())).content == decode(saved(noise(), compression="packbits")).content
