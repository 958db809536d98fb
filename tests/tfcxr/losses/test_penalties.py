import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.losses.penalties import (
    drift_penalty,
    gradient_penalty,
    lazy_gradients,
    path_length_penalty,
    r1_penalty,
)


def image_like(stream, rows=3):
    return tf.random.stateless_normal([rows, 4, 4, 1], [0, stream])


def linear(weights):
    return lambda image: tf.reduce_sum(image * weights, axis=[1, 2, 3])[:, None]


def by_differences(function, variable, step=1e-2):
    start, values = float(variable), []
    for shift in (-step, step):
        variable.assign(start + shift)
        values.append(float(function()))
    variable.assign(start)
    return np.diff(values)[0] / (2 * step)


def test_r1_of_a_linear_discriminator_is_half_its_squared_weights():
    weights = tf.random.stateless_normal([4, 4, 1], [0, 0])
    penalty = r1_penalty(linear(weights), image_like(1, rows=5))
    assert float(penalty) == pytest.approx(0.5 * float(tf.reduce_sum(weights**2)), rel=1e-5)


def test_gradient_of_r1_agrees_with_differences():
    images = image_like(1)
    scale = tf.Variable(0.7)

    def penalty():
        return r1_penalty(lambda image: tf.reduce_sum(tf.tanh(scale * image), axis=[1, 2, 3])[:, None], images)

    with tf.GradientTape() as tape:
        value = penalty()
    assert float(tape.gradient(value, scale)) == pytest.approx(by_differences(penalty, scale), rel=1e-2)


@pytest.mark.parametrize("weight", [0.1, 0.5])
def test_gradient_penalty_of_a_linear_critic_punishes_its_norm_on_both_sides_of_1(weight):
    """16 equal weights have the norm 4 * weight, whatever the images: .4 is too flat, 2 is too steep."""
    penalty = gradient_penalty(linear(weight), image_like(1), image_like(2), tf.constant([[0.0], [0.5], [0.9]]))
    assert float(penalty) == pytest.approx((4 * weight - 1) ** 2, rel=1e-4)


def test_gradient_penalty_is_taken_between_the_two_images():
    """Half the squared norm of an image has the image itself as its gradient, so the interpolates show themselves."""
    real, fake = tf.fill([2, 4, 4, 1], 1.0), tf.fill([2, 4, 4, 1], -0.5)
    penalty = gradient_penalty(
        lambda image: 0.5 * tf.reduce_sum(tf.square(image), axis=[1, 2, 3])[:, None],
        real,
        fake,
        tf.constant([[0.0], [0.8]]),
    )
    norms = 4 * 0.5, 4 * (0.8 * 1.0 - 0.2 * 0.5)  # 4 is the norm of sixteen ones
    assert float(penalty) == pytest.approx(np.mean([(norm - 1) ** 2 for norm in norms]), rel=1e-5)


def test_gradient_of_gradient_penalty_agrees_with_differences_and_spares_the_images():
    real, fake, uniform = image_like(1), image_like(2), tf.constant([[0.1], [0.5], [0.8]])
    scale = tf.Variable(0.7)

    def penalty():
        return gradient_penalty(
            lambda image: tf.reduce_sum(tf.tanh(scale * image), axis=[1, 2, 3])[:, None], real, fake, uniform
        )

    with tf.GradientTape() as tape:
        tape.watch([real, fake])
        value = penalty()
    gradient, real_gradient, fake_gradient = tape.gradient(value, [scale, real, fake])
    assert float(gradient) == pytest.approx(by_differences(penalty, scale), rel=1e-2)
    assert real_gradient is None
    assert fake_gradient is None


def test_a_dead_critic_costs_1_and_its_gradients_are_finite():
    weights = tf.Variable(tf.zeros([4, 4, 1]))
    with tf.GradientTape() as tape:
        value = gradient_penalty(linear(weights), image_like(1), image_like(2), tf.fill([3, 1], 0.5))
    assert float(value) == pytest.approx(1.0, abs=1e-4)
    assert np.isfinite(tape.gradient(value, weights)).all()


