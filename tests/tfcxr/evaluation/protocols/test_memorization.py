"""Copies of training images are found, noise is not, and the check says what it would miss."""

import dataclasses

import numpy as np
import pytest

from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.protocols.memorization import PLANTED, MemorizationSettings, run

SETTINGS = MemorizationSettings(false_alarms=0.07, planted=20, pairs=3)


@pytest.fixture
def evaluation(disc_records, synthetic_records, tmp_path):
    """A cohort of all discs, of which 48 of 80 are training images."""
    return Evaluation(
        synthetic_dirs={"copies": synthetic_records}, real_dir=disc_records, out_dir=tmp_path, extractors=("pixels",)
    )


def test_copies_are_found(evaluation):
    findings = run(evaluation, SETTINGS)
    result = findings.report()["extractors"]["pixels"]
    assert 0.35 < result["copies"] < 0.9 and result["interval"][0] > SETTINGS.false_alarms
    assert result["c_t"] < -1
    assert result["planted_found"]["exact"] == 1.0 and set(result["planted_found"]) == set(PLANTED)
    assert result["passport"]["extractor"] == "pixels"
    assert "more than chance: look at the nearest pairs" in findings.verdict[0]
    assert "Nearest pairs by pixels" in "".join(findings.parts)
    assert result["largest_ratio"]["synthetic"] == pytest.approx(1000) and result["largest_ratio"]["held_out"] < 2
    assert "The largest copy ratio is 1e+03, that of held-out images 1." in findings.verdict[0]


def test_the_numbers_and_the_nearest_pairs(evaluation):
    findings = run(evaluation, SETTINGS)
    result = findings.report()["extractors"]["pixels"]
    scores = {(score.metric, score.subject): score for score in findings.scores}
    copies = scores["copies", ""]
    assert (copies.value, [copies.low, copies.high]) == (result["copies"], result["interval"])
    assert (copies.of_real, copies.split, copies.extractor, copies.images) == (0.07, "test", "pixels", 16)
    assert [score for score in findings.scores if score.is_headline] == [copies]
    assert scores["c_t", ""].value == result["c_t"]
    assert scores["largest_copy_ratio", ""].of_real == result["largest_ratio"]["held_out"]
    planted = {kind: scores["planted_found", kind] for kind in PLANTED}
    assert {kind: score.value for kind, score in planted.items()} == result["planted_found"]
    assert {score.images for score in planted.values()} == {20}
    assert all(len(score.passport["real"]) == 64 for score in findings.scores)
    made, training = findings.nearest_pairs
    assert made.shape == (3, 32, 32, 1) and made.dtype == np.uint8
    np.testing.assert_array_equal(made, training)


def test_noise_holds_no_copies(evaluation, noise_cohort):
    findings = run(dataclasses.replace(evaluation, synthetic_dirs={"noise": noise_cohort}), SETTINGS)
    result = findings.report()["extractors"]["pixels"]
    assert result["copies"] == 0 and result["c_t"] > 3
    assert "no more than chance" in findings.verdict[0]


def test_a_planted_kind_that_is_missed_is_said(evaluation, monkeypatch):
    monkeypatch.setitem(PLANTED, "inverted", lambda image, random: 255 - image)
    findings = run(evaluation, SETTINGS)
    assert findings.report()["extractors"]["pixels"]["planted_found"]["inverted"] == 0
    assert "It would miss planted copies that are" in findings.verdict[0] and "inverted" in findings.verdict[0]


def test_features_are_computed_once(evaluation, monkeypatch):
    run(evaluation, SETTINGS)
    kept = sorted(path.name for path in (evaluation.out_dir / "features").glob("pixels-*.npz"))
    assert len(kept) == 3  # the cohort, training, test
    seen = []
    monkeypatch.setattr(
        "tfcxr.evaluation.extractors.extractors._read_pixels",
        lambda images: seen.append(len(images)) or {"features": np.zeros([20, 1024])},
    )
    run(evaluation, SETTINGS)
    assert set(seen) == {20}, "only the planted copies"


def test_too_few_images_for_the_threshold(evaluation):
    message = (
        "at 1% false alarms needs 100 images or more of both sides, but there are 16; the cohort holds 80, .* holds 16"
    )
    with pytest.raises(ValueError, match=message):
        run(evaluation, MemorizationSettings())


@pytest.mark.parametrize(("name", "value"), [("false_alarms", 0.0), ("planted", 0), ("images", -1)])
def test_settings_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        MemorizationSettings(**{name: value})
