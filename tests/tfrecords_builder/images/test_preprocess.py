import dataclasses
import json

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfrecords_builder.images.preprocess import (
    SQUARE_POLICIES,
    PreprocessOptions,
    adjust_greys,
    to_bits,
    to_square,
    to_squares,
    to_stored,
)
from tfrecords_builder.images.radiograph import Radiograph


def ramp(height, width):
    return np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))


def noise(height, width, dtype=np.uint8):
    return np.random.default_rng(height + width).integers(0, np.iinfo(dtype).max + 1, (height, width)).astype(dtype)


def preprocess(radiograph, size, options, bits=8):
    """All steps for one size."""
    return to_square(adjust_greys(radiograph, options, bits), size, options.square, options.resize)


def checkerboard(side):
    return (np.indices((side, side)).sum(0) % 2 * 200).astype(np.uint8)


def test_eight_bits_of_a_sixteen_bit_file_are_scaled_by_its_true_range():
    twelve_bits = Radiograph(np.array([[0, 2048, 4095]], np.uint16))
    np.testing.assert_array_equal(to_bits(twelve_bits, 8), [[0, 128, 255]])
    np.testing.assert_array_equal(to_bits(Radiograph(np.array([[0, 65535]], np.uint16)), 8), [[0, 255]])
    named_white = Radiograph(np.array([[0, 500, 1000, 3000]], np.uint16), white=1000)
    np.testing.assert_array_equal(to_bits(named_white, 8), [[0, 128, 255, 255]])  # 127.5 is rounded up
    eight = ramp(4, 8)
    assert to_bits(Radiograph(eight), 8) is eight


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_sixteen_bit_records_use_the_whole_range_and_can_be_undone(bits):
    white = 2**bits - 1
    values = np.arange(white + 1, dtype=np.uint8 if bits == 8 else np.uint16)[None]
    stored = to_bits(Radiograph(values), 16)
    assert stored.dtype == np.uint16 and stored[0, 0] == 0 and stored[0, -1] == 65535
    np.testing.assert_array_equal(np.rint(stored * (white / 65535)), values)
    if bits == 8:
        np.testing.assert_array_equal(stored, values.astype(int) * 257)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_stretch_maps_the_percentiles_to_black_and_white(dtype, bits):
    generator = np.random.default_rng(0)
    pixels = np.clip(generator.normal(0.4, 0.1, (90, 70)), 0, 1) * np.iinfo(dtype).max
    pixels = pixels.astype(dtype)
    options = PreprocessOptions(histogram="stretch", stretch_black_percentile=2.0, stretch_white_percentile=97.0)
    black, white = np.percentile(pixels, [2, 97], method="inverted_cdf").astype(float)
    expected = np.clip((pixels - black) / (white - black), 0, 1) * (2**bits - 1)
    result = adjust_greys(Radiograph(pixels), options, bits)
    assert result.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert np.abs(result - expected).max() <= 0.5001
    assert result.min() == 0 and result.max() == 2**bits - 1


def test_stretch_rounds_once_from_the_files_own_values():
    pixels = np.arange(1000, 1256, dtype=np.uint16)[None]  # 256 of 4096 levels; 8 bits first would leave 17
    options = PreprocessOptions(histogram="stretch", stretch_black_percentile=0, stretch_white_percentile=100)
    np.testing.assert_array_equal(adjust_greys(Radiograph(pixels, white=4095), options), np.arange(256)[None])


def test_stretch_leaves_a_picture_of_almost_one_value():
    pixels = np.full((40, 40), 90, np.uint8)
    pixels[0, 0] = 200
    np.testing.assert_array_equal(adjust_greys(Radiograph(pixels), PreprocessOptions(histogram="stretch")), pixels)


def test_equalize_is_opencvs_for_eight_bits():
    pixels = np.clip(np.random.default_rng(1).normal(60, 12, (128, 96)), 0, 255).astype(np.uint8)
    result = adjust_greys(Radiograph(pixels), PreprocessOptions(histogram="equalize"))
    assert np.abs(result.astype(int) - cv2.equalizeHist(pixels)).max() <= 1  # it rounds in float32


