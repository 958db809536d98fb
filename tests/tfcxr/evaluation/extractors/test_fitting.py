"""What every classifier is trained by: the loss, its weights, and the momentum of short trainings."""

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.evaluation.extractors import fitting
from tfcxr.evaluation.extractors.fitting import quick_momentum


def test_cross_entropy_of_hand_computed_values_leaves_out_unknown_labels():
    logits = tf.constant([[0.0, 2.0], [1.0, 0.0]])
    label = tf.constant([[1.0, np.nan], [0.0, 1.0]])
    expected = (np.log(2) + np.log1p(np.exp(1.0)) + np.log(2)) / 3
    loss = fitting._cross_entropy(False, np.ones([2, 2], np.float32))
    assert float(loss(label, logits)) == pytest.approx(expected)
    loss = fitting._cross_entropy(True, np.ones([2, 2], np.float32))
    assert float(loss(label, logits)) == pytest.approx(np.log1p(np.exp(1.0)))  # the first row is not known


def test_weights_are_of_absent_and_present_labels():
    logits, weights = tf.constant([[0.0, 2.0], [1.0, 0.0]]), np.array([[1, 2], [3, 4]], np.float32)
    joint = fitting._cross_entropy(False, weights)(tf.constant([[1.0, 0.0], [0.0, np.nan]]), logits)
    expected = (3 * np.log(2) + 2 * np.log1p(np.exp(2.0)) + np.log1p(np.exp(1.0))) / 3
    assert float(joint) == pytest.approx(expected)
    exclusive = fitting._cross_entropy(True, weights)(tf.constant([[1.0, 0.0], [0.0, 1.0]]), logits)
    assert float(exclusive) == pytest.approx((3 * np.log1p(np.exp(2.0)) + 4 * np.log1p(np.exp(1.0))) / 2)


def test_two_class_softmax_is_the_sigmoid_of_the_logits_difference():
    logits = tf.constant([[0.3, 1.1]])
    expected = tf.nn.sigmoid_cross_entropy_with_logits(tf.constant([1.0]), tf.constant([0.8]))
    loss = fitting._cross_entropy(True, np.ones([2, 2], np.float32))
    assert float(loss(tf.constant([[0.0, 1.0]]), logits)) == pytest.approx(float(expected[0]))


def test_balancing_gives_both_sides_equal_weight():
    labels = np.array([[1, 0], [0, 1], [0, 1], [0, 1]], np.float32)
    weights = fitting._label_weights(labels, True, "weights")
    np.testing.assert_allclose(weights[1] * labels.sum(0), [2, 2])
    unknown = np.array([[1, 0], [0, np.nan], [0, 0]], np.float32)
    weights = fitting._label_weights(unknown, False, "weights")
    np.testing.assert_allclose(weights, [[0.75, 0.5], [1.5, 1]])  # a side that never occurs keeps 1
    np.testing.assert_array_equal(fitting._label_weights(labels, True, "none"), 1)


def test_momentum_forgets_nine_tenths_within_an_epoch():
    assert quick_momentum(0.9, 5) == pytest.approx(0.1 ** (1 / 5))
    assert quick_momentum(0.9, 5) ** 5 == pytest.approx(0.1)
    assert quick_momentum(0.9, 1000) == 0.9


def test_large_images_are_predicted_in_smaller_batches():
    assert [fitting.prediction_batch(size) for size in (32, 90, 91, 512, 4096)] == [256, 256, 253, 8, 1]
