"""Gradient penalties on the discriminator."""

from collections.abc import Callable

import tensorflow as tf


def r1_penalty(realism: Callable[[tf.Tensor], tf.Tensor], real_images: tf.Tensor) -> tf.Tensor:
    """R1: half the mean squared norm of the gradient at real images (Mescheder, Geiger, Nowozin 2018, equation 9).

    Args:
      realism: maps float32 [batch, height, width, channels] in [-1, 1] to realism logits [batch, 1].
      real_images: such images.

    Returns:
      float32 scalar, to be multiplied by gamma.
    """
    with tf.GradientTape() as tape:
        tape.watch(real_images)
        total = tf.reduce_sum(realism(real_images))
    gradient = tf.cast(tape.gradient(total, real_images), tf.float32)
    return 0.5 * tf.reduce_mean(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]))
