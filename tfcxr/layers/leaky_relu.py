"""Leaky ReLU (Maas, Hannun, Ng 2013) with a gradient that costs little, also the second time."""

from collections.abc import Callable

import tensorflow as tf

LEAKY_SLOPE = 0.2  # of the negative side, as usual in GANs (Radford, Metz, Chintala 2016)


def leaky_relu(features: tf.Tensor, slope: float = LEAKY_SLOPE) -> tf.Tensor:
    """max(x, slope * x) of float features of any shape, 0 < slope < 1.

    The slopes are constant almost everywhere, but TensorFlow's own gradient sends zeros back to the features in a
    second derivative, and so runs the whole network backwards once more for nothing: a seventh of WGAN-GP's step. Here
    the slopes are read off the result, which has the sign of the features, so that only it is kept for the gradient.
    With TensorFlow's form, graph optimization (2.21, "remapper failed") gave up on such networks.
    """

    @tf.custom_gradient
    def activate(features: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        activated = tf.nn.leaky_relu(features, slope)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return tf.raw_ops.LeakyReluGrad(gradients=upstream, features=tf.stop_gradient(activated), alpha=slope)

        return activated, gradient

    return activate(features)
