import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tfcxr.evaluation.metrics.image_fidelity import psnr, ssim


def noisy_pair(channels, dtype=np.uint8, count=3):
    generator = np.random.default_rng(0)
    reference = np.cumsum(generator.normal(0, 9, (count, 24, 37, channels)), axis=2) + 128
    noise = generator.normal(0, 1, reference.shape) * np.array([2, 10, 30])[:count, None, None, None]
    return (np.clip(values, 0, 255).astype(dtype) for values in (reference + noise, reference))


@pytest.mark.parametrize("channels", [1, 3])
def test_equals_scikit_image(channels):
    images, references = noisy_pair(channels)
    for ours, image, reference in zip(psnr(images, references), images, references, strict=True):
        assert ours == pytest.approx(peak_signal_noise_ratio(reference, image), rel=1e-12)
    for ours, image, reference in zip(ssim(images, references), images, references, strict=True):
        theirs = structural_similarity(
            reference,
            image,
            data_range=255,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert ours == pytest.approx(theirs, abs=1e-9)
    assert np.all(np.diff(ssim(images, references)) < 0), "more noise, less similar"


def test_by_hand():
    black, grey = np.zeros([1, 12, 12, 1], np.uint8), np.full([1, 12, 12, 1], 51, np.uint8)
    assert psnr(grey, black)[0] == pytest.approx(20 * np.log10(5))  # off by a fifth of the range
    c1 = 2.55**2  # of two constant images only the comparison of luminance is left
    assert ssim(grey, black)[0] == pytest.approx(c1 / (51**2 + c1))
    assert psnr(grey, grey)[0] == np.inf
    assert ssim(grey, grey)[0] == 1


def test_range_is_that_of_the_data():
    images, references = noisy_pair(1, np.float64)
    unit = [values / 127.5 - 1 for values in (images, references)]
    np.testing.assert_allclose(psnr(*unit, data_range=2.0), psnr(images, references))


def test_errors_say_what_was_expected():
    image = np.zeros([1, 12, 12, 1])
    for metric in (psnr, ssim):
        with pytest.raises(ValueError, match=r"of one shape \[N, H, W, C\], got \(1, 12, 12, 1\) and \(1, 12, 12, 3\)"):
            metric(image, np.zeros([1, 12, 12, 3]))
        with pytest.raises(ValueError, match="expected images and references of one shape"):
            metric(image[0], image[0])
        with pytest.raises(ValueError, match="data_range must be positive, got 0"):
            metric(image, image, data_range=0)
    with pytest.raises(ValueError, match=r"must have at least 11 pixels to each side, got \(10, 12\)"):
        ssim(image[:, :10], image[:, :10])
