import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.layers.equalized import EqualizedConvolution, EqualizedDense, ScaledConvolution, ScaledDense, clamped
from tfcxr.layers.resample import blur, downsample
from tfcxr.precision import precision_scope


def leaky(values):
    return math.sqrt(2.0) * np.where(values > 0, values, 0.2 * values)


def make_features(*shape):
    return tf.random.stateless_normal(shape, [3, 4])


def test_dense_scales_its_weights_when_used():
    features = make_features(5, 6)
    layer = EqualizedDense(6, 3, seed=1, learning_rate_multiplier=0.1, bias=2.0, is_activated=True)
    np.testing.assert_allclose(layer.bias, [20.0] * 3)
    expected = np.float64(features) @ layer.kernel.numpy() * 0.1 / math.sqrt(6) + 0.1 * layer.bias.numpy()
    np.testing.assert_allclose(layer(features), leaky(expected), rtol=1e-5, atol=1e-6)


def test_weights_are_drawn_so_that_the_variance_stays():
    layer = EqualizedDense(400, 400, seed=1, learning_rate_multiplier=0.01)
    assert np.std(layer.kernel) == pytest.approx(100.0, rel=0.02)
    assert np.std(layer(make_features(50, 400))) == pytest.approx(1.0, rel=0.05)
    convolution = EqualizedConvolution(50, 50, 3, seed=1, is_activated=False)
    inside = convolution(make_features(4, 12, 12, 50))[:, 1:-1, 1:-1]
    assert np.std(inside) == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("is_halving", [False, True])
def test_convolution_is_the_scaled_kernel_with_bias_and_activation(is_halving):
    features = make_features(2, 6, 6, 4)
    layer = EqualizedConvolution(4, 5, 3, seed=1, is_halving=is_halving, gain=0.5)
    layer.bias.assign(np.arange(5.0) - 2.0)
    padded = np.pad(np.float64(features), [[0, 0], [1, 1], [1, 1], [0, 0]])
    if is_halving:
        padded = np.float64(blur(features, padding=2))
    stride, kernel = (2 if is_halving else 1), layer.kernel.numpy() / 6.0  # sqrt(3 * 3 * 4)
    size = (padded.shape[1] - 3) // stride + 1
    expected = np.zeros([2, size, size, 5])
    for row in range(size):
        for column in range(size):
            window = padded[:, row * stride : row * stride + 3, column * stride : column * stride + 3]
            expected[:, row, column] = np.einsum("bijc,ijco->bo", window, kernel)
    outputs = layer(features)
    assert outputs.shape == (2, 3, 3, 5) if is_halving else (2, 6, 6, 5)
    np.testing.assert_allclose(outputs, 0.5 * leaky(expected + layer.bias.numpy()), rtol=1e-4, atol=1e-5)


def test_clamp_cuts_off_what_the_activation_gives_before_the_gain():
    features = make_features(2, 6, 6, 4)
    free = EqualizedConvolution(4, 5, 3, seed=1, gain=0.5)(features).numpy()
    clamped = EqualizedConvolution(4, 5, 3, seed=1, gain=0.5, clamp=0.4)(features)
    assert free.max() > 0.2 and free.min() < -0.2
    np.testing.assert_allclose(clamped, np.clip(free, -0.2, 0.2), rtol=1e-6)
    plain = EqualizedConvolution(4, 5, 3, seed=1, is_activated=False, clamp=0.4)(features)
    assert np.abs(plain).max() > 0.4, "without an activation nothing is cut off"


def test_halving_1x1_convolution_without_activation_has_no_bias():
    features = make_features(2, 6, 6, 4)
    layer = EqualizedConvolution(4, 5, 1, seed=1, is_activated=False, is_halving=True)
    assert [variable.name for variable in layer.variables] == ["kernel"]
    expected = np.einsum("bhwc,co->bhwo", downsample(features), layer.kernel.numpy()[0, 0] / 2.0)
    np.testing.assert_allclose(layer(features), expected, rtol=1e-4, atol=1e-5)


def test_weights_are_saved_and_read_and_a_step_moves_them(tmp_path):
    def make(seed):
        return keras.Sequential(
            [
                EqualizedConvolution(2, 3, 3, seed=seed, is_halving=True),
                keras.layers.Flatten(),
                EqualizedDense(12, 1, seed=seed),
            ]
        )

    features = make_features(2, 4, 4, 2)
    model, other = make(1), make(2)
    expected = model(features).numpy()
    assert not np.allclose(other(features), expected)
    model.save_weights(tmp_path / "layers.weights.h5")
    other.load_weights(tmp_path / "layers.weights.h5")
    np.testing.assert_array_equal(other(features), expected)
    before = [variable.numpy() for variable in model.trainable_variables]
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    model.train_on_batch(features, tf.ones([2, 1]))
    for old, variable in zip(before, model.trainable_variables, strict=True):
        assert not np.array_equal(old, variable.numpy()), variable.path


def test_bfloat16_computes_close_to_float32():
    features = make_features(2, 6, 6, 4)
    exact = EqualizedConvolution(4, 5, 3, seed=1, is_halving=True)(features)
    with precision_scope("mixed_bfloat16"):
        layer = EqualizedConvolution(4, 5, 3, seed=1, is_halving=True)
    assert layer.kernel.dtype == "float32"
    rounded = layer(features)
    assert rounded.dtype == tf.bfloat16
    np.testing.assert_allclose(np.float32(rounded), exact, atol=0.05)


@pytest.mark.parametrize("is_equalized", [True, False])
def test_layers_of_pggan_scale_weight_and_bias_alike(is_equalized):
    """y = c (W x + b) with c = sqrt(2 / fan in); without equalization c is 1 and W is drawn that small."""
    dense = ScaledDense(8, 300, seed=1, is_equalized=is_equalized)
    convolution = ScaledConvolution(2, 500, 3, seed=1, is_equalized=is_equalized)
    features, maps = make_features(4, 8), make_features(2, 5, 6, 2)
    for layer, inputs, c in ((dense, features, 0.5), (convolution, maps, 1.0 / 3.0)):
        assert np.std(layer.kernel) == pytest.approx(1.0 if is_equalized else c, rel=0.05)
        np.testing.assert_array_equal(layer.bias, 0.0)
        layer.bias.assign(np.linspace(-1.0, 1.0, layer.bias.shape[0]))
        kernel = layer.kernel.numpy()
        raw = inputs @ kernel if layer is dense else tf.nn.conv2d(inputs, kernel, 1, "SAME")
        expected = (c if is_equalized else 1.0) * (raw + layer.bias.numpy())
        np.testing.assert_allclose(layer(inputs), expected, rtol=1e-4, atol=1e-5)
    assert ScaledDense(8, 3, seed=1).kernel_factor == 0.5 and ScaledConvolution(2, 3, 3, seed=1).bias_factor == 1 / 3


def test_weights_stay_float32_and_zero_sets_no_bound():
    layer = ScaledDense(8, 3, seed=1, dtype="mixed_bfloat16")
    assert layer(make_features(4, 8)).dtype == tf.bfloat16
    assert layer.used_kernel().dtype == tf.bfloat16 and (layer.kernel * 1.0).dtype == tf.float32
    values = tf.constant([-3.0, 0.5, 3.0])
    assert clamped(values, 0.0) is values
    np.testing.assert_array_equal(clamped(values, 2.0), [-2.0, 0.5, 2.0])
