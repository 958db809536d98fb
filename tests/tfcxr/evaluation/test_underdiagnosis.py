import numpy as np
import pytest

from tfcxr.evaluation.metrics.classification import patient_resamples
from tfcxr.evaluation.protocols.tstr_scores import report_scores, score_test
from tfcxr.evaluation.report.score_tables import group_table
from tfcxr.evaluation.trainings import Training
from tfcxr.evaluation.underdiagnosis import underdiagnosis_gap

IS_WOMAN = np.arange(80) < 40
IS_ILL = np.arange(80) % 2 == 0  # 20 women, 20 men


def probabilities(missed_women: int, missed_men: int) -> np.ndarray:
    """Of a classifier that misses so many of the ill."""
    score = np.where(IS_ILL, 0.9, 0.1)
    score[np.flatnonzero(IS_ILL & IS_WOMAN)[:missed_women]] = 0.3
    score[np.flatnonzero(IS_ILL & ~IS_WOMAN)[:missed_men]] = 0.3
    return np.stack([1 - score, score], 1).astype(np.float32)


LABELS = np.stack([~IS_ILL, IS_ILL], 1).astype(np.float32)


def gap(names, is_single_label, labels, by_seed, thresholds, resamples=None):
    draws = patient_resamples(np.arange(80), 200, 0) if resamples is None else resamples
    return underdiagnosis_gap(names, is_single_label, labels, by_seed, thresholds, draws, IS_WOMAN)


def test_the_gap_is_of_missed_findings_at_each_seeds_threshold():
    by_seed = [probabilities(10, 4), probabilities(10, 4)]
    found = gap(("NORMAL", "SICK"), True, LABELS, by_seed, [[0.5], [0.2]])
    assert found["by_seed"] == pytest.approx([0.5 - 0.2, 0.0]) and found["mean"] == pytest.approx(0.15)
    low, high = found["interval"]
    assert low < 0.15 < high and 0.1 < high - low < 0.4


@pytest.mark.parametrize("names", [("SICK", "NORMAL"), ("SICK", "No Finding")])
def test_missing_the_healthy_is_no_underdiagnosis(names):
    """With the labels the other way round, the threshold is of the healthy."""
    found = gap(names, True, LABELS[:, ::-1], [probabilities(10, 4)[:, ::-1]], [[0.5]])
    assert found["mean"] == pytest.approx(0.3)


def test_of_joint_labels_those_that_both_sides_have_count():
    only_men = (IS_ILL & ~IS_WOMAN).astype(np.float32)
    labels = np.stack([LABELS[:, 1], only_men], 1)
    labels[70:, 0] = np.nan
    probability = np.stack([probabilities(10, 0)[:, 1], np.zeros(80, np.float32)], 1)
    assert gap(("a", "b"), False, labels, [probability], [[0.5, 0.5]])["mean"] == pytest.approx(0.5)
    assert np.isnan(gap(("b",), False, labels[:, 1:], [probability[:, 1:]], [[0.5]])["mean"])


def test_of_three_classes_the_most_probable_is_predicted():
    classes = np.eye(3, dtype=np.float32)[np.arange(80) % 3]
    found = gap(("NORMAL", "a", "b"), True, classes, [np.roll(classes, 1, axis=1)], [None])
    assert found["mean"] == 0.0, "all are missed"


class Side:
    """A test split of two sexes, one image per patient."""

    labels, patient_keys = LABELS, np.arange(80).astype(str)
    groups = {"sex": np.where(IS_WOMAN, "F", "M"), "age": np.full(80, ""), "view": np.full(80, "")}  # noqa: RUF012
    facts = {"sha256": "ab", "images": 80}  # noqa: RUF012


class Sides:
    label_names, is_single_label, tests = ("NORMAL", "SICK"), True, {"test": Side}  # noqa: RUF012


def test_groups_have_scores_and_a_table_of_their_own():
    trainings = {
        arm: [Training(None, {"thresholds": [0.5]}, {"test": probabilities(*missed)})]
        for arm, missed in {"real": (2, 2), "synthetic": (10, 2)}.items()
    }
    test = score_test(Sides, "test", trainings, 100)
    assert list(test["groups"]) == ["sex=F", "sex=M"] and test["groups"]["sex=F"]["patients"] == 40
    rows = {
        (score.metric, score.subject, score.group): score
        for score in report_scores({"test": test}, None, {"images_per_side": 9})
        if not score.label
    }
    women = rows["underdiagnosis_gap", "synthetic", "sex=F"]
    assert women.value == pytest.approx(0.4) and women.of_real == 0.0 and women.low > 0.1
    assert rows["underdiagnosis_gap", "synthetic", "sex=M"].value == pytest.approx(-0.4)
    assert rows["auc", "synthetic", "sex=F"].images == 40
    assert ("auc_share_of_real", "synthetic", "sex=F") in rows and ("accuracy_at_half", "real", "sex=M") in rows
    assert [score.metric for score in rows.values() if score.is_headline] == ["auc", "auc_share_of_real"]
    table = group_table(test["groups"])
    assert table.count("<td>sex=") == 2 and "+0.400" in table and "-0.400" in table
    assert group_table({}) == ""
