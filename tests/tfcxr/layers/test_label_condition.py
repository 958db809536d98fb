import numpy as np
import tensorflow as tf

from tfcxr.layers.label_condition import label_condition

LABEL, MASK = tf.constant([[1.0, 0.0, 0.0]]), tf.constant([[1.0, 1.0, 0.0]])


def test_exclusive_labels_stay_and_unknown_ones_vanish():
    np.testing.assert_array_equal(label_condition(LABEL, None, True), LABEL)
    np.testing.assert_array_equal(label_condition(tf.ones([1, 3]), MASK, True), MASK)


def test_an_unknown_joint_label_is_neither_present_nor_absent():
    np.testing.assert_array_equal(label_condition(LABEL, MASK, False), [[1, -1, 0]])
    np.testing.assert_array_equal(label_condition(LABEL, None, False), [[1, -1, -1]])
