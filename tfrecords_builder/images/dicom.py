"""DICOM file -> radiograph, through pydicom (extra `dicom`).

Grey goes through the tables and windows of the file, see `dicom_values`; colour (RGB, YBR) becomes luma without them.
Only the elements listed here are read, none of them personal, and no text of the file reaches a message or a warning.
What a compressed stream says of its own numbers is believed before the header's BitsStored (PS3.5, 8.2).
"""

import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tfrecords_builder.choices import check_choice
from tfrecords_builder.images.dicom_file import (
    DEFLATED,
    DicomFile,
    first_number,
    named,
    open_dicom,
    silent_logs,
    text_of,
    whole_number,
)
from tfrecords_builder.images.dicom_frame import Frame, read_compressed, read_uncompressed
from tfrecords_builder.images.dicom_numbers import Reading, aligned, choose_reading, occurring
from tfrecords_builder.images.dicom_values import grey_table
from tfrecords_builder.images.jpeg2000_header import read_jpeg2000_header
from tfrecords_builder.images.jpeg_header import JPEG_LS, LOSSLESS, read_jpeg_header
from tfrecords_builder.images.radiograph import (
    ImageError,
    Radiograph,
    check_size,
    decoder_errors,
    luma,
    range_notices,
    true_white,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

WINDOWS = ("file", "full")
_EXPLICIT, _RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"
_JPEG, _JPEG_12, _JPEG_LOSSLESS = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57"
_JPEG_LOSSLESS_1, _JPEG_LS, _JPEG_LS_NEAR = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
_JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 203))  # the last two: High-Throughput
# One decoder each, whatever others are installed, so that equal files give equal pixels everywhere. The lossy JPEG of
# 12 bits, lossless JPEG of other than the first predictor, and High-Throughput JPEG 2000 are untested: nothing here
# makes such files. GDCM, which reads most of these too, ends the whole process over some damaged JPEG streams.
_DECODERS = {
    "1.2.840.10008.1.2": "", _EXPLICIT: "", "1.2.840.10008.1.2.2": "", DEFLATED: "",  # uncompressed
    _JPEG: "pillow", _JPEG_12: "pylibjpeg", _JPEG_LOSSLESS: "pylibjpeg", _JPEG_LOSSLESS_1: "pylibjpeg",
    _JPEG_LS: "pylibjpeg", _JPEG_LS_NEAR: "pylibjpeg", **dict.fromkeys(_JPEG_2000, "pylibjpeg"),
    _RLE: "pydicom",
}  # fmt: skip
_COLOUR_SPACES = ("PALETTE COLOR", "HSV", "ARGB", "CMYK", "XYB")  # that exist, and are not read
_KEYWORDS = (
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction",
    "VOILUTSequence", "BurnedInAnnotation", "SyntheticData", "ExtendedOffsetTable",
)  # fmt: skip


class _Layout(NamedTuple):
    """What the header says of the pixels.

    Attributes:
      samples: per pixel, 1 or 3.
      kind: the colour space.
      allocated: bits of a word; 1, 8 or 16.
      reading: how words hold numbers.
    """

    width: int
    height: int
    samples: int
    kind: str
    allocated: int
    reading: Reading


class _Stream(NamedTuple):
    """What a compressed picture says of itself.

    Attributes:
      syntax: the transfer syntax that decodes it.
      bits: of a sample.
      is_signed: None where the kind of compression does not say.
    """

    syntax: str
    bits: int
    is_signed: bool | None


def decode_dicom(data: bytes, window: str = "file") -> Radiograph:
    """The radiograph in a DICOM file's bytes.

    Args:
      window: "file" takes the first table or window of the file, as a viewer does when it opens it, and is "full"
        for a file without any; "full" keeps the whole range that its pixels have, see `dicom_values`.

    Returns:
      uint8 pixels where their range is at most 8 bits and no window or table widens them, else uint16, with their
      white. Padding is black. Notices:
        "white_not_as_declared" where the data say another range than the header.
        "numbers_not_as_declared" where the numbers would wrap around if they were read as the header says.
        "unusable_window", "unusable_padding" where the file's own is none and was not followed.
        "cut_behind_picture", "bytes_behind_picture" where the pixels' element is not as long as it should be.
        "burned_in_annotation" where the file says that there is writing in the picture.
        "synthetic" where it says that no patient was imaged.

    Raises:
      ImageError: "not_an_image" for a DICOM object that holds no picture, "multi_frame", "too_large",
        "unsupported_format" for a compression, colour space or number of bits that is not read, "truncated" for a file
        that ends before its picture does, "unreadable" for an element or stream that is damaged or missing.
      ImportError: the extra `dicom` is not installed.
      ValueError: an unknown window.
    """
    check_choice("dicom_window", window, WINDOWS)
    try:
        import pydicom.pixels  # noqa: F401
    except ImportError as error:
        raise ImportError("reading DICOM files needs pydicom and its decoders: pip install 'tfcxr[dicom]'") from error
    with decoder_errors("pydicom"), silent_logs():
        file = open_dicom(io.BytesIO(data), _KEYWORDS)
        _check_picture(file)
        layout = _layout(file.dataset)
        if _DECODERS[file.syntax] or file.pixels.length is None:
            frame = read_compressed(file, file.syntax == _RLE)
        else:
            frame = read_uncompressed(file, _frame_bytes(layout))
        try:
            words, readings = _words(file, layout, frame)
        except ImageError as error:
            if frame.is_cut and error.reason == "unreadable":
                raise ImageError("truncated", f"the DICOM file ends inside its picture ({error.detail})") from None
            raise
        pixels, white, notices = (_grey if words.ndim == 2 else _colour)(file.dataset, words, readings, window)
    notices = frame.notices + notices
    if text_of(file.dataset, "BurnedInAnnotation") == "YES":
        notices += (("burned_in_annotation", ""),)
    if text_of(file.dataset, "SyntheticData") == "YES":
        notices += (("synthetic", ""),)
    return Radiograph(pixels, white, notices=notices)


