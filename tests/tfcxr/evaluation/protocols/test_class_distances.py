"""Distances between labels, and the Mantel test of two matrices."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.protocols.class_distances import (
    ClassDistanceSettings,
    _scores,
    between_sexes,
    mantel,
    run,
    stratified_floor,
)
from tfcxr.evaluation.report import plots


@pytest.fixture
def evaluation(disc_records, synthetic_records, tmp_path):
    return Evaluation(
        synthetic_dirs={"acgan": synthetic_records}, real_dir=disc_records, out_dir=tmp_path, extractors=("pixels",)
    )


def test_labels_are_apart_and_copies_are_as_far_apart_as_real_ones(evaluation):
    findings = run(evaluation, ClassDistanceSettings(images=12))
    report = findings.report()
    real, synthetic = (np.array(report["extractors"]["pixels"][side]) for side in ("real", "synthetic"))
    assert real.shape == (2, 2) and real[0, 1] == real[1, 0] > 3 * real[0, 0]
    assert synthetic[0, 1] == pytest.approx(real[0, 1], rel=0.3)
    assert report["extractors"]["pixels"]["agreement"] is None, "two labels have one distance"
    assert "times as far apart as real ones" in findings.verdict[0]
    score, *of_table = findings.scores  # two labels have no Mantel test
    assert (score.metric, score.extractor, score.images, score.of_real) == ("class_distance_ratio", "pixels", 12, 1.0)
    assert score.value == pytest.approx(np.sqrt(synthetic[0, 1] / real[0, 1]))
    assert score.passport["extractor"] == report["extractors"]["pixels"]["passport"]
    floor = report["extractors"]["pixels"]["stratified_floor"]
    assert 0 < floor < real[0, 1] / 3, "halves with equal shares of labels are nearer than labels are"
    assert "Halves of all real images with equal shares of labels" in "".join(findings.parts)
    page = "".join(findings.parts)
    assert "Too few images have a known sex." in page
    table = {row["what"]: row for row in report["extractors"]["pixels"]["label_distances"]}
    assert list(table) == ["halves", "between_sexes", "synthetic_to_real", "from_no_finding"]
    assert table["halves"]["real"]["mean"] == pytest.approx(floor) and table["halves"]["synthetic"] is None
    assert table["between_sexes"]["real"] is table["between_sexes"]["synthetic"] is None, "no sex is known"
    label = table["from_no_finding"]
    assert label["label"] == "PNEUMONIA" and label["real"]["mean"] == pytest.approx(real[0, 1])
    assert label["synthetic"]["mean"] == pytest.approx(synthetic[0, 1])
    for row in (table["halves"]["real"], table["synthetic_to_real"]["synthetic"], label["real"]):
        assert row["interval"][0] <= row["mean"] < row["interval"][1]
    assert "<td>PNEUMONIA from no finding</td>" in page and "12 images on each side; 95 % intervals" in page
    named = {(score.metric, score.subject, score.label): score for score in of_table}
    assert named["frechet_from_no_finding", "synthetic", "PNEUMONIA"].of_real == label["real"]["mean"]
    assert len(named) == len(of_table) == 4


def test_the_label_of_no_finding_comes_first(evaluation, copy_records, copy_as_synthetic, tmp_path):
    names = {"label_names": ("Mass", "No Finding")}
    changed = dataclasses.replace(
        evaluation,
        real_dir=copy_records(tmp_path / "real" / "32", **names),
        synthetic_dirs={"acgan": copy_as_synthetic(tmp_path / "acgan" / "32", **names)},
    )
    report = run(changed, ClassDistanceSettings(images=12)).report()
    assert report["label_names"] == ["No Finding", "Mass"]


def test_stratified_halves_share_no_patient_and_have_the_same_labels():
    random = np.random.default_rng(0)
    patients = np.repeat(np.arange(60), 3)
    labels = np.repeat(random.random((60, 2)) < [0.2, 0.5], 3, axis=0).astype(np.float32)
    cohort = SimpleNamespace(patient_keys=patients, labels=labels)
    by_label = labels @ [[5.0, 0.0], [0.0, 5.0]] + random.normal(size=(180, 2))
    assert stratified_floor(by_label, cohort, 90) < 1  # unequal shares alone would be more
    of_patients = np.repeat(random.normal(size=(60, 2)) * 5, 3, axis=0)
    assert stratified_floor(of_patients, cohort, 90) > 0.1  # 0 if patients were on both sides


def test_women_are_compared_with_men_where_the_sex_is_known():
    sex = np.repeat(["F", "M", ""], 20)
    cohort = SimpleNamespace(groups={"sex": sex})
    features = np.random.default_rng(0).normal(size=(60, 3)) + (sex == "M")[:, None] * 2.0
    features[40:] = 1e6  # unknown ones are left out
    assert between_sexes(features, cohort, 20) == pytest.approx(12, abs=4)  # three features shifted by 2
    assert np.isnan(between_sexes(features, cohort, 21))


def test_three_labels_have_an_agreement_among_the_scores():
    matrix = distances_of(np.random.default_rng(0).normal(size=(3, 2)))
    result = {"ratio": 1.1, "passport": {}, "agreement": {"correlation": 0.9}}
    cohorts = SimpleNamespace(real=SimpleNamespace(facts={"sha256": "a", "splits": ["train"]}))
    found = _scores("pixels", result, cohorts, ["a", "b", "c"], 40, ClassDistanceSettings())
    assert [(score.metric, score.value, score.better) for score in found] == [
        ("class_distance_ratio", 1.1, "real"),
        ("mantel_correlation", 0.9, "higher"),
    ]
    assert found[1].passport["permutations"] == 1000 and mantel(matrix, matrix, 99)["correlation"] == pytest.approx(1)


def test_too_few_images_of_a_label(evaluation):
    with pytest.raises(ValueError, match="need two labels with 40 images or more on both sides, got NORMAL 24"):
        run(evaluation, ClassDistanceSettings())


def distances_of(points):
    return np.linalg.norm(points[:, None] - points[None], axis=2)


def test_mantel_of_equal_and_of_unrelated_maps():
    points = np.random.default_rng(0).normal(size=(8, 2))
    same = mantel(distances_of(points), distances_of(points * 3), 200)
    assert same["correlation"] == pytest.approx(1) and same["p"] == pytest.approx(1 / 201, abs=0.01)
    other = mantel(distances_of(points), distances_of(np.random.default_rng(5).normal(size=(8, 2))), 200)
    assert abs(other["correlation"]) < 0.6 and other["p"] > 0.05


def test_places_on_the_map_are_as_far_apart_as_they_should_be():
    distances = distances_of(np.random.default_rng(2).normal(size=(6, 2)))
    np.testing.assert_allclose(distances_of(plots._classical_scaling(distances)), distances, atol=1e-9)


def test_the_map_is_a_picture_also_with_an_unknown_floor():
    matrix = distances_of(np.random.default_rng(0).normal(size=(4, 2)))
    matrix[1, 1] = np.nan
    picture = plots.distance_maps({"real": matrix, "synthetic": matrix}, ["a", "b", "c", "d"])
    assert picture.startswith(b"\x89PNG")
