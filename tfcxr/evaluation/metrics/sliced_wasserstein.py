"""Sliced Wasserstein distance between two sets of images (Karras et al. 2018, section 5), without any extractor.

Patches of 7x7 pixels are taken at each level of a Laplacian pyramid, projected on random directions, and the sorted
projections compared. It sees sharpness and texture, and is cheap enough to compute during training.
"""

import cv2
import numpy as np

from tfcxr.evaluation.metrics.metric import ImageDistance

PATCH_SIZE = 7
PATCHES_PER_IMAGE = 64
DIRECTIONS = 128
SMALLEST_LEVEL = 16  # pixels


def sliced_wasserstein_distance(first: np.ndarray, second: np.ndarray, seed: int = 0) -> float:
    """Mean distance over the pyramid's levels, times 1,000 as published; 0 for equal sets.

    Both sets are uint8 [images, size, size, 1] of one shape.

    Raises:
      ValueError: sets of different shape, or images under 16 pixels.
    """
    if first.shape != second.shape or first.ndim != 4 or first.shape[3] != 1:
        raise ValueError(f"expected two sets of grey images of one shape, got {first.shape} and {second.shape}")
    if first.shape[1] < SMALLEST_LEVEL:
        raise ValueError(f"expected images of at least {SMALLEST_LEVEL} pixels, got {first.shape[1]}")
    generator = np.random.default_rng(seed)
    distances = []
    for first_level, second_level in zip(_laplacian_pyramid(first), _laplacian_pyramid(second), strict=True):
        corners = generator.integers(0, first_level.shape[1] - PATCH_SIZE + 1, (2, len(first), PATCHES_PER_IMAGE))
        directions = generator.normal(size=(PATCH_SIZE**2, DIRECTIONS)).astype(np.float32)
        directions /= np.linalg.norm(directions, axis=0)
        projected = [np.sort(_patches(level, corners) @ directions, axis=0) for level in (first_level, second_level)]
        distances.append(np.abs(projected[0] - projected[1]).mean())
    return float(1000.0 * np.mean(distances))


def _laplacian_pyramid(images: np.ndarray) -> list[np.ndarray]:
    """float32 [images, size, size] per level, the finest first; the last level holds what is left after blurring."""
    level = images[..., 0].astype(np.float32) / 127.5 - 1.0
    levels = []
    while level.shape[1] // 2 >= SMALLEST_LEVEL:
        smaller = np.stack([cv2.pyrDown(image) for image in level])
        levels.append(level - np.stack([cv2.pyrUp(image, dstsize=level.shape[2:0:-1]) for image in smaller]))
        level = smaller
    return [*levels, level]


def _patches(level: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """float32 [images * patches, pixels], each set of patches normalised to mean 0 and deviation 1 as published."""
    windows = np.lib.stride_tricks.sliding_window_view(level, (PATCH_SIZE, PATCH_SIZE), axis=(1, 2))
    rows, columns = corners
    patches = windows[np.arange(len(level))[:, None], rows, columns].reshape(-1, PATCH_SIZE**2)
    return (patches - patches.mean()) / (patches.std() + 1e-8)


SLICED_WASSERSTEIN = ImageDistance(
    name="sliced_wasserstein",
    title="sliced Wasserstein",
    better="lower",
    distance=sliced_wasserstein_distance,
    format=".1f",
    meaning="How far patches of generated images are from patches of real ones, from coarse shapes to fine texture: 0 "
    "for equal sets; lower is better, down to what two sets of real images have.",
)
