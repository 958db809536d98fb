"""DICOM files that are cut, damaged, or hold several pictures or none: refused by their own cause, or read whole."""

import importlib.util
import io
import pathlib
import runpy
import warnings

import numpy as np
import pytest

from tfrecords_builder.images.image_file import decode
from tfrecords_builder.images.radiograph import ImageError

pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
uid = pytest.importorskip("pydicom.uid")
encaps = pytest.importorskip("pydicom.encaps")

_made = runpy.run_path(str(pathlib.Path(__file__).with_name("dicom_files.py")))
SECRET, dicom, table, chest = (_made[name] for name in ("SECRET", "dicom", "table", "chest"))
baseline, lossless_jpeg = _made["baseline"], _made["lossless_jpeg"]

EIGHT, TWELVE = chest(8)[8:40, 16:48].astype(np.uint8), chest(12)[8:40, 16:48].copy()  # as small as OpenJPEG encodes
BASIC_TEXT = "1.2.840.10008.5.1.4.1.1.88.11"


def refused(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def files() -> dict[str, bytes]:
    """One small file of every way to write pixels; (0009,1001) stands for private sequences."""
    private = pydicom.Dataset()
    private.add_new(0x00081030, "LO", "text")
    made = {
        "explicit": dicom(TWELVE, 12),
        "implicit": dicom(TWELVE, 12, uid.ImplicitVRLittleEndian),
        "big_endian": dicom(TWELVE, 12, uid.ExplicitVRBigEndian),
        "sequence": dicom(TWELVE, 12, RequestAttributesSequence=pydicom.Sequence([private])),
        "table": dicom(TWELVE, 12, VOILUTSequence=table(np.arange(4096), 0, 12)),
        "odd": dicom(EIGHT[:3, :3].copy()),
        "odd_big_endian": dicom(EIGHT[:3, :3].copy(), syntax=uid.ExplicitVRBigEndian),
        "jpeg": dicom(EIGHT, syntax=uid.JPEGBaseline8Bit, frames=[baseline(EIGHT)]),
        "lossless": dicom(TWELVE, 12, uid.JPEGLosslessSV1, [lossless_jpeg(TWELVE, 12)]),
        "jpeg_2000": dicom(TWELVE, 12, uid.JPEG2000Lossless),
        "jpeg_2000_lossy": dicom(chest(8).astype(np.uint8), syntax=uid.JPEG2000),
        "rle": dicom(TWELVE, 12, uid.RLELossless),
        "deflated": dicom(TWELVE, 12, uid.DeflatedExplicitVRLittleEndian),
    }
    if importlib.util.find_spec("jpeg_ls"):
        made["jpeg_ls"] = dicom(TWELVE, 12, uid.JPEGLSLossless)
    return made


@pytest.mark.thorough
@pytest.mark.parametrize("name, whole", files().items(), ids=files())
def test_every_truncation_is_called_so_or_the_picture_is_whole(name, whole):
    pixels = decode(whole).pixels
    for start in (0, 132):  # with the preamble and without
        read, last = 0, len(whole)
        ends = sorted({*range(start + 1, last, 11), *range(start + 1, start + 20), *range(last - 40, last)})
        for end in ends:
            try:
                image = decode(whole[start:end])
            except ImageError as error:
                assert error.reason == "truncated", (name, end, error)
                assert not read, (name, end, "more of the file, and no longer read")
            else:
                read += 1
                np.testing.assert_array_equal(image.pixels, pixels)
                assert name == "deflated" or image.notices[0][0] == "cut_behind_picture", (name, end)
        # Behind the picture stands at most a byte of padding and the end of the list of fragments.
        assert read <= (10 if name != "deflated" else 30), (name, read)


def test_a_picture_without_the_end_of_its_fragments_is_read():
    whole = dicom(TWELVE, 12, uid.JPEG2000Lossless)
    image = decode(whole[:-8])
    np.testing.assert_array_equal(image.pixels, decode(whole).pixels)
    detail = "the end of the fragments of PixelData (7FE0,0010) is missing"
    assert image.notices == (("cut_behind_picture", detail),)


def test_a_picture_without_its_byte_of_padding_is_read():
    whole = dicom(EIGHT[:3, :3].copy())
    image = decode(whole[:-1])
    np.testing.assert_array_equal(image.pixels, EIGHT[:3, :3])
    assert image.notices == (("cut_behind_picture", "1 bytes are missing at the end of PixelData (7FE0,0010)"),)


def test_what_stands_behind_the_picture_does_no_harm():
    for whole in (dicom(TWELVE, 12), dicom(TWELVE, 12, uid.JPEG2000Lossless)):
        for behind in (bytes(500), b"\xfc\xff\xfc\xffOB\0\0\xff\xff\xff\x7f" + b"x" * 99, b"\xe0\x7f"):
            image = decode(whole + behind)
            np.testing.assert_array_equal(image.pixels, TWELVE)
            assert image.notices == ()


def test_a_stream_that_was_cut_before_it_was_wrapped_is_truncated():
    """The file is whole, the stream in it is not; OpenJPEG and libjpeg decode such streams without a word."""
    stream = encaps.get_frame(pydicom.dcmread(io.BytesIO(files()["jpeg_2000"])).PixelData, 0, number_of_frames=1)
    for cut in (stream[: len(stream) // 2], stream[:-20]):
        data = dicom(TWELVE, 12, uid.JPEG2000Lossless, [cut])
        assert refused(data) == "truncated: the end marker of the JPEG 2000 stream is missing"
    cut = lossless_jpeg(TWELVE, 12)[:-30]
    assert refused(dicom(TWELVE, 12, uid.JPEGLosslessSV1, [cut])) == "truncated: the JPEG's end marker is missing"


# Several pictures, or none


@pytest.mark.parametrize("frames", [2, 3, 7])
@pytest.mark.parametrize("declared", [None, 1])
def test_several_uncompressed_pictures_are_refused_whatever_is_declared(frames, declared):
    for pixels in (TWELVE, EIGHT[:3, :3].copy()):
        tags = {"NumberOfFrames": declared} if declared else {}
        data = dicom(np.concatenate([pixels] * frames), 12 if pixels is TWELVE else 8, Rows=len(pixels), **tags)
        size = pixels.nbytes
        assert refused(data).startswith("multi_frame: PixelData (7FE0,0010) has")
        assert f"one picture takes {size}: {frames} pictures" in refused(data)


def test_some_bytes_behind_a_picture_are_noticed():
    image = decode(dicom(TWELVE, 12, PixelData=TWELVE.tobytes() + bytes(10)))
    np.testing.assert_array_equal(image.pixels, TWELVE)
    assert image.notices == (("bytes_behind_picture", "10 bytes follow the picture in PixelData (7FE0,0010)"),)


def test_declared_frames_are_refused():
    assert refused(dicom(np.concatenate([TWELVE] * 2), 12, Rows=32, NumberOfFrames=2)) == (
        "multi_frame: NumberOfFrames (0028,0008) is 2"
    )
    assert decode(dicom(TWELVE, 12, NumberOfFrames=1)).notices == ()


@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEG2000Lossless, uid.RLELossless], ids=str)
def test_several_compressed_pictures_are_refused_whatever_is_declared(syntax):
    if syntax == uid.JPEGBaseline8Bit:
        frame = baseline(EIGHT)
    else:
        frame = encaps.get_frame(pydicom.dcmread(io.BytesIO(dicom(EIGHT, 8, syntax))).PixelData, 0, number_of_frames=1)
    for has_offsets in (True, False):
        for tags in ({}, {"NumberOfFrames": 1}):
            data = dicom(EIGHT, syntax=syntax, frames=[b"x"], **tags)
            dataset = pydicom.dcmread(io.BytesIO(data))
            dataset.PixelData = encaps.encapsulate([frame] * 3, has_bot=has_offsets)
            file = io.BytesIO()
            dataset.save_as(file)
            assert refused(file.getvalue()) == (
                "multi_frame: PixelData (7FE0,0010) has the offsets or fragments of 3 pictures"
            )
    table_of_two = dicom(EIGHT, syntax=syntax, frames=[frame], ExtendedOffsetTable=bytes(16))
    assert refused(table_of_two) == "multi_frame: ExtendedOffsetTable (7FE0,0001) lists several pictures"


def test_a_file_of_another_kind_holds_no_picture():
    nothing = dict.fromkeys(("PixelData", "Rows", "Columns"))
    report = dicom(EIGHT, SOPClassUID=BASIC_TEXT, **nothing)
    assert refused(report) == "not_an_image: a DICOM file of Basic Text SR Storage, which holds no picture"
    # Elements behind Rows are there, so the file was not cut before it.
    assert refused(dicom(EIGHT, **nothing)) == "not_an_image: a DICOM file without PixelData (7FE0,0010)"
    floats = dicom(EIGHT, PixelData=None, FloatPixelData=bytes(EIGHT.size * 4))
    assert refused(floats) == "unsupported_format: a DICOM file of floating numbers"


# Elements


@pytest.mark.parametrize(
    "element, wrong",
    [
        ("WindowCenter (0028,1050)", {"WindowCenter": "2047.5", "WindowWidth": "4095"}),
        ("WindowWidth (0028,1051)", {"WindowCenter": "2047", "WindowWidth": "2047.5"}),
        ("RescaleSlope (0028,1053)", {"RescaleSlope": "2047.5", "RescaleIntercept": "0"}),
        ("RescaleIntercept (0028,1052)", {"RescaleSlope": "1", "RescaleIntercept": "2047.5"}),
    ],
)
def test_a_decimal_comma_is_named_with_its_element(element, wrong):
    data = dicom(TWELVE, 12, **wrong).replace(b"2047.5", b"2047,5")
    assert refused(data) == f"unreadable: {element} expects a number such as 2047.5, got '2047,5'"


def test_text_in_the_place_of_a_number_is_not_repeated():
    data = dicom(TWELVE, 12, WindowCenter="2047.5", WindowWidth="9").replace(b"2047.5", b"Doe^Jn")
    assert refused(data) == (
        "unreadable: WindowCenter (0028,1050) expects a number such as 2047.5, got other characters"
    )


@pytest.mark.parametrize("name", ["Rows", "Columns", "BitsAllocated"])
def test_a_missing_element_is_named(name):
    assert refused(dicom(TWELVE, 12, **{name: None})).startswith(f"unreadable: {name} (0028,0")
    assert refused(dicom(TWELVE, 12, **{name: None})).endswith("is missing")


@pytest.mark.parametrize(
    "tags, message",
    [
        ({"BitsAllocated": 12}, "unsupported_format: BitsAllocated (0028,0100) is 12, expected 1, 8 or 16"),
        ({"BitsStored": 17}, r"unreadable: BitsStored (0028,0101) is 17 and HighBit (0028,0102) is 11, which do not"),
        ({"SamplesPerPixel": 3}, "unreadable: SamplesPerPixel (0028,0002) is 3, which does not fit the colour space"),
        (
            {"PhotometricInterpretation": "PALETTE COLOR"},
            "unsupported_format: PhotometricInterpretation (0028,0004) is PALETTE COLOR, expected MONOCHROME, RGB or",
        ),
        ({"PhotometricInterpretation": SECRET}, "unsupported_format: PhotometricInterpretation (0028,0004) is unknown"),
        (
            {"RescaleSlope": 0, "RescaleIntercept": 5},
            "unreadable: RescaleSlope (0028,1053) and RescaleIntercept (0028,1052) expect finite numbers and a slope "
            "other than 0, got 0.0 and 5.0",
        ),
    ],
)
def test_what_an_element_was_expected_to_be(tags, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert refused(dicom(TWELVE, 12, **tags)).startswith(message)


def test_a_table_that_lacks_its_parts_is_named():
    broken = table(np.arange(100), 0, 12)
    broken[0].LUTDescriptor = [101, 0, 12]
    assert refused(dicom(TWELVE, 12, VOILUTSequence=broken)) == (
        "unreadable: VOILUTSequence (0028,3010) holds 100 entries of 12 bits, expected 101 of 8 to 16"
    )
    del broken[0].LUTData
    assert refused(dicom(TWELVE, 12, ModalityLUTSequence=broken)) == (
        "unreadable: ModalityLUTSequence (0028,3000) lacks LUTData (0028,3006) or three numbers that describe it"
    )


def test_a_file_of_which_only_zeros_arrived_says_so():
    whole = dicom(TWELVE, 12)
    start = 144 + int.from_bytes(whole[140:144], "little")
    assert refused(whole[:start] + bytes(500)) == (f"unreadable: from byte {start} on the DICOM file holds only zeros")


def test_a_transfer_syntax_that_is_not_read_is_named():
    data = dicom(EIGHT, syntax=uid.MPEG2MPML, frames=[bytes(100)])
    assert refused(data).startswith(
        "unsupported_format: a DICOM file of another transfer syntax than is read: MPEG2 Main"
    )
    data = data.replace(uid.MPEG2MPML.encode(), b"1.2.840.10009.9.9.9.999")
    assert refused(data).endswith("another transfer syntax than is read: none that is known")


def test_a_stream_of_another_kind_than_the_transfer_syntax_says_is_read():
    data = dicom(TWELVE, 12, uid.JPEGBaseline8Bit, [lossless_jpeg(TWELVE, 12)])
    np.testing.assert_array_equal(decode(data).pixels, TWELVE)
