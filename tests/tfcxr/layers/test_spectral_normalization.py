import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.layers.spectral_normalization import SpectralConv2D, SpectralDense


def make_layers(**keywords):
    """Both layers with a spectrum whose largest singular value stands out a little, and inputs of theirs."""
    initializer = keras.initializers.RandomNormal(0.0, 0.7, seed=3)
    features = tf.random.stateless_normal([4, 6, 6, 5], [0, 1])
    return [
        (SpectralConv2D(7, 3, strides=2, kernel_initializer=initializer, seed=1, **keywords), features),
        (SpectralDense(7, kernel_initializer=initializer, seed=1, **keywords), features),
    ]


def largest_singular_value(layer):
    return np.linalg.svd(layer.kernel.numpy().reshape(-1, layer.kernel.shape[-1]), compute_uv=False)[0]


@pytest.mark.parametrize("index", [0, 1], ids=["convolution", "dense"])
def test_power_iteration_finds_the_largest_singular_value_and_leaves_the_kernel(index):
    layer, features = make_layers()[index]
    layer(features)
    kernel = layer.kernel.numpy()
    assert float(layer.spectral_norm()) < 0.99 * largest_singular_value(layer), "the test starts away from it"
    for _ in range(100):
        layer(features, update=True)
    assert float(layer.spectral_norm()) == pytest.approx(largest_singular_value(layer), rel=1e-4)
    np.testing.assert_allclose(np.linalg.norm(layer.left_vector), 1.0, rtol=1e-5)
    normalized = layer.normalized_kernel(update=False).numpy().reshape(-1, 7)
    assert np.linalg.svd(normalized, compute_uv=False)[0] == pytest.approx(1.0, rel=1e-4)
    np.testing.assert_array_equal(layer.kernel.numpy(), kernel)


@pytest.mark.parametrize("index", [0, 1], ids=["convolution", "dense"])
def test_nothing_moves_without_update_and_the_call_after_it_divides_by_the_same(index):
    layer, features = make_layers()[index]
    layer(features)
    left = layer.left_vector.numpy()
    layer(features, training=True)
    np.testing.assert_array_equal(layer.left_vector.numpy(), left)
    moved = layer(features, update=True)
    assert not np.array_equal(layer.left_vector.numpy(), left)
    np.testing.assert_array_equal(layer(features), moved)


def test_one_iteration_by_hand():
    layer = SpectralDense(2, use_bias=False)
    layer.build((None, 2))
    layer.kernel.assign([[3.0, 0.0], [0.0, 4.0]])
    layer.left_vector.assign([[0.6], [0.8]])
    # v ~ (1.8, 3.2), u ~ (3 * 1.8, 4 * 3.2) = (5.4, 12.8), sigma = |(3 u1, 4 u2)|
    outputs = layer(tf.constant([[1.0, 1.0]]), update=True)
    u = np.array([5.4, 12.8]) / np.hypot(5.4, 12.8)
    sigma = np.hypot(3 * u[0], 4 * u[1])
    np.testing.assert_allclose(layer.left_vector.numpy()[:, 0], u, rtol=1e-6)
    np.testing.assert_allclose(outputs, [[3 / sigma, 4 / sigma]], rtol=1e-6)


def test_outputs_are_those_of_keras_layers_with_the_divided_kernel():
    (convolution, features), (dense, _) = make_layers()
    plain = keras.layers.Conv2D(7, 3, 2, padding="same")
    for layer, reference in ((convolution, plain), (dense, keras.layers.Dense(7))):
        layer.build(features.shape)
        layer.bias.assign(np.arange(7.0))
        reference.build(features.shape)
        reference.set_weights([layer.kernel.numpy() / float(layer.spectral_norm()), layer.bias.numpy()])
        np.testing.assert_allclose(layer(features), reference(features), atol=1e-5)


def test_gradient_holds_the_singular_vectors_constant():
    """Analytic (u and v constant) against the difference quotient of W / (u^T W v) with both vectors frozen."""
    layer, features = make_layers()[1]
    layer.build(features.shape)
    weighting = np.random.default_rng(0).normal(size=(5, 7))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer.normalized_kernel(update=False) * weighting.astype(np.float32))
    gradient = tape.gradient(total, layer.trainable_variables[0]).numpy()

    kernel, u = layer.kernel.numpy().astype(np.float64), layer.left_vector.numpy().astype(np.float64)
    v = kernel @ u / np.linalg.norm(kernel @ u)
    value = lambda matrix: np.sum(matrix / (v.T @ matrix @ u) * weighting)  # noqa: E731
    steps = np.eye(35).reshape(35, 5, 7) * 1e-6
    expected = [(value(kernel + step) - value(kernel - step)) / 2e-6 for step in steps]
    np.testing.assert_allclose(gradient.ravel(), expected, rtol=1e-3, atol=1e-4)


def test_bfloat16_computes_the_norm_in_float32():
    layer, features = make_layers()[0]
    layer(features)
    narrow, _ = make_layers(dtype="mixed_bfloat16")[0]
    outputs = narrow(features, update=True)
    assert outputs.dtype == tf.bfloat16
    assert {variable.dtype for variable in narrow.variables} == {"float32"}
    full = layer(features, update=True)
    np.testing.assert_array_equal(narrow.left_vector, layer.left_vector)
    assert float(narrow.spectral_norm()) == float(layer.spectral_norm())
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), full, atol=0.03)


def test_save_and_reload_keeps_weights_and_vector(tmp_path):
    model, other = (keras.Sequential([layer for layer, _ in make_layers()]) for _ in range(2))
    features = make_layers()[0][1]
    for network in (model, other):
        network(features)
    model.layers[0](features, update=True)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other.layers[0].left_vector, model.layers[0].left_vector)
    np.testing.assert_array_equal(other(features), model(features))


def test_one_training_step_lowers_the_loss_and_trains_kernel_and_bias_only():
    layer, features = make_layers()[0]
    layer(features)
    target = tf.random.stateless_normal([4, 3, 3, 7], [5, 5]) * 0.1

    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(layer(features) - target))
        return loss, tape.gradient(loss, layer.trainable_variables)

    optimizer = keras.optimizers.SGD(0.1)
    assert len(layer.trainable_variables) == 2
    first, gradients = step()
    optimizer.apply_gradients(zip(gradients, layer.trainable_variables, strict=True))
    assert float(step()[0]) < float(first)


def test_first_vector_comes_from_the_seed():
    vectors = [SpectralDense(9, seed=seed) for seed in (1, 1, 2)]
    for layer in vectors:
        layer.build((None, 4))
    np.testing.assert_array_equal(vectors[0].left_vector, vectors[1].left_vector)
    assert not np.allclose(vectors[0].left_vector, vectors[2].left_vector)


def test_two_replicas_iterate_as_one(two_replicas):
    vectors = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            layer, features = make_layers()[0]
            layer.build(features.shape)
        tf.function(strategy.run)(layer, (features,), {"update": True})
        vectors.append(layer.left_vector.numpy())
    assert strategy.num_replicas_in_sync == 2
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-6)


def test_a_kernel_of_zeros_stays_zeros():
    layer = SpectralDense(3, kernel_initializer="zeros")
    np.testing.assert_array_equal(layer(tf.ones([2, 4]), update=True), np.zeros([2, 3]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpectralDense(0), "at least 1 unit, got 0"),
        (lambda: SpectralConv2D(4, 3, strides=0), "at least 1, got 4, 3 and 0"),
        (lambda: SpectralConv2D(0, 3), "at least 1, got 0, 3 and 1"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
