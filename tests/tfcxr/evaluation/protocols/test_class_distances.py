"""Distances between labels, and the Mantel test of two matrices."""

import numpy as np
import pytest

from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.protocols.class_distances import ClassDistanceSettings, mantel, run
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
