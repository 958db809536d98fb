"""What is black and white in a DICOM file: the data are asked where the header declares more than they hold."""

import importlib.util
import pathlib
import runpy

import numpy as np
import pytest

from tfrecords_builder.images.dicom import decode_dicom
from tfrecords_builder.images.radiograph import Radiograph

pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
uid = pytest.importorskip("pydicom.uid")

_made = runpy.run_path(str(pathlib.Path(__file__).with_name("dicom_files.py")))
ramp, dicom, table, chest, changed = (_made[name] for name in ("ramp", "dicom", "table", "chest", "changed"))
lossless_jpeg = _made["lossless_jpeg"]

WINDOWS = ("file", "full")
BITS_STORED, RANGE = "BitsStored (0028,0101)", "white_not_as_declared"


def shown(image: Radiograph) -> np.ndarray:
    """Pixels from 0 to 255."""
    return image.pixels / image.white * 255


def expected(bits: int, seed: int = 0) -> np.ndarray:
    """What a drawn chest of so many bits looks like, in the same range."""
    return chest(bits, seed) / (2**bits - 1) * 255


def kinds(image: Radiograph) -> list[str]:
    return [kind for kind, _ in image.notices]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("bits, stored", [(12, 16), (10, 16), (14, 16), (10, 12), (12, 14)])
def test_more_bits_are_declared_than_the_pixels_hold(bits, stored, window):
    image = decode_dicom(dicom(chest(bits), stored), window)
    assert image.notices == ((RANGE, f"white is {2**bits - 1}, {BITS_STORED} declares {2**stored - 1}"),)
    np.testing.assert_allclose(shown(image), expected(bits), atol=1e-9)
    assert 90 < shown(image).mean() < 110


def test_eight_bits_in_sixteen_are_eight():
    image = decode_dicom(dicom(chest(8), 16))
    assert (image.pixels.dtype, image.white, kinds(image)) == (np.uint8, 255, [RANGE])
    np.testing.assert_array_equal(image.pixels, chest(8))


@pytest.mark.parametrize("bits", [6, 8, 9, 10, 11, 12, 13, 14, 15, 16])
def test_a_declaration_that_the_pixels_reach_is_followed(bits):
    image = decode_dicom(dicom(ramp(bits).astype(np.uint8 if bits <= 8 else np.uint16), bits))
    assert (image.white, image.notices) == (max(255, 2**bits - 1), ())
    assert image.pixels.max() == image.white


def test_missing_bits_stored_are_those_of_the_pixels():
    image = decode_dicom(dicom(chest(12), 12, BitsStored=None, HighBit=None))
    assert image.white == 4095


def test_inversion_is_within_the_true_range():
    for tags in ({"PhotometricInterpretation": "MONOCHROME1"}, {"RescaleSlope": -1, "RescaleIntercept": 0}):
        image = decode_dicom(dicom(chest(12), 16, **tags))
        assert image.white == 4095
        np.testing.assert_array_equal(image.pixels, 4095 - chest(12))
    twice = dicom(chest(12), 16, PhotometricInterpretation="MONOCHROME1", RescaleSlope=-1, RescaleIntercept=0)
    np.testing.assert_array_equal(decode_dicom(twice).pixels, chest(12))


def test_an_intercept_below_zero_moves_no_black():
    image = decode_dicom(dicom(chest(12), 16, RescaleSlope=1, RescaleIntercept=-1024))
    np.testing.assert_allclose(shown(image), expected(12), atol=1e-9)


def test_colour_of_fewer_bits_than_declared():
    image = decode_dicom(dicom(np.dstack([chest(12)] * 3), 16))
    assert (image.white, kinds(image)) == (4095, [RANGE])
    np.testing.assert_allclose(shown(image), expected(12), atol=1)


# Tables


