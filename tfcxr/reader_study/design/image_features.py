"""Simple features of a picture, by which real and synthetic images could be told apart without looking at anatomy."""

import numpy as np
from scipy import ndimage

from tfcxr.reader_study.design.corner_marks import has_corner_mark

IMAGE_FEATURES = (
    "mean brightness",
    "standard deviation",
    "border brightness",
    "JPEG blocks",
    "sharpness",
    "corner marks",
)
BORDER_SHARE = 0.05
JPEG_BLOCK, MIN_PITCH, PHASES = 8, 4.0, 8


def image_features(pixels: np.ndarray, block_pitch: float = JPEG_BLOCK) -> tuple[float, ...]:
    """Simple features of uint8 [size, size], in the order of `IMAGE_FEATURES`, brightness on [0, 1]."""
    grey = pixels.astype(np.float64) / 255.0
    border = max(1, round(BORDER_SHARE * len(grey)))
    inside = np.zeros(grey.shape, bool)
    inside[border:-border, border:-border] = True
    sharpness = np.log(ndimage.laplace(grey).var() + 1e-12)
    blocks = 0.5 * (blockiness(grey, block_pitch) + blockiness(grey.T, block_pitch))
    return (grey.mean(), grey.std(), grey[~inside].mean(), blocks, sharpness, float(has_corner_mark(pixels)))


def blockiness(grey: np.ndarray, pitch: float = JPEG_BLOCK) -> float:
    """How much larger steps between columns are at the edges of JPEG blocks than elsewhere.

    The edge is taken to be where steps are largest, so blocks are found wherever they begin.

    Args:
      grey: [height, width].
      pitch: width of a block, pixels; it need not be whole, since pictures are resized.

    Returns:
      ratio of mean absolute second differences; near 1 without blocks, 1 where blocks are too small to see.
    """
    if pitch < MIN_PITCH:
        return 1.0
    second = np.abs(np.diff(np.diff(grey, axis=1), axis=1)).mean(0)
    phases = (np.arange(len(second)) % pitch / pitch * PHASES).astype(int)
    by_phase = np.bincount(phases, second, PHASES) / np.maximum(np.bincount(phases, minlength=PHASES), 1)
    edge = np.sort(by_phase)[-2:].mean()  # an edge between blocks is in two second differences
    return float((edge + 1e-6) / (np.median(by_phase) + 1e-6))
