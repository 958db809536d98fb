import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.layers.minibatch_stddev import (
    append_channel,
    consecutive_stddev,
    minibatch_stddev,
    update_typical_deviation,
)

FEATURES = tf.random.stateless_normal([6, 2, 3, 4], [0, 0])


def by_hand(features, groups, ddof):
    """The channel, [batch]: for each image its group's standard deviation, a mean over places and channels."""
    channel = np.zeros(len(features))
    for group in groups:
        variance = np.var(np.float64(features)[group], axis=0, ddof=ddof)
        channel[group] = np.sqrt(variance + 1e-8).mean()
    return channel


@pytest.mark.parametrize(
    ("append", "group_size", "groups", "ddof"),
    [
        (minibatch_stddev, 4, [[0, 2, 4], [1, 3, 5]], 0),
        (minibatch_stddev, 8, [[0, 1, 2, 3, 4, 5]], 0),
        (consecutive_stddev, 3, [[0, 1, 2], [3, 4, 5]], 1),
        (consecutive_stddev, 4, [[0, 1, 2, 3, 4, 5]], 1),
    ],
)
def test_groups_by_hand(append, group_size, groups, ddof):
    appended = append(FEATURES, group_size).numpy()
    np.testing.assert_array_equal(appended[..., :-1], FEATURES)
    expected = by_hand(FEATURES, groups, ddof)[:, None, None]
    np.testing.assert_allclose(appended[..., -1], np.broadcast_to(expected, [6, 2, 3]), rtol=1e-5)


def test_default_groups():
    eight = tf.random.stateless_normal([16, 1, 1, 2], [0, 1])
    groups = [list(range(first, 16, 2)) for first in (0, 1)]
    np.testing.assert_allclose(minibatch_stddev(eight)[:, 0, 0, -1], by_hand(eight, groups, 0), rtol=1e-5)
    groups = [list(range(first, first + 4)) for first in range(0, 16, 4)]
    np.testing.assert_allclose(consecutive_stddev(eight)[:, 0, 0, -1], by_hand(eight, groups, 1), rtol=1e-5)


def test_equal_images_give_the_root_of_epsilon_and_one_alone_gives_0_in_the_zoo():
    same = tf.ones([4, 2, 2, 3])
    for append in (minibatch_stddev, consecutive_stddev):
        np.testing.assert_allclose(append(same)[..., -1], 1e-4, rtol=1e-5)
    np.testing.assert_allclose(minibatch_stddev(same[:1])[..., -1], 1e-4, rtol=1e-5)
    np.testing.assert_array_equal(consecutive_stddev(same[:1])[..., -1], 0)


def test_computed_in_float32():
    rounded = minibatch_stddev(tf.cast(FEATURES, tf.bfloat16))
    assert rounded.dtype == tf.bfloat16
    exact = minibatch_stddev(tf.cast(tf.cast(FEATURES, tf.bfloat16), tf.float32))
    np.testing.assert_array_equal(rounded[..., -1], tf.cast(exact[..., -1], tf.bfloat16))


def test_deviations_repeat_over_the_batch():
    appended = append_channel(FEATURES, tf.constant([1.0, 2.0]))
    np.testing.assert_array_equal(appended[:, 1, 2, -1], [1, 2, 1, 2, 1, 2])
    traced = tf.function(append_channel, input_signature=[tf.TensorSpec([None, 2, 3, 4]), tf.TensorSpec([])])
    np.testing.assert_array_equal(traced(FEATURES, tf.constant(0.5))[..., -1], np.full([6, 2, 3], 0.5))


@pytest.mark.parametrize(("step", "rate"), [(0, 1.0), (3, 0.25), (99, 0.01), (5000, 0.01)])
def test_the_typical_deviation_is_a_mean_at_first_and_then_follows(step, rate):
    typical = keras.Variable(2.0)
    update_typical_deviation(typical, tf.constant(6.0), tf.constant(step))
    assert float(typical) == pytest.approx(2.0 + 4.0 * rate)


def test_gradient_is_finite_for_same_images():
    features = tf.ones([4, 2, 2, 3])
    with tf.GradientTape() as tape:
        tape.watch(features)
        total = tf.reduce_sum(minibatch_stddev(features))
    assert np.isfinite(tape.gradient(total, features)).all()
