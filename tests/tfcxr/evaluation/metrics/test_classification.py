import math

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, precision_recall_fscore_support, roc_auc_score

from tfcxr.evaluation.metrics.classification import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    f1,
    patient_resamples,
    percentile_interval,
    precision,
    recall,
    roc_auc,
    support,
    youden_threshold,
)


def test_auc_of_hand_computed_scores_with_a_tie():
    is_positive = np.array([True, True, False, False])
    score = np.array([0.9, 0.5, 0.5, 0.1])  # pairs won: 1, 1, half, 1
    assert roc_auc(is_positive, score) == pytest.approx([3.5 / 4])


def test_auc_equals_scikit_learns_with_and_without_weights():
    generator = np.random.default_rng(0)
    is_positive = generator.random(200) < 0.3
    score = np.round(generator.normal(size=200) + is_positive, 1)  # rounded: many ties
    weights = generator.integers(0, 4, (70, 200)).astype(np.float32)  # more rows than are taken at once
    expected = [roc_auc_score(is_positive, score, sample_weight=row) for row in weights]
    assert roc_auc(is_positive, score)[0] == pytest.approx(roc_auc_score(is_positive, score))
    np.testing.assert_allclose(roc_auc(is_positive, score, weights), expected, rtol=1e-12)


def test_auc_without_positives_is_unknown():
    assert math.isnan(roc_auc(np.zeros(3, bool), np.arange(3.0))[0])
    assert math.isnan(roc_auc(np.zeros(0, bool), np.zeros(0))[0])


def test_class_scores_equal_scikit_learns():
    generator = np.random.default_rng(1)
    true, predicted = generator.integers(0, 3, 100), generator.integers(0, 3, 100)
    confusion = confusion_matrix(true, predicted, 3)[0]
    expected = precision_recall_fscore_support(true, predicted)
    for score, values in zip((precision, recall, f1, support), expected, strict=True):
        np.testing.assert_allclose(score(confusion), values, err_msg=score.__name__)
    assert accuracy(confusion) == pytest.approx((true == predicted).mean())
    assert balanced_accuracy(confusion) == pytest.approx(balanced_accuracy_score(true, predicted))


def test_class_scores_of_the_published_table():
    """Table 1 of Singh et al. 2023, from the confusion matrix that its recalls and supports imply (rounded there)."""
    confusion = np.array([[1324.0, 745.0], [13.0, 3134.0]])
    np.testing.assert_allclose(precision(confusion), [0.99, 0.81], atol=0.005)
    np.testing.assert_allclose(recall(confusion), [0.64, 1.00], atol=0.005)
    np.testing.assert_allclose(f1(confusion), [0.78, 0.89], atol=0.005)
    assert accuracy(confusion) == pytest.approx(0.85, abs=0.005)


def test_weights_count_images_as_often_as_they_were_drawn():
    confusion = confusion_matrix(np.array([0, 1]), np.array([0, 0]), 2, np.array([[2, 3]], np.float32))
    np.testing.assert_array_equal(confusion[0], [[2, 0], [3, 0]])


def test_scores_of_what_never_occurs_are_unknown_not_zero():
    confusion = np.array([[3.0, 0.0], [0.0, 0.0]])
    assert all(math.isnan(score(confusion)[1]) for score in (recall, precision, f1))
    assert math.isnan(balanced_accuracy(confusion)) and accuracy(confusion) == 1.0
    assert math.isnan(accuracy(np.zeros([2, 2])))


def test_youden_threshold_separates_best():
    score = np.array([0.1, 0.2, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.9])
    is_positive = np.array([False, False, False, True, False, False, True, True, True])
    # J is 3/4 - 0 from 0.6 on and 1 - 2/5 from 0.35 on; the middle between 0.6 and the next score below is taken
    assert youden_threshold(is_positive, score) == pytest.approx(0.55)
    assert youden_threshold(np.array([False, True]), np.array([0.2, 0.8])) == pytest.approx(0.5)


def test_youden_threshold_without_both_classes_is_a_half():
    assert youden_threshold(np.ones(3, bool), np.arange(3.0)) == 0.5


def test_youden_threshold_of_a_reversed_score_calls_nothing_positive():
    assert youden_threshold(np.array([True, False]), np.array([0.2, 0.8])) > 0.8


def test_images_of_one_patient_are_drawn_together():
    patients = np.array(["a", "b", "a", "c", "b", "a"])
    weights = patient_resamples(patients, 500, seed=0)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    np.testing.assert_array_equal(weights[:, 0] + weights[:, 1] + weights[:, 3], 3)  # as many patients as there are
    assert weights.mean() == pytest.approx(1, abs=0.1)
    np.testing.assert_array_equal(weights, patient_resamples(patients, 500, seed=0))
    assert not np.array_equal(weights, patient_resamples(patients, 500, seed=1))


def test_patient_bootstrap_covers_the_true_auc_and_image_bootstrap_does_not():
    """80 studies of 60 patients with 6 alike images each: the 95 % interval must hold the true AUC about that often.

    Scores are N(class, 1) a patient plus N(0, .5) an image, so the true AUC is Phi(1 / sqrt(2 * 1.25)).
    """
    truth = 0.5 * (1 + math.erf(1 / math.sqrt(2 * 1.25) / math.sqrt(2)))
    generator = np.random.default_rng(0)
    covered = {"patients": 0, "images": 0}
    for study in range(80):
        of_patient = np.repeat(np.arange(60), 6)
        is_positive = of_patient % 2 == 0
        score = is_positive + generator.normal(size=60)[of_patient] + generator.normal(0, 0.5, 360)
        for unit, keys in (("patients", of_patient), ("images", np.arange(360))):
            low, high = percentile_interval(roc_auc(is_positive, score, patient_resamples(keys, 200, study)))
            covered[unit] += low <= truth <= high
    assert covered["patients"] >= 70  # .95 of 80 is 76; 70 or fewer by chance: under 1 in 100
    assert covered["images"] <= 60


def test_interval_leaves_out_resamples_without_a_value():
    assert percentile_interval(np.array([0.0, 1.0, np.nan]), level=1.0) == (0.0, 1.0)
    assert all(math.isnan(value) for value in percentile_interval(np.array([np.nan])))
