"""How much images of one class differ: mean pairwise multi-scale SSIM (Odena, Olah, Shlens 2017, section 4.2).

1 says that all images are the same; frontal radiographs of children lie between .5 and .65 at 64 px. Synthetic-train/
real-test scores do not see a generator that has collapsed to one picture a class; this does.
"""

import dataclasses

import numpy as np
import tensorflow as tf

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli, Bovik 2003
FILTER_SIZE = 11  # pixels; the smallest scale must hold one window
CHUNK_PAIRS = 256


@dataclasses.dataclass(frozen=True)
class PairwiseSimilarity:
    """Mean multi-scale SSIM over `pairs` random pairs, with a 95 % interval by resampling images, and its scales."""

    mean: float
    low: float
    high: float
    pairs: int
    scales: int


def mean_pairwise_ms_ssim(
    images: np.ndarray, pairs: int = 1000, seed: int = 0, resamples: int = 1000
) -> PairwiseSimilarity:
    """Mean multi-scale SSIM of random pairs of different images.

    Args:
      images: uint8 [images, size, size, channels], all of one class.
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
    weights = _scale_weights(min(images.shape[1:3]))
    first, second = _pairing(len(images), pairs, seed)
    values = np.concatenate(
        [
            _ms_ssim(
                tf.constant(images[first[start : start + CHUNK_PAIRS]]),
                tf.constant(images[second[start : start + CHUNK_PAIRS]]),
                weights,
            ).numpy()
            for start in range(0, pairs, CHUNK_PAIRS)
        ]
    )
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(len(images), np.full(len(images), 1 / len(images)), size=resamples)
    pair_weights = counts[:, first] * counts[:, second]
    totals = np.maximum(pair_weights.sum(axis=1), 1)
    low, high = np.percentile(pair_weights @ values / totals, [2.5, 97.5])
    return PairwiseSimilarity(float(values.mean()), float(low), float(high), pairs, len(weights))


def pixel_deviation(images: np.ndarray) -> float:
    """Standard deviation of a pixel across images, averaged over pixels, as a part of the full range (0 to .5).

    Args:
      images: uint8 [images, size, size, channels].
    """
    return float(np.std(images.astype(np.float32) / 255.0, axis=0).mean())


def _scale_weights(size: int) -> tuple[float, ...]:
    if size < FILTER_SIZE:
        raise ValueError(f"multi-scale SSIM needs images of at least {FILTER_SIZE} pixels, got {size}")
    scales = max(1, min(len(SCALE_WEIGHTS), int(np.log2(size / FILTER_SIZE)) + 1))
    total = sum(SCALE_WEIGHTS[:scales])
    return tuple(weight / total for weight in SCALE_WEIGHTS[:scales])


def _pairing(images: int, pairs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours in fresh random orders, so that each image occurs about equally often."""
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(images) for _ in range(-(-pairs // images))]
    first = np.concatenate(orders)[:pairs]
    second = np.concatenate([np.roll(order, 1) for order in orders])[:pairs]
    return first, second


@tf.function(reduce_retracing=True)
def _ms_ssim(first: tf.Tensor, second: tf.Tensor, weights: tuple[float, ...]) -> tf.Tensor:
    return tf.image.ssim_multiscale(first, second, 255, weights, FILTER_SIZE)
