"""Pictures: the same steps for both sides, and files that hold pixels alone and have one length and time."""

import struct

import cv2
import numpy as np
import pytest

from tfcxr.reader_study.design.corner_marks import has_corner_mark
from tfcxr.reader_study.design.image_features import blockiness
from tfcxr.reader_study.design.pictures import PictureSettings, display_pixels, png_file, write_pictures
from tfcxr.reader_study.design_file import IMAGES_FOLDER


@pytest.fixture(scope="module")
def smooth():
    rows, columns = np.mgrid[:64, :64]
    return (40 + 2 * rows + columns / 2).astype(np.uint8)


@pytest.fixture(scope="module")
def noisy():
    return np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)


def chunks(png: bytes) -> list[str]:
    names, place = [], 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        names.append(png[place + 4 : place + 8].decode())
        place += 12 + length
    return names


def test_files_hold_pixels_alone_and_have_one_length(smooth, noisy, tmp_path):
    settings = PictureSettings(display_size=70)
    pictures = {name: display_pixels(image, settings) for name, image in (("b", smooth), ("a", noisy))}
    checksums = write_pictures(tmp_path / IMAGES_FOLDER, pictures, pictures.get)
    files = sorted((tmp_path / IMAGES_FOLDER).iterdir())
    assert [file.name for file in files] == ["a.png", "b.png"]
    assert len({file.stat().st_size for file in files}) == 1
    assert len({file.stat().st_mtime_ns for file in files}) == 1
    for file in files:
        assert set(chunks(file.read_bytes())) == {"IHDR", "IDAT", "IEND"}
        np.testing.assert_array_equal(cv2.imread(str(file), cv2.IMREAD_UNCHANGED), pictures[file.stem])
    assert set(checksums) == {"a", "b"}
    assert checksums["a"] != checksums["b"]


@pytest.mark.parametrize("size", [32, 64, 260])
def test_size_and_grey_levels(smooth, size):
    pixels = display_pixels(smooth, PictureSettings(size))
    assert (pixels.shape, pixels.dtype) == ((size, size), np.uint8)
    assert pixels.mean() == pytest.approx(smooth.mean(), abs=1.0)
    assert len(png_file(pixels)) > size**2


def test_sixteen_bits_look_like_eight(smooth):
    deep = smooth.astype(np.uint16) * 257
    np.testing.assert_array_equal(
        display_pixels(deep, PictureSettings(64)), display_pixels(smooth, PictureSettings(64))
    )


def test_images_lose_what_jpeg_loses(noisy):
    settings = PictureSettings(64)
    once = display_pixels(noisy, settings)
    assert np.abs(once.astype(int) - noisy).mean() > 1
    again = display_pixels(once, settings)  # an image that was such a JPEG file already stays nearly as it is
    assert np.abs(again.astype(int) - once).mean() < 0.2 * np.abs(once.astype(int) - noisy).mean()


def test_files_that_were_jpeg_look_like_others_at_their_quality():
    """Blocks of the files of one side are on both sides after the JPEG step of their quality, not of a higher one."""
    ratios = {}
    for quality in (50, 95):
        sides: dict[bool, list[float]] = {True: [], False: []}
        for seed in range(8):
            smooth = cv2.GaussianBlur(np.random.default_rng(seed).random((128, 128)), (0, 0), 2)
            pixels = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
            file = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
            for was_jpeg, image in ((False, pixels), (True, cv2.imdecode(file, cv2.IMREAD_GRAYSCALE))):
                picture = display_pixels(image, PictureSettings(128, jpeg_quality=quality))
                sides[was_jpeg].append(blockiness(picture / 255.0))
        ratios[quality] = np.mean(sides[True]) / np.mean(sides[False])
    assert ratios[50] == pytest.approx(1.0, abs=0.02)
    assert ratios[95] > 1.05


def test_the_border_is_cut_off(smooth):
    framed = smooth.copy()
    framed[:6] = framed[-6:] = 255
    framed[:, :6] = framed[:, -6:] = 255
    assert display_pixels(framed, PictureSettings(64)).max() == 255
    assert display_pixels(framed, PictureSettings(64, crop=0.17)).max() < 220


def test_corners_are_masked(smooth):
    pixels = display_pixels(smooth, PictureSettings(100, masks_corners=True))
    for rows in (slice(0, 12), slice(88, 100)):
        for columns in (slice(0, 12), slice(88, 100)):
            assert (pixels[rows, columns] == 0).all()
    assert (pixels == 0).sum() == 4 * 144


def test_a_window_of_each_image_makes_brightness_equal(smooth):
    dark = (smooth // 3).astype(np.uint8)
    settings = PictureSettings(64, windows_by_percentile=True)
    means = [display_pixels(image, settings).mean() for image in (smooth, dark)]
    assert means[0] == pytest.approx(means[1], abs=2.0)
    assert display_pixels(np.full((64, 64), 90, np.uint8), settings).std() == 0  # nothing to stretch


def test_letters_in_corners_are_found():
    rows, columns = np.mgrid[:260, :260]
    chest = (80 + 60 * np.exp(-((rows - 130) ** 2 + (columns - 130) ** 2) / 60**2)).astype(np.uint8)
    assert not has_corner_mark(chest)
    for place in ((8, 30), (225, 30), (8, 250), (225, 250)):
        assert has_corner_mark(cv2.putText(chest.copy(), "L", place, cv2.FONT_HERSHEY_SIMPLEX, 0.8, 240, 2))
    assert not has_corner_mark(cv2.putText(chest.copy(), "L", (130, 130), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 240, 2))
