"""Stored images -> the pictures that readers see, so that nothing but the image tells real from synthetic.

Real and synthetic images go through the same steps:

1. to [0, 1] by their bit depth, and on request each to its own window (its 0.5th and 99.5th percentile become black
   and white). Without the request brightness stays as it is: it is part of what a generator makes.
2. to 8 bits and once through JPEG at the stored size. Public radiographs have often been JPEG files. Their 8x8 blocks
   begin at the first pixel, and those of this step fall on top of them. At the quality that the files had, this changes
   them little and gives the other side the same blocks; a higher quality leaves the blocks of coarser files in sight.
3. the border is cut off, and corners are blackened, on request: burned-in letters ("L", "R", "PORTABLE") stand there.
4. one resize to the display size: area averaging where it shrinks, cubic where it enlarges.
5. PNG without compression. Smooth images compress better, so the length of a compressed file would give them away;
   these files all have one length. They hold pixels alone: no text, time, gamma or resolution.

Names are random, and every file has the same time.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable

import cv2
import numpy as np

from tfcxr.data.atomic import write_atomically
from tfcxr.data.records import file_sha256

WINDOW_PERCENTILES = (0.5, 99.5)
CORNER_SHARE = 0.12
FILE_TIME_SECONDS = 946_684_800  # 2000-01-01 UTC, for all files


@dataclasses.dataclass(frozen=True)
class PictureSettings:
    """How pictures are made.

    Attributes:
      display_size: width and height of a picture, pixels.
      jpeg_quality: of the JPEG step, 1 to 100.
      crop: share of the width that is cut off at each side, 0 to .25.
      masks_corners: whether squares of 12 % of the width are black in all four corners.
      windows_by_percentile: whether each image is mapped to its own window.
    """

    display_size: int = 260
    jpeg_quality: int = 90
    crop: float = 0.0
    masks_corners: bool = False
    windows_by_percentile: bool = False


def display_pixels(image: np.ndarray, settings: PictureSettings) -> np.ndarray:
    """What a reader sees of a stored image.

    Args:
      image: uint8 or uint16 [size, size].
      settings: of the study.

    Returns:
      uint8 [display_size, display_size].
    """
    grey = image.astype(np.float32) / np.iinfo(image.dtype).max
    cut = round(settings.crop * image.shape[0])
    inner = slice(cut, image.shape[0] - cut)
    if settings.windows_by_percentile:
        low, high = np.percentile(grey[inner, inner], WINDOW_PERCENTILES)
        grey = np.clip((grey - low) / max(high - low, 1e-6), 0.0, 1.0)
    pixels = np.round(grey * 255.0).astype(np.uint8)
    jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality])[1]
    pixels = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE), np.uint8)[inner, inner]
    size = settings.display_size
    if pixels.shape[0] != size:
        interpolation = cv2.INTER_AREA if pixels.shape[0] > size else cv2.INTER_CUBIC
        pixels = np.asarray(cv2.resize(pixels, (size, size), interpolation=interpolation), np.uint8)
    if settings.masks_corners:
        pixels = pixels.copy()
        corner = round(CORNER_SHARE * size)
        for rows in (slice(0, corner), slice(size - corner, size)):
            for columns in (slice(0, corner), slice(size - corner, size)):
                pixels[rows, columns] = 0
    return pixels


def png_file(pixels: np.ndarray) -> bytes:
    """A PNG file of uint8 [size, size] that is as long as that of any other picture of this size."""
    return cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].tobytes()


def write_pictures(
    folder: str | os.PathLike, names: Iterable[str], picture_of: Callable[[str], np.ndarray]
) -> dict[str, str]:
    """Writes pictures to `folder`, in the order of their names.

    Args:
      folder: is made where it does not exist.
      names: keys of the pictures.
      picture_of: key -> uint8 [display_size, display_size]; asked for one at a time.

    Returns:
      key -> SHA-256 of the file, hexadecimal.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    checksums: dict[str, str] = {}
    for name in sorted(names):  # the order in which files are created tells nothing either
        path = folder / f"{name}.png"
        write_atomically(path, png_file(picture_of(name)))
        os.utime(path, (FILE_TIME_SECONDS, FILE_TIME_SECONDS))
        checksums[name] = file_sha256(path)
    os.utime(folder, (FILE_TIME_SECONDS, FILE_TIME_SECONDS))
    return checksums
