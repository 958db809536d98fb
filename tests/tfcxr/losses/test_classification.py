import math

import pytest
import tensorflow as tf

from tfcxr.losses.classification import class_loss

LOGITS = tf.constant([[0.0, math.log(3.0)], [0.0, 0.0]])
LABEL = tf.constant([[0.0, 1.0], [1.0, 0.0]])
ALL_KNOWN = tf.ones([2, 2])


def test_softmax_by_hand():
    expected = (-math.log(0.75) - math.log(0.5)) / 2
    assert float(class_loss(True, LOGITS, LABEL, ALL_KNOWN)) == pytest.approx(expected, rel=1e-5)


def test_sigmoid_by_hand():
    expected = (math.log(2.0) - math.log(0.75) + 2 * math.log(2.0)) / 4
    assert float(class_loss(False, LOGITS, LABEL, ALL_KNOWN)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("is_single_label", [True, False])
def test_unknown_labels_add_neither_loss_nor_gradient(is_single_label):
    mask = tf.constant([[1.0, 1.0], [0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(LOGITS)
        masked = class_loss(is_single_label, LOGITS, LABEL, mask)
    alone = class_loss(is_single_label, LOGITS[:1], LABEL[:1], mask[:1])
    assert float(masked) == pytest.approx(float(alone), rel=1e-6)
    assert tf.reduce_max(tf.abs(tape.gradient(masked, LOGITS)[1])) == 0


def test_nothing_known_is_zero_not_nan():
    assert float(class_loss(False, LOGITS, LABEL, tf.zeros([2, 2]))) == 0.0
    assert float(class_loss(True, LOGITS, LABEL, tf.zeros([2, 2]))) == 0.0
