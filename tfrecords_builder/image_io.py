"""Image file -> checked grey array: JPEG and PNG, 1 to 16 bits, grey, colour, palette, with or without alpha.

Rules, so that equal files give equal pixels everywhere:
  colour   becomes luma, .2989 R + .5870 G + .1140 B; a palette is looked up first.
  alpha    that is constant says nothing and is ignored; alpha that varies is composited on black, the
           background of a radiograph.
  16 bits  are kept as uint16, unscaled; `preprocess.to_8_bits` says how they become 8.
  EXIF     orientation of a JPEG is applied.

OpenCV decodes a truncated JPEG without a word and fills the rest with grey, so the file's structure is checked
first: JPEG markers from the first to the end marker, PNG chunks with their check sums. Damage inside a JPEG's
compressed data that leaves its structure whole cannot be told from a picture.
"""

import os
import pathlib
import stat
import struct
import zlib

import cv2
import numpy as np

MAX_PIXELS = 100_000_000  # a decompression bomb is refused from its header, before any memory is asked for
MAX_FILE_BYTES = 1 << 28
MIN_MEAN = 3.0 / 255.0  # of full range; below it an image is "nearly_black"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR_TYPES = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_OTHER_FORMATS = (
    (b"GIF8", "GIF"), (b"BM", "BMP"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"\0\0\1\0", "ICO"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"), (b"\xff\x4f\xff\x51", "JPEG 2000"),
)  # fmt: skip


class ImageError(ValueError):
    """An image file that cannot be used.

    Attributes:
      reason: what is wrong, to count by: "missing_file", "not_a_file", "not_an_image", "unsupported_format",
        "truncated", "unreadable", "too_large", "multi_frame", "constant" or "nearly_black".
      detail: what exactly was found.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple:
        return type(self), (self.reason, self.detail)


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads one radiograph.

    Returns:
      uint8 or uint16 [height, width], grey, higher values brighter.

    Raises:
      ImageError: a file that is missing, damaged, too large, no single JPEG or PNG picture, or blank.
      PermissionError: a file that may not be read (a setting of the machine, not a damaged image).
    """
    data = _read_file(pathlib.Path(path))
    if data.startswith(b"\xff\xd8\xff"):
        _check_jpeg(data)
        image = _decode(data, cv2.IMREAD_GRAYSCALE)  # the decoder gives luma itself, and applies the EXIF orientation
    elif data.startswith(_PNG_SIGNATURE):
        _check_png(data)
        image = _to_grey(_decode(data, cv2.IMREAD_UNCHANGED))
    else:
        raise _not_readable(data)
    check_pixels(image)
    return image


def check_pixels(image: np.ndarray) -> None:
    """Refuses a picture of nothing.

    Args:
      image: uint8 or uint16 [height, width].

    Raises:
      ImageError: "constant" when all pixels are equal, "nearly_black" when their mean is below 3 of 255.
    """
    lowest, highest = cv2.minMaxLoc(image)[:2]
    if lowest == highest:
        raise ImageError("constant", f"all pixels are {int(lowest)}")
    full_range = range_maximum(image)
    mean = cv2.mean(image)[0]
    if mean < MIN_MEAN * full_range:
        raise ImageError("nearly_black", f"mean {mean:.2f} of {full_range}")


def range_maximum(image: np.ndarray) -> int:
    """The value that stands for white: 255 for uint8; for uint16 the true range, 2**bits - 1 of its detector.

    Files of 16 bits often hold 10, 12 or 14 bits in the low end, without saying so. The true range is taken as
    the smallest of 8, 10, 12, 14 and 16 bits that holds the brightest pixel.
    """
    if image.dtype == np.uint8:
        return 255
    highest = int(image.max(initial=0))
    return next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if highest < 2**bits)


def _read_file(path: pathlib.Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not_a_file", "a folder, pipe or device")
        if status.st_size > MAX_FILE_BYTES:
            raise ImageError("too_large", f"{status.st_size} bytes")
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError("missing_file", path.name) from error
    if not data:
        raise ImageError("truncated", "an empty file")
    return data


def _not_readable(data: bytes) -> ImageError:
    if data[128:132] == b"DICM":
        return ImageError("unsupported_format", "DICOM, expected JPEG or PNG")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ImageError("unsupported_format", "WebP, expected JPEG or PNG")
    for signature, name in _OTHER_FORMATS:
        if data.startswith(signature):
            return ImageError("unsupported_format", f"{name}, expected JPEG or PNG")
    if _PNG_SIGNATURE.startswith(data) or data in (b"\xff", b"\xff\xd8"):
        return ImageError("truncated", f"only {len(data)} bytes")
    return ImageError("not_an_image", f"it begins with {data[:8]!r}")


def _check_jpeg(data: bytes) -> None:
    """Walks the segments up to the compressed data, then looks for the end marker behind it."""
    position, has_size = 2, False
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise ImageError("unreadable", f"no JPEG marker at byte {position}")
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a length
            position += 2
            continue
        if marker == 0xD9:
            raise ImageError("unreadable", "a JPEG without a picture")
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if length < 2:
            raise ImageError("unreadable", f"a JPEG segment of {length} bytes")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if position + 9 > len(data):
                break
            height, width = struct.unpack(">HH", data[position + 5 : position + 9])
            _check_size(width, height)
            has_size = True
        position += 2 + length
        if marker == 0xDA:
            if not has_size:
                raise ImageError("unreadable", "JPEG data before its size")
            if data.rfind(b"\xff\xd9", position) < 0:
                raise ImageError("truncated", "the JPEG's end marker is missing")
            return
    raise ImageError("truncated", "the file ends inside the JPEG's header")


def _check_png(data: bytes) -> None:
    """Walks the chunks to the last one; every check sum must fit."""
    position, is_first = len(_PNG_SIGNATURE), True
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
            _check_size(width, height)
            if bits not in _PNG_COLOUR_TYPES.get(colour_type, ()):
                raise ImageError("unreadable", f"PNG colour type {colour_type} with {bits} bits")
            is_first = False
        if kind == b"acTL" and int.from_bytes(data[position + 8 : position + 12], "big") > 1:
            raise ImageError("multi_frame", "an animated PNG")
        if kind == b"IEND":
            return
        position = end
    raise ImageError("truncated", "the PNG's end chunk is missing")


def _check_size(width: int, height: int) -> None:
    if not width or not height:
        raise ImageError("unreadable", f"a picture of {width}x{height} pixels")
    if width * height > MAX_PIXELS:
        raise ImageError("too_large", f"{width}x{height} pixels, at most {MAX_PIXELS} are read")


def _decode(data: bytes, flags: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError("unreadable", f"OpenCV could not decode it ({error.err})") from error
    if image is None:
        raise ImageError("unreadable", "OpenCV could not decode it")
    return image


def _to_grey(image: np.ndarray) -> np.ndarray:
    """uint8 or uint16 [height, width] or [height, width, 3 or 4 as BGR(A)] -> [height, width]."""
    if image.ndim == 2:
        return image
    grey = cv2.cvtColor(image[..., :3], cv2.COLOR_BGR2GRAY)
    if image.shape[2] == 3:
        return grey
    alpha = image[..., 3]
    if alpha.min() == alpha.max():
        return grey
    return np.rint(grey * (alpha / np.iinfo(alpha.dtype).max)).astype(image.dtype)
