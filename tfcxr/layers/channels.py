"""Grey images for networks of three channels, and the other way round."""

import tensorflow as tf


def with_channels(images: tf.Tensor, channels: int) -> tf.Tensor:
    """float [batch, height, width, 1 or 3] -> [batch, height, width, channels].

    Grey is repeated; three channels, equal in a grey picture, are averaged.
    """
    if images.shape[-1] == channels:
        return images
    if images.shape[-1] == 1:
        return tf.repeat(images, channels, axis=-1)
    return tf.reduce_mean(images, axis=-1, keepdims=True)
