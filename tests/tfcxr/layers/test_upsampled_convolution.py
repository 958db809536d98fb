import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.layers.upsampled_convolution import UpsampledConvolution


@pytest.mark.parametrize("use_bias", [True, False])
def test_it_is_upsampling_and_a_convolution(use_bias):
    features = tf.random.stateless_normal([2, 5, 5, 3], [0, 0])
    layer = UpsampledConvolution(4, keras.initializers.RandomNormal(0.0, 1.0, seed=1), use_bias)
    outputs = layer(features)
    if use_bias:
        layer.bias.assign([1.0, 2.0, 3.0, 4.0])
    two = keras.Sequential([keras.layers.UpSampling2D(), keras.layers.Conv2D(4, 3, padding="same", use_bias=use_bias)])
    two(features)
    two.set_weights(layer.get_weights())
    assert outputs.shape == (2, 10, 10, 4)
    gradients = []
    for network in (layer, two):
        with tf.GradientTape() as tape:
            tape.watch(features)
            total = tf.reduce_sum(tf.square(network(features)))
        gradients.append([total, *tape.gradient(total, [features, *network.trainable_variables])])
    for one_operation, two_operations in zip(*gradients, strict=True):
        np.testing.assert_allclose(one_operation, two_operations, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(layer(features), two(features), atol=1e-5)
