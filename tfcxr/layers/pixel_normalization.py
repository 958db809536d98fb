"""Pixelwise feature vector normalization (Karras et al. 2018, "Progressive Growing of GANs", section 4.2)."""

import tensorflow as tf


def pixel_normalization(features: tf.Tensor) -> tf.Tensor:
    """Divides features, float [..., channels], by the square root of each pixel's mean square (plus 1e-8).

    The mean square is taken in float32; the result has the dtype of the features.
    """
    mean_square = tf.reduce_mean(tf.square(tf.cast(features, tf.float32)), axis=-1, keepdims=True)
    return features * tf.cast(tf.math.rsqrt(mean_square + 1e-8), features.dtype)