@pytest.mark.parametrize("bits", [8, 16])
def test_equalize_flattens(bits):
    pixels = np.clip(np.random.default_rng(1).normal(900, 150, (128, 96)), 0, 4095).astype(np.uint16)
    result = adjust_greys(Radiograph(pixels), PreprocessOptions(histogram="equalize"), bits) / (2**bits - 1)
    assert result.min() == 0 and result.max() == 1
    counts = np.histogram(result, 16, (0, 1))[0] / result.size
    np.testing.assert_allclose(counts, 1 / 16, atol=0.012)
    assert np.histogram(pixels / 4095, 16, (0, 1))[0].max() / pixels.size > 0.5  # was not flat before


def test_equalize_by_hand():
    pixels = np.array([[10, 10, 20, 30]], np.uint8)  # at or below: 2, 3, 4 -> (0, 1, 2) / 2
    result = adjust_greys(Radiograph(pixels), PreprocessOptions(histogram="equalize"))
    np.testing.assert_array_equal(result, [[0, 0, 128, 255]])


def test_clahe_comes_after_the_histogram_and_before_the_resize():
    image = (ramp(64, 64) // 8 + 100).astype(np.uint8)
    options = PreprocessOptions(clahe="before_resize", clahe_clip_limit=3.0, clahe_tiles=4, histogram="stretch")
    stretched = adjust_greys(Radiograph(image), PreprocessOptions(histogram="stretch"))
    expected = to_square(cv2.createCLAHE(3.0, (4, 4)).apply(stretched), 32)
    np.testing.assert_array_equal(preprocess(Radiograph(image), 32, options), expected)


def test_clahe_after_the_resize_is_the_last_step_of_each_size():
    image = (ramp(64, 64) // 8 + 100).astype(np.uint8)
    options = PreprocessOptions(clahe="after_resize", clahe_clip_limit=3.0, clahe_tiles=4, square="pad")
    plain = adjust_greys(Radiograph(image), options)
    np.testing.assert_array_equal(plain, image)
    for size, picture in to_stored(plain, (16, 32), options).items():
        expected = cv2.createCLAHE(3.0, (4, 4)).apply(to_square(image, size, "pad"))
        np.testing.assert_array_equal(picture, expected)
    before = dataclasses.replace(options, clahe="before_resize")
    assert (to_stored(adjust_greys(Radiograph(image), before), (32,), before)[32] != expected).any()


def test_squash_keeps_all_and_changes_the_aspect_ratio():
    image = np.zeros((100, 200), np.uint8)
    image[:, 100:] = 255
    square = preprocess(Radiograph(image), 50, PreprocessOptions())
    assert square.shape == (50, 50) and square.dtype == np.uint8
    assert not square[:, :25].any() and (square[:, 25:] == 255).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_crop_takes_the_centre(dtype):
    image = np.zeros((100, 200), dtype)
    image[:, 50:150] = 200
    assert (to_square(image, 20, "crop") == 200).all()
    assert (to_square(image.T, 20, "crop") == 200).all()


def test_crop_and_pad_of_odd_sizes():
    image = np.arange(15, dtype=np.uint8).reshape(3, 5)
    np.testing.assert_array_equal(to_square(image, 3, "crop"), image[:, 1:4])
    assert to_square(image, 3, "crop").flags.c_contiguous
    padded = to_square(image, 5, "pad")
    np.testing.assert_array_equal(padded[1:4], image)
    assert not padded[0].any() and not padded[4].any()
    image = np.arange(20, dtype=np.uint8).reshape(4, 5)  # the odd row is added below, the odd column cut off right
    np.testing.assert_array_equal(to_square(image, 4, "crop"), image[:, :4])
    np.testing.assert_array_equal(to_square(image, 5, "pad")[:4], image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pad_adds_black_above_and_below(dtype):
    square = to_square(np.full((50, 100), 200, dtype), 40, "pad")
    assert not square[:10].any() and not square[30:].any() and (square[10:30] == 200).all()


@pytest.mark.parametrize("resize", ["area", "bilinear"])
@pytest.mark.parametrize("square", SQUARE_POLICIES)
@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (1, 1), (1, 300), (3, 2)])
def test_tiny_and_thin_images(shape, square, resize):
    for dtype in (np.uint8, np.uint16):
        image = np.full(shape, 77, dtype)
        for size, picture in to_squares(image, (1, 4, 16), square, resize).items():
            assert picture.shape == (size, size) and picture.dtype == dtype
            assert square == "pad" or (picture == 77).all()
            assert size == 1 or picture.max() > 0


def area_average(image, size):
    """Exact averages over the area of each new pixel, by matrices of overlaps."""

    def overlaps(length):
        edges = np.arange(size + 1) * (length / size)
        pixels = np.arange(length)
        shared = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
        return np.maximum(shared, 0) * (size / length)

    return overlaps(image.shape[0]) @ image.astype(float) @ overlaps(image.shape[1]).T


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(256, 256), (200, 331), (129, 128)])
def test_a_pyramid_averages_over_areas(shape, dtype):
    image = noise(*shape, dtype)
    sizes = (4, 8, 16, 32, 64, 128, 50, 100, 99)
    for size, picture in to_squares(image, sizes).items():
        # Half a level of rounding; float32 sums of 16-bit values are off by a little more.
        assert np.abs(picture - area_average(image, size)).max() <= (0.5001 if dtype == np.uint8 else 0.52)


