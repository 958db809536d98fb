import numpy as np
import pytest

from tfcxr.evaluation.metrics.feature_diversity import mean_pairwise_feature_distance


def test_distance_of_hand_computed_points():
    mean, low, high = mean_pairwise_feature_distance(np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 4.0]]))
    assert mean == pytest.approx((5 + 4 + 3) / 3)
    assert low <= mean <= high


def test_collapsed_features_have_no_distance():
    mean, _, high = mean_pairwise_feature_distance(np.full([20, 8], 1e3, np.float32))
    assert mean == pytest.approx(0, abs=1e-6) and high == pytest.approx(0, abs=1e-6)


def test_interval_holds_the_expected_distance_of_normal_points():
    features = np.random.default_rng(0).normal(size=[400, 100])
    mean, low, high = mean_pairwise_feature_distance(features)
    expected = np.sqrt(2 * 100)  # of two standard normal points of many dimensions, to within a quarter of a percent
    assert low < expected < high and high - low < 0.3
    assert mean_pairwise_feature_distance(features) == (mean, low, high)


@pytest.mark.parametrize("features", [np.zeros([1, 3]), np.zeros([4])])
def test_one_image_or_another_shape_is_refused(features):
    with pytest.raises(ValueError, match="two images or more"):
        mean_pairwise_feature_distance(features)
