"""Files of every kind that radiographs come in, and every kind of damage, each with its reason."""

import os
import pathlib
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tfrecords_builder import image_io
from tfrecords_builder.image_io import ImageError, read_image


def noise(height=40, width=50, channels=None, seed=0):
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height=64, width=64):
    return np.add.outer(np.arange(height) * 2, np.arange(width)).astype(np.uint8)


def save(path: pathlib.Path, image: Image.Image | np.ndarray, **arguments) -> pathlib.Path:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **arguments)
    return path


def reason(path: pathlib.Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path)
    return caught.value.reason


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_bytes(width: int, height: int, compressed: bytes, bits: int = 8, *extra: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", compressed) + chunk(b"IEND", b"")


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb @ np.array([0.2989, 0.5870, 0.1140])


def test_grey_png_is_read_unchanged(tmp_path):
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", noise())), noise())


def test_interlaced_png_is_read_unchanged(tmp_path):
    # Adam7 passes of a 2x2 image: pass 1 holds (0, 0), pass 6 (0, 1), pass 7 the second row.
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 1))
    body = chunk(b"IDAT", zlib.compress(bytes([0, 10, 0, 20, 0, 30, 40])))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b""))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), [[10, 20], [30, 40]])


def test_sixteen_bits_stay_sixteen(tmp_path):
    image = noise().astype(np.uint16) * 16
    read = read_image(save(tmp_path / "a.png", image))
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, image)


def test_true_range_of_sixteen_bits_is_the_next_detector_depth():
    ranges = {200: 255, 1000: 1023, 4000: 4095, 4096: 16383, 16384: 65535}
    for brightest, expected in ranges.items():
        assert image_io.range_maximum(np.array([[0, brightest]], np.uint16)) == expected
    assert image_io.range_maximum(np.array([[0, 3]], np.uint8)) == 255


def test_one_bit_png_is_black_and_white(tmp_path):
    image = Image.fromarray(noise()).convert("1")
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", image)), np.asarray(image) * 255)


def test_palette_is_looked_up(tmp_path):
    image = Image.fromarray(noise(channels=3)).quantize(16)
    expected = luma(np.asarray(image.convert("RGB")))
    np.testing.assert_allclose(read_image(save(tmp_path / "a.png", image)), expected, atol=1)  # rounding of luma


