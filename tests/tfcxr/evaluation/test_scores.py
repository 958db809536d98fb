import re

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, precision_recall_fscore_support, roc_auc_score

from tfcxr.evaluation.metrics.classification import patient_resamples
from tfcxr.evaluation.scores import mean_auc, score_arm, score_labels, score_text, shares_of_real, youden_thresholds


@pytest.fixture
def two_classes():
    generator = np.random.default_rng(0)
    positive = (generator.random(120) < 0.6).astype(int)
    probabilities = []
    for _ in range(2):
        score = 1 / (1 + np.exp(-generator.normal(2 * positive - 1, 1.5)))
        probabilities.append(np.stack([1 - score, score], 1).astype(np.float32))
    labels = np.eye(2, dtype=np.float32)[positive]
    return labels, probabilities, patient_resamples(np.arange(120) // 2, 300, 0)


def test_two_exclusive_labels_have_one_auc(two_classes):
    labels, probabilities, resamples = two_classes
    scores = score_arm(("NORMAL", "SICK"), True, labels, probabilities, [[0.3], [0.4]], resamples).summary
    expected = [roc_auc_score(labels[:, 1], probability[:, 1]) for probability in probabilities]
    assert list(scores["auc_by_label"]) == ["SICK"]
    assert scores["auc"]["by_seed"] == pytest.approx(expected)
    assert scores["auc"]["mean"] == pytest.approx(np.mean(expected))
    low, high = scores["auc"]["interval"]
    assert low < scores["auc"]["mean"] < high and 0.05 < high - low < 0.3


def test_each_seed_is_scored_at_its_own_threshold(two_classes):
    labels, probabilities, resamples = two_classes
    scores = score_arm(("NORMAL", "SICK"), True, labels, probabilities, [[0.3], [0.4]], resamples).summary
    for rule, thresholds in (("at_half", (0.5, 0.5)), ("at_youden", (0.3, 0.4))):
        called = [
            probability[:, 1] >= threshold for probability, threshold in zip(probabilities, thresholds, strict=True)
        ]
        expected = [balanced_accuracy_score(labels[:, 1], one) for one in called]
        assert scores[rule]["balanced_accuracy"]["by_seed"] == pytest.approx(expected)
        matrix = np.array(scores[rule]["confusion"]["labels"])
        assert matrix[1, 1] == np.mean([(one & (labels[:, 1] == 1)).sum() for one in called])
        assert [row["support"] for row in scores[rule]["per_class"]] == pytest.approx(labels.sum(0).tolist())


def test_classes_and_their_means_have_intervals(two_classes):
    labels, probabilities, resamples = two_classes
    scores = score_arm(("NORMAL", "SICK"), True, labels, probabilities, [[0.3], [0.4]], resamples).summary["at_half"]
    expected = [
        precision_recall_fscore_support(labels[:, 1], probability[:, 1] >= 0.5) for probability in probabilities
    ]
    for index, name in enumerate(("precision", "recall", "f1", "support")):
        by_class = np.mean([of_seed[index] for of_seed in expected], axis=0)
        assert [row[name] for row in scores["per_class"]] == pytest.approx(by_class.tolist())
        together = by_class.sum() if name == "support" else by_class.mean()
        assert scores["macro"][name]["mean"] == pytest.approx(together)
        for low, high, value in ((*row["intervals"][name], row[name]) for row in scores["per_class"]):
            assert low < value < high and (name == "support" or high - low < 0.3)
    assert scores["macro"]["f1"]["interval"][0] < scores["macro"]["f1"]["mean"] < scores["macro"]["f1"]["interval"][1]


def test_a_class_that_is_never_predicted_counts_nothing_in_the_mean_precision():
    labels, probability = np.eye(2, dtype=np.float32)[[0, 0, 0, 1]], np.tile(np.float32([0.9, 0.1]), (4, 1))
    scores = score_arm(("a", "b"), True, labels, [probability], [[0.5]], np.ones([2, 4], np.float32)).summary["at_half"]
    assert np.isnan(scores["per_class"][1]["precision"]) and scores["macro"]["precision"]["mean"] == 0.75 / 2
    absent = score_arm(("a", "b"), True, labels[:3], [probability[:3]], [[0.5]], np.ones([2, 3], np.float32)).summary
    assert absent["at_half"]["macro"]["precision"]["mean"] == 1, "a class without images is left out"


def test_a_share_pairs_the_same_patients(two_classes):
    labels, probabilities, resamples = two_classes
    arm = score_arm(("NORMAL", "SICK"), True, labels, probabilities, [[0.5], [0.5]], resamples)
    assert shares_of_real(arm, arm)["auc"] == {"mean": 1.0, "interval": [1.0, 1.0]}  # unpaired draws would spread


def test_scores_without_a_value_are_words(two_classes):
    """Resamples of one class have no AUC, so no arm is clearly above chance, and there is no share of it."""
    labels = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]
    wrong, right = 1 - labels, labels
    of_one_class = np.array([[2, 2, 0, 0]] * 3, np.float32)
    scores = [
        score_arm(("a", "b"), True, labels, [probability], [[0.5]], of_one_class) for probability in (right, wrong)
    ]
    with np.errstate(all="raise"):
        shares = [shares_of_real(*pair)["auc"] for pair in (scores, scores[::-1])]
    assert all(np.isnan(share["mean"]) for share in shares)
    texts = [score_text(summary) for summary in (scores[0].summary["auc"], *shares)]
    assert texts == ["1.000 (no interval: no resample of the patients has one)", "unknown", "unknown"]
    labels, probabilities, resamples = two_classes
    text = score_text(score_arm(("a", "b"), True, labels, probabilities, [[0.3]] * 2, resamples).summary["auc"])
    assert re.fullmatch(r"0\.\d{3} \(0\.\d{3} to \d\.\d{3}\)", text)


