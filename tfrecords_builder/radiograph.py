"""A radiograph in memory, and why a file may not become one."""

import contextlib
import dataclasses
import hashlib
import warnings
from collections.abc import Iterator

import cv2
import numpy as np

MAX_PIXELS = 100_000_000  # a decompression bomb is refused from its header, before any memory is asked for
MIN_MEAN = 3.0 / 255.0  # of full range; below it an image is "nearly_black"
MAX_ASPECT = 2.0  # longer side over shorter; beyond it a chest radiograph has an "unusual_shape"


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


@dataclasses.dataclass(frozen=True)
class Radiograph:
    """Checked pixels and what their user should know of them.

    Attributes:
      pixels: uint8 or uint16 [height, width], grey, higher values brighter.
      white: the value of full white; 0 takes 255 for uint8, and for uint16 the true range (see `range_maximum`).
      content: digest by which equal files are found; b"" takes that of the pixels.
      notices: (kind, detail) pairs of what is odd but usable, such as ("unusual_shape", "2179x690").
    """

    pixels: np.ndarray
    white: int = 0
    content: bytes = b""
    notices: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.white:
            object.__setattr__(self, "white", range_maximum(self.pixels))
        if not self.content:
            object.__setattr__(self, "content", content_digest(self.pixels.tobytes()))


def content_digest(data: bytes) -> bytes:
    """16 bytes that are equal for equal data, and for no other."""
    return hashlib.sha256(data).digest()[:16]


def range_maximum(pixels: np.ndarray) -> int:
    """The value that stands for white: 255 for uint8; for uint16 the true range, 2**bits - 1 of its detector.

    Files of 16 bits often hold 10, 12 or 14 bits in the low end, without saying so. The true range is taken as
    the smallest of 8, 10, 12, 14 and 16 bits that holds the brightest pixel.
    """
    if pixels.dtype == np.uint8:
        return 255
    highest = int(pixels.max(initial=0))
    return next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if highest < 2**bits)


def check_size(width: int, height: int) -> None:
    """Refuses a picture without pixels, or with so many that they would fill the memory."""
    if width <= 0 or height <= 0:
        raise ImageError("unreadable", f"a picture of {width}x{height} pixels")
    if width * height > MAX_PIXELS:
        raise ImageError("too_large", f"{width}x{height} pixels, at most {MAX_PIXELS} are read")


def luma(red_green_blue: np.ndarray) -> np.ndarray:
    """Grey by .2989 R + .5870 G + .1140 B, to within one level of 255, of the same type.

    OpenCV's weights .299, .587 and .114 add up to exactly 1, so that equal red, green and blue stay what they are.

    Args:
      red_green_blue: uint8 or uint16 [height, width, 3].
    """
    return cv2.cvtColor(red_green_blue, cv2.COLOR_RGB2GRAY)


def over_black(grey: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The picture on black, the background of a radiograph; alpha that is the same everywhere says nothing.

    Args:
      grey, alpha: uint8 or uint16 [height, width], both of one type; full alpha is opaque.
    """
    lowest, highest = cv2.minMaxLoc(alpha)[:2]
    if lowest == highest:
        return grey
    return np.rint(grey * (alpha / np.iinfo(alpha.dtype).max)).astype(grey.dtype)


@contextlib.contextmanager
def decoder_errors(library: str) -> Iterator[None]:
    """Silences a decoder's warnings, and makes whatever it raises over damaged data one ImageError.

    Libraries meet a damaged file with errors of every type, and quote its values in their messages and warnings.
    Those may name a patient, so nothing but the error's type is passed on. A missing package and a full memory
    say nothing of the file and stay what they are.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ImageError, ImportError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 (decoders raise whatever damaged numbers make of their code)
        raise ImageError("unreadable", f"{library} could not decode it ({type(error).__name__})") from None
