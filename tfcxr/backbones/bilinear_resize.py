"""Bilinear resizing with antialiasing, as PyTorch has it, that can be differentiated twice.

TensorFlow's own antialiased resizing has no second derivative, which a gradient penalty through it needs. Resizing is
linear and the same in each row and column, so here it is a matrix from each side.
"""

import tensorflow as tf


def resize_antialiased(image: tf.Tensor, size: int) -> tf.Tensor:
    """float [batch, height, width, channels] -> float [batch, size, size, channels].

    A new pixel is the mean of old ones by the distance of their centres, weighted by a triangle as wide as two pixels,
    old ones or new ones, whichever are larger; beyond the border there is nothing.
    """
    height, width = image.shape[1:3]
    if (height, width) == (size, size):
        return image
    channels = image.shape[-1]
    shape = tf.shape(image)
    rows, columns = (triangle_weights(old, size, image.dtype) for old in (shape[1], shape[2]))
    if channels == 1:  # no transposition
        image = tf.matmul(rows, tf.matmul(image[..., 0], columns, transpose_b=True))[..., None]
    else:
        planes = tf.transpose(image, [0, 3, 1, 2])
        planes = tf.matmul(rows, tf.matmul(planes, columns, transpose_b=True))
        image = tf.transpose(planes, [0, 2, 3, 1])
    return tf.ensure_shape(image, [None, size, size, channels])


def triangle_weights(old: int | tf.Tensor, new: int, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """What each old pixel gives to each new one: [new, old], rows that sum to 1."""
    step = tf.cast(old, tf.float64) / new
    centres = (tf.range(new, dtype=tf.float64) + 0.5) * step
    pixels = tf.range(tf.cast(old, tf.float64), dtype=tf.float64) + 0.5
    distances = tf.abs(pixels[None, :] - centres[:, None]) / tf.maximum(step, 1.0)
    weights = tf.maximum(1.0 - distances, 0.0)
    return tf.cast(weights / tf.reduce_sum(weights, axis=1, keepdims=True), dtype)