@pytest.mark.parametrize("name", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize("entry_bits, declared", [(12, 16), (10, 16), (12, 14), (12, 8), (16, 12)])
def test_white_of_a_table_is_that_of_its_largest_entry(name, entry_bits, declared):
    entries = ramp(entry_bits, 64, 64).ravel()
    image = decode_dicom(dicom(chest(12), 12, **{name: table(entries, 0, declared)}))
    assert image.white == 2**entry_bits - 1
    detail = f"white is {2**entry_bits - 1}, LUTDescriptor (0028,3002) of {name} "
    assert [kind for kind, text in image.notices if text.startswith(detail)] == [RANGE]
    np.testing.assert_allclose(shown(image), expected(12), atol=0.13)


def test_pictures_of_one_table_have_one_white():
    dark = chest(12) // 20
    whites = {decode_dicom(dicom(pixels, 12, VOILUTSequence=table(np.arange(4096), 0, 16))).white for pixels in
              (chest(12), dark)}  # fmt: skip
    assert whites == {4095}


def test_bytes_are_read_where_a_table_of_them_declares_words():
    item = table(np.zeros(1), 0, 8)
    item[0].LUTDescriptor, item[0].LUTData = [255, 0, 16], bytes(range(255)) + b"\0"
    image = decode_dicom(dicom(np.minimum(chest(8), 254).astype(np.uint8), VOILUTSequence=item))
    np.testing.assert_array_equal(image.pixels, np.minimum(chest(8), 254))


# Streams


def streams():
    yield "JPEG 2000", dicom(chest(14), 14, uid.JPEG2000Lossless)
    yield "lossless JPEG", dicom(chest(14), 14, uid.JPEGLosslessSV1, [lossless_jpeg(chest(14), 14)])
    if importlib.util.find_spec("jpeg_ls"):
        yield "JPEG-LS", dicom(chest(14), 14, uid.JPEGLSLossless)


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in streams()])
def test_the_bits_of_a_stream_come_before_those_of_the_header(data):
    for stored in (16, 12, 10):
        image = decode_dicom(changed(data, BitsStored=stored, HighBit=stored - 1))
        assert (image.white, kinds(image)) == (16383, [RANGE]), stored
        np.testing.assert_array_equal(image.pixels, chest(14))


def test_eight_bits_compressed_in_a_file_that_declares_sixteen():
    data = dicom(chest(8).astype(np.uint8), 8, uid.JPEG2000Lossless)
    image = decode_dicom(changed(data, BitsAllocated=16, BitsStored=16, HighBit=15))
    assert (image.white, kinds(image)) == (255, [RANGE])
    np.testing.assert_array_equal(image.pixels, chest(8))


def test_more_bits_in_a_stream_than_its_numbers_need_change_nothing():
    data = dicom(ramp(13), 16, uid.JPEG2000Lossless)
    image = decode_dicom(changed(data, BitsStored=13, HighBit=12))
    assert (image.white, image.notices) == (8191, ())


@pytest.mark.parametrize("representation", [0, 1])
def test_the_sign_that_makes_a_picture_is_taken(representation):
    """The stream has the other sign than the header; either may be right, and a wrong one wraps around."""
    signed, unsigned = chest(12).astype(np.int16) - 2048, chest(12)
    for pixels in (signed, unsigned):
        data = changed(dicom(pixels, 12, uid.JPEG2000Lossless), PixelRepresentation=representation)
        image = decode_dicom(data)
        np.testing.assert_allclose(shown(image), expected(12), atol=1e-9)
        is_contradicted = (pixels.dtype == np.int16) != bool(representation)
        assert ("numbers_not_as_declared" in kinds(image)) == is_contradicted


def test_twos_complements_in_an_unsigned_stream_follow_the_header():
    """As some encoders write them: the bits of negative numbers, called unsigned."""
    signed = chest(12).astype(np.int16) - 2048
    data = changed(dicom((signed & 4095).astype(np.uint16), 12, uid.JPEG2000Lossless), PixelRepresentation=1)
    image = decode_dicom(data)
    assert image.notices == ()
    np.testing.assert_allclose(shown(image), expected(12), atol=1e-9)


# Signs


def test_signed_pixels_without_a_negative_number_begin_at_black():
    image = decode_dicom(dicom(chest(12).astype(np.int16), 16))
    detail = f"black is 0, white is 4095, {BITS_STORED} declares -32768 to 32767"
    assert image.notices == ((RANGE, detail),)
    np.testing.assert_array_equal(image.pixels, chest(12))


