"""How much images of one class differ: mean pairwise multi-scale SSIM (Odena, Olah, Shlens 2017, section 4.2).

1 says that all images are the same; frontal radiographs of children lie between .5 and .65 at 64 px. The scores of a
classifier trained on synthetic images do not see a generator that has collapsed to one picture per class; this does.
"""

import numpy as np

from tfcxr.data.stored_images import StoredImages
from tfcxr.evaluation.metrics.metric import ClassDiversity, Estimate
from tfcxr.evaluation.metrics.structural_similarity import SCALE_WEIGHTS, WINDOW_SIZE, SimilarityMeasure


def mean_pairwise_ms_ssim(
    images: np.ndarray | StoredImages, pairs: int = 1000, seed: int = 0, resamples: int = 1000
) -> Estimate:
    """Mean multi-scale SSIM of random pairs of different images.

    Args:
      images: uint8 [images, size, size, channels], all of one class; a few pairs are in memory at a time.
      pairs: how many; each joins two different images, and images recur as seldom as possible.
      seed: of the pairing and the interval.
      resamples: of the bootstrap, which draws images, not pairs, because pairs that share an image are not independent.

    Returns:
      the mean with its interval; as many of the five scales are used as the size allows, their weights scaled to sum 1.

    Raises:
      ValueError: fewer than two images, not uint8, or smaller than one window of 11 pixels.
    """
    if len(images) < 2 or images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(f"expected at least two uint8 images [N, H, W, C], got {images.dtype} {images.shape}")
    measure = SimilarityMeasure(255.0, scales=scales_of(min(images.shape[1:3])))
    first, second = _random_pairs(len(images), pairs, seed)
    values = measure.of_rows(images, images, first, second)
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(len(images), np.full(len(images), 1 / len(images)), size=resamples)
    pair_weights = counts[:, first] * counts[:, second]
    pair_weights = pair_weights[pair_weights.sum(axis=1) > 0]  # a resample without any of the pairs has no mean
    low, high = values.mean(), values.mean()
    if len(pair_weights):
        low, high = np.percentile(pair_weights @ values / pair_weights.sum(axis=1), [2.5, 97.5])
    return Estimate(float(values.mean()), float(low), float(high))


def scales_of(size: int) -> int:
    """How many scales images of `size` pixels to each side have, at most five.

    Raises:
      ValueError: images smaller than one window.
    """
    if size < WINDOW_SIZE:
        raise ValueError(f"multi-scale SSIM needs images of at least {WINDOW_SIZE} pixels, got {size}")
    return min(len(SCALE_WEIGHTS), int(np.log2(size / WINDOW_SIZE)) + 1)


def _random_pairs(images: int, pairs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of `pairs` random pairs of different images, int [pairs] each.

    Neighbours in fresh random orders, so that each image occurs about equally often.
    """
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(images) for _ in range(-(-pairs // images))]
    first = np.concatenate(orders)[:pairs]
    second = np.concatenate([np.roll(order, 1) for order in orders])[:pairs]
    return first, second


def _weights_at(size: int) -> str:
    """In words, such as "at 64 px .071, .453 and .476"."""
    *weights, last = (f"{weight:.3f}"[1:] for weight in SimilarityMeasure(255.0, scales_of(size)).weights)
    return f"at {size} px {', '.join(weights)} and {last}"


MS_SSIM = ClassDiversity(
    name="ms_ssim",
    title="MS-SSIM",
    better="real",
    reads="images",
    measure=mean_pairwise_ms_ssim,
    spread=lambda similarity: 1 - similarity,
    spread_title="ratio of 1 - MS-SSIM",
    least_spread=1e-6,  # 1 - MS-SSIM of equal images is 0 but for rounding
    meaning="How alike two images of one class are, on average over random pairs: 1 for copies; best where real images "
    "have it, as above that the images repeat themselves.",
    note="Multi-scale SSIM has as many of the five published scales as the image size allows, with weights that sum to "
    f"1, the finest first: {_weights_at(64)}; {_weights_at(128)}; {_weights_at(256)}. So compare it at one size only.",
)