@pytest.mark.parametrize("shape", [(256, 256), (128, 128), (200, 331), (40, 700)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_size_does_not_depend_on_the_others(shape, dtype):
    image = noise(*shape, dtype)
    sizes = (4, 8, 64, 48, 96, 128, 256)
    for resize in ("area", "bilinear"):
        together = to_squares(image, sizes, "squash", resize)
        assert list(together) == list(sizes)
        for size in sizes:
            np.testing.assert_array_equal(together[size], to_square(image, size, "squash", resize))


def test_the_right_size_is_left_alone():
    for resize in ("area", "bilinear"):
        np.testing.assert_array_equal(to_square(ramp(32, 32), 32, "squash", resize), ramp(32, 32))
    np.testing.assert_array_equal(to_squares(noise(32, 32, np.uint16), (32, 8))[32], noise(32, 32, np.uint16))


@pytest.mark.parametrize("resize, spread", [("area", 0), ("bilinear", 3)])
def test_a_fine_checkerboard_becomes_its_mean_and_no_moire(resize, spread):
    for side, size in ((64, 16), (100, 23), (128, 64)):
        inner = to_square(checkerboard(side), size, "squash", resize)[1:-1, 1:-1].astype(int)
        # Area averaging of a fractional number of squares leaves a fraction of one; nearest would show 0 and 200.
        assert np.abs(inner - 100).max() <= (
            spread if side % size == 0 or resize == "bilinear" else 100 / (side // size)
        )


@pytest.mark.parametrize("shape, size", [((97, 61), 32), ((64, 200), 50), ((20, 30), 48)])
def test_bilinear_is_tensorflows_and_pillows(shape, size):
    image = noise(*shape)
    result = to_square(image, size, resize="bilinear").astype(float)
    expected = tf.image.resize(image[..., None], (size, size), antialias=True).numpy()[..., 0]
    assert np.abs(result - expected).max() <= 1  # Pillow rounds between its two passes
    pillow = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(result, pillow)
    sixteen = to_square(image.astype(np.uint16) * 257, size, resize="bilinear")
    assert np.abs(sixteen / 257 - expected).max() < 0.003


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_enlarging_is_smooth_and_stays_in_range(dtype):
    white = np.iinfo(dtype).max
    edge = np.zeros((16, 16), dtype)
    edge[:, 8:] = white
    for resize in ("area", "bilinear"):
        row = to_square(edge, 64, "squash", resize)[30].astype(int)
        assert row[0] == 0 and row[-1] == white
        assert (np.diff(row[28:36]) >= 0).all() and np.unique(row).size > 4


def test_one_side_grows_while_the_other_shrinks():
    stripes = np.tile(np.array([[0], [200]], np.uint8), (64, 8))  # 128 rows, 8 columns
    assert (to_square(stripes, 32, "squash") == 100).all()


@pytest.mark.parametrize("resize", ["area", "bilinear"])
@pytest.mark.parametrize("bits", [8, 16])
def test_threads_do_not_change_a_byte(bits, resize):
    radiograph = Radiograph(noise(700, 901))
    options = PreprocessOptions(clahe="before_resize", histogram="stretch", square="pad", resize=resize)
    threads = cv2.getNumThreads()
    try:
        results = []
        for count in (1, 2, 5):
            cv2.setNumThreads(count)
            results.append(preprocess(radiograph, 256, options, bits))
    finally:
        cv2.setNumThreads(threads)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_description_names_every_argument_in_order():
    described = PreprocessOptions(
        clahe="before_resize", clahe_clip_limit=3.0, clahe_tiles=4, square="pad", histogram="stretch", resize="bilinear"
    ).description(16)
    assert described["order"] == [name for name in described if name != "order"]
    assert described["clahe"] == {"clip_limit": 3.0, "tiles": 4}
    assert described["square"] == "pad" and described["resize"].startswith("bilinear")
    assert described["histogram"] == {"method": "stretch", "black_percentile": 0.5, "white_percentile": 99.5}
    assert "65535" in described["pixel_range"]
    assert json.loads(json.dumps(described)) == described
    last = PreprocessOptions(clahe="after_resize").description()
    assert last["order"][-2:] == ["resize", "clahe"] and last["clahe"] == {"clip_limit": 2.0, "tiles": 8}
    plain = PreprocessOptions().description()
    assert plain["clahe"] is None and plain["histogram"] is None and "255" in plain["pixel_range"]
    assert PreprocessOptions(histogram="equalize").description()["histogram"] == {"method": "equalize"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"square": "cropp"}, "unknown square 'cropp'; did you mean 'crop'"),
        ({"clahe": "after"}, "unknown clahe 'after'; did you mean 'after_resize'"),
        ({"histogram": "strech"}, "unknown histogram 'strech'; did you mean 'stretch'"),
        ({"resize": "linear"}, "unknown resize 'linear'; did you mean 'bilinear'"),
        ({"clahe_clip_limit": 0.0}, "clahe_clip_limit expects a number above 0"),
        ({"clahe_clip_limit": float("nan")}, "clahe_clip_limit expects a number above 0, got nan"),
        ({"clahe_tiles": 0}, "--clahe_tiles must be from 1 to 64, got 0"),
        ({"clahe_tiles": 65}, "--clahe_tiles must be from 1 to 64, got 65"),
        ({"stretch_black_percentile": -1}, "expect 0 to 100, black below white, got -1 and 99.5"),
        ({"stretch_white_percentile": 100.5}, "expect 0 to 100, black below white, got 0.5 and 100.5"),
        ({"stretch_black_percentile": 60, "stretch_white_percentile": 60}, "black below white, got 60 and 60"),
    ],
)
def test_wrong_options(arguments, message):
    with pytest.raises(ValueError, match=message):
        PreprocessOptions(**arguments)


def test_wrong_bits():
    for call in (
        lambda: adjust_greys(Radiograph(ramp(8, 8)), PreprocessOptions(), 12),
        lambda: to_bits(Radiograph(ramp(8, 8)), 12),
        lambda: PreprocessOptions().description(12),
    ):
        with pytest.raises(ValueError, match="bits expects 8 or 16 a stored pixel, got 12"):
            call()