def test_means_over_labels_leave_out_those_without_a_score():
    labels = np.array([(0, 1, np.nan), (1, 1, np.nan), (0, 1, np.nan), (1, 1, np.nan)], np.float32)
    probability = np.array([(0.1, 0.9, 0.5), (0.9, 0.2, 0.5), (0.8, 0.9, 0.5), (0.7, 0.9, 0.5)], np.float32)
    arm = score_arm(("a", "always", "unknown"), False, labels, [probability], [[0.5] * 3], np.ones([2, 4], np.float32))
    assert arm.summary["at_half"]["balanced_accuracy"]["mean"] == pytest.approx((1 + 0.5) / 2), "of a alone"
    assert arm.summary["at_half"]["accuracy"]["mean"] == pytest.approx(3 / 4), "of the two that are known"


def test_unknown_labels_of_joint_labels_count_nothing():
    generator = np.random.default_rng(1)
    labels = (generator.random((200, 3)) < [0.3, 0.5, 0.0]).astype(np.float32)
    probability = generator.random((200, 3)).astype(np.float32)
    labels[:50, 0] = np.nan
    resamples = patient_resamples(np.arange(200), 50, 0)
    scores = score_arm(("a", "b", "never"), False, labels, [probability], [[0.5] * 3], resamples).summary
    assert scores["auc_by_label"]["a"]["mean"] == pytest.approx(roc_auc_score(labels[50:, 0], probability[50:, 0]))
    assert scores["labels_without_auc"] == ["never"]
    assert scores["auc"]["mean"] == pytest.approx(np.mean([scores["auc_by_label"][name]["mean"] for name in "ab"]))
    assert np.array(scores["at_half"]["confusion"]["a"]).sum() == 150
    assert scores["at_half"]["per_class"][0]["support"] == (labels[50:, 0] == 1).sum()


def test_three_exclusive_labels_take_the_most_probable():
    labels = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]]
    probability = np.array([[0.4, 0.3, 0.3], [0.4, 0.35, 0.25], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]], np.float32)
    scores = score_arm(("a", "b", "c"), True, labels, [probability], [None], np.ones([2, 4], np.float32)).summary
    assert scores["at_half"]["accuracy"]["mean"] == pytest.approx(3 / 4)
    assert scores["at_half"]["confusion"]["labels"] == [[1, 0, 0], [1, 0, 0], [0, 0, 2]]
    assert "at_youden" not in scores
    assert youden_thresholds(labels, probability, True) is None


def test_youden_threshold_of_each_joint_label_uses_known_labels():
    labels = np.array([[0, np.nan], [0, 0], [1, 0], [1, 1]], np.float32)
    probability = np.array([[0.1, 0.9], [0.2, 0.1], [0.6, 0.2], [0.8, 0.4]], np.float32)
    assert youden_thresholds(labels, probability, False) == pytest.approx([0.4, 0.3])
    assert score_labels(("a", "b"), False) == [0, 1]


def test_mean_auc_leaves_out_what_cannot_be_told():
    labels = np.array([[1, np.nan, 1], [0, 1, 1], [1, 0, 1], [0, np.nan, 1]], np.float32)
    scores = np.array([[0.9, 0.9, 0.1], [0.1, 0.2, 0.2], [0.2, 0.7, 0.3], [0.3, 0.1, 0.4]], np.float32)
    assert mean_auc(("a", "b", "c"), False, labels, scores) == pytest.approx((0.75 + 0.0) / 2)
    assert np.isnan(mean_auc(("a", "b", "c"), False, np.full_like(labels, np.nan), scores))
    exclusive = np.eye(2)[[0, 1, 1]]
    assert mean_auc(("a", "b"), True, exclusive, np.array([[9, 0.3], [9, 0.2], [9, 0.4]])) == 0.5, "of the last alone"