@pytest.mark.parametrize("offset, black", [(2048, -2048), (700, -128), (32768, -32768)])
def test_black_below_zero_is_a_power_of_two(offset, black):
    pixels = (chest(12).astype(np.int64) - offset).astype(np.int16)
    image = decode_dicom(dicom(pixels, 16))
    assert (image.white, kinds(image)) == (4095, [RANGE])
    np.testing.assert_array_equal(image.pixels, pixels.astype(int) - black)
    inverted = decode_dicom(dicom(pixels, 16, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(inverted.pixels, 4095 - image.pixels)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("tags", [{}, {"PixelPaddingValue": -2000}], ids=["undeclared", "declared"])
def test_negative_numbers_only_for_padding_are_black(tags, photometric):
    pixels = chest(12).astype(np.int16)
    pixels[:8] = -2000
    image = decode_dicom(dicom(pixels, 16, PhotometricInterpretation=photometric, **tags))
    assert image.white == 4095 and not image.pixels[:8].any()
    right = chest(12)[8:] if photometric == "MONOCHROME2" else 4095 - chest(12)[8:]
    np.testing.assert_array_equal(image.pixels[8:], right)


# Padding


@pytest.mark.parametrize("dtype, value", [(np.uint16, 65535), (np.int16, 32767), (np.int16, -32768)])
def test_padding_does_not_count_when_the_data_are_asked(dtype, value):
    pixels = chest(12).astype(dtype)
    pixels[:8] = value
    image = decode_dicom(dicom(pixels, 16, PixelPaddingValue=value))
    assert image.white == 4095 and not image.pixels[:8].any()
    np.testing.assert_array_equal(image.pixels[8:], chest(12)[8:])


def test_a_range_of_padding_does_not_count():
    pixels = chest(12)
    pixels[:8, ::2], pixels[:8, 1::2] = 60000, 65535
    image = decode_dicom(dicom(pixels, 16, PixelPaddingValue=60000, PixelPaddingRangeLimit=65535))
    assert image.white == 4095 and not image.pixels[:8].any()


def test_padding_that_no_number_can_be_is_looked_for_in_whole_words():
    pixels = chest(12)
    pixels[8:16] = 4095  # white, and no padding
    pixels[:8] = 65535
    image = decode_dicom(dicom(pixels, 12, PixelPaddingValue=65535))
    assert image.white == 4095 and not image.pixels[:8].any() and (image.pixels[8:16] == 4095).all()
    np.testing.assert_array_equal(image.pixels[16:], chest(12)[16:])


def test_negative_padding_of_unsigned_pixels_and_the_other_way_round():
    pixels = chest(12)
    pixels[:8] = 65535
    data = dicom(pixels, 16)
    dataset_value = np.array([-1], "<i2").tobytes()
    for vr in ("SS", "US"):
        dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
        dataset.add(pydicom.dataelem.RawDataElement(pydicom.tag.Tag("PixelPaddingValue"), vr, 2, dataset_value, 0,
                                                    False, True))  # fmt: skip
        file = pydicom.filebase.DicomBytesIO()
        dataset.save_as(file)
        image = decode_dicom(file.getvalue())
        assert image.white == 4095 and not image.pixels[:8].any()


def test_padding_that_would_be_every_pixel_is_noticed_and_not_followed():
    image = decode_dicom(dicom(chest(12), 12, PixelPaddingValue=0, PixelPaddingRangeLimit=4095))
    assert image.notices == (("unusable_padding", "PixelPaddingValue (0028,0120) would make every pixel padding"),)
    np.testing.assert_array_equal(image.pixels, chest(12))


# Windows


@pytest.mark.parametrize("center", [-5000, 60000])
@pytest.mark.parametrize("formula", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_window_far_outside_the_data_is_noticed_and_not_followed(center, formula):
    image = decode_dicom(dicom(chest(12), 12, WindowCenter=center, WindowWidth=100, VOILUTFunction=formula))
    assert image.notices == (("unusable_window", "WindowCenter (0028,1050) shows all pixels as one grey"),)
    np.testing.assert_array_equal(image.pixels, chest(12))


def test_a_table_far_outside_the_data_gives_way_to_the_window():
    tags = {"VOILUTSequence": table(np.arange(256), 20000, 8), "WindowCenter": 2048, "WindowWidth": 4096}
    image = decode_dicom(dicom(chest(12), 12, **tags))
    assert image.notices == (("unusable_window", "VOILUTSequence (0028,3010) shows all pixels as one grey"),)
    assert image.white == 65535
    np.testing.assert_allclose(shown(image), expected(12), atol=0.01)


def test_a_window_decides_the_range_whatever_is_declared():
    image = decode_dicom(dicom(chest(12), 16, WindowCenter=2048, WindowWidth=4096))
    assert (image.white, image.notices) == (65535, ())
    np.testing.assert_allclose(shown(image), expected(12), atol=0.01)


# Which bits


def test_fewer_bits_are_declared_than_the_words_hold():
    image = decode_dicom(dicom(chest(12), 10))
    assert image.notices[0] == (
        "numbers_not_as_declared",
        "the pixels hold numbers of 16 bits without a sign below bit 16",
    )
    assert image.white == 4095
    np.testing.assert_array_equal(image.pixels, chest(12))


def test_an_overlay_in_the_spare_bits_is_no_part_of_the_numbers():
    overlay = np.zeros((48, 64), np.uint16)
    overlay[10:20, 10:40:3] = 0x8000
    image = decode_dicom(dicom(chest(12) | overlay, 12))
    assert image.notices == ()
    np.testing.assert_array_equal(image.pixels, chest(12))


def test_a_high_bit_above_which_nothing_stands_is_not_followed():
    image = decode_dicom(dicom(chest(12), 12, HighBit=15))
    assert kinds(image) == ["numbers_not_as_declared"]
    np.testing.assert_array_equal(image.pixels, chest(12))
