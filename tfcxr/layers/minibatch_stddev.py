"""Minibatch standard deviation (Karras et al. 2018, "Progressive Growing of GANs", section 3)."""

import tensorflow as tf


def minibatch_stddev(features: tf.Tensor, group_size: int = 8) -> tf.Tensor:
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


def consecutive_stddev(features: tf.Tensor, group_size: int = 4) -> tf.Tensor:
    """Appends the deviation as the GAN zoo's PGGAN computes it; float [batch, height, width, channels + 1].

    Differs from `minibatch_stddev`: images that follow each other form a group, all of the batch where it is no
    multiple of `group_size`; the variance is the unbiased one; an image alone has 0.
    """
    batch, height, width, channels = features.shape
    if batch == 1:
        return tf.concat([features, tf.zeros_like(features[..., :1])], axis=-1)
    group = batch if batch % min(group_size, batch) else min(group_size, batch)
    grouped = tf.reshape(tf.cast(features, tf.float32), [batch // group, group, height, width, channels])
    variance = tf.math.reduce_variance(grouped, axis=1) * (group / (group - 1))
    mean_deviation = tf.reduce_mean(tf.sqrt(variance + 1e-8), axis=[1, 2, 3])
    channel = tf.tile(tf.repeat(mean_deviation, group)[:, None, None, None], [1, height, width, 1])
    return tf.concat([features, tf.cast(channel, features.dtype)], axis=-1)
