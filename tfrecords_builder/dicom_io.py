"""DICOM file -> radiograph, through pydicom (extra `dicom`).

Grey goes through the tables and windows of the file, see `dicom_values`; colour (RGB, YBR) becomes luma without them.
Only the tags listed here are read, none of them personal, and no text of the file reaches a message or a warning.
"""

import contextlib
import io
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tfrecords_builder.dicom_values import grey_table
from tfrecords_builder.jpeg_header import read_jpeg_header
from tfrecords_builder.radiograph import ImageError, Radiograph, check_size, decoder_errors, luma

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

WINDOWS = ("file", "full")
_LOGGERS = ("pydicom", "pylibjpeg", "libjpeg", "openjpeg")
_META_START = b"\x02\0\0\0UL\x04\0"  # a file that lacks the preamble begins with its first element
_DEFLATED, _RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
# One decoder each, whatever others are installed, so that equal files give equal pixels everywhere. The lossy JPEG of
# 12 bits, lossless JPEG of other than the first predictor, and High-Throughput JPEG 2000 are untested: nothing here
# makes such files. GDCM, which reads most of these too, ends the whole process over some damaged JPEG streams.
_DECODERS = {
    "1.2.840.10008.1.2": "", "1.2.840.10008.1.2.1": "", "1.2.840.10008.1.2.2": "",  # uncompressed
    "1.2.840.10008.1.2.4.50": "pillow", "1.2.840.10008.1.2.4.51": "pylibjpeg",  # JPEG of 8 bits; of 12
    "1.2.840.10008.1.2.4.57": "pylibjpeg", "1.2.840.10008.1.2.4.70": "pylibjpeg",  # lossless JPEG
    "1.2.840.10008.1.2.4.80": "pylibjpeg", "1.2.840.10008.1.2.4.81": "pylibjpeg",  # JPEG-LS
    "1.2.840.10008.1.2.4.90": "pylibjpeg", "1.2.840.10008.1.2.4.91": "pylibjpeg",  # JPEG 2000
    "1.2.840.10008.1.2.4.201": "pylibjpeg", "1.2.840.10008.1.2.4.203": "pylibjpeg",  # High-Throughput JPEG 2000
    _RLE: "pydicom",
}  # fmt: skip
_TAGS = [
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction",
    "VOILUTSequence", "BurnedInAnnotation", "PixelData", "FloatPixelData", "DoubleFloatPixelData",
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
]  # fmt: skip


def is_dicom(data: bytes) -> bool:
    """Whether the bytes begin as a DICOM file: a preamble of 128 bytes, then "DICM"; or without them, the header."""
    return data[128:132] == b"DICM" or data.startswith(_META_START)


def decode_dicom(data: bytes, window: str = "file") -> Radiograph:
    """The radiograph in a DICOM file's bytes.

    Args:
      window: "file" takes the first table or window of the file, as a viewer does when it opens it, and is "full"
        for a file without any; "full" keeps the whole range that its stored bits can hold.

    Returns:
      uint8 pixels where the file stores up to 8 bits and no window or table widens them, else uint16, with their
      white. Padding is black. Notices: "burned_in_annotation" where the file says that there is writing in the
      picture, "unusable_window" where its window is no window and the full range was taken.

    Raises:
      ImageError: "not_an_image" without pixel data, "multi_frame", "too_large", "unsupported_format" for a
        compression or colour space that is not read, "truncated" or "unreadable".
      ImportError: the extra `dicom` is not installed.
      ValueError: an unknown window.
    """
    if window not in WINDOWS:
        raise ValueError(f"expected a DICOM window of {' or '.join(WINDOWS)}, got {window!r}")
    try:
        import pydicom
        import pydicom.pixels
    except ImportError as error:
        raise ImportError("reading DICOM files needs pydicom and its decoders: pip install 'tfcxr[dicom]'") from error
    with decoder_errors("pydicom"), silent_logs():
        syntax = _transfer_syntax(data)
        _check_decoder(syntax)
        dataset = pydicom.dcmread(io.BytesIO(data), specific_tags=_TAGS, force=True)
        _check_header(dataset)
        is_packed = syntax != _RLE and syntax.startswith("1.2.840.10008.1.2.4.")
        if is_packed:
            _check_frame(dataset, pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1))
        elif syntax != _RLE and len(dataset.PixelData) < _frame_bytes(dataset):
            raise ImageError("truncated", f"{len(dataset.PixelData)} bytes of pixels, not {_frame_bytes(dataset)}")
        bits, high_bit = int(dataset.BitsStored), int(dataset.get("HighBit", dataset.BitsStored - 1))
        if not is_packed:
            dataset.BitsStored = dataset.BitsAllocated  # pydicom cuts the spare bits off, wherever the high bit is
        stored = pydicom.pixels.pixel_array(dataset, index=0, decoding_plugin=_DECODERS[syntax])
        stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        if stored.ndim == 3:
            pixels, white, notices = (
                luma(np.ascontiguousarray(_packed_index(stored, bits, is_signed=False))),
                2**bits - 1,
                (),
            )
        else:
            is_signed = dataset.get("PixelRepresentation", 0) == 1
            index = _packed_index(stored, bits, is_signed) if is_packed else _word_index(stored, bits, high_bit)
            table, white, notices = grey_table(dataset, bits, is_signed, window)
            pixels = table[index]
    if dataset.get("BurnedInAnnotation") == "YES":
        notices += (("burned_in_annotation", ""),)
    return Radiograph(pixels, white, notices=notices)


