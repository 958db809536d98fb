"""Shares of labels that a classifier gives, and those that images have."""

import numpy as np
import pytest

from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.classifier_config import make_classifier_config
from tfcxr.evaluation.protocols.prevalence import PrevalenceSettings, _difference, run


@pytest.mark.thorough
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
    scores = {(score.subject, score.metric): score for score in findings.scores}
    of_labels = scores["labels of the images", "mean_prevalence_difference"]
    assert (of_labels.value, of_labels.low, of_labels.split, of_labels.images) == (0.0, 0.0, "test", 16)
    given = scores["given by the classifier", "mean_prevalence_difference"]
    assert given.is_headline and not of_labels.is_headline and given.passport["real"] != given.passport["classifier"]
    assert scores["given by the classifier", "prevalence_difference"].label == "PNEUMONIA"
    assert "labels of the images" in "".join(findings.parts)


def test_halves_of_the_real_patients_stand_beside_the_difference():
    random = np.random.default_rng(0)
    made, real = random.random((4000, 3)) < 0.2, random.random((2000, 3)) < 0.2
    found = _difference(made, np.arange(4000), real, np.arange(2000), 200)
    assert found["images"] == [4000, 2000]
    assert found["of_real"] == pytest.approx(0.8 * 0.4 * np.sqrt(2 / 1000), rel=0.5)  # of normal shares of 1,000 each


def test_too_few_resamples():
    with pytest.raises(ValueError, match="resamples must be at least 100, got 10"):
        PrevalenceSettings(10)