def _check_picture(file: DicomFile) -> None:
    """Refuses a file without pixels, by the cause; and pixels that nothing here decodes."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.uid import UID

    sop_class = UID(file.sop_class).name
    is_known = sop_class != file.sop_class
    if file.pixels is None:
        if is_known and "Image Storage" not in sop_class:
            raise ImageError("not_an_image", f"a DICOM file of {sop_class}, which holds no picture")
        if file.problem:
            raise file.problem
        if "Rows" in file.dataset or (is_known and file.last_tag < tag_for_keyword("Rows")):
            raise ImageError("truncated", f"the DICOM file ends before {named('PixelData')}")
        raise ImageError("not_an_image", f"a DICOM file without {named('PixelData')}")
    if file.pixels.tag != tag_for_keyword("PixelData"):
        raise ImageError("unsupported_format", "a DICOM file of floating numbers")
    syntax = UID(file.syntax)
    if file.syntax not in _DECODERS:
        name = syntax.name if syntax.name != syntax else "none that is known"
        raise ImageError("unsupported_format", f"a DICOM file of another transfer syntax than is read: {name}")


def _layout(dataset: "Dataset") -> _Layout:
    """Refuses what cannot be decoded, or would fill the memory, before any pixel is."""
    frames = whole_number(dataset, "NumberOfFrames", 1)
    if frames > 1:
        raise ImageError("multi_frame", f"{named('NumberOfFrames')} is {frames}")
    if len(dataset.get("ExtendedOffsetTable") or b"") > 8:
        raise ImageError("multi_frame", f"{named('ExtendedOffsetTable')} lists several pictures")
    width, height = whole_number(dataset, "Columns"), whole_number(dataset, "Rows")
    check_size(width, height)
    allocated = whole_number(dataset, "BitsAllocated")
    if allocated not in (1, 8, 16):
        raise ImageError("unsupported_format", f"{named('BitsAllocated')} is {allocated}, expected 1, 8 or 16")
    bits = whole_number(dataset, "BitsStored", allocated)
    high_bit = whole_number(dataset, "HighBit", bits - 1)
    if not 1 <= bits <= allocated or not bits - 1 <= high_bit < allocated:
        numbers = f"{named('BitsStored')} is {bits} and {named('HighBit')} is {high_bit}"
        fit = f"which do not fit into {allocated} bits of {named('BitsAllocated')}"
        raise ImageError("unreadable", f"{numbers}, {fit}")
    kind = text_of(dataset, "PhotometricInterpretation")
    is_grey = kind in ("MONOCHROME1", "MONOCHROME2")
    if not is_grey and not kind.startswith(("RGB", "YBR_")):
        kind = kind if kind in _COLOUR_SPACES else "unknown" if kind else "missing"
        detail = f"{named('PhotometricInterpretation')} is {kind}, expected MONOCHROME, RGB or YBR"
        raise ImageError("unsupported_format", detail)
    samples = whole_number(dataset, "SamplesPerPixel", 1 if is_grey else 3)
    if samples != (1 if is_grey else 3):
        detail = f"{named('SamplesPerPixel')} is {samples}, which does not fit the colour space {kind}"
        raise ImageError("unreadable", detail)
    is_signed = is_grey and bits > 1 and first_number(dataset, "PixelRepresentation", 0) == 1
    return _Layout(width, height, samples, kind, allocated, Reading(bits, high_bit, is_signed))


def _frame_bytes(layout: _Layout) -> int:
    samples = layout.width * layout.height * layout.samples
    if layout.kind == "YBR_FULL_422":
        samples = samples * 2 // 3
    return (samples * layout.allocated + 7) // 8


def _words(file: DicomFile, layout: _Layout, frame: Frame) -> tuple[np.ndarray, list[Reading]]:
    """Decodes the picture.

    Returns:
      uint8 or uint16 [height, width] or [height, width, 3], bits as they are stored; and how these may hold numbers,
      the declared way first, see `dicom_numbers.choose_reading`.
    """
    if file.syntax != _RLE and frame.is_compressed:
        stream = _stream(frame.data, layout, file.syntax)
        words = _decode(file, layout._replace(allocated=8 if stream.bits <= 8 else 16), frame, stream.syntax)
        declared = Reading(stream.bits, stream.bits - 1, layout.reading.is_signed and stream.bits > 1)
        of_stream = declared if stream.is_signed is None else declared._replace(is_signed=stream.is_signed)
        return words, [declared, of_stream]
    words = _decode(file, layout, frame, file.syntax)
    bits = min(8 * words.itemsize, layout.allocated)
    return words, [layout.reading, Reading(bits, bits - 1, layout.reading.is_signed)]


def _stream(data: bytes, layout: _Layout, syntax: str) -> _Stream:
    """Reads a compressed picture's own header, whose kind decides how it is decoded if the transfer syntax is wrong.

    Its size must be that of the file's header, or a decoder would ask for any memory that it names.
    """
    if data.startswith(b"\xff\xd8"):
        header, is_signed = read_jpeg_header(data), None
        kinds = {JPEG_LS: (_JPEG_LS, _JPEG_LS_NEAR), LOSSLESS: (_JPEG_LOSSLESS_1, _JPEG_LOSSLESS)}
        fitting = kinds.get(header.process, (_JPEG, _JPEG_12) if header.bits == 8 else (_JPEG_12,))
    else:
        header, fitting = read_jpeg2000_header(data), _JPEG_2000
        is_signed = header.is_signed
    expected, found = (layout.width, layout.height, layout.samples), (header.width, header.height, header.components)
    if found != expected:
        raise ImageError("unreadable", f"width, height and samples are {expected}, in the compressed pixels {found}")
    if header.bits > 16:
        raise ImageError("unsupported_format", f"compressed pixels of {header.bits} bits, at most 16 are read")
    return _Stream(syntax if syntax in fitting else fitting[0], header.bits, is_signed)


def _decode(file: DicomFile, layout: _Layout, frame: Frame, syntax: str) -> np.ndarray:
    """Words as they are stored: pydicom would otherwise cut bits off and change signs as the header says."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    decoder, plugin, name = get_decoder(UID(syntax)), _DECODERS[syntax], UID(syntax).name
    if plugin and plugin not in decoder.available_plugins:
        raise ImageError("unsupported_format", f"no decoder for {name} is installed: pip install 'tfcxr[dicom]'")
    with decoder_errors(f"{plugin or 'pydicom'} ({name})"):
        words, _ = decoder.as_array(
            frame.source,
            index=0,
            decoding_plugin=plugin,
            rows=layout.height,
            columns=layout.width,
            samples_per_pixel=layout.samples,
            photometric_interpretation=layout.kind,
            planar_configuration=whole_number(file.dataset, "PlanarConfiguration", 0),
            bits_allocated=layout.allocated,
            bits_stored=layout.allocated,
            pixel_representation=0,
            number_of_frames=1,
            pixel_keyword="PixelData",
            pixel_vr=file.pixels.vr or "OW",
        )
    return words.astype(words.dtype.newbyteorder("="), copy=False)


