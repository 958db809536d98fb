"""How much images of one class differ: mean pairwise multi-scale SSIM (Odena, Olah, Shlens 2017, section 4.2).

1 says that all images are the same; frontal radiographs of children lie between .5 and .65 at 64 px. Synthetic-train/
real-test scores do not see a generator that has collapsed to one picture a class; this does.
"""

import dataclasses

import numpy as np

from tfcxr.data.stored_images import StoredImages
from tfcxr.metrics.structural_similarity import SCALE_WEIGHTS, WINDOW_SIZES, SimilarityMeasure

FILTER_SIZE = WINDOW_SIZES["gaussian"]  # pixels; the smallest scale must hold one window


@dataclasses.dataclass(frozen=True)
class PairwiseSimilarity:
    """Mean multi-scale SSIM over `pairs` random pairs, with a 95 % interval by resampling images, and its scales."""

    mean: float
    low: float
    high: float
    pairs: int
    scales: int


def mean_pairwise_ms_ssim(
    images: np.ndarray | StoredImages, pairs: int = 1000, seed: int = 0, resamples: int = 1000
) -> PairwiseSimilarity:
    """Mean multi-scale SSIM of random pairs of different images.

    Args:
      images: uint8 [images, size, size, channels], all of one class; a few pairs are in memory at a time.
      pairs: how many; each joins two different images, and images recur as seldom as possible.
      seed: of the pairing and the interval. resamples: of the bootstrap, which draws images, not pairs, because
        pairs that share an image are not independent.

    Returns:
      the mean; as many of the five scales are used as the size allows, their weights scaled to sum 1.

    Raises:
      ValueError: fewer than two images, not uint8, or smaller than one window of 11 pixels.
    """
    if len(images) < 2 or images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(f"expected at least two uint8 images [N, H, W, C], got {images.dtype} {images.shape}")
    measure = SimilarityMeasure(255.0, scales=scales_of(min(images.shape[1:3])))
    first, second = random_pairs(len(images), pairs, seed)
    values = measure.of_rows(images, images, first, second)
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(len(images), np.full(len(images), 1 / len(images)), size=resamples)
    pair_weights = counts[:, first] * counts[:, second]
    pair_weights = pair_weights[pair_weights.sum(axis=1) > 0]  # a resample without any of the pairs has no mean
    low, high = values.mean(), values.mean()
    if len(pair_weights):
        low, high = np.percentile(pair_weights @ values / pair_weights.sum(axis=1), [2.5, 97.5])
    return PairwiseSimilarity(float(values.mean()), float(low), float(high), pairs, measure.scales)


def pixel_deviation(images: np.ndarray) -> float:
    """Standard deviation of a pixel across images, averaged over pixels, as a part of the full range (0 to .5).

    Args:
      images: uint8 [images, size, size, channels].
    """
    return float(np.std(images.astype(np.float32) / 255.0, axis=0).mean())


def random_pairs(images: int, pairs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of `pairs` random pairs of different images, int [pairs] each.

    Neighbours in fresh random orders, so that each image occurs about equally often.
    """
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(images) for _ in range(-(-pairs // images))]
    first = np.concatenate(orders)[:pairs]
    second = np.concatenate([np.roll(order, 1) for order in orders])[:pairs]
    return first, second


def scales_of(size: int) -> int:
    """Scales that images of `size` pixels to each side have, at most five.

    Raises:
      ValueError: images smaller than one window.
    """
    if size < FILTER_SIZE:
        raise ValueError(f"multi-scale SSIM needs images of at least {FILTER_SIZE} pixels, got {size}")
    return min(len(SCALE_WEIGHTS), int(np.log2(size / FILTER_SIZE)) + 1)
