"""Precision, recall, density, coverage: values of prdc 0.2 (its compute_prdc on these arrays), and edge cases."""

import numpy as np
import pytest

from tfcxr.evaluation.metrics.manifold import MANIFOLD, manifold_scores


def arrays():
    generator = np.random.default_rng(7)
    real = generator.normal(size=(60, 6))
    return generator.normal(size=(50, 6)) * 0.8 + 0.3, real


def test_values_of_prdc():
    scores = {name: values.mean() for name, values in manifold_scores(*arrays(), k=5).items()}
    expected = {"precision": 0.94, "recall": 0.8166666666666667, "density": 1.148, "coverage": 0.9}
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_clipped_density_counts_no_image_more_than_once():
    scores = manifold_scores(*arrays())
    assert scores["density"].max() > 1 and scores["clipped_density"].max() == 1
    np.testing.assert_array_equal(scores["clipped_density"], np.minimum(scores["density"], 1))


def test_authenticity_by_hand():
    real = np.array([[0.0], [1.0], [10.0], [14.0], [30.0], [31.0]])  # nearest others at 1, 1, 4, 4, 1, 1
    synthetic = np.array([[0.5], [2.5], [7.0], [5.7], [14.0], [40.0]])
    # to the nearest real image: .5 of 0 or 1, 1.5 of 1, 3 of 10, 4.3 of 10, 0 of 14, 9 of 31
    assert manifold_scores(synthetic, real)["authenticity"].tolist() == [0, 1, 0, 1, 0, 1]


def test_copies_are_not_authentic_and_other_draws_are_about_half_of_the_time():
    _, real = arrays()
    authenticity = {metric.name: metric for metric in MANIFOLD}["authenticity"]
    assert authenticity.distance(real + 1e-3, real, 0) == 0 and authenticity.better == "real"
    other = np.random.default_rng(1).normal(size=(400, 6))
    estimate = authenticity.estimate(other, np.random.default_rng(2).normal(size=(400, 6)))
    assert estimate.low < estimate.mean < estimate.high and 0.4 < estimate.mean < 0.8


def test_equal_sets_and_sets_apart():
    _, real = arrays()
    same, apart = manifold_scores(real, real), manifold_scores(real + 100, real)
    shares = ("precision", "recall", "coverage")
    assert {name: same[name].mean() for name in shares} == dict.fromkeys(shares, 1.0)
    assert same["authenticity"].mean() == 0 and apart["authenticity"].mean() == 1
    assert all(values.mean() == 0 for name, values in apart.items() if name != "authenticity")


def test_constant_sets_are_inside_each_other():
    constant = np.ones([8, 3])
    scores = manifold_scores(constant, constant)
    assert scores.pop("authenticity").mean() == 0 and all(values.mean() >= 1 for values in scores.values())


def test_too_few_images():
    with pytest.raises(ValueError, match="k = 5 need 6 images or more on each side, got 5 synthetic and 60 real ones"):
        manifold_scores(arrays()[0][:5], arrays()[1])


def test_intervals_hold_whole_patients():
    """Where each patient has the same image ten times, an interval is sqrt(10) times as wide as by image."""
    synthetic, real = arrays()
    real, patients = np.repeat(real, 10, axis=0), np.repeat(np.arange(60), 10)
    recall = {metric.title: metric for metric in MANIFOLD}["recall"]
    by_image = recall.estimate(synthetic, real)
    by_patient = recall.estimate(synthetic, real, None, patients)
    assert by_image.mean == by_patient.mean
    ratio = (by_patient.mean - by_patient.low) / (by_image.mean - by_image.low)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.02)
