"""Grey array -> square pictures of a record, in steps that are explicit and recorded in `dataset_info.json`.

The steps, in their order:
  1. pixel range  the file's range, 0 to its white, becomes the whole range of the record's 8 or 16 bits:
                  value * maximum / white, rounded half up. 16 bits can be undone: round(value * white / 65535).
  2. histogram    "none"; "stretch" takes two percentiles of the picture as black and white instead of 0 and the
                  file's white; "equalize" makes all grey levels equally frequent (Gonzalez and Woods, Digital Image
                  Processing, "Histogram equalization"). Steps 1 and 2 are one table from the file's values, so that
                  nothing is rounded twice.
  3. clahe        "none"; local contrast, see `clahe`. "before_resize" works on the whole picture, so that tiles hold
                  thousands of pixels, all sizes of one build show the same contrast, and pixels of an added border are
                  not counted as anatomy. (Noise that it raises is averaged away when the picture shrinks.)
                  "after_resize" is the last step instead, on each size apart, as Woloszyn 2025 describes it: the
                  contrast of the stored picture is the higher, and sizes differ by more than their resolution.
  4. square       "squash", "crop" or "pad".
  5. resize       "area" or "bilinear", both free of aliasing.

What the bytes rely on: OpenCV's CLAHE, border and area averaging gave equal bytes with one and two threads, with and
without Intel's IPP, and with its code for SSE3 to AVX-512. Its cubic and linear resize did not (IPP has other
arithmetic for each kind of CPU), so Pillow does those. Not tried: processors other than x86-64, where a sum of floats
may be contracted and a pixel differ by one level.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

from tfcxr.command_line import Arguments, flag
from tfrecords_builder.choices import check_choice
from tfrecords_builder.images.clahe import equalize_local_contrast
from tfrecords_builder.images.radiograph import Radiograph

SQUARE_POLICIES = ("squash", "crop", "pad")
HISTOGRAMS = ("none", "stretch", "equalize")
CLAHE = ("none", "before_resize", "after_resize")
RESIZES = {"area": "area averaging down, cubic up", "bilinear": "bilinear, triangle filter widened when it shrinks"}


@dataclasses.dataclass(frozen=True)
class PreprocessOptions(Arguments):
    """The steps between a decoded radiograph and its record.

    Attributes:
      clahe: Equalise local contrast (CLAHE, Zuiderveld 1994): none, before_resize (the whole image, once for all sizes)
        or after_resize (each size apart).
      clahe_clip_limit: CLAHE: how steep a tile's histogram may get, in multiples of the uniform one.
      clahe_tiles: CLAHE: tiles along each side of the image.
      square: How an image becomes square: squash changes the aspect ratio, crop takes the centred square of the
        shorter side, pad adds black on both sides of the shorter one.
      histogram: Grey levels of the whole image: none, stretch (an image whose two percentiles are equal keeps its
        range) or equalize.
      stretch_black_percentile: --histogram=stretch: the percentile of the pixels that becomes black.
      stretch_white_percentile: --histogram=stretch: the percentile of the pixels that becomes white.
      resize: How an image is resized: area averages over the pixels that a new one covers, and is cubic (Keys 1981,
        a = -1/2) where a side grows; bilinear is the triangle filter, widened when it shrinks, of Pillow and of
        tf.image.resize(antialias=True).
    """

    clahe: str = "none"
    clahe_clip_limit: float = 2.0
    clahe_tiles: int = flag(8, minimum=1, maximum=64)
    square: str = "squash"
    histogram: str = "none"
    stretch_black_percentile: float = 0.5
    stretch_white_percentile: float = 99.5
    resize: str = "area"

    def __post_init__(self) -> None:
        super().__post_init__()
        choices = {"clahe": CLAHE, "square": SQUARE_POLICIES, "histogram": HISTOGRAMS, "resize": RESIZES}
        for name, words in choices.items():
            check_choice(name, getattr(self, name), words)
        if not 0 < self.clahe_clip_limit < float("inf"):
            raise ValueError(f"clahe_clip_limit expects a number above 0, got {self.clahe_clip_limit}")
        black, white = self.stretch_black_percentile, self.stretch_white_percentile
        if not 0 <= black < white <= 100:
            raise ValueError(
                "stretch_black_percentile and stretch_white_percentile expect 0 to 100, black below white, "
                f"got {black} and {white}"
            )

    def description(self, bits: int = 8) -> dict[str, Any]:
        """Every argument of the steps in their order, for `dataset_info.json`; a step that is left out is None."""
        histogram = None if self.histogram == "none" else {"method": self.histogram}
        if self.histogram == "stretch":
            histogram["black_percentile"] = self.stretch_black_percentile
            histogram["white_percentile"] = self.stretch_white_percentile
        order = ["colour", "pixel_range", "histogram", "clahe", "square", "resize"]
        if self.clahe == "after_resize":
            order.append(order.pop(order.index("clahe")))
        clahe = {"clip_limit": self.clahe_clip_limit, "tiles": self.clahe_tiles}
        return {
            "order": order,
            "colour": "luma .2989 R + .5870 G + .1140 B",
            "pixel_range": (
                f"value * {_maximum(bits)} / white; white is that of the file's window, else 2**bits - 1, bits the "
                "smallest of 8, 10, 12, 14, 16 that holds the maximum, and at most what the file declares"
            ),
            "histogram": histogram,
            "clahe": None if self.clahe == "none" else clahe,
            "square": self.square,
            "resize": RESIZES[self.resize],
        }


def adjust_greys(radiograph: Radiograph, options: PreprocessOptions, bits: int = 8) -> np.ndarray:
    """The steps that do not depend on the size: pixel range, histogram, CLAHE before the resize.

    Returns:
      uint8 or uint16 [height, width], as `bits` says.

    Raises:
      ValueError: `bits` is not 8 or 16.
    """
    image = to_bits(radiograph, bits, options)
    if options.clahe == "before_resize":
        image = equalize_local_contrast(image, options.clahe_clip_limit, options.clahe_tiles)
    return image


def to_stored(image: np.ndarray, sizes: Sequence[int], options: PreprocessOptions) -> dict[int, np.ndarray]:
    """The steps after `adjust_greys`: size -> the picture that a record holds, [size, size] of the same type."""
    pictures = to_squares(image, sizes, options.square, options.resize)
    if options.clahe == "after_resize":
        limit, tiles = options.clahe_clip_limit, options.clahe_tiles
        return {size: equalize_local_contrast(picture, limit, tiles) for size, picture in pictures.items()}
    return pictures


def to_bits(radiograph: Radiograph, bits: int, options: PreprocessOptions | None = None) -> np.ndarray:
    """Steps 1 and 2: pixel range, and the histogram step of `options` if there are any.

    Returns:
      uint8 or uint16 [height, width]; the pixels themselves where nothing changes them.

    Raises:
      ValueError: `bits` is not 8 or 16.
    """
    pixels, maximum = radiograph.pixels, _maximum(bits)
    histogram = options.histogram if options else "none"
    if histogram == "none" and radiograph.white == maximum == np.iinfo(pixels.dtype).max:
        return pixels
    values = np.iinfo(pixels.dtype).max + 1
    if histogram == "equalize":
        table = _equalizing_table(pixels, values, maximum)
    else:
        black, white = 0, radiograph.white
        if histogram == "stretch":
            black, white = _percentiles(pixels, values, options, (black, white))
        table = _rounded(np.clip(np.arange(values), black, white) - black, maximum, white - black)
    table = table.astype(np.uint8 if bits == 8 else np.uint16)
    return cv2.LUT(pixels, table) if pixels.dtype == np.uint8 else np.take(table, pixels)


def to_square(image: np.ndarray, size: int, square: str = "squash", resize: str = "area") -> np.ndarray:
    """Makes the image square by the policy, then resizes it without aliasing.

    Args:
      image: uint8 or uint16 [height, width].

    Returns:
      [size, size] of the same type.
    """
    return to_squares(image, (size,), square, resize)[size]


def to_squares(
    image: np.ndarray, sizes: Sequence[int], square: str = "squash", resize: str = "area"
) -> dict[int, np.ndarray]:
    """`to_square` for all sizes; a size's bytes do not depend on the others that are asked for.

    Area averages compose: the mean of 2x2 averages is the average over their common area. So sizes that double (4, 8,
    ..., 1024) share one pass over the image, to the largest of their kind that it holds, in float32 and rounded only
    at the end. Within one grey level of averaging the image for each size, and several times faster.
    """
    image = _make_square(image, square)
    if resize == "bilinear":
        return {size: _resize_smoothly(image, (size, size), Image.Resampling.BILINEAR) for size in sizes}
    shorter = min(image.shape)
    largest = {size: _largest_doubling(size, shorter) for size in sizes if size <= shorter}
    squares = {}
    for top in sorted(set(largest.values())):
        squares |= _average_down(image, top, [size for size in largest if largest[size] == top])
    return {size: squares[size] if size in squares else _enlarge(image, size) for size in sizes}


def _maximum(bits: int) -> int:
    if bits not in (8, 16):
        raise ValueError(f"bits expects 8 or 16 a stored pixel, got {bits}")
    return 2**bits - 1


def _rounded(values: np.ndarray, maximum: int, divisor: int) -> np.ndarray:
    """values * maximum / divisor, rounded half up; whole numbers throughout, so it is the same everywhere."""
    return (2 * values.astype(np.int64) * maximum + divisor) // (2 * divisor)


def _cumulative_counts(pixels: np.ndarray, values: int) -> np.ndarray:
    """int64 [values]: how many pixels are at or below each value."""
    return np.cumsum(cv2.calcHist([pixels], [0], None, [values], [0, values]).ravel().astype(np.int64))


def _percentiles(
    pixels: np.ndarray, values: int, options: PreprocessOptions, otherwise: tuple[int, int]
) -> tuple[int, int]:
    """The values at the two percentiles, which occur in the picture; `otherwise` where they are equal."""
    cumulative = _cumulative_counts(pixels, values)
    wanted = np.array([options.stretch_black_percentile, options.stretch_white_percentile]) / 100 * cumulative[-1]
    black, white = np.searchsorted(cumulative, np.maximum(wanted, 1)).tolist()
    return (black, white) if black < white else otherwise


def _equalizing_table(pixels: np.ndarray, values: int, maximum: int) -> np.ndarray:
    """The share of pixels at or below each value; the lowest that occurs becomes 0, the highest the maximum."""
    cumulative = _cumulative_counts(pixels, values)
    lowest = cumulative[np.flatnonzero(cumulative)[0]]
    return _rounded(np.maximum(cumulative - lowest, 0), maximum, max(int(cumulative[-1] - lowest), 1))


def _make_square(image: np.ndarray, square: str) -> np.ndarray:
    height, width = image.shape
    shorter, longer = min(height, width), max(height, width)
    if square == "crop":
        top, left = (height - shorter) // 2, (width - shorter) // 2
        return image[top : top + shorter, left : left + shorter]
    if square == "pad":
        top, left = (longer - height) // 2, (longer - width) // 2
        borders = (top, longer - height - top, left, longer - width - left)
        return cv2.copyMakeBorder(image, *borders, cv2.BORDER_CONSTANT, value=0)
    return image


def _largest_doubling(size: int, limit: int) -> int:
    """The largest of size, 2 size, 4 size, ... up to the limit."""
    return size << ((limit // size).bit_length() - 1)


def _average_down(image: np.ndarray, top: int, sizes: Sequence[int]) -> dict[int, np.ndarray]:
    """Area averages of all sizes, which are `top` or `top` halved some times."""
    if image.shape == (top, top):
        if sizes == [top]:
            return {top: np.ascontiguousarray(image)}
        if image.dtype == np.uint8 and sizes == [top // 2]:
            # OpenCV sums 2x2 bytes as whole numbers and rounds half up, as below; 10 times faster.
            return {top // 2: cv2.resize(image, (top // 2, top // 2), interpolation=cv2.INTER_AREA)}
    averages = image.astype(np.float32)
    if image.shape != (top, top):
        averages = cv2.resize(averages, (top, top), interpolation=cv2.INTER_AREA)
    squares, side = {}, top
    while True:
        if side in sizes:
            squares[side] = np.floor(averages + np.float32(0.5)).astype(image.dtype)
        if len(squares) == len(set(sizes)):
            return squares
        side //= 2
        averages = cv2.resize(averages, (side, side), interpolation=cv2.INTER_AREA)


def _enlarge(image: np.ndarray, size: int) -> np.ndarray:
    """Cubic where a side grows; the other side may shrink, and is averaged first."""
    height, width = image.shape
    shrunk = (min(width, size), min(height, size))
    if shrunk != (width, height):
        image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
    return _resize_smoothly(image, (size, size), Image.Resampling.BICUBIC)


def _resize_smoothly(image: np.ndarray, width_height: tuple[int, int], filter_: Image.Resampling) -> np.ndarray:
    """Pillow's resampling: whole numbers for 8 bits; floats, rounded at the end, for 16."""
    if image.dtype == np.uint8:
        return np.array(Image.fromarray(image).resize(width_height, filter_))
    resized = np.asarray(Image.fromarray(image.astype(np.float32)).resize(width_height, filter_))
    return np.floor(np.clip(resized, 0, 65535) + np.float32(0.5)).astype(np.uint16)
