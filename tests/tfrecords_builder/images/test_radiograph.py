"""A radiograph in memory: its white, its digest, and the small steps that all file formats share."""

import dataclasses
import pickle
import warnings

import numpy as np
import pytest

from tfrecords_builder.images.radiograph import (
    MAX_PIXELS,
    ImageError,
    Radiograph,
    check_size,
    content_digest,
    decoder_errors,
    luma,
    over_black,
    range_maximum,
    range_notices,
    true_white,
)

WEIGHTS = np.array([0.2989, 0.5870, 0.1140])


def test_true_range_of_sixteen_bits_is_the_next_detector_depth():
    for brightest, expected in {200: 255, 1000: 1023, 4000: 4095, 4096: 16383, 16384: 65535}.items():
        assert range_maximum(np.array([[0, brightest]], np.uint16)) == expected
    assert range_maximum(np.array([[0, 3]], np.uint8)) == 255


@pytest.mark.parametrize(
    "brightest, declared, white",
    [
        (3000, 65535, 4095), (3000, 4095, 4095), (3000, 16383, 4095), (900, 4095, 1023), (0, 65535, 255),
        (3000, 3999, 3999), (3000, 3000, 3000), (1500, 2047, 2047),  # no wider than declared
        (3000, 255, 4095), (4096, 4095, 16383), (65535, 4095, 65535),  # a declaration that is exceeded
        (20, 63, 63), (63, 63, 63), (64, 63, 255),  # below 8 bits there is no smaller range
    ],
)  # fmt: skip
def test_white_is_asked_of_the_data_within_what_is_declared(brightest, declared, white):
    assert true_white(brightest, declared) == white


def test_a_white_that_is_declared_is_not_noticed():
    assert range_notices(4095, 4095, "BitsStored") == ()
    detail = "white is 4095, BitsStored declares 65535"
    assert range_notices(4095, 65535, "BitsStored") == (("white_not_as_declared", detail),)


def test_white_and_content_are_found_unless_given():
    pixels = np.array([[0, 1000]], np.uint16)
    assert Radiograph(pixels).white == 1023
    assert Radiograph(pixels, 4095).white == 4095
    assert Radiograph(pixels).content == Radiograph(pixels.copy()).content == content_digest(pixels.tobytes())
    assert Radiograph(pixels, content=b"x").content == b"x"
    with pytest.raises(dataclasses.FrozenInstanceError):
        Radiograph(pixels).white = 3


def test_content_digest_is_sixteen_bytes_of_sha_256():
    assert content_digest(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223"  # FIPS 180-2, appendix B.1, cut
    assert content_digest(b"abd") != content_digest(b"abc")


def test_size_is_checked():
    check_size(10_000, MAX_PIXELS // 10_000)
    for size, message in [
        ((10_001, 10_000), "too_large: 10001x10000 pixels, at most 100000000 are read"),
        ((0, 5), "unreadable: a picture of 0x5 pixels"),
        ((5, -1), "unreadable: a picture of 5x-1 pixels"),
    ]:
        with pytest.raises(ImageError, match=message):
            check_size(*size)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_luma_is_within_one_level_of_255_of_its_formula(dtype):
    top = np.iinfo(dtype).max
    colours = np.random.default_rng(0).integers(0, top + 1, (50, 60, 3)).astype(dtype)
    grey = luma(colours)
    assert grey.dtype == dtype
    assert np.abs(grey - np.rint(colours @ WEIGHTS)).max() <= top / 255
    same = np.repeat(colours[..., :1], 3, axis=2)
    np.testing.assert_array_equal(luma(same), same[..., 0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_is_composited_unless_it_is_the_same_everywhere(dtype):
    top = np.iinfo(dtype).max
    grey = np.array([[200, 100, 50]], dtype)
    np.testing.assert_array_equal(over_black(grey, np.full_like(grey, top // 2)), grey)
    composited = over_black(grey, np.array([[top, 0, top // 2 + 1]], dtype))
    assert composited.dtype == dtype
    np.testing.assert_array_equal(composited, [[200, 0, 25]])


def test_errors_of_decoders_become_one_and_keep_their_words_to_themselves():
    message = r"^unreadable: Library could not decode it \(KeyError\)$"
    with pytest.raises(ImageError, match=message) as caught, decoder_errors("Library"):
        raise KeyError("Doe^Jane")
    assert caught.value.__suppress_context__
    for error in (ImageError("multi_frame"), ImportError("no library"), MemoryError()):
        with pytest.raises(type(error)) as caught, decoder_errors("Library"):
            raise error
        assert caught.value is error
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with decoder_errors("Library"):
            warnings.warn("Doe^Jane", stacklevel=1)


def test_error_crosses_processes():
    error = pickle.loads(pickle.dumps(ImageError("truncated", "detail")))
    assert (error.reason, error.detail, str(error)) == ("truncated", "detail", "truncated: detail")
    assert str(ImageError("constant")) == "constant"
