"""Image file -> checked grey array: JPEG by OpenCV; PNG, TIFF and DICOM have files of their own.

Rules, so that equal files give equal pixels everywhere:
  colour   becomes luma, .2989 R + .5870 G + .1140 B to within one level of 255; a palette is looked up first.
           A colour JPEG stores its luma, which is taken as it is. Where its colours are so strong that they
           leave the range of RGB, that differs from the luma of the clipped colours.
  inks     of a JPEG (CMYK, YCCK) become red, green and blue, then luma, if an Adobe marker says what they mean.
  alpha    that is constant says nothing and is ignored; alpha that varies is composited on black, the
           background of a radiograph. A PNG's transparent colour counts as alpha.
  16 bits  are kept as uint16, unscaled; `radiograph.true_white` says what is white in them, and a notice tells where
           that is not what the file declares; `preprocess.to_bits` says how they become 8.
  1, 2 and 4 bits are widened to the full range of 8.
  EXIF     orientation of a JPEG is applied.

Several pictures in one file are refused: animated PNG, MPO, multi-page TIFF, multi-frame DICOM.
"""

import dataclasses
import errno
import os
import stat

import cv2
import numpy as np

from tfrecords_builder.images.dicom import decode_dicom
from tfrecords_builder.images.dicom_file import FIRST_BYTES, META_START, is_dicom
from tfrecords_builder.images.jpeg_header import read_jpeg_header
from tfrecords_builder.images.png import PNG_SIGNATURE, decode_png
from tfrecords_builder.images.radiograph import (
    MAX_ASPECT,
    MIN_MEAN,
    ImageError,
    Radiograph,
    content_digest,
    decode_with_opencv,
)
from tfrecords_builder.images.tiff import TIFF_SIGNATURES, decode_tiff

