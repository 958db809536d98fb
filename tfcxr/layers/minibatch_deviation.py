"""Minibatch standard deviation (Karras et al. 2018, "Progressive Growing of GANs", section 3)."""

import tensorflow as tf


def minibatch_deviation(features: tf.Tensor, group_size: int = 8) -> tf.Tensor:
    """Appends one channel that says how much the images of a group differ, so that sameness gives fakes away.

    Args:
      features: float [batch, height, width, channels].
      group_size: images compared with each other; the largest divisor of the batch up to it is used.

    Returns:
      float [batch, height, width, channels + 1], the new channel constant over each group, computed in float32.
    """
    batch, height, width, channels = features.shape
    group = next(size for size in range(min(group_size, batch), 0, -1) if batch % size == 0)
    grouped = tf.reshape(tf.cast(features, tf.float32), [group, batch // group, height, width, channels])
    deviation = tf.sqrt(tf.math.reduce_variance(grouped, axis=0) + 1e-8)
    mean_deviation = tf.reduce_mean(deviation, axis=[1, 2, 3], keepdims=True)
    channel = tf.tile(mean_deviation, [group, height, width, 1])
    return tf.concat([features, tf.cast(channel, features.dtype)], axis=-1)
