"""Each image's own scaled kernel, by loops in float64, against one convolution with scaled features."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.layers.initializers import initializer_seeds
from tfcxr.layers.modulated_convolution import StyleConvolution, ToImage, demodulation, modulated_convolution
from tfcxr.precision import precision_scope

TAPS = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16.0  # sums to 4


def make_case():
    features = tf.random.stateless_normal([2, 4, 4, 3], [1, 2])
    kernel = tf.random.stateless_normal([3, 3, 3, 5], [3, 4])
    style = 1.0 + tf.random.stateless_normal([2, 3], [5, 6])
    return features, kernel, style


def demodulated(kernel, style):
    """The kernel of each image, float64 [batch, 3, 3, inputs, filters]: equations 1 and 3."""
    scaled = np.float64(kernel)[None] * np.float64(style)[:, None, None, :, None]
    return scaled / np.sqrt(np.sum(scaled**2, axis=(1, 2, 3), keepdims=True))


def correlated(features, kernels):
    padded = np.pad(np.float64(features), [[0, 0], [1, 1], [1, 1], [0, 0]])
    batch, height, width, _ = features.shape
    result = np.zeros([batch, height, width, kernels.shape[-1]])
    for row, column in itertools.product(range(height), range(width)):
        window = padded[:, row : row + 3, column : column + 3]
        result[:, row, column] = np.einsum("bijc,bijco->bo", window, kernels)
    return result


def spread_and_filtered(features, kernels):
    """Each pixel paints its kernel at twice its place, and the filter smooths what was painted."""
    batch, height, width, _ = features.shape
    painted = np.zeros([batch, 2 * height + 3, 2 * width + 3, kernels.shape[-1]])
    for row, column in itertools.product(range(height), range(width)):
        stamp = np.einsum("bc,bijco->bijo", np.float64(features)[:, row, column], kernels)
        painted[:, 2 * row + 1 : 2 * row + 4, 2 * column + 1 : 2 * column + 4] += stamp
    result = np.zeros([batch, 2 * height, 2 * width, kernels.shape[-1]])
    for row, column in itertools.product(range(2 * height), range(2 * width)):
        window = painted[:, row : row + 4, column : column + 4]
        result[:, row, column] = np.einsum("bijo,ij->bo", window, TAPS)
    return result


@pytest.mark.parametrize(("is_doubling", "by_hand"), [(False, correlated), (True, spread_and_filtered)])
def test_scaled_features_are_scaled_kernels(is_doubling, by_hand):
    features, kernel, style = make_case()
    outputs = modulated_convolution(features, kernel, style, is_doubling)
    outputs *= demodulation(kernel, style)[:, None, None, :]
    expected = by_hand(features, demodulated(kernel, style))
    assert outputs.shape == expected.shape
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


def test_style_convolution_adds_noise_and_bias_before_the_activation():
    features, _, _ = make_case()
    w = tf.random.stateless_normal([2, 6], [7, 8])
    layer = StyleConvolution(3, 5, style_size=6, size=4, seeds=initializer_seeds(0))
    layer.noise_strength.assign(0.3)
    layer.bias.assign(np.arange(5.0) - 2.0)
    style = w.numpy() @ layer.affine.kernel.numpy() / math.sqrt(6) + 1.0
    plain = correlated(features, demodulated(layer.kernel.numpy(), style)) + layer.bias.numpy()
    given = tf.random.stateless_normal([2, 4, 4, 1], [9, 9])
    for noise, drawn in ((None, layer.noise.numpy()[None, :, :, None]), (given, given.numpy())):
        before = plain + 0.3 * drawn
        expected = math.sqrt(2.0) * np.where(before > 0, before, 0.2 * before)
        np.testing.assert_allclose(layer(features, w, noise), expected, rtol=1e-4, atol=1e-5)


def test_image_part_is_modulated_but_not_demodulated():
    features, _, _ = make_case()
    w = tf.random.stateless_normal([2, 6], [7, 8])
    layer = ToImage(3, 1, style_size=6, seeds=initializer_seeds(0))
    layer.bias.assign([0.5])
    style = (w.numpy() @ layer.affine.kernel.numpy() / math.sqrt(6) + 1.0) / math.sqrt(3)
    expected = np.einsum("bhwc,bc,co->bhwo", features, style, layer.kernel.numpy()[0, 0]) + 0.5
    np.testing.assert_allclose(layer(features, w), expected, rtol=1e-4, atol=1e-5)


def test_clamp_cuts_off_what_comes_out():
    features, _, _ = make_case()
    w = tf.random.stateless_normal([2, 6], [7, 8])
    for free, clamped in (
        (
            StyleConvolution(3, 5, 6, 4, initializer_seeds(0)),
            StyleConvolution(3, 5, 6, 4, initializer_seeds(0), clamp=0.3),
        ),
        (ToImage(3, 1, 6, initializer_seeds(0)), ToImage(3, 1, 6, initializer_seeds(0), clamp=0.3)),
    ):
        expected = free(features, w).numpy()
        assert expected.max() > 0.3 and expected.min() < -0.3
        np.testing.assert_array_equal(clamped(features, w), np.clip(expected, -0.3, 0.3))


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_length_of_the_gradient_by_w_has_gradients_of_all_weights(precision):
    """As path length regularization needs: the gradient of a gradient through the doubling convolution."""
    features, _, _ = make_case()
    with precision_scope(precision):
        layer = StyleConvolution(3, 5, style_size=6, size=8, seeds=initializer_seeds(0), is_doubling=True)
    w = tf.random.stateless_normal([2, 6], [7, 8])
    layer(features, w)
    layer.noise_strength.assign(0.1)
    weights = [layer.kernel, layer.bias, layer.noise_strength, layer.affine.kernel, layer.affine.bias]
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(w)
            total = tf.reduce_sum(tf.cast(layer(features, w), tf.float32) ** 2)
        length = tf.reduce_sum(inner.gradient(total, w) ** 2)
    for weight, gradient in zip(weights, outer.gradient(length, weights), strict=True):
        assert np.isfinite(gradient).all() and np.any(gradient), weight.path


def test_weights_are_saved_and_read_and_a_step_moves_them(tmp_path):
    class Both(keras.Model):
        def __init__(self, seed):
            super().__init__()
            seeds = initializer_seeds(seed)
            self.convolution = StyleConvolution(3, 5, 6, size=8, seeds=seeds, is_doubling=True)
            self.to_image = ToImage(5, 1, 6, seeds=seeds)

        def call(self, inputs):
            features, w = inputs
            return self.to_image(self.convolution(features, w), w)

    inputs = make_case()[0], tf.random.stateless_normal([2, 6], [7, 8])
    model, other = Both(1), Both(2)
    model.convolution.noise_strength.assign(0.3)
    expected = model(inputs).numpy()
    assert not np.allclose(other(inputs), expected)
    model.save_weights(tmp_path / "both.weights.h5")
    other.load_weights(tmp_path / "both.weights.h5")
    np.testing.assert_array_equal(other(inputs), expected)
    before = [variable.numpy() for variable in model.trainable_variables]
    noise = model.convolution.noise.numpy()
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    model.train_on_batch(inputs, tf.ones([2, 8, 8, 1]))
    for old, variable in zip(before, model.trainable_variables, strict=True):
        assert not np.array_equal(old, variable.numpy()), variable.path
    np.testing.assert_array_equal(model.convolution.noise, noise)


def test_a_style_of_zeros_is_demodulated_to_a_finite_number():
    np.testing.assert_allclose(demodulation(tf.ones([3, 3, 2, 4]), tf.zeros([1, 2])), np.full([1, 4], 1e4), rtol=1e-5)


def test_styles_are_computed_in_float32_also_in_bfloat16():
    """Two w that bfloat16 cannot tell apart, and an affine layer that can."""
    features = tf.ones([1, 4, 4, 3])
    with precision_scope("mixed_bfloat16"):
        layers = StyleConvolution(3, 5, 6, 4, initializer_seeds(0)), ToImage(3, 1, 6, initializer_seeds(0))
    for layer in layers:
        layer.affine.kernel.assign(1e4 * layer.affine.kernel)
        # a w of ones gives a style of zeros
        layer.affine.bias.assign(-tf.linalg.matvec(layer.affine.kernel, tf.ones([6]), transpose_a=True) / 6**0.5)
        moved = [np.float32(layer(features, tf.fill([1, 6], 1.0 + shift))) for shift in (2.0**-10, -(2.0**-10))]
        assert np.abs(moved[0] - moved[1]).max() > 0.1
