import numpy as np
import tensorflow as tf

from tfcxr.layers.dropout import drop_out


def test_what_is_left_is_scaled_up():
    features = tf.constant([[1.0, 2.0, 3.0, 4.0]])
    dropped = drop_out(features, tf.constant([[0.0, 0.2, 0.25, 0.9]]), 0.25)
    np.testing.assert_allclose(dropped, [[0.0, 0.0, 4.0, 16.0 / 3.0]], rtol=1e-6)
    half = drop_out(tf.cast(features, tf.bfloat16), tf.fill([1, 4], 0.5), 0.5)
    assert half.dtype == tf.bfloat16
    np.testing.assert_array_equal(tf.cast(half, tf.float32), 2.0 * features)


def test_without_noise_or_rate_nothing_is_dropped():
    features = tf.ones([2, 3])
    assert drop_out(features, None, 0.5) is features
    assert drop_out(features, tf.zeros([2, 3]), 0.0) is features
