"""Doubling and halving a size: smoothly by the filter [1, 3, 3, 1] (Karras et al. 2020, "Analyzing and Improving the
Image Quality of StyleGAN", appendix B), or by repeated and averaged pixels (Karras et al. 2018, PGGAN).

All functions can be differentiated twice, as R1 and path length ask. Forms were chosen by time on a CPU: a depthwise
convolution where the size stays; three average pools where it halves (the filter is the product of three [1, 1]),
because a strided depthwise convolution's gradient takes six times as long in bfloat16; and a convolution whose kernel
holds the filter already does four times the work.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

_FILTER = np.outer([1.0, 3.0, 3.0, 1.0], [1.0, 3.0, 3.0, 1.0])[:, :, None, None] / 64.0


def blur(features: tf.Tensor, padding: int, gain: float = 1.0) -> tf.Tensor:
    """Filters each channel; zeros are beyond the border.

    Args:
      features: float [batch, height, width, channels].
      padding: zeros on each of the four sides.
      gain: multiplies the filter, which sums to 1.

    Returns:
      float [batch, height + 2 padding - 3, width + 2 padding - 3, channels].
    """
    kernel = tf.tile(tf.constant(gain * _FILTER, features.dtype), [1, 1, features.shape[-1], 1])
    return tf.nn.depthwise_conv2d(_pad(features, padding), kernel, [1, 1, 1, 1], "VALID")


def downsample(features: tf.Tensor) -> tf.Tensor:
    """Filters and keeps every second pixel: float [batch, height, width, c] -> [batch, height / 2, width / 2, c]."""
    features = _pad(features, 1)
    for stride in (1, 1, 2):
        features = tf.nn.avg_pool2d(features, 2, stride, "VALID")
    return features


def upsample(images: tf.Tensor) -> tf.Tensor:
    """Puts zeros between pixels and filters with gain 4: float [batch, h, w, c] -> [batch, 2 h, 2 w, c], c small.

    A flat image stays flat but for the outermost pixels, which come a quarter closer to zero.
    """
    _, height, width, channels = images.shape
    kernel = tf.constant(4.0 * _FILTER * np.eye(channels), images.dtype)
    output_shape = [tf.shape(images)[0], 2 * height, 2 * width, channels]
    return tf.nn.conv2d_transpose(images, kernel, output_shape, 2, "SAME")


def repeat_pixels(features: tf.Tensor) -> tf.Tensor:
    """Doubles the size by repeating each pixel (nearest): float [batch, h, w, c] -> [batch, 2 h, 2 w, c]."""

    @tf.custom_gradient
    def repeat(features: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        _, height, width, channels = features.shape
        rows = tf.tile(features[:, :, None, :, None, :], [1, 1, 2, 1, 2, 1])
        return tf.reshape(rows, [-1, 2 * height, 2 * width, channels]), lambda upstream: 4.0 * average_pixels(upstream)

    return repeat(features)


def average_pixels(features: tf.Tensor) -> tf.Tensor:
    """Halves the size by the mean of 2 x 2 pixels: float [batch, h, w, c] -> [batch, h / 2, w / 2, c]."""
    return tf.nn.avg_pool2d(features, 2, 2, "VALID")


def _pad(features: tf.Tensor, padding: int) -> tf.Tensor:
    return tf.pad(features, [[0, 0], [padding, padding], [padding, padding], [0, 0]])
