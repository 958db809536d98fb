import numpy as np
import pytest
import tensorflow as tf

from tfcxr.losses.penalties import r1_penalty


def test_r1_of_a_linear_discriminator_is_half_its_squared_weights():
    weights = tf.random.stateless_normal([4, 4, 1], [0, 0])
    images = tf.random.stateless_normal([5, 4, 4, 1], [0, 1])
    penalty = r1_penalty(lambda image: tf.reduce_sum(image * weights, axis=[1, 2, 3])[:, None], images)
    assert float(penalty) == pytest.approx(0.5 * float(tf.reduce_sum(weights**2)), rel=1e-5)


def test_gradient_of_r1_agrees_with_differences():
    images = tf.random.stateless_normal([3, 4, 4, 1], [0, 1])
    scale = tf.Variable(0.7)

    def penalty():
        return r1_penalty(lambda image: tf.reduce_sum(tf.tanh(scale * image), axis=[1, 2, 3])[:, None], images)

    with tf.GradientTape() as tape:
        value = penalty()
    gradient = float(tape.gradient(value, scale))
    values = []
    for shift in (-1e-2, 1e-2):
        scale.assign(0.7 + shift)
        values.append(float(penalty()))
    assert gradient == pytest.approx(np.diff(values)[0] / 2e-2, rel=1e-2)
