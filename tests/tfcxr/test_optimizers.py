import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.optimizers import FusedAdam


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9), (0.0, 0.99)])
def test_same_path_as_keras_adam(betas):
    starts = np.array([1.0, -2.0, 3.0], np.float32)
    variables = [keras.Variable(starts), keras.Variable(starts)]
    optimizers = [FusedAdam(0.05, *betas), keras.optimizers.Adam(0.05, *betas)]
    for variable, optimizer in zip(variables, optimizers, strict=True):
        optimizer.build([variable])
        for _ in range(20):
            optimizer.apply([2.0 * variable.value], [variable])
    np.testing.assert_allclose(variables[0].numpy(), variables[1].numpy(), rtol=1e-4, atol=1e-5)
    assert not np.allclose(variables[0].numpy(), starts)
    assert int(optimizers[0].iterations) == 20


def test_first_step_by_hand():
    variable = keras.Variable([1.0])
    optimizer = FusedAdam(0.1, 0.5, 0.9, epsilon=1e-7)
    optimizer.build([variable])
    optimizer.apply([tf.constant([3.0])], [variable])
    assert float(variable.numpy()[0]) == pytest.approx(0.9, abs=1e-5), "a first step is the learning rate's sign"


def test_a_late_read_sees_the_value_before_the_step():
    """Graph optimization lost this order where all gradients went through one IdentityN."""
    kernel, other = keras.Variable([1.0]), keras.Variable([1.0])
    optimizer = FusedAdam(0.25)
    optimizer.build([kernel, other])

    @tf.function
    def step(gradient):
        with tf.control_dependencies([tf.py_function(lambda: time.sleep(0.2), [], [])]):
            late = tf.identity(kernel.value)
        optimizer.apply([gradient, gradient * late], [kernel, other])  # the kernel's own gradient needs no read
        return late

    assert float(step(tf.ones([1]))[0]) == 1.0
    assert float(kernel.value[0]) < 1.0
