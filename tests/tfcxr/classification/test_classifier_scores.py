"""AUC with intervals, thresholds and the table, of hand-made predictions."""

import math

import numpy as np
import pytest

from tfcxr.classification.classifier_scores import label_thresholds, score_split, score_table

NAMES = ("Mass", "Edema", "Hernia")
LABELS = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, np.nan, 0]], np.float32)
PROBABILITY = np.array([[0.9, 0.2, 0.1], [0.4, 0.8, 0.1], [0.6, 0.1, 0.2], [0.1, 0.9, 0.3]], np.float32)


def test_auc_of_each_label_and_the_mean_of_those_that_have_one():
    scores = score_split(NAMES, LABELS, PROBABILITY, np.array(["a", "b", "c", "d"]), resamples=50)
    assert (scores["images"], scores["patients"]) == (4, 4)
    found = {name: entry["mean"] for name, entry in scores["labels"].items()}
    assert found["Mass"] == pytest.approx(0.75) and found["Edema"] == pytest.approx(1.0)
    assert math.isnan(found["Hernia"]) and scores["macro"]["mean"] == pytest.approx(0.875)
    assert [entry["positives"] for entry in scores["labels"].values()] == [2, 1, 0]
    low, high = scores["labels"]["Mass"]["interval"]
    assert 0 <= low <= 0.75 <= high <= 1


def test_the_interval_resamples_patients():
    """Sixteen images of two patients vary more than those of sixteen."""
    random = np.random.default_rng(0)
    labels = np.tile([[0.0], [1.0]], [8, 1]).astype(np.float32)
    probability = random.uniform(size=[16, 1]).astype(np.float32) + 0.3 * labels
    alone, shared = (
        score_split(("Mass",), labels, probability, patients, 400)["macro"]["interval"]
        for patients in (np.arange(16), np.arange(16) // 8)
    )
    assert alone != shared


def test_thresholds_are_by_youden_and_none_where_a_side_lacks():
    thresholds = label_thresholds(NAMES, LABELS, PROBABILITY)
    assert thresholds["Mass"] == pytest.approx(0.75) and thresholds["Edema"] == pytest.approx(0.5)
    assert thresholds["Hernia"] is None


def test_the_table_has_a_line_for_each_label():
    scores = score_split(NAMES, LABELS, PROBABILITY, np.array(["a", "b", "c", "d"]), resamples=50)
    lines = score_table({"validation": scores, "test": scores}).splitlines()
    assert [line.split()[0] for line in lines] == ["AUC", "Mass", "Edema", "Hernia", "macro"]
    assert "unknown" in lines[3] and lines[4].count("0.875 (") == 2
