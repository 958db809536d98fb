"""Files of every kind that radiographs come in, and every kind of damage, each with its reason."""

import io
import os
import pathlib
import socket
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tfrecords_builder.images import image_file
from tfrecords_builder.images.image_file import decode, read_image
from tfrecords_builder.images.radiograph import ImageError


def noise(height=40, width=50, channels=None, seed=0):
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height=64, width=64):
    return np.add.outer(np.arange(height) * 2, np.arange(width)).astype(np.uint8)


def save(path: pathlib.Path, image: Image.Image | np.ndarray, **arguments) -> pathlib.Path:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **arguments)
    return path


def pixels(path: pathlib.Path) -> np.ndarray:
    return read_image(path).pixels


def reason(path: pathlib.Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path)
    return caught.value.reason


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_bytes(width, height, compressed, bits=8, *extra: bytes, colour_type=0, interlace=0) -> bytes:
    fields = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlace)
    body = b"".join(extra) + chunk(b"IDAT", compressed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", fields) + body


def one_row(row: bytes, width: int, bits: int, *extra: bytes, colour_type: int) -> np.ndarray:
    """Pixels of a PNG with two equal rows, made by hand since neither Pillow nor OpenCV writes every kind."""
    data = png_bytes(width, 2, zlib.compress((b"\0" + row) * 2), bits, *extra, colour_type=colour_type)
    read = decode(data).pixels
    np.testing.assert_array_equal(read[0], read[1])
    return read[0]


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb @ np.array([0.2989, 0.5870, 0.1140])


def test_grey_png_is_read_unchanged(tmp_path):
    np.testing.assert_array_equal(pixels(save(tmp_path / "a.png", noise())), noise())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_interlaced_png_is_read_unchanged(dtype):
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (13, 10)).astype(dtype)
    rows = b""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))  # Adam7
    for top, left, down, right in passes:
        rows += b"".join(
            b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in image[top::down, left::right]
        )
    read = decode(png_bytes(10, 13, zlib.compress(rows), image.itemsize * 8, interlace=1)).pixels
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, image)


def test_sixteen_bits_stay_sixteen(tmp_path):
    image = noise().astype(np.uint16) * 16
    read = pixels(save(tmp_path / "a.png", image))
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, image)


def test_one_bit_png_is_black_and_white(tmp_path):
    image = Image.fromarray(noise()).convert("1")
    np.testing.assert_array_equal(pixels(save(tmp_path / "a.png", image)), np.asarray(image) * 255)


def test_two_and_four_bits_are_widened_to_eight():
    np.testing.assert_array_equal(one_row(bytes([0b00011011]), 4, 2, colour_type=0), [0, 85, 170, 255])
    np.testing.assert_array_equal(one_row(bytes([0x01, 0xEF]), 4, 4, colour_type=0), [0, 17, 238, 255])


@pytest.mark.parametrize("bits, row", [(1, [0b01000000]), (2, [0b00010000]), (4, [0x01, 0x00]), (8, [0, 1, 0, 0])])
def test_palette_of_every_depth_is_looked_up(bits, row):
    palette = chunk(b"PLTE", bytes([10, 20, 30, 200, 100, 50]))
    expected = np.rint(luma(np.array([[10, 20, 30], [200, 100, 50], [10, 20, 30], [10, 20, 30]])))
    np.testing.assert_array_equal(one_row(bytes(row), 4, bits, palette, colour_type=3), expected)


def test_colour_of_sixteen_bits_becomes_luma_of_sixteen_bits():
    row = np.array([[1000, 2000, 3000], [65535, 0, 0], [4, 50000, 6]])
    read = one_row(row.astype(">u2").tobytes(), 3, 16, colour_type=2)
    assert read.dtype == np.uint16
    np.testing.assert_allclose(read, luma(row), atol=65535 / 255)  # one grey level of 255, as documented


