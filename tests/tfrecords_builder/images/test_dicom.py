"""DICOM files made here, of every kind of pixels, window and compression that can be made.

Their range, damaged files and odd forms have tests of their own beside this file.
"""

import io
import logging
import pathlib
import runpy
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from tfrecords_builder.images.dicom import decode_dicom
from tfrecords_builder.images.dicom_file import is_dicom
from tfrecords_builder.images.image_file import decode
from tfrecords_builder.images.radiograph import ImageError

pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
uid = pytest.importorskip("pydicom.uid")
encaps = pytest.importorskip("pydicom.encaps")

_made = runpy.run_path(str(pathlib.Path(__file__).with_name("dicom_files.py")))
SECRET, ramp, dicom, table = (_made[name] for name in ("SECRET", "ramp", "dicom", "table"))
baseline, lossless_jpeg = _made["baseline"], _made["lossless_jpeg"]


def full(data: bytes) -> np.ndarray:
    return decode_dicom(data, "full").pixels


def reason(data: bytes, window="file") -> str:
    with pytest.raises(ImageError) as caught:
        decode_dicom(data, window)
    assert SECRET not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize(
    "syntax",
    [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian],
    ids=lambda syntax: syntax.name,
)
def test_stored_bits_are_kept_and_white_is_theirs(syntax):
    pixels = ramp(12) // 2  # the brightest is far below white
    image = decode_dicom(dicom(pixels, 12, syntax))
    assert (image.pixels.dtype, image.white, image.notices) == (np.uint16, 4095, ())
    np.testing.assert_array_equal(image.pixels, pixels)


def test_eight_bits_stay_eight():
    image = decode(dicom(ramp(8).astype(np.uint8)))
    assert (image.pixels.dtype, image.white) == (np.uint8, 255)
    np.testing.assert_array_equal(image.pixels, ramp(8))


def test_fewer_than_eight_bits_are_widened():
    image = decode_dicom(dicom((ramp(6)).astype(np.uint8), 6))
    np.testing.assert_array_equal(image.pixels, np.rint(ramp(6) / 63 * 255))
    one_bit = np.tile(np.array([0, 1, 1, 0, 1, 0, 0, 0], np.uint8), (4, 1))
    packed = np.packbits(one_bit, bitorder="little").tobytes()
    data = dicom(one_bit, 1, BitsAllocated=1, PixelData=packed)
    np.testing.assert_array_equal(full(data), one_bit * 255)


def test_signed_numbers_are_shifted_to_start_at_black():
    pixels = ramp(12).astype(np.int16) - 2048
    image = decode_dicom(dicom(pixels, 12))
    assert image.white == 4095
    np.testing.assert_array_equal(image.pixels, ramp(12))


def test_numbers_in_the_high_bits_and_strangers_in_the_spare_ones():
    np.testing.assert_array_equal(full(dicom(ramp(12) << 4, 12, HighBit=15)), ramp(12))
    np.testing.assert_array_equal(full(dicom(ramp(12) | 0xA000, 12)), ramp(12))  # an overlay, as old files have it


def test_monochrome1_is_inverted():
    for window in ("file", "full"):
        image = decode_dicom(dicom(ramp(12), 12, PhotometricInterpretation="MONOCHROME1"), window)
        np.testing.assert_array_equal(image.pixels, 4095 - ramp(12))


def test_rescaling_alone_keeps_the_numbers_and_a_falling_slope_inverts_them():
    rescaled = dicom(ramp(12), 12, RescaleSlope=2, RescaleIntercept=-1024)
    np.testing.assert_array_equal(full(rescaled), ramp(12))
    falling = dicom(ramp(12), 12, RescaleSlope=-0.5, RescaleIntercept=100)
    np.testing.assert_array_equal(full(falling), 4095 - ramp(12))
    assert reason(dicom(ramp(12), 12, RescaleSlope=0, RescaleIntercept=0)) == "unreadable"


def test_modality_table():
    entries = np.arange(4096)[::-1] // 4  # falls, 10 bits
    data = dicom(ramp(12), 12, ModalityLUTSequence=table(entries, 0, 10))
    image = decode_dicom(data)
    assert image.white == 1023
    np.testing.assert_array_equal(image.pixels, entries[ramp(12)])


# By the formulas of PS3.3, C.11.2.1.2 and C.11.2.1.3, for a picture of the numbers 0 to 255 and white 1.
def linear(x, center, width):
    low, high = center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
    return np.where(x <= low, 0, np.where(x > high, 1, (x - (center - 0.5)) / max(width - 1, 1) + 0.5))