MAX_FILE_BYTES = 1 << 28
_ROWS_LOOKED_AT = 16
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_OTHER_FORMATS = (
    (b"GIF8", "GIF"), (b"BM", "BMP"), (b"II+\0", "BigTIFF"), (b"MM\0+", "BigTIFF"), (b"\0\0\1\0", "ICO"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"), (b"\xff\x4f\xff\x51", "JPEG 2000"), (b"8BPS", "Photoshop"),
    (b"PK\3\4", "zip"), (b"\x1f\x8b", "gzip"), (b"%PDF", "PDF"),
)  # fmt: skip
_NO_IMAGES = (
    (b"\0\5\x16\7", "what macOS keeps beside a file (AppleDouble), not the file itself"),
    (b"version https://git-lfs", "a pointer of Git LFS to a file that was not downloaded"),
    (b"<!doctype html", "a web page, perhaps in place of a download that failed"),
    (b"<html", "a web page, perhaps in place of a download that failed"),
)
_EXPECTED = "expected JPEG, PNG, TIFF or DICOM"


def read_image(path: str | os.PathLike, dicom_window: str = "file") -> Radiograph:
    """Reads one radiograph.

    Args:
      dicom_window: see `dicom.decode_dicom`.

    Raises:
      ImageError: a file that is missing, damaged, too large, no single picture of a known format, or blank.
      PermissionError: a file that may not be read (a setting of the machine, not a damaged image).
      ImportError: a DICOM file, and the extra `dicom` is not installed.
    """
    return decode(read_file(path), dicom_window)


def decode(data: bytes, dicom_window: str = "file") -> Radiograph:
    """The radiograph in a file's bytes; raises as `read_image` does."""
    if data.startswith(_JPEG_SIGNATURE):
        image = Radiograph(_decode_jpeg(data), content=content_digest(data))
    elif data.startswith(PNG_SIGNATURE):
        image = decode_png(data)
    elif is_dicom(data[:FIRST_BYTES]):  # asked before TIFF, as which a DICOM file's preamble may begin
        image = decode_dicom(data, dicom_window)
    elif data.startswith(TIFF_SIGNATURES):
        image = decode_tiff(data)
    else:
        raise _not_readable(data)
    check_pixels(image)
    height, width = image.pixels.shape
    if max(height, width) > MAX_ASPECT * min(height, width):
        image = dataclasses.replace(image, notices=(*image.notices, ("unusual_shape", f"{width}x{height}")))
    return image


def check_pixels(image: Radiograph) -> None:
    """Refuses a picture of nothing.

    Raises:
      ImageError: "constant" when all pixels are equal, "nearly_black" when their mean is below 3 of 255.
    """
    # One row in 16 is enough to see that most pictures are neither: all pixels add up to at least what those do.
    mean, deviation = cv2.meanStdDev(image.pixels[::_ROWS_LOOKED_AT])
    if deviation[0, 0] > 0 and mean[0, 0] >= _ROWS_LOOKED_AT * MIN_MEAN * image.white:
        return
    lowest, highest = cv2.minMaxLoc(image.pixels)[:2]
    if lowest == highest:
        raise ImageError("constant", f"all pixels are {int(lowest)}")
    mean = cv2.mean(image.pixels)[0]
    if mean < MIN_MEAN * image.white:
        raise ImageError("nearly_black", f"mean {mean:.2f} of {image.white}")


def read_file(path: str | os.PathLike) -> bytes:
    """The bytes of an image file.

    Raises:
      ImageError: "missing_file", "not_a_file" for a folder, pipe or device, "too_large", "truncated" for an empty file.
      PermissionError: a file that may not be read.
    """
    try:  # half the time of pathlib
        file = open(path, "rb", buffering=0, opener=_open_without_waiting)  # noqa: PTH123, SIM115 (closed below)
    except (OSError, ValueError) as error:
        raise _no_file(path, error) or error from None
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not_a_file", "a pipe or device")
        if status.st_size > MAX_FILE_BYTES:
            raise ImageError("too_large", f"{status.st_size} bytes, at most {MAX_FILE_BYTES} are read")
        data = file.read()
    if not data:
        raise ImageError("truncated", "an empty file")
    return data


def _open_without_waiting(path: str | os.PathLike, flags: int) -> int:
    """A pipe that nobody writes to cannot hold us up."""
    return os.open(path, flags | os.O_NONBLOCK)


def _no_file(path: str | os.PathLike, error: OSError | ValueError) -> ImageError | None:
    """What is wrong with a path that cannot be opened; None where it is the machine that fails."""
    place = os.fsencode(path).decode("utf-8", "backslashreplace")
    if isinstance(error, IsADirectoryError):
        return ImageError("not_a_file", "a folder")
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        broken = "a link to a file that is not there: " if os.path.islink(path) else ""  # noqa: PTH114 (any path)
        return ImageError("missing_file", f"{broken}{place}")
    if not isinstance(error, OSError):  # a zero byte
        return ImageError("missing_file", f"no file can have this name: {place!r}")
    if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
        return ImageError("missing_file", f"{os.strerror(error.errno)}: {place}")
    if error.errno == errno.ENXIO:
        return ImageError("not_a_file", "a socket or device")
    return None


def _not_readable(data: bytes) -> ImageError:
    """Says what bytes are that begin as no file that is read."""
    names = [name for signature, name in _OTHER_FORMATS if data.startswith(signature)]
    names += ["WebP"] * (data[:4] == b"RIFF" and data[8:12] == b"WEBP") + ["HEIF or AVIF"] * (data[4:8] == b"ftyp")
    if names:
        return ImageError("unsupported_format", f"{names[0]}, {_EXPECTED}")
    start = data[:40].lstrip().lower()
    for signature, what in _NO_IMAGES:
        if start.startswith(signature):
            return ImageError("not_an_image", what)
    signatures = (_JPEG_SIGNATURE, PNG_SIGNATURE, META_START, *TIFF_SIGNATURES)
    if any(signature.startswith(data) for signature in signatures):
        return ImageError("truncated", f"only {len(data)} bytes, the beginning of a picture's first ones")
    if len(data) < 132 and not data[:128].strip(b"\0") and b"DICM".startswith(data[128:]):
        return ImageError("truncated", f"only {len(data)} bytes, all zero as in the preamble of a DICOM file")
    if 128 < len(data) < 132 and b"DICM".startswith(data[128:]):
        return ImageError("truncated", f"only {len(data)} bytes, which end inside the preamble of a DICOM file")
    if not data.strip(b"\0"):
        return ImageError("not_an_image", f"{len(data)} bytes, all zero")
    return ImageError("not_an_image", f"it begins with {data[:4]!r}, {_EXPECTED}")


def _decode_jpeg(data: bytes) -> np.ndarray:
    header = read_jpeg_header(data)
    if header.process not in (0xC0, 0xC1, 0xC2) or header.bits != 8:
        kind = f"a JPEG of {header.bits} bits and process {header.process:#x}"
        raise ImageError("unsupported_format", f"{kind}, expected 8 bits and 0xc0, 0xc1 or 0xc2")
    if header.components not in (1, 3, 4) or (header.components == 4 and not header.has_adobe_marker):
        raise ImageError("unsupported_format", f"a JPEG of {header.components} colours of unknown meaning")
    if header.has_more_pictures:
        raise ImageError("multi_frame", "a JPEG file of several pictures (MPO)")
    damage = "the JPEG's markers are whole, but its tables or compressed pixels are damaged"
    # The decoder gives luma itself, and applies the EXIF orientation.
    return decode_with_opencv(data, cv2.IMREAD_GRAYSCALE, "JPEG", damage)
