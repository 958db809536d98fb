"""Image file -> checked grey array: JPEG and PNG by OpenCV; TIFF and DICOM have files of their own.

Rules, so that equal files give equal pixels everywhere:
  colour   becomes luma, .2989 R + .5870 G + .1140 B to within one level of 255; a palette is looked up first.
           A colour JPEG stores its luma, which is taken as it is. Where its colours are so strong that they
           leave the range of RGB, that differs from the luma of the clipped colours.
  inks     of a JPEG (CMYK, YCCK) become red, green and blue, then luma, if an Adobe marker says what they mean.
  alpha    that is constant says nothing and is ignored; alpha that varies is composited on black, the
           background of a radiograph. A PNG's transparent colour counts as alpha.
  16 bits  are kept as uint16, unscaled; `preprocess.to_bits` says how they become 8.
  1, 2 and 4 bits are widened to the full range of 8.
  EXIF     orientation of a JPEG is applied.

Several pictures in one file are refused: animated PNG, MPO, multi-page TIFF, multi-frame DICOM.
"""

import dataclasses
import os
import stat
import struct
import zlib

import cv2
import numpy as np

from tfrecords_builder.dicom_io import decode_dicom, is_dicom
from tfrecords_builder.jpeg_header import read_jpeg_header
from tfrecords_builder.radiograph import (
    MAX_ASPECT,
    MIN_MEAN,
    ImageError,
    Radiograph,
    check_size,
    content_digest,
    over_black,
)
from tfrecords_builder.tiff_io import TIFF_SIGNATURES, decode_tiff

MAX_FILE_BYTES = 1 << 28
_ROWS_LOOKED_AT = 16
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR_TYPES = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_OTHER_FORMATS = (
    (b"GIF8", "GIF"), (b"BM", "BMP"), (b"II+\0", "BigTIFF"), (b"MM\0+", "BigTIFF"), (b"\0\0\1\0", "ICO"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"), (b"\xff\x4f\xff\x51", "JPEG 2000"),
)  # fmt: skip


def read_image(path: str | os.PathLike, dicom_window: str = "file") -> Radiograph:
    """Reads one radiograph.

    Args:
      dicom_window: see `dicom_io.decode_dicom`.

    Raises:
      ImageError: a file that is missing, damaged, too large, no single picture of a known format, or blank.
      PermissionError: a file that may not be read (a setting of the machine, not a damaged image).
      ImportError: a DICOM file, and the extra `dicom` is not installed.
    """
    return decode(read_file(path), dicom_window)


def decode(data: bytes, dicom_window: str = "file") -> Radiograph:
    """The radiograph in a file's bytes; raises as `read_image` does."""
    if data.startswith(b"\xff\xd8\xff"):
        image = Radiograph(_decode_jpeg(data), content=content_digest(data))
    elif data.startswith(_PNG_SIGNATURE):
        image = Radiograph(_decode_png(data), content=content_digest(data))
    elif data.startswith(TIFF_SIGNATURES):
        image = decode_tiff(data)
    elif is_dicom(data):
        image = decode_dicom(data, dicom_window)
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
    """The bytes of an image file; raises ImageError for one that is missing, empty, too large or no file."""
    try:
        # Half the time of pathlib, and a pipe that nobody writes to cannot hold us up.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:  # noqa: PTH123
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("not_a_file", "a pipe or device")
            if status.st_size > MAX_FILE_BYTES:
                raise ImageError("too_large", f"{status.st_size} bytes")
            data = file.read()
    except IsADirectoryError as error:
        raise ImageError("not_a_file", "a folder") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError("missing_file", os.fspath(path).rpartition("/")[2]) from error
    if not data:
        raise ImageError("truncated", "an empty file")
    return data


def _not_readable(data: bytes) -> ImageError:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ImageError("unsupported_format", "WebP, expected JPEG, PNG, TIFF or DICOM")
    for signature, name in _OTHER_FORMATS:
        if data.startswith(signature):
            return ImageError("unsupported_format", f"{name}, expected JPEG, PNG, TIFF or DICOM")
    if _PNG_SIGNATURE.startswith(data) or data in (b"\xff", b"\xff\xd8"):
        return ImageError("truncated", f"only {len(data)} bytes")
    return ImageError("not_an_image", f"it begins with {data[:4]!r}")


def _decode_jpeg(data: bytes) -> np.ndarray:
    header = read_jpeg_header(data)
    if header.process not in (0xC0, 0xC1, 0xC2) or header.bits != 8:
        raise ImageError("unsupported_format", f"a JPEG of {header.bits} bits and process {header.process:#x}")
    if header.components not in (1, 3, 4) or (header.components == 4 and not header.has_adobe_marker):
        raise ImageError("unsupported_format", f"a JPEG of {header.components} colours of unknown meaning")
    if header.has_more_pictures:
        raise ImageError("multi_frame", "a JPEG file of several pictures (MPO)")
    return _decode(data, cv2.IMREAD_GRAYSCALE)  # the decoder gives luma itself, and applies the EXIF orientation


def _decode_png(data: bytes) -> np.ndarray:
    transparent = _check_png(data)
    image = _decode(data, cv2.IMREAD_UNCHANGED)
    if image.ndim == 3:  # OpenCV's order is blue, green, red
        grey = cv2.cvtColor(image[..., :3], cv2.COLOR_BGR2GRAY)
        return grey if image.shape[2] == 3 else over_black(grey, image[..., 3])
    if transparent is not None:  # OpenCV leaves out the transparent level of grey, though not that of colour
        image[image == transparent] = 0
    return image


def _check_png(data: bytes) -> int | None:
    """Walks the chunks to the last one; every check sum must fit. Returns the transparent level of a grey picture."""
    position, is_first, transparent = len(_PNG_SIGNATURE), True, None
    while position + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        if is_first and (kind != b"IHDR" or length != 13):
            raise ImageError("unreadable", f"the first PNG chunk is {kind!r} of {length} bytes")
        end = position + 12 + length
        if end > len(data):
            break
        if zlib.crc32(data[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise ImageError("unreadable", f"the check sum of PNG chunk {kind!r} is wrong")
        if is_first:
            width, height, bits, colour_type = struct.unpack(">IIBB", data[position + 8 : position + 18])
            check_size(width, height)
            if bits not in _PNG_COLOUR_TYPES.get(colour_type, ()):
                raise ImageError("unreadable", f"PNG colour type {colour_type} with {bits} bits")
            is_first = False
        if kind == b"acTL" and int.from_bytes(data[position + 8 : position + 12], "big") > 1:
            raise ImageError("multi_frame", "an animated PNG")
        if kind == b"tRNS" and colour_type == 0 and length == 2:
            level = int.from_bytes(data[position + 8 : position + 10], "big")
            transparent = level * 255 // (2**bits - 1) if bits < 8 else level  # as the decoder widens to 8 bits
        if kind == b"IEND":
            return transparent
        position = end
    raise ImageError("truncated", "the PNG's end chunk is missing")


def _decode(data: bytes, flags: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError("unreadable", f"OpenCV could not decode it ({error.err})") from error
    if image is None:
        raise ImageError("unreadable", "OpenCV could not decode it")
    return image