def linear_exact(x, center, width):
    return np.where(x <= center - width / 2, 0, np.where(x > center + width / 2, 1, (x - center) / width + 0.5))


def sigmoid(x, center, width):
    return 1 / (1 + np.exp(-4 * (x - center) / width))


@pytest.mark.parametrize("formula", [linear, linear_exact, sigmoid])
@pytest.mark.parametrize("center, width", [(2048, 4096), (1000, 500), (2000, 1)])
def test_window_of_the_file(formula, center, width):
    data = dicom(ramp(12), 12, WindowCenter=center, WindowWidth=width, VOILUTFunction=formula.__name__.upper())
    image = decode_dicom(data)
    assert (image.pixels.dtype, image.white) == (np.uint16, 65535)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(image.pixels, np.rint(formula(ramp(12).astype(float), center, width) * 65535))
    np.testing.assert_array_equal(full(data), ramp(12))


def test_the_standards_example_of_a_linear_window():
    # Center 2048 and width 4096 pass 0 to 4095 through; 4095 is white and 0 is black, exactly.
    image = decode_dicom(dicom(ramp(12), 12, WindowCenter=2048, WindowWidth=4096))
    assert (image.pixels[0, 0], image.pixels[-1, -1]) == (0, 65535)
    np.testing.assert_array_equal(np.rint(image.pixels / 65535 * 4095), ramp(12))


def test_window_counts_in_rescaled_numbers_and_the_first_of_several_is_taken():
    data = dicom(ramp(12), 12, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=[1000, 7], WindowWidth=[2000, 9])
    expected = np.rint(linear(ramp(12) * 2.0 - 1000, 1000, 2000) * 65535)
    np.testing.assert_array_equal(decode_dicom(data).pixels, expected)


