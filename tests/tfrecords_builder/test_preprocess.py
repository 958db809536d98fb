import cv2
import numpy as np
import pytest

from tfrecords_builder.preprocess import PreprocessOptions, preprocess, to_8_bits, to_square


def ramp(height, width):
    return np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))


def test_sixteen_bits_are_scaled_by_their_true_range():
    twelve_bits = np.array([[0, 2048, 4095]], np.uint16)
    np.testing.assert_array_equal(to_8_bits(twelve_bits), [[0, 128, 255]])
    np.testing.assert_array_equal(to_8_bits(np.array([[0, 65535]], np.uint16)), [[0, 255]])
    eight = ramp(4, 8)
    assert to_8_bits(eight) is eight


def test_squash_keeps_all_and_changes_the_aspect_ratio():
    image = np.zeros((100, 200), np.uint8)
    image[:, 100:] = 255
    square = preprocess(image, 50, PreprocessOptions())
    assert square.shape == (50, 50) and square.dtype == np.uint8
    assert not square[:, :25].any() and (square[:, 25:] == 255).all()


def test_crop_takes_the_centre():
    image = np.zeros((100, 200), np.uint8)
    image[:, 50:150] = 200
    assert (to_square(image, 20, "crop") == 200).all()
    assert (to_square(image.T, 20, "crop") == 200).all()


def test_pad_adds_black_above_and_below():
    square = to_square(np.full((50, 100), 200, np.uint8), 40, "pad")
    assert not square[:10].any() and not square[30:].any() and (square[10:30] == 200).all()


def test_shrinking_averages_over_areas():
    checkerboard = (np.indices((64, 64)).sum(0) % 2 * 200).astype(np.uint8)
    assert (to_square(checkerboard, 16, "squash") == 100).all()  # aliasing would show 0 and 200


def test_one_side_grows_while_the_other_shrinks():
    stripes = np.tile(np.array([[0], [200]], np.uint8), (64, 8))  # 128 rows, 8 columns
    assert (to_square(stripes, 32, "squash") == 100).all()


def test_the_right_size_is_left_alone():
    np.testing.assert_array_equal(to_square(ramp(32, 32), 32, "squash"), ramp(32, 32))


def test_clahe_comes_before_the_resize_and_raises_local_contrast():
    image = (ramp(64, 64) // 8 + 100).astype(np.uint8)
    options = PreprocessOptions(clahe=True, clahe_clip_limit=3.0, clahe_tiles=4)
    expected = to_square(cv2.createCLAHE(3.0, (4, 4)).apply(image), 32, "squash")
    result = preprocess(image, 32, options)
    np.testing.assert_array_equal(result, expected)
    assert result.std() > 1.2 * preprocess(image, 32, PreprocessOptions()).std()


def test_description_names_every_argument():
    described = PreprocessOptions(clahe=True, clahe_clip_limit=3.0, clahe_tiles=4, square="pad").description()
    assert described["clahe"] == {"clip_limit": 3.0, "tiles": 4}
    assert described["square"] == "pad"
    assert PreprocessOptions().description()["clahe"] is None


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"square": "cropp"}, "unknown square policy 'cropp'; did you mean 'crop'"),
        ({"clahe_clip_limit": 0.0}, "clahe_clip_limit expects a number above 0"),
        ({"clahe_tiles": 0}, "clahe_tiles expects 1 to 64"),
    ],
)
def test_wrong_options(arguments, message):
    with pytest.raises(ValueError, match=message):
        PreprocessOptions(**arguments)