@contextlib.contextmanager
def silent_logs() -> Iterator[None]:
    """Keeps pydicom's log messages, which quote values of the file, from every handler."""
    loggers = {logging.getLogger(name): logging.getLogger(name).level for name in _LOGGERS}
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)


def _transfer_syntax(data: bytes) -> str:
    """How the file is written, from its header (group 2, always explicit little endian)."""
    position = 132 if data[128:132] == b"DICM" else 0
    while data[position : position + 2] == b"\x02\0":
        is_long = data[position + 4 : position + 6] in (b"OB", b"UN", b"UT", b"OW", b"SQ")
        start = position + (12 if is_long else 8)
        length = int.from_bytes(data[position + 8 : start] if is_long else data[position + 6 : start], "little")
        if data[position + 2 : position + 4] == b"\x10\0":
            return data[start : start + length].rstrip(b"\0 ").decode("ascii")
        position = start + length
    raise ImageError("truncated" if position >= len(data) else "unreadable", "a DICOM file without transfer syntax")


def _check_decoder(syntax: str) -> None:
    from pydicom.pixels import get_decoder

    if syntax == _DEFLATED:  # whose size is unknown before all of it is in memory
        raise ImageError("unsupported_format", "a deflated DICOM file")
    if syntax not in _DECODERS:
        raise ImageError("unsupported_format", "a DICOM file of unknown transfer syntax")
    decoder, plugin = get_decoder(syntax), _DECODERS[syntax]
    if plugin and plugin not in decoder.available_plugins:
        name = decoder.UID.name
        raise ImageError("unsupported_format", f"no decoder for {name} is installed: pip install 'tfcxr[dicom]'")


def _check_header(dataset: "Dataset") -> None:
    """Refuses what cannot be decoded, or would fill the memory, before any pixel is."""
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise ImageError("unsupported_format", "a DICOM file of floating numbers")
    if "PixelData" not in dataset:
        if "Rows" in dataset:
            raise ImageError("truncated", "the DICOM file ends before its pixels")
        raise ImageError("not_an_image", "a DICOM file without a picture")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ImageError("multi_frame", f"{frames} frames")
    check_size(int(dataset.Columns), int(dataset.Rows))
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    if allocated not in (1, 8, 16):
        raise ImageError("unsupported_format", f"a DICOM file of {allocated} bits a pixel")
    if not 1 <= stored <= allocated or not stored - 1 <= int(dataset.get("HighBit", stored - 1)) < allocated:
        raise ImageError("unreadable", f"{stored} bits stored in {allocated}")
    kind = str(dataset.PhotometricInterpretation)
    is_grey = kind in ("MONOCHROME1", "MONOCHROME2")
    if not is_grey and not kind.startswith(("RGB", "YBR_")):
        raise ImageError("unsupported_format", "a DICOM file of another colour space than MONOCHROME, RGB and YBR")
    if int(dataset.SamplesPerPixel) != (1 if is_grey else 3):
        raise ImageError("unreadable", f"{int(dataset.SamplesPerPixel)} samples a pixel do not fit the colour space")


def _frame_bytes(dataset: "Dataset") -> int:
    samples = int(dataset.Rows) * int(dataset.Columns) * int(dataset.SamplesPerPixel)
    if dataset.PhotometricInterpretation == "YBR_FULL_422":
        samples = samples * 2 // 3
    return (samples * int(dataset.BitsAllocated) + 7) // 8


def _check_frame(dataset: "Dataset", frame: bytes) -> None:
    """The size inside a compressed picture must be that of the header, or a decoder asks for any memory it names."""
    if frame.startswith(b"\xff\xd8"):
        header = read_jpeg_header(frame)
        size = (header.width, header.height, header.components)
    else:
        start = frame.find(b"\xff\x4f\xff\x51", 0, 256)  # a JPEG 2000 stream, bare or in its box
        if start < 0 or start + 42 > len(frame):
            raise ImageError("unreadable", "compressed pixels that are neither JPEG nor JPEG 2000")
        right, bottom, left, top = (int.from_bytes(frame[at : at + 4], "big") for at in range(start + 8, start + 24, 4))
        size = (right - left, bottom - top, int.from_bytes(frame[start + 40 : start + 42], "big"))
    expected = (int(dataset.Columns), int(dataset.Rows), int(dataset.SamplesPerPixel))
    if size != expected:
        raise ImageError("unreadable", f"width, height and samples are {expected}, in the compressed pixels {size}")


def _packed_index(stored: np.ndarray, bits: int, is_signed: bool) -> np.ndarray:
    """Numbers from a decoder -> where they stand in a table of 2**bits."""
    lowest = -(2 ** (bits - 1)) if is_signed else 0
    if int(stored.min()) < lowest or int(stored.max()) >= lowest + 2**bits:
        raise ImageError("unreadable", f"compressed pixels outside the {bits} bits of the header")
    return _word_index(stored, bits, bits - 1)


def _word_index(stored: np.ndarray, bits: int, high_bit: int) -> np.ndarray:
    """Words, which may hold other things in their spare bits -> where their numbers stand in a table of 2**bits."""
    return (stored.view(f"u{stored.itemsize}") >> (high_bit + 1 - bits)) & (2**bits - 1)
