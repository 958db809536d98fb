"""Shares of labels that a classifier gives, and their bootstrap by patient."""

import numpy as np
import pytest

from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.classifier import make_classifier_config
from tfcxr.evaluation.protocols.prevalence import PrevalenceSettings, bootstrap_shares, run


def test_a_cohort_of_copies_has_the_labels_of_the_real_images(disc_records, synthetic_records, tmp_path):
    config = make_classifier_config("small_cnn", {"max_epochs": 6, "batch_size": 16, "dense_units": (8,)})
    evaluation = Evaluation(
        synthetic_dirs={"acgan": synthetic_records}, real_dir=disc_records, out_dir=tmp_path, classifier=config
    )
    findings = run(evaluation, PrevalenceSettings(500))
    sides = findings.report()["sides"]
    assert set(sides) == {"synthetic", "real test"}
    assert sides["synthetic"]["known_share"] == [0.5]  # of the label that is scored
    assert sides["synthetic"]["shares"]["low"][0] <= sides["synthetic"]["shares"]["mean"][0]
    assert findings.verdict == [
        "The classifier gives synthetic images and real test images labels equally often, within their intervals."
    ]


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


def test_too_few_resamples():
    with pytest.raises(ValueError, match="resamples must be at least 100, got 10"):
        PrevalenceSettings(10)