def test_grey_with_alpha_of_eight_and_sixteen_bits_is_composited():
    np.testing.assert_array_equal(one_row(bytes([10, 255, 200, 128, 7, 0]), 3, 8, colour_type=4), [10, 100, 0])
    row = np.array([1000, 65535, 2000, 32768, 7, 0], ">u2")
    np.testing.assert_array_equal(one_row(row.tobytes(), 3, 16, colour_type=4), [1000, 1000, 0])


def test_colour_with_alpha_of_sixteen_bits_is_composited():
    row = np.array([[5000, 5000, 5000, 65535], [9000, 9000, 9000, 32768]], ">u2")
    np.testing.assert_array_equal(one_row(row.tobytes(), 2, 16, colour_type=6), [5000, 4500])


def test_the_transparent_colour_of_a_png_is_black():
    palette, alpha = chunk(b"PLTE", bytes([10, 10, 10, 90, 90, 90])), chunk(b"tRNS", bytes([255, 0]))
    np.testing.assert_array_equal(one_row(bytes([0, 1, 0]), 3, 8, palette, alpha, colour_type=3), [10, 0, 10])
    key = chunk(b"tRNS", struct.pack(">HHH", 9, 9, 9))
    np.testing.assert_array_equal(one_row(bytes([8] * 3 + [9] * 3), 2, 8, key, colour_type=2), [8, 0])
    for bits, row, level, expected in [
        (2, [0b00011011], 2, [0, 85, 0, 255]),
        (8, [8, 9, 10, 200], 9, [8, 0, 10, 200]),
        (16, np.array([8, 9, 10, 200], ">u2").tobytes(), 9, [8, 0, 10, 200]),
    ]:
        key = chunk(b"tRNS", struct.pack(">H", level))
        np.testing.assert_array_equal(one_row(bytes(row), 4, bits, key, colour_type=0), expected)


def test_palette_is_looked_up(tmp_path):
    image = Image.fromarray(noise(channels=3)).quantize(16)
    expected = luma(np.asarray(image.convert("RGB")))
    np.testing.assert_allclose(pixels(save(tmp_path / "a.png", image)), expected, atol=1)  # rounding of luma


def test_colour_of_a_png_is_the_documented_luma_within_one_level(tmp_path):
    every = np.stack(np.meshgrid(*[np.arange(0, 256, 5, dtype=np.uint8)] * 3), -1).reshape(52, -1, 3)
    read = pixels(save(tmp_path / "a.png", every))
    assert np.abs(read - np.rint(luma(every))).max() <= 1
    np.testing.assert_array_equal(pixels(save(tmp_path / "b.png", np.dstack([noise()] * 3))), noise())


