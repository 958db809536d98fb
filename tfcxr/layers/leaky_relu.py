"""Leaky ReLU (Maas, Hannun, Ng 2013) with a gradient that costs little, also the second time."""

from collections.abc import Callable

import tensorflow as tf

LEAKY_SLOPE = 0.2  # of the negative side, as usual in GANs (Radford, Metz, Chintala 2016)


def leaky_relu(features: tf.Tensor, slope: float = LEAKY_SLOPE) -> tf.Tensor:
    """max(x, slope * x) of float features of any shape, 0 < slope < 1.

    The slopes do not depend on the features almost everywhere, but TensorFlow sends zeros back to them in a second
    derivative, and so runs the whole network backwards once more for nothing: a seventh of WGAN-GP's step. And they
    are read off the result, whose sign is the features' own, so that nothing else is kept for the gradient;
    TensorFlow's own form made graph optimization (2.21, "remapper failed") give up on such networks.
    """

    @tf.custom_gradient
    def activate(features: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        activated = tf.nn.leaky_relu(features, slope)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return tf.raw_ops.LeakyReluGrad(gradients=upstream, features=tf.stop_gradient(activated), alpha=slope)

        return activated, gradient

    return activate(features)
