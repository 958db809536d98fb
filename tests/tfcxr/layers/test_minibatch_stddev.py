import numpy as np
import tensorflow as tf

from tfcxr.layers.minibatch_stddev import minibatch_stddev


def test_same_images_give_zero_and_different_ones_their_deviation():
    same = tf.ones([4, 2, 2, 3])
    appended = minibatch_stddev(same)
    assert appended.shape == (4, 2, 2, 4)
    np.testing.assert_allclose(appended[..., -1], 0, atol=1e-3)
    half_apart = tf.concat([tf.zeros([2, 2, 2, 3]), 2 * tf.ones([2, 2, 2, 3])], axis=0)
    np.testing.assert_allclose(minibatch_stddev(half_apart)[..., -1], 1.0, rtol=1e-5)


def test_group_divides_the_batch_and_features_stay():
    features = tf.random.stateless_normal([6, 2, 2, 3], [0, 0])
    appended = minibatch_stddev(features, group_size=4)
    np.testing.assert_array_equal(appended[..., :3], features)
    assert len(np.unique(appended[:, 0, 0, 3].numpy())) == 2, "six images make two groups of three"


def test_gradient_is_finite_for_same_images():
    features = tf.ones([4, 2, 2, 3])
    with tf.GradientTape() as tape:
        tape.watch(features)
        total = tf.reduce_sum(minibatch_stddev(features))
    assert np.isfinite(tape.gradient(total, features)).all()
