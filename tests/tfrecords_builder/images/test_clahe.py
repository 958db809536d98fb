import cv2
import numpy as np
import pytest

from tfrecords_builder.images.clahe import equalize_local_contrast


def body(height, width, seed=0):
    """uint8: a bright oval with faint ribs and noise, so that tiles differ and clipping matters."""
    rows, columns = np.mgrid[:height, :width]
    oval = np.exp(-(((rows / height - 0.5) / 0.4) ** 2) - ((columns / width - 0.5) / 0.3) ** 2)
    ribs = np.sin(rows / 5) * 6
    noise = np.random.default_rng(seed).normal(0, 4, (height, width))
    return np.clip(30 + 150 * oval + ribs + noise, 0, 255).astype(np.uint8)


def test_eight_bits_are_what_opencv_gives_and_local_contrast_rises():
    image = body(200, 240)
    result = equalize_local_contrast(image, 3.0, 4)
    np.testing.assert_array_equal(result, cv2.createCLAHE(3.0, (4, 4)).apply(image))
    local_contrast = [
        np.mean([block.std() for rows in np.split(picture, 20) for block in np.split(rows, 24, axis=1)])
        for picture in (image, result)
    ]
    assert local_contrast[1] > 1.5 * local_contrast[0]


@pytest.mark.parametrize("height, width", [(256, 256), (203, 177), (200, 177), (64, 300), (5, 7), (1, 40)])
@pytest.mark.parametrize("clip_limit, tiles", [(2.0, 8), (40.0, 3), (0.01, 5), (3.5, 1)])
def test_sixteen_bits_show_the_picture_of_eight(height, width, clip_limit, tiles):
    """OpenCV's 8-bit result is the judge; it rounds a tile's curve and the pixel, each by half a level at most."""
    image = body(height, width)
    expected = cv2.createCLAHE(clip_limit, (tiles, tiles)).apply(image)
    result = equalize_local_contrast(image.astype(np.uint16) * 257, clip_limit, tiles)
    assert result.dtype == np.uint16 and result.shape == image.shape
    assert np.abs(result / 257 - expected).max() <= 1.001


def test_the_picture_does_not_depend_on_the_bits_of_the_detector():
    fine = cv2.GaussianBlur(body(256, 256).astype(np.float64), (0, 0), 2) / 255
    results = []
    for bits in (10, 12, 14, 16):
        values = np.rint(np.rint(fine * (2**bits - 1)) * 65535 / (2**bits - 1)).astype(np.uint16)
        results.append(equalize_local_contrast(values, 2.0, 8) / 257)
    for result in results[:-1]:
        difference = np.abs(result - results[-1])
        assert difference.mean() < 0.3 and difference.max() < 4  # OpenCV's 16-bit form: mean 10 to 41


def test_sixteen_bits_keep_levels_that_eight_do_not_have():
    values = np.linspace(20000, 24000, 128 * 128).reshape(128, 128).astype(np.uint16)
    result = equalize_local_contrast(values, 2.0, 1)
    assert np.unique(result).size > 2000  # 8 bits hold 16 of these levels
    assert (np.diff(result.ravel().astype(int)) >= 0).all()  # one tile's curve never falls
