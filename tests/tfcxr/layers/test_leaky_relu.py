import numpy as np
import tensorflow as tf

from tfcxr.layers.leaky_relu import leaky_relu


def test_leaky_relu_has_its_slopes_and_ends_the_second_derivative_there():
    features, weight = tf.constant([-2.0, 3.0]), tf.constant([5.0, 7.0])
    with tf.GradientTape(persistent=True) as outer:
        outer.watch([features, weight])
        with tf.GradientTape() as tape:
            tape.watch(features)
            result = leaky_relu(features)
            total = tf.reduce_sum(weight * result)
        slope = tape.gradient(total, features)
    np.testing.assert_allclose(result, [-0.4, 3.0])
    np.testing.assert_allclose(slope, [0.2 * 5.0, 7.0])
    np.testing.assert_allclose(outer.gradient(slope, weight), [0.2, 1.0])
    assert outer.gradient(slope, features) is None, "zeros would be sent through the whole network"
