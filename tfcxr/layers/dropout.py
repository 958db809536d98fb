"""Dropout (Srivastava et al. 2014) by random numbers that the caller gives, so that a step can be repeated."""

import tensorflow as tf


def drop_out(features: tf.Tensor, uniform: tf.Tensor | None, rate: float) -> tf.Tensor:
    """Sets a share of the features to 0 and scales up the others.

    Args:
      features: float, any shape.
      uniform: float32 in [0, 1), of the same shape; None drops nothing.
      rate: the share, in [0, 1).
    """
    if uniform is None or not rate:
        return features
    return features * tf.cast(uniform >= rate, features.dtype) / (1.0 - rate)
