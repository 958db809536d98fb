import numpy as np
import pytest
import tensorflow as tf

from tfcxr.evaluation.metrics.image_diversity import MS_SSIM, mean_pairwise_ms_ssim, scales_of
from tfcxr.evaluation.metrics.structural_similarity import SCALE_WEIGHTS


def noise_images(count, size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 1)).astype(np.uint8)


def test_one_picture_scores_one():
    images = np.repeat(noise_images(1, 64), 10, axis=0)
    similarity = mean_pairwise_ms_ssim(images, pairs=20)
    assert similarity.mean == pytest.approx(1.0, abs=1e-5)


def test_resamples_without_a_pair_do_not_widen_the_interval():
    """Of two images, half of the resamples draw one of them twice and hold no pair."""
    similarity = mean_pairwise_ms_ssim(noise_images(2, 64) // 4 + 90, pairs=4)
    assert 0 < similarity.low == pytest.approx(similarity.mean) == similarity.high


def test_noise_scores_near_zero_and_mixtures_between():
    noise = noise_images(20, 64)
    base = noise_images(1, 64, seed=1)
    mixed = (base // 2 + noise // 2).astype(np.uint8)
    scores = [mean_pairwise_ms_ssim(images, pairs=40).mean for images in (noise, mixed)]
    assert scores[0] < 0.1 < 0.3 < scores[1] < 0.9


def test_agrees_with_tensorflow_at_five_scales():
    images = noise_images(2, 176)
    images[1] = images[0] // 2 + images[1] // 2
    expected = tf.image.ssim_multiscale(images[:1], images[1:], 255, SCALE_WEIGHTS).numpy()[0]
    assert mean_pairwise_ms_ssim(images, pairs=1).mean == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("size", "scales"), [(11, 1), (32, 2), (64, 3), (128, 4), (256, 5)])
def test_small_images_use_fewer_scales(size, scales):
    assert scales_of(size) == scales
    assert np.isfinite(mean_pairwise_ms_ssim(noise_images(3, size), pairs=3).mean)


def test_the_note_says_the_weights_of_each_size():
    assert "at 64 px .071, .453 and .476; at 128 px .052, .329, .346 and .273" in MS_SSIM.note


def test_interval_holds_the_mean_and_narrows_with_images():
    widths = []
    for count in (10, 160):
        base = noise_images(1, 32, seed=9)
        strengths = np.random.default_rng(0).uniform(0, 1, (count, 1, 1, 1))
        images = (base * strengths + noise_images(count, 32) * (1 - strengths)).astype(np.uint8)
        similarity = mean_pairwise_ms_ssim(images, pairs=count * 2)
        assert similarity.low <= similarity.mean <= similarity.high
        widths.append(similarity.high - similarity.low)
    assert widths[1] < widths[0] / 2


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (noise_images(1, 64), "at least two"),
        (noise_images(3, 64).astype(np.float32), "uint8"),
        (noise_images(3, 8), "at least 11 pixels, got 8"),
    ],
)
def test_wrong_images_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        mean_pairwise_ms_ssim(images)