@pytest.mark.parametrize(
    "arguments",
    [{"subsampling": 0}, {"subsampling": 2}, {"progressive": True}, {"keep_rgb": True}],
    ids=lambda arguments: next(iter(arguments)) + str(next(iter(arguments.values()))),
)
def test_colour_of_a_jpeg_is_the_documented_luma_within_one_level(tmp_path, arguments):
    rgb = np.stack([smooth(), smooth()[::-1], smooth().T // 2], -1) // 2 + 50  # JPEG keeps these colours inside RGB
    path = save(tmp_path / "a.jpg", rgb, quality=95, **arguments)
    difference = np.abs(pixels(path) - np.rint(luma(np.asarray(Image.open(path)))))
    assert difference.max() <= 2  # the decoders' chroma may be one level apart, on top of the one of the weights
    assert (difference > 1).mean() < 0.01


def test_grey_jpeg_is_read_as_it_is(tmp_path):
    for progressive in (False, True):
        path = save(tmp_path / "a.jpg", smooth(), quality=95, progressive=progressive)
        np.testing.assert_array_equal(pixels(path), np.asarray(Image.open(path)))


def inks(tmp_path: pathlib.Path) -> bytes:
    image = np.stack([smooth() // 2, smooth()[::-1] // 2, smooth().T // 3, smooth() // 4], -1)
    return save(tmp_path / "a.jpg", Image.fromarray(image, "CMYK"), quality=98, subsampling=0).read_bytes()


def test_jpeg_of_four_inks_becomes_luma(tmp_path):
    data = inks(tmp_path)
    expected = luma(np.asarray(Image.open(tmp_path / "a.jpg").convert("RGB")))
    assert np.abs(decode(data).pixels - expected).max() <= 2  # rounded in each ink
    # The same stream said to be YCCK: its first three planes are now luma and colour differences.
    ycck = bytearray(data)
    ycck[data.index(b"Adobe") + 11] = 2
    expected = luma(np.asarray(Image.open(io.BytesIO(ycck)).convert("RGB")))
    assert np.abs(expected - luma(np.asarray(Image.open(tmp_path / "a.jpg").convert("RGB")))).mean() > 20
    assert np.abs(decode(bytes(ycck)).pixels - expected).max() < 3  # and in the conversion


def test_inks_of_unknown_meaning_are_refused(tmp_path):
    with pytest.raises(ImageError, match="unsupported_format: a JPEG of 4 colours of unknown meaning"):
        decode(inks(tmp_path).replace(b"Adobe", b"Unknn"))


def test_jpeg_that_is_not_of_eight_bits_is_refused(tmp_path):
    data = bytearray(save(tmp_path / "a.jpg", smooth()).read_bytes())
    position = data.index(b"\xff\xc0")
    data[position + 4] = 12
    with pytest.raises(ImageError, match="unsupported_format: a JPEG of 12 bits and process 0xc0"):
        decode(bytes(data))
    data[position + 1 : position + 5] = bytes([0xC3, *data[position + 2 : position + 4], 8])
    with pytest.raises(ImageError, match="unsupported_format: a JPEG of 8 bits and process 0xc3"):
        decode(bytes(data))


def test_several_pictures_in_one_jpeg_file_are_multi_frame(tmp_path):
    frames = [Image.fromarray(noise(seed=seed)) for seed in (1, 2)]
    frames[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    assert reason(tmp_path / "a.jpg") == "multi_frame"


def test_a_long_picture_is_noticed_not_refused(tmp_path):
    assert read_image(save(tmp_path / "a.png", noise(40, 81))).notices == (("unusual_shape", "81x40"),)
    assert read_image(save(tmp_path / "b.png", noise(81, 40))).notices == (("unusual_shape", "40x81"),)
    assert read_image(save(tmp_path / "c.png", noise(40, 80))).notices == ()


def test_equal_files_have_equal_content_and_others_not(tmp_path):
    first, again, other = (read_image(save(tmp_path / "a.png", noise(seed=seed))).content for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 16


def test_constant_alpha_is_ignored(tmp_path):
    for alpha in (255, 128):
        rgba = np.dstack([noise()] * 3 + [np.full((40, 50), alpha, np.uint8)])
        np.testing.assert_array_equal(pixels(save(tmp_path / f"{alpha}.png", rgba)), noise())


def test_varying_alpha_is_composited_on_black(tmp_path):
    alpha = np.zeros((40, 50), np.uint8)
    alpha[:, :25] = 255
    read = pixels(save(tmp_path / "a.png", np.dstack([noise()] * 3 + [alpha])))
    np.testing.assert_array_equal(read[:, :25], noise()[:, :25])
    assert not read[:, 25:].any()


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the picture must be turned clockwise to stand upright
    image = smooth(40, 64)
    upright = pixels(save(tmp_path / "a.jpg", image, exif=exif, quality=95))
    assert upright.shape == (64, 40)
    assert np.abs(upright.astype(int) - np.rot90(image, -1)).mean() < 3


@pytest.mark.parametrize("name, arguments", [("a.jpg", {}), ("b.jpg", {"progressive": True}), ("c.png", {})])
def test_every_truncation_is_noticed(tmp_path, name, arguments):
    whole = save(tmp_path / name, noise(), **arguments).read_bytes()
    for kept in [*range(1, 64), *range(64, len(whole) - 1, len(whole) // 40), len(whole) - 1]:
        (tmp_path / name).write_bytes(whole[:kept])
        assert reason(tmp_path / name) == "truncated", kept


def test_a_thumbnails_end_marker_does_not_hide_a_truncation(tmp_path):
    thumbnail = save(tmp_path / "small.jpg", noise(8, 8)).read_bytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = save(tmp_path / "a.jpg", noise()).read_bytes()
    data = whole[:2] + segment + whole[2:]
    (tmp_path / "a.jpg").write_bytes(data)
    read_image(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2 + len(segment)])
    assert reason(tmp_path / "a.jpg") == "truncated"


def test_bytes_after_the_picture_do_no_harm(tmp_path):
    for name in ("a.jpg", "a.png"):
        path = save(tmp_path / name, noise())
        expected = pixels(path)
        path.write_bytes(path.read_bytes() + bytes(100))
        np.testing.assert_array_equal(pixels(path), expected)


def test_gamma_of_a_png_is_not_applied():
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in noise()))
    for gamma in (20_000, 45_455, 100_000):
        data = png_bytes(50, 40, rows, 8, chunk(b"gAMA", struct.pack(">I", gamma)))
        np.testing.assert_array_equal(decode(data).pixels, noise())


def test_png_data_that_ends_early_is_unreadable(tmp_path):
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in noise()[:20]))  # half the rows of a sound file
    (tmp_path / "a.png").write_bytes(png_bytes(50, 40, rows))
    message = "unreadable: the PNG's chunks are sound, but its compressed pixels are damaged or too few"
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / "a.png")


def test_a_changed_byte_in_a_png_is_unreadable(tmp_path):
    path = save(tmp_path / "a.png", noise())
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(ImageError, match="unreadable: the check sum of PNG chunk b'IDAT' is wrong"):
        read_image(path)


def test_a_bomb_is_refused_from_its_header(tmp_path):
    (tmp_path / "a.png").write_bytes(png_bytes(100_000, 100_000, zlib.compress(b"")))
    assert reason(tmp_path / "a.png") == "too_large"
    data = bytearray(save(tmp_path / "a.jpg", noise()).read_bytes())
    size = data.index(b"\xff\xc0") + 5
    data[size : size + 4] = struct.pack(">HH", 65535, 65535)
    (tmp_path / "a.jpg").write_bytes(data)
    assert reason(tmp_path / "a.jpg") == "too_large"


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(image_file, "MAX_FILE_BYTES", 10)
    assert reason(save(tmp_path / "a.png", noise())) == "too_large"


def test_animated_png_is_multi_frame(tmp_path):
    frames = [Image.fromarray(noise(seed=seed)) for seed in (1, 2)]
    assert reason(save(tmp_path / "a.png", frames[0], save_all=True, append_images=frames[1:])) == "multi_frame"


def test_other_content_is_named(tmp_path):
    for name, content, expected in [
        ("text.png", b"this is no picture at all", "not_an_image"),
        ("empty.png", b"", "truncated"),
        ("dicom.png", bytes(128) + b"DICM" + bytes(100), "unreadable"),
        ("tiff.png", b"II*\0\x08\0\0\0" + bytes(100), "unreadable"),
        ("big.tiff", b"II+\0" + bytes(100), "unsupported_format"),
        ("web.png", b"RIFF\0\0\0\0WEBP" + bytes(100), "unsupported_format"),
        ("header.jpg", b"\xff\xd8\xff\xd9" + bytes(20), "unreadable"),
        ("zeros.jpg", b"\xff\xd8\xff" + bytes(200), "unreadable"),
        ("none.png", png_bytes(0, 4, b""), "unreadable"),
        ("bits.png", png_bytes(4, 4, b"", 7), "unreadable"),
    ]:
        (tmp_path / name).write_bytes(content)
        assert reason(tmp_path / name) == expected, name
    assert reason(save(tmp_path / "a.gif", noise())) == "unsupported_format"


@pytest.mark.parametrize(
    "content, message",
    [
        (b"\xff", "truncated: only 1 bytes, the beginning of a picture's first ones"),
        (b"\x89PNG", "truncated: only 4 bytes, the beginning of a picture's first ones"),
        (b"MM\0", "truncated: only 3 bytes, the beginning of a picture's first ones"),
        (bytes(50), "truncated: only 50 bytes, all zero as in the preamble of a DICOM file"),
        (bytes(128) + b"DI", "truncated: only 130 bytes, all zero as in the preamble of a DICOM file"),
        (b"x" * 128 + b"DIC", "truncated: only 131 bytes, which end inside the preamble of a DICOM file"),
        (bytes(5000), "not_an_image: 5000 bytes, all zero"),
        (b"x", "not_an_image: it begins with b'x', expected JPEG, PNG, TIFF or DICOM"),
        (b"\n<!DOCTYPE html><p>", "not_an_image: a web page, perhaps in place of a download that failed"),
        (b"<HTML>", "not_an_image: a web page, perhaps in place of a download that failed"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not_an_image: a pointer of Git LFS to a file that was not"),
        (b"\0\5\x16\7" + bytes(60), "not_an_image: what macOS keeps beside a file (AppleDouble), not the file itself"),
        (b"PK\3\4" + bytes(60), "unsupported_format: zip, expected JPEG, PNG, TIFF or DICOM"),
        (b"\0\0\0\x18ftypheic" + bytes(60), "unsupported_format: HEIF or AVIF, expected JPEG, PNG, TIFF or DICOM"),
        (b"RIFF\0\0\0\0WEBP" + bytes(60), "unsupported_format: WebP, expected JPEG, PNG, TIFF or DICOM"),
    ],
)
def test_what_is_no_picture_is_called_what_it_is(content, message):
    with pytest.raises(ImageError) as caught:
        decode(content)
    assert str(caught.value).startswith(message)


def test_a_missing_file_says_where_it_was_looked_for(tmp_path):
    def message(path):
        with pytest.raises(ImageError) as caught:
            read_image(path)
        return str(caught.value)

    place = tmp_path / "images" / "absent.png"
    assert message(place) == f"missing_file: {place}"
    (tmp_path / "link.png").symlink_to("nothing.png")
    assert message(tmp_path / "link.png") == f"missing_file: a link to a file that is not there: {tmp_path}/link.png"
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert message(tmp_path / "loop.png").endswith(f"symbolic links: {tmp_path}/loop.png")
    assert message(tmp_path / ("x" * 300)).startswith("missing_file: File name too long: ")
    assert message(f"{tmp_path}/a\0b.png").startswith("missing_file: no file can have this name: ")


def test_a_name_that_is_not_utf_8_is_read_and_named(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    with pytest.raises(ImageError, match=r"missing_file: .*/caf\\xe9\.png") as caught:
        read_image(path)
    str(caught.value).encode("utf-8")
    save(tmp_path / "a.png", noise()).rename(path)
    np.testing.assert_array_equal(pixels(path), noise())


def test_paths_that_are_no_files(tmp_path):
    assert reason(tmp_path / "absent.png") == "missing_file"
    assert reason(save(tmp_path / "a.png", noise()) / "below.png") == "missing_file"
    for _ in range(2000):  # more than a process may hold open
        assert reason(tmp_path) == "not_a_file"
    os.mkfifo(tmp_path / "pipe.png")  # opened, it would wait for a writer for ever
    assert reason(tmp_path / "pipe.png") == "not_a_file"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "socket.png"))
        assert reason(tmp_path / "socket.png") == "not_a_file"


def test_blank_images_are_refused(tmp_path):
    assert reason(save(tmp_path / "a.png", np.full((20, 20), 77, np.uint8))) == "constant"
    dark = np.zeros((20, 20), np.uint8)
    dark[0, :3] = 255  # only a marker letter is bright
    assert reason(save(tmp_path / "b.png", dark)) == "nearly_black"
    read_image(save(tmp_path / "c.png", np.tile(np.array([0, 12], np.uint8), (20, 10))))
