"""Minibatch standard deviation (Karras et al. 2018, "Progressive Growing of GANs", section 3).

It appends one channel that says how much the images of a group differ, so that a generator of equal images is found
out. Computed in float32; float [batch, height, width, channels] -> [batch, height, width, channels + 1].
"""

import keras
import tensorflow as tf

TYPICAL_RATE = 0.01  # how far the typical deviation moves per step, further at the start


def minibatch_stddev(features: tf.Tensor, group_size: int = 8) -> tf.Tensor:
    """Groups take every so many-th image: of 6 images in groups of 3, the images 0, 2, 4 and 1, 3, 5.

    Args:
      features: float [batch, height, width, channels].
      group_size: images compared with each other; the largest divisor of the batch up to it is used.
    """
    batch, *shape = features.shape
    group = next(size for size in range(min(group_size, batch), 0, -1) if batch % size == 0)
    grouped = tf.reshape(tf.cast(features, tf.float32), [group, batch // group, *shape])
    deviation = tf.sqrt(tf.math.reduce_variance(grouped, axis=0) + 1e-8)
    return append_channel(features, tf.reduce_mean(deviation, axis=[1, 2, 3]))


def consecutive_stddev(features: tf.Tensor, group_size: int = 4) -> tf.Tensor:
    """The deviation as the GAN zoo's PGGAN computes it.

    Differs from `minibatch_stddev`: consecutive images form a group, the whole batch where it is no multiple of
    `group_size`; the variance is the unbiased one; an image alone has 0.
    """
    batch, *shape = features.shape
    if batch == 1:
        return append_channel(features, tf.zeros([1]))
    group = batch if batch % min(group_size, batch) else min(group_size, batch)
    grouped = tf.reshape(tf.cast(features, tf.float32), [batch // group, group, *shape])
    variance = tf.math.reduce_variance(grouped, axis=1) * (group / (group - 1))
    return append_channel(features, tf.repeat(tf.reduce_mean(tf.sqrt(variance + 1e-8), axis=[1, 2, 3]), group))


def append_channel(features: tf.Tensor, deviation: tf.Tensor) -> tf.Tensor:
    """Appends a channel of float32 deviations, [rows]: one for each image, or fewer that repeat over the batch."""
    channel = tf.reshape(deviation, [-1, 1, 1, 1])
    batch, height, width = tf.shape(features)[0], *features.shape[1:3]
    channel = tf.tile(channel, [batch // channel.shape[0], height, width, 1])
    return tf.concat([features, tf.cast(channel, features.dtype)], axis=-1)


def update_typical_deviation(typical: keras.Variable, deviation: tf.Tensor, step: tf.Tensor) -> None:
    """Moves a running mean of real images' deviations, with which an image alone is scored; `step` counts from 0."""
    rate = tf.maximum(TYPICAL_RATE, 1.0 / tf.cast(step + 1, tf.float32))
    typical.assign(typical.value + rate * (deviation - typical.value))
