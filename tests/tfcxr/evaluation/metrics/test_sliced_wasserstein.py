import cv2
import numpy as np
import pytest

from tfcxr.evaluation.metrics import sliced_wasserstein as module
from tfcxr.evaluation.metrics.sliced_wasserstein import sliced_wasserstein_distance


def smooth_images(count, seed, blur=1.5):
    noise = np.random.default_rng(seed).normal(128, 60, (count, 32, 32)).astype(np.float32)
    return np.stack([cv2.GaussianBlur(image, (0, 0), blur) for image in noise]).clip(0, 255).astype(np.uint8)[..., None]


def test_equal_sets_score_zero():
    images = smooth_images(20, 0)
    assert sliced_wasserstein_distance(images, images) == 0


def test_other_texture_scores_more_than_another_draw():
    floor = sliced_wasserstein_distance(smooth_images(60, 0), smooth_images(60, 1))
    blurred = sliced_wasserstein_distance(smooth_images(60, 0), smooth_images(60, 1, blur=3.0))
    assert 0 < floor < blurred / 2


def test_a_few_images_at_a_time_give_the_same(monkeypatch):
    sets = smooth_images(10, 0), smooth_images(10, 1)
    whole = sliced_wasserstein_distance(*sets)
    monkeypatch.setattr(module, "IMAGES_AT_ONCE", 3)
    assert sliced_wasserstein_distance(*sets) == whole


def test_wrong_sets_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        sliced_wasserstein_distance(smooth_images(3, 0), smooth_images(4, 0))
    with pytest.raises(ValueError, match="at least 16 pixels, got 8"):
        sliced_wasserstein_distance(np.zeros((2, 8, 8, 1), np.uint8), np.zeros((2, 8, 8, 1), np.uint8))
