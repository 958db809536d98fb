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
_DETECTOR_BITS = (8, 10, 12, 14, 16)
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
      white: the value of full white; 0 takes 255 for uint8, and for uint16 the true range (see `true_white`).
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


def true_white(brightest: int, declared: int) -> int:
    """The value that stands for white, by one rule for every format: the data are asked, not only the declaration.

    White is the smallest 2**n - 1, n of 8, 10, 12, 14 and 16 bits as detectors have them, that holds the brightest
    value, and at most what the file declares. A declaration that the brightest value exceeds is false and not
    followed. Files often declare 16 bits and hold 10, 12 or 14 in the low end.

    What `brightest` is decides how far the rule depends on the single picture:
      pixels without a table or window: the brightest pixel, padding left out. So of two pictures of one detector,
        the one whose brightest pixel is below a quarter of the range is taken for one of fewer bits.
      a table of a DICOM file: its largest entry, whether a pixel of this picture uses it or not.
    A DICOM window does not come here: it says itself what is white. Nor does a PNG whose samples its `sBIT` chunk
    rightly calls scaled to the full range, see `png_range`.

    Args:
      brightest: the largest value, 0 to 65535.
      declared: the white that the file declares, such as 2**bits - 1.
    """
    found = next(2**bits - 1 for bits in _DETECTOR_BITS if brightest < 2**bits)
    return declared if brightest <= declared <= found else found


def range_notices(white: int, declared: int, declaration: str) -> tuple[tuple[str, str], ...]:
    """A notice for a white that is not the declared one; none where they agree.

    Args:
      declaration: what declares it, such as "BitsStored (0028,0101)".
    """
    if white == declared:
        return ()
    return (("white_not_as_declared", f"white is {white}, {declaration} declares {declared}"),)


def range_maximum(pixels: np.ndarray) -> int:
    """The white of uint8 or uint16 pixels of which the type is all that is declared, see `true_white`."""
    return 255 if pixels.dtype == np.uint8 else true_white(int(pixels.max(initial=0)), 65535)


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


def decode_with_opencv(data: bytes, mode: int, kind: str, damage: str) -> np.ndarray:
    """The pixels of a JPEG or PNG file, whose structure was found whole.

    Args:
      mode: of `cv2.imdecode`.
      kind: "JPEG" or "PNG".
      damage: what is wrong with a file that the decoder gives up.

    Raises:
      ImageError: "unreadable".
    """
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except cv2.error as error:
        raise ImageError("unreadable", f"OpenCV could not decode the {kind} ({error.err})") from error
    if image is None:
        raise ImageError("unreadable", damage)
    return image


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
