"""Structural similarity of many pairs at once, at one scale (Wang et al. 2004) or several (Wang et al. 2003).

    measure = SimilarityMeasure(data_range=255, scales=3)
    first, second = measure.prepare(first_images), measure.prepare(second_images)
    values = measure.compare(first, second)                                         # row with row
    values = measure.compare([level.rows(slice(0, 1)) for level in first], second)  # the first row with each

What depends on one image alone is prepared once, so that comparing it with many costs one filter per pair.
"""

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np

from tfcxr.data.stored_images import StoredImages

WINDOW_SIZE, WINDOW_DEVIATION = 11, 1.5  # pixels, of the Gaussian
LUMINANCE_CONSTANT, CONTRAST_CONSTANT = 0.01, 0.03  # K1 and K2 of Wang et al. 2004
CHUNK_PIXELS = 1 << 16  # float64 that stay in a core's cache; larger chunks were slower
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli, Bovik 2003, section 3.2


@dataclasses.dataclass(frozen=True)
class Moments:
    """Images at one scale, and the moments of their windows.

    Attributes:
      values: float64 [images, channels, height, width].
      mean: float64, of each window that lies inside the image.
      variance: float64, of each window that lies inside the image.
    """

    values: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    def rows(self, chosen: slice | np.ndarray) -> "Moments":
        """Some of the images."""
        return Moments(self.values[chosen], self.mean[chosen], self.variance[chosen])


@dataclasses.dataclass(frozen=True)
class SimilarityMeasure:
    """How two images are compared.

    Attributes:
      data_range: largest value minus smallest that a pixel can have: 255 of uint8, 2 of [-1, 1].
      scales: 1 is SSIM. 2 to 5 is multi-scale SSIM, each scale half the size of the one before (2x2 averages); fewer
        than five use the first weights of Wang et al. 2003, made to sum 1. Structures that are opposite on average
        count 0 there, as a negative number has no root.

    Raises:
      ValueError: data_range is not positive, or scales outside 1 to 5.
    """

    data_range: float
    scales: int = 1

    def __post_init__(self) -> None:
        if not self.data_range > 0:
            raise ValueError(f"data_range must be positive, got {self.data_range}")
        if not 1 <= self.scales <= len(SCALE_WEIGHTS):
            raise ValueError(f"scales must be from 1 to {len(SCALE_WEIGHTS)}, got {self.scales}")

    @property
    def smallest_image(self) -> int:
        """Pixels to each side that an image needs, so that its last scale holds a window: 176 with 5 scales."""
        return WINDOW_SIZE << (self.scales - 1)

    @property
    def weights(self) -> tuple[float, ...]:
        """Of each scale, the finest first; they sum to 1."""
        used = SCALE_WEIGHTS[: self.scales]
        return tuple(weight / sum(used) for weight in used)

    def check_size(self, height: int, width: int) -> None:
        """Refuses images that are smaller than `smallest_image` (ValueError)."""
        if min(height, width) < self.smallest_image:
            wanted = "" if self.scales == 1 else f" for {self.scales} scales; ask for fewer scales"
            raise ValueError(
                f"images must have at least {self.smallest_image} pixels to each side, got {(height, width)}{wanted}"
            )

    def prepare(self, images: np.ndarray) -> list[Moments]:
        """What `compare` needs of [images, height, width, channels] of any real dtype, for each scale.

        Raises:
          ValueError: images that are too small.
        """
        self.check_size(*images.shape[1:3])
        values = np.moveaxis(images, 3, 1).astype(np.float64)
        levels = []
        for scale in range(self.scales):
            if scale:
                values = _halve(values)
            mean = self._local_mean(values)
            levels.append(Moments(values, mean, self._local_mean(values**2) - mean**2))
        return levels

    def compare(self, first: Sequence[Moments], second: Sequence[Moments]) -> np.ndarray:
        """Similarity of each row with the same row, or of one row with all: float64 [pairs], 1 for equal images.

        Equation 13 of Wang et al. 2004, equation 7 of Wang et al. 2003: the mean over windows; channels are averaged.
        """
        c1, c2 = ((constant * self.data_range) ** 2 for constant in (LUMINANCE_CONSTANT, CONTRAST_CONSTANT))
        similarity = 1.0
        for scale, (one, other) in enumerate(zip(first, second, strict=True), start=1):
            products = one.mean * other.mean
            windows = self._local_mean(one.values * other.values)
            windows -= products
            windows *= 2
            windows += c2
            divisor = one.variance + other.variance
            divisor += c2
            windows /= divisor
            if scale == self.scales:  # luminance counts at the last scale only
                products *= 2
                products += c1
                windows *= products
                np.add(one.mean**2, other.mean**2, out=divisor)
                divisor += c1
                windows /= divisor
            of_scale = windows.mean(axis=(2, 3))  # [pairs, channels]
            similarity *= of_scale if self.scales == 1 else np.maximum(of_scale, 0.0) ** self.weights[scale - 1]
        return np.mean(similarity, axis=1)

    def chunk_images(self, image_shape: Sequence[int]) -> int:
        """How many images [height, width, channels] are best compared at a time."""
        return max(1, CHUNK_PIXELS // math.prod(image_shape))

    def of_rows(
        self,
        first: np.ndarray | StoredImages,
        second: np.ndarray | StoredImages,
        first_rows: np.ndarray | None = None,
        second_rows: np.ndarray | None = None,
    ) -> np.ndarray:
        """Similarity of pairs of rows of [images, height, width, channels], a chunk at a time: float64 [pairs].

        `first_rows` and `second_rows` are int [pairs], all in order where left out.

        Raises:
          ValueError: images that are too small.
        """
        self.check_size(*first.shape[1:3])
        sides = [
            (images, np.arange(len(images)) if rows is None else rows)
            for images, rows in ((first, first_rows), (second, second_rows))
        ]
        size = self.chunk_images(first.shape[1:])
        values = [
            self.compare(*(self.prepare(images[rows[start : start + size]]) for images, rows in sides))
            for start in range(0, len(sides[0][1]), size)
        ]
        return np.concatenate([np.zeros(0), *values])

    def _local_mean(self, values: np.ndarray) -> np.ndarray:
        """Window means inside the images, [images, channels, height - window + 1, width - window + 1].

        All images are filtered as one tall picture; windows that see two of them are cut off with the borders.
        """
        margin = WINDOW_SIZE // 2
        tall = np.ascontiguousarray(values).reshape(-1, values.shape[-1])
        tall = cv2.GaussianBlur(tall, (WINDOW_SIZE, WINDOW_SIZE), WINDOW_DEVIATION)
        return tall.reshape(values.shape)[..., margin:-margin, margin:-margin]


def _halve(values: np.ndarray) -> np.ndarray:
    """2x2 averages of [..., height, width]; an odd last row or column is repeated."""
    padding = [(0, 0), (0, 0), *((0, size % 2) for size in values.shape[2:])]
    values = np.pad(values, padding, mode="edge")
    rows = values[..., 0::2, :] + values[..., 1::2, :]
    return (rows[..., 0::2] + rows[..., 1::2]) / 4