def test_drift_penalty_by_hand():
    assert float(drift_penalty(tf.constant([[3.0], [-1.0]]))) == pytest.approx(5.0)
    logits = tf.constant([[3.0], [-1.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = drift_penalty(logits)
    np.testing.assert_allclose(tape.gradient(value, logits), [[3.0], [-1.0]])


def test_path_length_of_a_linear_synthesis_by_hand():
    """Pixels that are a style value each, times a weight: the slope is the weighted direction over the size."""
    weight = tf.Variable(3.0)
    styles = tf.random.stateless_normal([2, 1, 4], [0, 0])
    normal = tf.reshape(tf.constant([1.0, -1.0, 1.0, 1.0, 2.0, 2.0, -2.0, 2.0]), [2, 2, 2, 1])

    def measured():
        synthesis = lambda values: weight * tf.reshape(values, [2, 2, 2, 1])  # noqa: E731
        return path_length_penalty(synthesis, styles, normal, tf.constant(4.0), decay=0.1)

    with tf.GradientTape(persistent=True) as tape:
        penalty, new_mean = measured()
    lengths = 3.0 * np.array([2.0, 4.0]) / 2
    assert float(penalty) == pytest.approx(np.mean((lengths - 4.0) ** 2))
    assert float(new_mean) == pytest.approx(4.0 + 0.1 * (lengths.mean() - 4.0))
    assert float(tape.gradient(penalty, weight)) == pytest.approx(
        by_differences(lambda: measured()[0], weight), rel=1e-3
    )
    assert tape.gradient(new_mean, weight) is None


@pytest.fixture
def variables():
    return [keras.Variable([2.0, 3.0]), keras.Variable([[5.0]])]


def squares(variables):
    return tf.reduce_sum(tf.square(variables[0].value))


@pytest.mark.parametrize("as_tensor", [False, True])
def test_due_penalty_gives_its_value_and_scaled_gradients(variables, as_tensor):
    def step(is_due):
        return lazy_gradients(is_due, lambda: squares(variables), variables, scale=0.5)

    value, gradients = tf.function(step)(tf.constant(True)) if as_tensor else step(True)
    assert float(value) == 13.0
    np.testing.assert_allclose(gradients[0], [2.0, 3.0])
    np.testing.assert_array_equal(gradients[1], [[0.0]], "a variable that the penalty does not depend on")


@pytest.mark.parametrize("as_tensor", [False, True])
def test_penalty_that_is_not_due_gives_zeros(variables, as_tensor):
    def step(is_due):
        return lazy_gradients(is_due, lambda: squares(variables), variables, scale=0.5)

    value, gradients = tf.function(step)(tf.constant(False)) if as_tensor else step(False)
    assert float(value) == 0.0
    for gradient, variable in zip(gradients, variables, strict=True):
        np.testing.assert_array_equal(gradient, tf.zeros(variable.shape))


@pytest.mark.parametrize(("is_due", "mean"), [(True, 7.0), (False, 4.0)])
def test_a_running_mean_survives_the_condition(variables, is_due, mean):
    def step(is_due, old_mean):
        return lazy_gradients(is_due, lambda: (squares(variables), old_mean + 3.0), variables, 1.0, (0.0, old_mean))

    (value, new_mean), gradients = tf.function(step)(tf.constant(is_due), tf.constant(4.0))
    assert float(value) == (13.0 if is_due else 0.0)
    assert float(new_mean) == mean
    np.testing.assert_allclose(gradients[0], [4.0, 6.0] if is_due else [0.0, 0.0])


def test_lazy_r1_of_a_network_is_its_gradient():
    keras.utils.set_random_seed(3)
    network = keras.Sequential([keras.layers.Conv2D(2, 3), keras.layers.Flatten(), keras.layers.Dense(1)])
    images = image_like(1)
    network(images)
    step = tf.function(
        lambda: lazy_gradients(
            tf.constant(True), lambda: r1_penalty(network, images), network.trainable_variables, scale=4.0
        )
    )
    value, gradients = step()
    with tf.GradientTape() as tape:
        expected_value = r1_penalty(network, images)
    expected = tape.gradient(expected_value, network.trainable_variables)
    assert float(value) == pytest.approx(float(expected_value), rel=1e-5)
    assert [gradient is None for gradient in expected] == [False, True, False, True], "biases do not steepen it"
    np.testing.assert_allclose(gradients[0], 4.0 * expected[0], rtol=1e-4)
    np.testing.assert_array_equal(gradients[1], tf.zeros([2]))
