"""Score and floor of sets of features."""

import numpy as np
import pytest

from tfcxr.evaluation.feature_distances import FeatureSet, compare, distances_of_draws


def feature_set(seed: int, images: int, shift: float = 0.0, a_patient: int = 1) -> FeatureSet:
    rows = np.random.default_rng(seed).normal(size=[images, 6]).astype(np.float32) + shift
    return FeatureSet(rows, np.zeros([images, 0]), np.arange(images) // a_patient)


def test_score_and_floor_of_known_distributions():
    alike = compare(feature_set(0, 400), feature_set(1, 400))
    shifted = compare(feature_set(0, 400, shift=1.0), feature_set(1, 400), feature_set(2, 600))
    assert alike["floor"] == shifted["floor"] and alike["floor"]["images"] == 200
    assert alike["at_floor_size"]["frechet"]["mean"] < alike["floor"]["frechet"]["interval"][1]
    assert alike["score"]["frechet"]["mean"] < alike["at_floor_size"]["frechet"]["mean"]  # it falls with the number
    low, high = shifted["score"]["frechet"]["interval"]
    assert low < 6.0 < high + 0.1 and high - low < 2.5  # six features shifted by 1
    low, high = shifted["at_floor_size"]["kernel"]["interval"]
    assert low < shifted["score"]["kernel"]["mean"] < high  # the kernel distance does not
    assert shifted["real_training_images"]["frechet"]["mean"] < 0.2


def test_a_small_cohort_is_compared_at_its_own_number():
    compared = compare(feature_set(0, 50), feature_set(1, 400))
    assert compared["at_floor_size"] == compared["score"]
    assert compared["score"]["images"] == compared["floor"]["images"] == 50
    capped = compare(feature_set(0, 50), feature_set(1, 400), images=20)
    assert capped["score"]["images"] == 20


def test_halves_never_share_a_patient():
    """With all images of a patient alike, halves that shared patients would be nearly equal."""
    rows = np.repeat(np.random.default_rng(0).normal(size=[20, 6]).astype(np.float32), 20, axis=0)
    by_patient = FeatureSet(rows, np.zeros([400, 0]), np.repeat(np.arange(20), 20))
    by_image = FeatureSet(rows, np.zeros([400, 0]), np.arange(400))
    floors = [compare(feature_set(1, 400), real)["floor"]["frechet"]["mean"] for real in (by_patient, by_image)]
    assert floors[0] > 5 * floors[1]


def test_distances_of_draws_are_one_a_draw_and_follow_the_shift():
    real = feature_set(0, 300).rows
    near = distances_of_draws([feature_set(seed, 100).rows for seed in range(1, 6)], real)
    far = distances_of_draws([feature_set(seed, 100, shift=0.5).rows for seed in range(11, 16)], real)
    for name in ("frechet", "kernel"):
        assert near[name].shape == (5,) and near[name].max() < far[name].min()
    again = distances_of_draws([feature_set(1, 100).rows], real)
    assert again["frechet"][0] == near["frechet"][0] and again["kernel"][0] == near["kernel"][0]


@pytest.mark.parametrize(
    ("sizes", "real", "message"),
    [
        ([], 20, "draws of one number of images, got no draw"),
        ([20, 30], 40, r"draws of one number of images, got \[20, 30\]"),
        ([20, 20], 19, "at least as many real images as a draw has, 20, got 19"),
    ],
)
def test_draws_that_do_not_compare_are_refused(sizes, real, message):
    with pytest.raises(ValueError, match=message):
        distances_of_draws([feature_set(0, size).rows for size in sizes], feature_set(1, real).rows)
