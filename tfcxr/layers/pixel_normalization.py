"""Pixelwise feature vector normalization (Karras et al. 2018, "Progressive Growing of GANs", section 4.2)."""

import tensorflow as tf

EPSILON = 1e-8


def pixel_normalization(features: tf.Tensor) -> tf.Tensor:
    """Divides each pixel's features by the square root of their mean square (plus 1e-8).

    Args:
      features: float [..., channels]; the mean square is taken in float32 whatever they are.

    Returns:
      float [..., channels] of the same dtype.
    """
    mean_square = tf.reduce_mean(tf.square(tf.cast(features, tf.float32)), axis=-1, keepdims=True)
    return features * tf.cast(tf.math.rsqrt(mean_square + EPSILON), features.dtype)
