"""Diversity by a classifier's features: the mean distance between the features of two images of one class."""

import numpy as np

from tfcxr.evaluation.metrics.metric import ClassDiversity, Estimate


def mean_pairwise_feature_distance(
    features: np.ndarray, resamples: int = 200, seed: int = 0, level: float = 0.95
) -> Estimate:
    """Mean Euclidean distance over all pairs of different images.

    A generator that has collapsed to one picture scores near 0. The interval resamples images; the two copies of
    an image that is drawn twice are no pair, since their distance of 0 would lower every resample.

    Raises:
      ValueError: fewer than two images, or an array of another shape than [images, features].
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"expected features [images, features] of two images or more, got shape {features.shape}")
    features = features.astype(np.float64) - features.mean(0, dtype=np.float64)  # centred: less cancellation below
    squared_norms = (features**2).sum(1)
    squared = squared_norms[:, None] + squared_norms - 2 * features @ features.T
    distances = np.sqrt(np.maximum(squared, 0.0))
    np.fill_diagonal(distances, 0.0)
    count = len(features)
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples).astype(np.float64)
    pairs = draws.sum(1) ** 2 - (draws**2).sum(1)
    means = ((draws @ distances) * draws).sum(1)[pairs > 0] / pairs[pairs > 0]
    low, high = np.percentile(means, [50 * (1 - level), 50 * (1 + level)])
    return Estimate(float(distances.sum() / (count * (count - 1))), float(low), float(high))


FEATURE_DISTANCE = ClassDiversity(
    name="feature_distance",
    title="feature distance",
    better="real",
    reads="features",
    measure=lambda features, pairs, seed: mean_pairwise_feature_distance(features, seed=seed),
    spread=lambda distance: distance,
    spread_title="ratio",
    meaning="How far apart the features of two images of one class are, on average: 0 for copies; best where real "
    "images have it, as below that the images repeat themselves.",
    note="Feature distances are between features of the last hidden layer of the classifiers trained on real images. "
    "The column of real test images shows by how much they differ between real images that the classifier was trained "
    "on and others.",
)