def _colour(dataset: "Dataset", words: np.ndarray, readings: list[Reading], window: str) -> tuple:
    """Luma of colour pixels, its white, and notices; windows and tables are for grey."""
    declared = readings[0]
    numbers = declared.numbers(words).astype(words.dtype)
    bits = whole_number(dataset, "BitsStored", declared.bits)
    white = true_white(int(numbers.max()), declared.highest)
    return luma(np.ascontiguousarray(numbers)), white, range_notices(white, 2**bits - 1, named("BitsStored"))


def _grey(dataset: "Dataset", words: np.ndarray, readings: list[Reading], window: str) -> tuple:
    """Grey pixels, their white, and notices."""
    found, notices = occurring(words), ()
    reading = choose_reading(words, found, [aligned(found, readings[0]), *readings[1:]])
    if reading != readings[0]:
        sign = "with" if reading.is_signed else "without"
        detail = f"the pixels hold numbers of {reading.bits} bits {sign} a sign below bit {reading.high_bit + 1}"
        notices = (("numbers_not_as_declared", detail),)
    greys, white, found_notices = grey_table(dataset, reading, found, window)
    table = np.zeros(2 ** (8 * words.itemsize), greys.dtype)
    table[found] = greys
    return np.take(table, words), white, notices + found_notices
