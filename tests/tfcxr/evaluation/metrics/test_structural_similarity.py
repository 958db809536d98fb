import numpy as np
import pytest
import tensorflow as tf
from skimage.metrics import structural_similarity

from tfcxr.evaluation.metrics.structural_similarity import SCALE_WEIGHTS, SimilarityMeasure

RANDOM = np.random.default_rng(0)
NOISE = RANDOM.integers(0, 256, (6, 33, 40, 1)).astype(np.uint8)
RAMP = np.broadcast_to(np.linspace(0, 255, 40)[:, None], (1, 33, 40, 1))
STRUCTURED = np.concatenate(
    [RAMP, 255 - RAMP, np.roll(RAMP, 7, 2), RAMP / 2 + 30, RAMP**2 / 255, np.full_like(RAMP, 9)]
)
SCIKIT_IMAGE = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


@pytest.mark.parametrize(
    ("first", "second", "data_range"),
    [
        (NOISE, NOISE[::-1], 255),
        (STRUCTURED, STRUCTURED[[1, 2, 3, 4, 5, 0]], 255),
        (STRUCTURED / 127.5 - 1, NOISE / 127.5 - 1, 2),
        (np.tile(STRUCTURED, 3) * (1, 0.5, 2), np.tile(NOISE, 3) * (1, 1, 0.3), 510),
    ],
    ids=["noise", "structured", "unit_range", "colour"],
)
def test_equals_scikit_image(first, second, data_range):
    values = SimilarityMeasure(data_range).of_rows(first, second)
    for value, one, other in zip(values, first, second, strict=True):
        one, other = one.astype(np.float64), other.astype(np.float64)
        theirs = structural_similarity(one, other, data_range=data_range, channel_axis=-1, **SCIKIT_IMAGE)
        assert value == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize(("scales", "height", "width"), [(2, 33, 40), (3, 45, 51), (5, 176, 179)])
def test_equals_tensorflow_at_several_scales(scales, height, width):
    first = RANDOM.integers(0, 256, (3, height, width, 2)).astype(np.uint8)
    second = np.stack([first[0], first[1] // 2 + RANDOM.integers(0, 128, first[1].shape), 255 - first[2]])
    weights = np.array(SCALE_WEIGHTS[:scales]) / sum(SCALE_WEIGHTS[:scales])
    theirs = tf.image.ssim_multiscale(first, second.astype(np.uint8), 255, weights).numpy()
    ours = SimilarityMeasure(255, scales=scales).of_rows(first, second)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)  # TensorFlow works in float32
    assert ours[0] == pytest.approx(1, abs=1e-12)
    assert 0.1 < ours[1] < 0.95
    assert ours[2] == 0, "opposite structures count 0"


def test_one_row_with_each_is_each_pair():
    measure = SimilarityMeasure(255, scales=2)
    prepared = measure.prepare(NOISE)
    values = measure.compare([level.rows(slice(2, 3)) for level in prepared], prepared)
    np.testing.assert_allclose(values, measure.of_rows(NOISE, NOISE, np.full(6, 2), np.arange(6)), atol=1e-14)
    assert values[2] == pytest.approx(1)


def test_images_filtered_together_do_not_touch():
    measure = SimilarityMeasure(255)
    dark, bright = np.zeros_like(NOISE[:1]), np.full_like(NOISE[:1], 255)
    among_others = np.concatenate([dark, NOISE[:1], bright, NOISE[1:2], dark])
    alone = measure.of_rows(NOISE[:1], NOISE[1:2])
    assert measure.of_rows(among_others[[1, 2]], among_others[[3, 0]])[0] == pytest.approx(alone[0], abs=1e-12)
    assert len(measure.of_rows(NOISE, NOISE, np.zeros(0, int), np.zeros(0, int))) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data_range": 0}, "data_range must be positive, got 0"),
        ({"scales": 6}, "scales must be from 1 to 5, got 6"),
        ({"scales": 0}, "scales must be from 1 to 5, got 0"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SimilarityMeasure(**{"data_range": 255.0, **settings})


def test_too_small_images_are_refused():
    assert SimilarityMeasure(255, scales=5).smallest_image == 176
    message = r"at least 176 pixels to each side, got \(33, 40\) for 5 scales; ask for fewer scales"
    with pytest.raises(ValueError, match=message):
        SimilarityMeasure(255, scales=5).prepare(NOISE)
    with pytest.raises(ValueError, match=r"at least 11 pixels to each side, got \(10, 40\)$"):
        SimilarityMeasure(255).of_rows(NOISE[:, :10], NOISE[:, :10])
