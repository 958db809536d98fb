"""Shares of labels and their differences, by patient."""

import numpy as np
import pytest

from tfcxr.evaluation.metrics.label_shares import bootstrap_shares, share_differences


def test_the_bootstrap_is_by_patient():
    given = np.repeat(np.random.default_rng(0).random((50, 2)) < [0.2, 0.6], 8, axis=0)
    patients = np.repeat(np.arange(50), 8)
    shares = bootstrap_shares(given, patients, 4000)
    np.testing.assert_allclose(shares["mean"], given.mean(axis=0))
    half_width = 1.96 * np.sqrt(shares["mean"] * (1 - shares["mean"]) / 50)  # of 50 patients, not of 400 images
    np.testing.assert_allclose((shares["high"] - shares["low"]) / 2, half_width, rtol=0.1)


def test_the_bootstrap_equals_one_patient_by_patient():
    generator = np.random.default_rng(3)
    patients = generator.integers(0, 30, 120)
    given = generator.random((120, 3)) < 0.4
    found = bootstrap_shares(given, patients, 4000)
    names = np.unique(patients)
    rows = [np.flatnonzero(patients == name) for name in names]
    drawn = [
        given[np.concatenate([rows[index] for index in generator.integers(0, len(names), len(names))])].mean(axis=0)
        for _ in range(4000)
    ]
    np.testing.assert_allclose(found["low"], np.quantile(drawn, 0.025, axis=0), atol=0.012)
    np.testing.assert_allclose(found["high"], np.quantile(drawn, 0.975, axis=0), atol=0.012)


def test_the_mean_difference_counts_both_ways_and_its_interval_holds_it():
    random = np.random.default_rng(0)
    made, real = random.random((4000, 3)) < [0.3, 0.1, 0.2], random.random((2000, 3)) < [0.2, 0.2, 0.2]
    found = share_differences(made, np.arange(4000), real, np.arange(2000) // 2, 2000)
    assert found["mean"] == pytest.approx(2 / 30, abs=0.02)
    assert found["interval"][0] < found["mean"] < found["interval"][1] < 0.1
    lows, highs = found["by_label"]["interval"].T
    assert lows[0] > 0.05 and highs[1] < -0.05 and lows[2] < 0 < highs[2]


def test_the_interval_of_the_mean_is_that_of_many_samples():
    """Of samples whose shares differ truly, intervals cover the true mean."""
    covered = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        made, real = random.random((300, 2)) < [0.4, 0.1], random.random((300, 2)) < [0.2, 0.3]
        low, high = share_differences(made, np.arange(300), real, np.arange(300), 500)["interval"]
        covered += low <= 0.2 <= high
    assert covered >= 35  # 38 expected