@pytest.mark.parametrize("name, tolerance", [("a.png", 1), ("a.jpg", 3)])  # JPEG at quality 95 also loses a little
def test_colour_becomes_luma(tmp_path, name, tolerance):
    rgb = np.stack([smooth(), smooth()[::-1], smooth().T // 2], -1)
    arguments = {"quality": 95, "subsampling": 0} if name.endswith("jpg") else {}
    read = read_image(save(tmp_path / name, rgb, **arguments))
    assert np.abs(read - luma(rgb)).mean() < tolerance


def test_constant_alpha_is_ignored(tmp_path):
    for alpha in (255, 128):
        rgba = np.dstack([noise()] * 3 + [np.full((40, 50), alpha, np.uint8)])
        np.testing.assert_array_equal(read_image(save(tmp_path / f"{alpha}.png", rgba)), noise())


def test_varying_alpha_is_composited_on_black(tmp_path):
    alpha = np.zeros((40, 50), np.uint8)
    alpha[:, :25] = 255
    read = read_image(save(tmp_path / "a.png", np.dstack([noise()] * 3 + [alpha])))
    np.testing.assert_array_equal(read[:, :25], noise()[:, :25])
    assert not read[:, 25:].any()


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the picture must be turned clockwise to stand upright
    image = smooth(40, 64)
    upright = read_image(save(tmp_path / "a.jpg", image, exif=exif, quality=95))
    assert upright.shape == (64, 40)
    assert np.abs(upright.astype(int) - np.rot90(image, -1)).mean() < 3


@pytest.mark.parametrize("name, arguments", [("a.jpg", {}), ("b.jpg", {"progressive": True}), ("c.png", {})])
def test_every_truncation_is_noticed(tmp_path, name, arguments):
    whole = save(tmp_path / name, noise(), **arguments).read_bytes()
    for kept in [*range(1, 64), *range(64, len(whole) - 1, len(whole) // 40), len(whole) - 1]:
        (tmp_path / name).write_bytes(whole[:kept])
        assert reason(tmp_path / name) in ("truncated", "not_an_image"), kept
        if kept > 8:
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
        expected = read_image(path)
        path.write_bytes(path.read_bytes() + bytes(100))
        np.testing.assert_array_equal(read_image(path), expected)


def test_png_data_that_ends_early_is_unreadable(tmp_path):
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in noise()[:20]))  # half the rows of a sound file
    (tmp_path / "a.png").write_bytes(png_bytes(50, 40, rows))
    assert reason(tmp_path / "a.png") == "unreadable"


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
    monkeypatch.setattr(image_io, "MAX_FILE_BYTES", 10)
    assert reason(save(tmp_path / "a.png", noise())) == "too_large"


def test_animated_png_is_multi_frame(tmp_path):
    frames = [Image.fromarray(noise(seed=seed)) for seed in (1, 2)]
    assert reason(save(tmp_path / "a.png", frames[0], save_all=True, append_images=frames[1:])) == "multi_frame"


def test_other_content_is_named(tmp_path):
    for name, content, expected in [
        ("text.png", b"this is no picture at all", "not_an_image"),
        ("empty.png", b"", "truncated"),
        ("dicom.png", bytes(128) + b"DICM" + bytes(100), "unsupported_format"),
        ("tiff.png", b"II*\0" + bytes(100), "unsupported_format"),
        ("header.jpg", b"\xff\xd8\xff\xd9" + bytes(20), "unreadable"),
        ("zeros.jpg", b"\xff\xd8\xff" + bytes(200), "unreadable"),
        ("none.png", png_bytes(0, 4, b""), "unreadable"),
        ("bits.png", png_bytes(4, 4, b"", 7), "unreadable"),
    ]:
        (tmp_path / name).write_bytes(content)
        assert reason(tmp_path / name) == expected, name
    assert reason(save(tmp_path / "a.gif", noise())) == "unsupported_format"


def test_paths_that_are_no_files(tmp_path):
    assert reason(tmp_path / "absent.png") == "missing_file"
    assert reason(save(tmp_path / "a.png", noise()) / "below.png") == "missing_file"
    assert reason(tmp_path) == "not_a_file"
    os.mkfifo(tmp_path / "pipe.png")  # opened, it would wait for a writer for ever
    assert reason(tmp_path / "pipe.png") == "not_a_file"


def test_blank_images_are_refused(tmp_path):
    assert reason(save(tmp_path / "a.png", np.full((20, 20), 77, np.uint8))) == "constant"
    dark = np.zeros((20, 20), np.uint8)
    dark[0, :3] = 255  # only a marker letter is bright
    assert reason(save(tmp_path / "b.png", dark)) == "nearly_black"
    read_image(save(tmp_path / "c.png", np.tile(np.array([0, 12], np.uint8), (20, 10))))


def test_damaged_files_never_crash(tmp_path):
    random = np.random.default_rng(0)
    files = [save(tmp_path / name, noise(16, 16)).read_bytes() for name in ("a.jpg", "a.png")]
    outcomes = set()
    for _ in range(300):
        data = bytearray(files[random.integers(2)])
        for position in random.integers(0, len(data), random.integers(1, 6)):
            data[position] = random.integers(256)
        (tmp_path / "x").write_bytes(data)
        try:
            assert read_image(tmp_path / "x").ndim == 2
            outcomes.add("read")
        except ImageError as error:
            outcomes.add(error.reason)
    assert {"read", "unreadable"} <= outcomes


def test_error_crosses_processes():
    error = pickle.loads(pickle.dumps(ImageError("truncated", "detail")))
    assert (error.reason, error.detail, str(error)) == ("truncated", "detail", "truncated: detail")
