import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.layers.batch_normalization import BatchNormalization, Convolution, NormalizedConvolution


def fill(layer, seed=0):
    """Weights and statistics that are not what a new layer has."""
    generator = np.random.default_rng(seed)
    for variable in layer.variables:
        low, high = (0.3, 1.6) if variable.name in ("gamma", "moving_variance") else (-0.5, 0.5)
        variable.assign(generator.uniform(low, high, variable.shape))
    return layer


def test_batch_statistics_by_hand():
    layer = BatchNormalization(1)
    layer.gamma.assign([2.0])
    layer.beta.assign([0.5])
    layer.trainable = False  # changes nothing, unlike Keras's own layer
    features = tf.constant([1.0, 3.0, 5.0, 7.0])[:, None, None, None]  # mean 4, squares 20: variance 5, unbiased 20 / 3
    normalized = layer(features, training=True)
    np.testing.assert_allclose(normalized[:, 0, 0, 0], 0.5 + 2 * np.array([-3, -1, 1, 3]) / np.sqrt(5), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_mean, [0.4], rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, [0.9 + 0.1 * 20 / 3], rtol=1e-6)


def test_running_statistics_by_hand_and_that_they_stay():
    layer = BatchNormalization(2, epsilon=1.0)
    layer.gamma.assign([2.0, 1.0])
    layer.beta.assign([0.0, -1.0])
    layer.moving_mean.assign([1.0, 0.0])
    layer.moving_variance.assign([3.0, 8.0])
    features = tf.constant([[5.0, 6.0]])[:, None, None, :]
    np.testing.assert_allclose(layer(features)[0, 0, 0], [4.0, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(layer.moving_mean, [1.0, 0.0])
    np.testing.assert_array_equal(layer.moving_variance, [3.0, 8.0])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("is_traced", [False, True])
def test_second_derivatives_are_those_of_the_formula(training, is_traced):
    layer = fill(BatchNormalization(3))
    features = tf.random.stateless_normal([4, 5, 5, 3], [1, 2])

    def formula(features):  # without tf.nn.moments, whose second derivative is wrong: it stops the mean's gradient
        mean, variance = layer.moving_mean, layer.moving_variance
        if training:
            mean = tf.reduce_mean(features, [0, 1, 2])
            variance = tf.reduce_mean(tf.square(features - mean), [0, 1, 2])
        return layer.gamma * (features - mean) / tf.sqrt(variance + layer.epsilon) + layer.beta

    def penalty_slope(normalize):
        with tf.GradientTape() as outer:
            outer.watch(features)
            with tf.GradientTape() as inner:
                inner.watch(features)
                total = tf.reduce_sum(tf.sin(normalize(features)) * features)
            slope = inner.gradient(total, features)
            penalty = tf.reduce_sum(tf.square(slope))
        return slope, outer.gradient(penalty, features)

    compute = tf.function(penalty_slope) if is_traced else penalty_slope
    expected = penalty_slope(formula)
    for found, value in zip(compute(lambda x: layer(x, training=training)), expected, strict=True):
        np.testing.assert_allclose(found, value, atol=1e-4 * np.abs(value).max())


def test_one_value_a_channel_has_no_statistics():
    with pytest.raises(ValueError, match=r"more than one value per channel, got .*\(1, 1, 1, 3\); give more images"):
        BatchNormalization(3)(tf.ones([1, 1, 1, 3]), training=True)


def test_replicas_share_the_mean_of_their_statistics(two_replicas):
    with two_replicas.scope():
        layer = BatchNormalization(1)

    @tf.function
    def step():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        features = tf.constant([[[[0.0]]], [[[2.0]]]]) + 4.0 * tf.cast(replica, tf.float32)  # means 1 and 5
        return layer(features, training=True)

    two_replicas.run(step)
    np.testing.assert_allclose(layer.moving_mean, [0.3], rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, [0.9 + 0.1 * 2], rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "stride", "padding", "pixels"),
    [
        (7, 2, 3, 8),
        (3, 1, 1, 6),
        ((1, 7), 1, (0, 3), 9),
        ((3, 5), 2, (1, 2), 9),
        (3, 2, 0, 7),
        (1, 1, 0, 5),
        (5, 1, 0, 8),
    ],
)
def test_padding_is_the_same_on_both_sides(size, stride, padding, pixels):
    layer = Convolution(2, 3, size, seed=1, stride=stride, padding=padding)
    features = tf.random.stateless_normal([2, pixels, pixels, 2], [1, 2])
    rows, columns = (padding, padding) if isinstance(padding, int) else padding
    padded = np.pad(features, [[0, 0], [rows, rows], [columns, columns], [0, 0]])
    kernel = layer.kernel.numpy()
    height, width = kernel.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))[:, ::stride, ::stride]
    expected = np.einsum("bhwiyx,yxio->bhwo", windows, kernel)
    np.testing.assert_allclose(layer(features), expected, atol=1e-5)


def test_normalized_convolution_is_its_three_parts():
    layer = fill(NormalizedConvolution(2, 3, 3, seed=1, padding=1, epsilon=1e-2))
    layer.norm.moving_variance.assign([0.001, 0.5, 2.0])  # so small that epsilon is seen
    features = tf.random.stateless_normal([2, 6, 6, 2], [1, 2])
    convolved = layer.convolve(features, tf.convert_to_tensor(layer.kernel))
    np.testing.assert_allclose(layer(features), tf.nn.relu(layer.norm(convolved)), atol=1e-5)
    mean, variance = tf.nn.moments(convolved, [0, 1, 2])
    by_batch = tf.nn.batch_normalization(convolved, mean, variance, layer.norm.beta, layer.norm.gamma, 1e-2)
    np.testing.assert_allclose(layer(features, training=True), tf.nn.relu(by_batch), atol=1e-5)


def test_weights_are_trained_saved_and_read_again(tmp_path):
    model = keras.Sequential([NormalizedConvolution(1, 2, 3, seed=1), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse", jit_compile=False)
    images = tf.random.stateless_normal([4, 5, 5, 1], [1, 2])
    before = [value.numpy() for value in model.layers[0].variables]
    model.fit(images, tf.ones([4, 1]), verbose=0)
    changed = {
        value.name: not np.allclose(old, value) for old, value in zip(before, model.layers[0].variables, strict=True)
    }
    assert changed == dict.fromkeys(["kernel", "gamma", "beta", "moving_mean", "moving_variance"], True)
    model.save_weights(tmp_path / "model.weights.h5")
    other = keras.Sequential([NormalizedConvolution(1, 2, 3, seed=2), keras.layers.Flatten(), keras.layers.Dense(1)])
    other.build([None, 5, 5, 1])
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other(images), model(images))


def test_bfloat16_keeps_and_applies_statistics_in_float32():
    exact = fill(NormalizedConvolution(2, 3, 3, seed=1))
    rounded = fill(NormalizedConvolution(2, 3, 3, seed=1, dtype="mixed_bfloat16"))
    assert {value.dtype for value in rounded.norm.scale_and_offset()} == {tf.float32}
    np.testing.assert_array_equal(rounded.norm.scale_and_offset()[0], exact.norm.scale_and_offset()[0])
    features = tf.random.stateless_normal([2, 6, 6, 2], [1, 2])
    for training in (False, True):
        found = rounded(features, training=training)
        assert found.dtype == tf.bfloat16 and found.shape == (2, 4, 4, 3), "no padding unless it is asked for"
        np.testing.assert_allclose(np.float32(found), exact(features, training=training), atol=0.05)
    np.testing.assert_allclose(rounded.norm.moving_mean, exact.norm.moving_mean, atol=0.01)
