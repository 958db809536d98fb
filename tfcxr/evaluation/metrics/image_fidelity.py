"""How close images come to references of the same content: peak signal-to-noise ratio and structural similarity.

Both reward blur where detail is uncertain (Ledig et al. 2017, section 3.5), so look at the pictures too.
"""

import numpy as np

from tfcxr.evaluation.metrics.metric import PairedImages
from tfcxr.evaluation.metrics.structural_similarity import SimilarityMeasure


def psnr(images: np.ndarray, references: np.ndarray, data_range: float = 255.0) -> np.ndarray:
    """Peak signal-to-noise ratio of each image in decibels, float64 [images]; infinite where an image is equal.

    Both are [images, height, width, channels] of any real dtype; `data_range` is the largest value minus the smallest
    that a pixel can have.

    Raises:
      ValueError: shapes differ or are no images, or data_range is not positive.
    """
    _check(images, references, data_range)
    errors = np.square(images.astype(np.float64) - references).reshape(len(images), -1).mean(axis=1)
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(data_range**2 / errors)


def ssim(images: np.ndarray, references: np.ndarray, data_range: float = 255.0) -> np.ndarray:
    """Structural similarity of each image (Wang, Bovik, Sheikh, Simoncelli 2004, equation 13), float64 [images].

    Local means and variances are weighted by a Gaussian window of 11 pixels with deviation 1.5; only windows that lie
    inside the image count, and channels are averaged. Equal to scikit-image with `gaussian_weights=True,
    use_sample_covariance=False`.

    Arguments as of `psnr`; values up to 1, which equal images have.

    Raises:
      ValueError: shapes differ, are no images or are smaller than the window, or data_range is not positive.
    """
    _check(images, references, data_range)
    return SimilarityMeasure(data_range).of_rows(images, references)


def _check(images: np.ndarray, references: np.ndarray, data_range: float) -> None:
    if images.shape != references.shape or images.ndim != 4:
        raise ValueError(
            f"expected images and references of one shape [N, H, W, C], got {images.shape} and {references.shape}"
        )
    if not data_range > 0:
        raise ValueError(f"data_range must be positive, got {data_range}")


PSNR = PairedImages(
    name="psnr",
    title="PSNR",
    better="higher",
    score=psnr,
    largest=100.0,
    format=".2f",
    meaning="How close an image comes to its reference, in decibels, of which 6 more halve the error of the pixels; "
    "higher is better.",
)
SSIM = PairedImages(
    name="ssim",
    title="SSIM",
    better="higher",
    score=ssim,
    meaning="How alike an image and its reference are in local brightness, contrast and structure: 1 for equal images; "
    "higher is better.",
)
