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
IMAGES_AT_ONCE = 64


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
    sizes = [first.shape[1]]
    while sizes[-1] // 2 >= SMALLEST_LEVEL:
        sizes.append((sizes[-1] + 1) // 2)
    corners, directions = [], []
    for size in sizes:
        corners.append(generator.integers(0, size - PATCH_SIZE + 1, (2, len(first), PATCHES_PER_IMAGE)))
        drawn = generator.normal(size=(PATCH_SIZE**2, DIRECTIONS)).astype(np.float32)
        directions.append(drawn / np.linalg.norm(drawn, axis=0))
    patches = [_patches(images, corners) for images in (first, second)]
    distances = [
        np.abs(np.subtract(*(np.sort(_normalised(side[level]) @ directions[level], axis=0) for side in patches))).mean()
        for level in range(len(sizes))
    ]
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


def _patches(images: np.ndarray, corners: list[np.ndarray]) -> list[np.ndarray]:
    """float32 [images * patches, pixels] of each level; the pyramids of a few images are in memory at a time."""
    chunks = []
    for start in range(0, len(images), IMAGES_AT_ONCE):
        levels, chosen = _laplacian_pyramid(images[start : start + IMAGES_AT_ONCE]), []
        for level, (rows, columns) in zip(levels, corners, strict=True):
            windows = np.lib.stride_tricks.sliding_window_view(level, (PATCH_SIZE, PATCH_SIZE), axis=(1, 2))
            here = slice(start, start + len(level))
            chosen.append(windows[np.arange(len(level))[:, None], rows[here], columns[here]].reshape(-1, PATCH_SIZE**2))
        chunks.append(chosen)
    return [np.concatenate(of_level) for of_level in zip(*chunks, strict=True)]


def _normalised(patches: np.ndarray) -> np.ndarray:
    """A set of patches with mean 0 and deviation 1, as published."""
    return (patches - patches.mean()) / (patches.std() + 1e-8)


SLICED_WASSERSTEIN = ImageDistance(
    name="sliced_wasserstein",
    title="sliced Wasserstein",
    better="lower",
    distance=sliced_wasserstein_distance,
    format=".1f",
    settings={"patch_size": PATCH_SIZE, "patches_per_image": PATCHES_PER_IMAGE, "directions": DIRECTIONS},
    meaning="How far patches of generated images are from patches of real ones, from coarse shapes to fine texture: 0 "
    "for equal sets; lower is better, down to what two sets of real images have.",
)