def test_window_of_a_monochrome1_picture_is_inverted_after_it():
    data = dicom(ramp(12), 12, WindowCenter=1000, WindowWidth=500, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_allclose(
        decode_dicom(data).pixels, 65535 - linear(ramp(12).astype(float), 1000, 500) * 65535, atol=1
    )


@pytest.mark.parametrize(
    "tags, detail",
    [
        ({"WindowWidth": 0}, "WindowCenter (0028,1050) and WindowWidth (0028,1051) are 100 and 0"),
        ({"WindowWidth": -5}, "WindowCenter (0028,1050) and WindowWidth (0028,1051) are 100 and -5"),
        (
            {"WindowWidth": 100, "VOILUTFunction": "MAGIC"},
            "VOILUTFunction (0028,1056) is none of LINEAR, LINEAR_EXACT and SIGMOID",
        ),
    ],
)
def test_a_window_that_is_none_is_noticed_and_the_full_range_taken(tags, detail):
    image = decode_dicom(dicom(ramp(12), 12, WindowCenter=100, **tags))
    assert image.notices == (("unusable_window", detail),)
    np.testing.assert_array_equal(image.pixels, ramp(12))


def test_table_of_the_file_comes_before_its_window():
    entries = np.linspace(0, 1023, 1001).round().astype(int)
    data = dicom(
        ramp(12).astype(np.int16) - 2048, 12, VOILUTSequence=table(entries, -500, 10), WindowCenter=1, WindowWidth=2
    )
    image = decode_dicom(data)
    assert image.white == 1023
    np.testing.assert_array_equal(image.pixels, entries[np.clip(ramp(12).astype(int) - 2048 + 500, 0, 1000)])


def test_table_of_bytes():
    item = table(np.zeros(1), 0, 8)
    item[0].LUTDescriptor, item[0].LUTData = [256, 0, 8], bytes(range(255, -1, -1))
    image = decode_dicom(dicom(ramp(8).astype(np.uint8), VOILUTSequence=item))
    assert (image.pixels.dtype, image.white) == (np.uint8, 255)
    np.testing.assert_array_equal(image.pixels, 255 - ramp(8))


def test_a_table_that_is_too_short_is_unreadable():
    broken = table(np.arange(100), 0, 12)
    broken[0].LUTDescriptor = [101, 0, 12]
    assert reason(dicom(ramp(12), 12, VOILUTSequence=broken)) == "unreadable"


@pytest.mark.parametrize(
    "syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian], ids=lambda syntax: syntax.name
)
def test_padding_is_black_and_spoils_no_range(syntax):
    pixels = ramp(12).astype(np.int16) - 1000
    pixels[:10] = -2000
    data = dicom(pixels, 16, syntax, PixelPaddingValue=-2000, WindowCenter=500, WindowWidth=2000)
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        image = decode_dicom(data.replace(b"MONOCHROME2 ", photometric.encode() + b" "))
        assert (image.pixels[:10] == 0).all()
        assert image.pixels[10:].max() > 50000


def test_range_of_padding():
    pixels = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    padded = full(dicom(pixels, PixelPaddingValue=250, PixelPaddingRangeLimit=255))
    np.testing.assert_array_equal(padded, np.where(pixels >= 250, 0, pixels))


def test_colour_becomes_luma():
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    expected = rgb @ np.array([0.2989, 0.5870, 0.1140])
    assert np.abs(full(dicom(rgb)) - expected).max() <= 1
    planes = dicom(rgb, PlanarConfiguration=1, PixelData=rgb.transpose(2, 0, 1).tobytes())
    assert np.abs(full(planes) - expected).max() <= 1
    luma_and_differences = np.dstack([rgb[..., 0], np.full((20, 30, 2), 128, np.uint8)])
    np.testing.assert_array_equal(full(dicom(luma_and_differences, PhotometricInterpretation="YBR_FULL")), rgb[..., 0])
    wide = rgb.astype(np.uint16) * 16
    image = decode_dicom(dicom(wide, 12))
    assert image.white == 4095
    assert np.abs(image.pixels - expected * 16).max() <= 4095 / 255


def test_colour_spaces_that_are_not_read():
    palette = dicom(ramp(8).astype(np.uint8), PhotometricInterpretation="PALETTE COLOR")
    assert reason(palette) == "unsupported_format"
    assert reason(dicom(ramp(8).astype(np.uint8), PhotometricInterpretation="RGB")) == "unreadable"


# Compression


def test_jpeg_baseline():
    image = ramp(8).astype(np.uint8)
    data = dicom(image, syntax=uid.JPEGBaseline8Bit, frames=[baseline(image)])
    np.testing.assert_array_equal(full(data), np.asarray(Image.open(io.BytesIO(baseline(image)))))


def test_jpeg_baseline_in_colour():
    rgb = np.stack([ramp(7), ramp(7)[::-1], ramp(7) // 2], -1).astype(np.uint8) + 60
    for subsampling, name in ((0, "YBR_FULL"), (1, "YBR_FULL_422")):
        frame = baseline(rgb, subsampling=subsampling)
        data = dicom(rgb, syntax=uid.JPEGBaseline8Bit, frames=[frame], PhotometricInterpretation=name)
        expected = np.asarray(Image.open(io.BytesIO(frame))) @ np.array([0.2989, 0.5870, 0.1140])
        assert np.abs(full(data) - expected).max() <= 2


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_lossless_jpeg(bits):
    noise = np.random.default_rng(bits).integers(0, 2**bits, (24, 32)).astype(np.uint8 if bits == 8 else np.uint16)
    data = dicom(noise, bits, uid.JPEGLosslessSV1, [lossless_jpeg(noise, bits)])
    np.testing.assert_array_equal(full(data), noise)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize(
    "syntax", [uid.JPEG2000Lossless, uid.RLELossless, uid.JPEGLSLossless], ids=lambda syntax: syntax.name[:9]
)
def test_other_lossless_compression(syntax, bits):
    if syntax == uid.JPEGLSLossless:
        pytest.importorskip("jpeg_ls", reason="pyjpegls, which makes the file, is not installed")
    noise = np.random.default_rng(bits).integers(0, 2**bits, (40, 50)).astype(np.uint8 if bits == 8 else np.uint16)
    np.testing.assert_array_equal(full(dicom(noise, bits, syntax)), noise)


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.RLELossless], ids=lambda syntax: syntax.name[:9])
def test_signed_numbers_compressed(syntax):
    pixels = (ramp(12).astype(np.int16) - 2048) // 2
    np.testing.assert_array_equal(full(dicom(pixels, 12, syntax)), pixels + 2048)


def test_lossy_jpeg_2000():
    read = full(dicom(ramp(12), 12, uid.JPEG2000))
    assert 0 < np.abs(read.astype(int) - ramp(12)).mean() < 40


def test_several_fragments_are_one_picture():
    frame = baseline(ramp(8).astype(np.uint8))
    data = dicom(
        ramp(8).astype(np.uint8),
        syntax=uid.JPEGBaseline8Bit,
        PixelData=encaps.encapsulate([frame], fragments_per_frame=3),
    )
    np.testing.assert_array_equal(full(data), np.asarray(Image.open(io.BytesIO(frame))))


# Refusals


def test_what_is_not_read_is_unsupported(monkeypatch):
    image = ramp(8).astype(np.uint8)
    assert reason(dicom(image, syntax=uid.MPEG2MPML, frames=[bytes(100)])) == "unsupported_format"
    assert reason(dicom(image.astype(np.uint32))) == "unsupported_format"
    data = dicom(image, syntax=uid.JPEG2000Lossless)
    monkeypatch.setattr(pydicom.pixels.get_decoder(uid.JPEG2000Lossless), "_available", {})
    with pytest.raises(ImageError, match=r"no decoder for JPEG 2000 .* is installed: pip install 'tfcxr\[dicom\]'"):
        decode_dicom(data)


def test_size_is_checked_before_decoding():
    image = ramp(8).astype(np.uint8)
    assert reason(dicom(image, Rows=60000, Columns=60000)) == "too_large"
    assert reason(dicom(image, Rows=0)) == "unreadable"
    bomb = baseline(image).replace(b"\0\x30\0\x40\x01", b"\x20\0\x20\0\x01", 1)  # 8192 x 8192 inside, 64 x 48 outside
    assert reason(dicom(image, syntax=uid.JPEGBaseline8Bit, frames=[bomb])) == "unreadable"
    data = bytearray(dicom(image, syntax=uid.JPEG2000Lossless))
    size = data.index(b"\xff\x4f\xff\x51") + 8
    data[size : size + 4] = (90000).to_bytes(4, "big")
    with pytest.raises(
        ImageError, match=r"unreadable: width, height and samples are \(64, 48, 1\), .* \(90000, 48, 1\)"
    ):
        decode_dicom(bytes(data))


def test_bits_that_cannot_be_are_unreadable():
    for tags in ({"BitsStored": 17}, {"BitsStored": 0}, {"HighBit": 3}, {"HighBit": 16}):
        assert reason(dicom(ramp(12), 12, **tags)) == "unreadable", tags


def test_unknown_window_is_refused():
    with pytest.raises(ValueError, match="unknown dicom_window 'bone'; valid names: file, full"):
        decode_dicom(dicom(ramp(12), 12), "bone")


# Notices, privacy, recognition


def test_burned_in_annotation_is_noticed():
    for value, expected in [("YES", (("burned_in_annotation", ""),)), ("NO", ())]:
        assert decode_dicom(dicom(ramp(12), 12, BurnedInAnnotation=value)).notices == expected


def test_synthetic_images_are_noticed():
    for value, expected in [("YES", (("synthetic", ""),)), ("NO", ())]:
        assert decode_dicom(dicom(ramp(12), 12, SyntheticData=value)).notices == expected


def test_nothing_of_the_file_is_printed_logged_or_warned(caplog, capfd):
    data = dicom(ramp(12), 12, RescaleSlope=1, RescaleIntercept=0, PatientAge="5 years", WindowCenter=5, WindowWidth=9)
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        decode_dicom(data)
        for position in range(132, len(data) - 48 * 64 * 2, 3):
            broken = bytearray(data)
            broken[position] ^= 0x15
            try:
                decode_dicom(bytes(broken))
            except ImageError as error:
                assert SECRET not in str(error)
                assert error.__suppress_context__ or error.__context__ is None
    assert not caught
    assert not caplog.records
    assert "".join(capfd.readouterr()) == ""


def test_equal_pictures_are_found_whatever_their_headers_say():
    first, second = (decode_dicom(dicom(ramp(12), 12, SOPInstanceUID=name)).content for name in ("1.2.1", "1.2.2"))
    assert first == second != decode_dicom(dicom(ramp(12)[::-1].copy(), 12)).content


def test_recognised_with_and_without_preamble():
    data = dicom(ramp(12), 12)
    assert is_dicom(data)
    assert is_dicom(data[132:])
    np.testing.assert_array_equal(decode(data[132:], "full").pixels, ramp(12))
    assert not is_dicom(b"\x89PNG\r\n\x1a\n" + bytes(200))


def test_without_the_extra_the_error_says_what_to_install(tmp_path):
    (tmp_path / "a.dcm").write_bytes(dicom(ramp(12), 12))
    code = (
        "import sys; sys.modules['pydicom'] = None\n"
        "from tfrecords_builder.images.image_file import read_image\n"
        f"read_image({str(tmp_path / 'a.dcm')!r})"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (
        "ImportError: reading DICOM files needs pydicom and its decoders: pip install 'tfcxr[dicom]'" in process.stderr
    )
