"""How close images come to references of the same content: peak signal-to-noise ratio and structural similarity.

Both are computed for each image; `mean_with_interval` sums them up. They reward blur where detail is uncertain
(Ledig et al. 2017, section 3.5), so look at the pictures too.
"""

import dataclasses

import cv2
import numpy as np

WINDOW_SIZE = 11  # pixels, with WINDOW_DEVIATION: the Gaussian window of Wang et al. 2004
WINDOW_DEVIATION = 1.5
LUMINANCE_CONSTANT, CONTRAST_CONSTANT = 0.01, 0.03  # K1 and K2 of Wang et al. 2004


@dataclasses.dataclass(frozen=True)
class MeanFidelity:
    """Mean over images, with the 95 % interval of a bootstrap that draws images."""

    mean: float
    low: float
    high: float


def psnr(images: np.ndarray, references: np.ndarray, data_range: float = 255.0) -> np.ndarray:
    """Peak signal-to-noise ratio of each image in decibels, float64 [images]; infinite where an image is equal.

    Args:
      images, references: [images, height, width, channels] of any real dtype.
      data_range: largest value minus smallest that a pixel can have.

    Raises:
      ValueError: shapes differ or are no images, or data_range is not positive.
    """
    _check(images, references, data_range, smallest=1)
    errors = np.square(images.astype(np.float64) - references).reshape(len(images), -1).mean(axis=1)
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(data_range**2 / errors)


def ssim(images: np.ndarray, references: np.ndarray, data_range: float = 255.0) -> np.ndarray:
    """Structural similarity of each image (Wang, Bovik, Sheikh, Simoncelli 2004, equation 13), float64 [images].

    Local means and variances are weighted by a Gaussian window of 11 pixels with deviation 1.5; only windows that lie
    inside the image count, and channels are averaged. Equal to scikit-image with `gaussian_weights=True,
    use_sample_covariance=False`.

    Args:
      images, references: [images, height, width, channels] of any real dtype.
      data_range: largest value minus smallest that a pixel can have.

    Returns:
      values up to 1, which equal images have.

    Raises:
      ValueError: shapes differ, are no images or are smaller than the window, or data_range is not positive.
    """
    _check(images, references, data_range, smallest=WINDOW_SIZE)
    pairs = zip(images.astype(np.float64), references.astype(np.float64), strict=True)
    return np.array([_ssim_of_one(image, reference, data_range) for image, reference in pairs])


def mean_with_interval(values: np.ndarray, resamples: int = 1000, seed: int = 0) -> MeanFidelity:
    """Mean of float [images] with a 95 % bootstrap interval.

    Raises:
      ValueError: no values.
    """
    if values.ndim != 1 or not len(values):
        raise ValueError(f"expected one value for each image, at least one, got shape {values.shape}")
    count = len(values)
    draws = np.random.default_rng(seed).integers(count, size=[resamples, count])
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return MeanFidelity(float(values.mean()), float(low), float(high))


def _ssim_of_one(image: np.ndarray, reference: np.ndarray, data_range: float) -> float:
    margin = WINDOW_SIZE // 2

    def local_mean(values: np.ndarray) -> np.ndarray:
        blurred = cv2.GaussianBlur(values, (WINDOW_SIZE, WINDOW_SIZE), WINDOW_DEVIATION)
        return blurred[margin:-margin, margin:-margin]

    c1, c2 = (LUMINANCE_CONSTANT * data_range) ** 2, (CONTRAST_CONSTANT * data_range) ** 2
    mean, reference_mean = local_mean(image), local_mean(reference)
    variance = local_mean(image**2) - mean**2
    reference_variance = local_mean(reference**2) - reference_mean**2
    covariance = local_mean(image * reference) - mean * reference_mean
    similarity = (2 * mean * reference_mean + c1) * (2 * covariance + c2)
    similarity /= (mean**2 + reference_mean**2 + c1) * (variance + reference_variance + c2)
    return float(similarity.mean())


def _check(images: np.ndarray, references: np.ndarray, data_range: float, smallest: int) -> None:
    if images.shape != references.shape or images.ndim != 4:
        raise ValueError(
            f"expected images and references of one shape [N, H, W, C], got {images.shape} and {references.shape}"
        )
    if min(images.shape[1:3]) < smallest:
        raise ValueError(f"images must have at least {smallest} pixels to each side, got {images.shape[1:3]}")
    if not data_range > 0:
        raise ValueError(f"data_range must be positive, got {data_range}")
