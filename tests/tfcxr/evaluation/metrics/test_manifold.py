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
    assert scores == pytest.approx(expected, abs=1e-12)


def test_equal_sets_and_sets_apart():
    _, real = arrays()
    assert {name: values.mean() for name, values in manifold_scores(real, real).items() if name != "density"} == {
        "precision": 1.0,
        "recall": 1.0,
        "coverage": 1.0,
    }
    assert all(values.mean() == 0 for values in manifold_scores(real + 100, real).values())


def test_constant_sets_are_inside_each_other():
    constant = np.ones([8, 3])
    assert all(values.mean() >= 1 for values in manifold_scores(constant, constant).values())


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
