"""Grey array -> local contrast (CLAHE) -> square, each step explicit and recorded in `dataset_info.json`."""

import dataclasses
from typing import Any

import cv2
import numpy as np

from tfcxr.command_line import nearest_name
from tfrecords_builder.image_io import range_maximum

SQUARE_POLICIES = ("squash", "crop", "pad")


@dataclasses.dataclass(frozen=True)
class PreprocessOptions:
    """The steps between a decoded radiograph and its record.

    Attributes:
      clahe: contrast-limited adaptive histogram equalisation (Zuiderveld 1994), on the image before it is resized.
      clahe_clip_limit: how steep a tile's histogram may get, in multiples of the uniform one.
      clahe_tiles: tiles along each side of the image.
      square: "squash" resizes both sides to the size and so changes the aspect ratio, "crop" takes the centred
        square of the shorter side, "pad" adds black on both sides of the shorter one.
    """

    clahe: bool = False
    clahe_clip_limit: float = 2.0
    clahe_tiles: int = 8
    square: str = "squash"

    def __post_init__(self) -> None:
        if self.square not in SQUARE_POLICIES:
            raise ValueError(f"unknown square policy {self.square!r}; {nearest_name(self.square, SQUARE_POLICIES)}")
        if not self.clahe_clip_limit > 0:
            raise ValueError(f"clahe_clip_limit expects a number above 0, got {self.clahe_clip_limit}")
        if not 1 <= self.clahe_tiles <= 64:
            raise ValueError(f"clahe_tiles expects 1 to 64 tiles a side, got {self.clahe_tiles}")

    def description(self) -> dict[str, Any]:
        """Every argument of the steps, for `dataset_info.json`."""
        clahe = {"clip_limit": self.clahe_clip_limit, "tiles": self.clahe_tiles} if self.clahe else None
        return {
            "colour": "luma .2989 R + .5870 G + .1140 B",
            "to_8_bits": "value * 255 / (2**bits - 1), bits the smallest of 8, 10, 12, 14, 16 that holds the maximum",
            "clahe": clahe,
            "square": self.square,
            "resize": "area averaging down, cubic up",
        }


def preprocess(image: np.ndarray, size: int, options: PreprocessOptions) -> np.ndarray:
    """All steps for one size.

    Args:
      image: uint8 or uint16 [height, width], grey.

    Returns:
      uint8 [size, size].
    """
    return to_square(enhance(image, options), size, options.square)


def enhance(image: np.ndarray, options: PreprocessOptions) -> np.ndarray:
    """The steps that do not depend on the size: 8 bits, then CLAHE. Returns uint8 [height, width]."""
    image = to_8_bits(image)
    if options.clahe:
        tiles = (options.clahe_tiles, options.clahe_tiles)
        image = cv2.createCLAHE(options.clahe_clip_limit, tiles).apply(image)
    return image


def to_8_bits(image: np.ndarray) -> np.ndarray:
    """uint16 -> uint8 by the true range of the image (see `image_io.range_maximum`); uint8 stays as it is."""
    if image.dtype == np.uint8:
        return image
    return np.rint(image * (255.0 / range_maximum(image))).astype(np.uint8)


def to_square(image: np.ndarray, size: int, square: str) -> np.ndarray:
    """Makes the image square by the policy, then resizes it without aliasing.

    Args:
      image: uint8 [height, width].

    Returns:
      uint8 [size, size].
    """
    height, width = image.shape
    shorter, longer = min(height, width), max(height, width)
    if square == "crop":
        top, left = (height - shorter) // 2, (width - shorter) // 2
        image = image[top : top + shorter, left : left + shorter]
    elif square == "pad":
        top, left = (longer - height) // 2, (longer - width) // 2
        borders = (top, longer - height - top, left, longer - width - left)
        image = cv2.copyMakeBorder(image, *borders, cv2.BORDER_CONSTANT, value=0)
    return _resize(image, size)


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    height, width = image.shape
    if (height, width) == (size, size):
        return np.ascontiguousarray(image)
    # OpenCV's area averaging is only that when it shrinks, so a side that grows is handled on its own.
    shrunk = (min(width, size), min(height, size))
    if shrunk != (width, height):
        image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
    if shrunk != (size, size):
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)
    return image
