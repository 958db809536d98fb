"""Convolutions whose weights are scaled by a style (Karras et al. 2020, "Analyzing and Improving the Image Quality of
StyleGAN", section 2.2, equations 1-3).

Scaling a weight's input channels for each image is the same as scaling the features, and its output channels as
scaling the result, so that one plain convolution serves the whole batch: CPUs have no fast grouped convolution.
Styles and demodulation are computed in float32.
"""

import math
from collections.abc import Iterator

import keras
import tensorflow as tf

from tfcxr.layers.equalized import ACTIVATION_GAIN, EqualizedDense, clamped
from tfcxr.layers.leaky_relu import leaky_relu
from tfcxr.layers.resample import blur


def modulated_convolution(
    features: tf.Tensor, kernel: tf.Tensor, style: tf.Tensor, is_doubling: bool = False
) -> tf.Tensor:
    """Convolution with a kernel scaled by each image's style, before demodulation.

    Args:
      features: float [batch, height, width, inputs].
      kernel: float32 [size, size, inputs, filters], size odd.
      style: float32 [batch, inputs].
      is_doubling: transposed convolution of stride 2, then the filter of `resample`; kernel size 3 only.

    Returns:
      float [batch, height, width, filters], or twice the size.
    """
    features = features * tf.cast(style, features.dtype)[:, None, None, :]
    if not is_doubling:
        return tf.nn.conv2d(features, tf.cast(kernel, features.dtype), 1, "SAME")
    _, height, width, _ = features.shape
    output_shape = [tf.shape(features)[0], 2 * height + 1, 2 * width + 1, kernel.shape[-1]]
    kernel = tf.cast(tf.transpose(kernel, [0, 1, 3, 2]), features.dtype)
    return blur(tf.nn.conv2d_transpose(features, kernel, output_shape, 2, "VALID"), padding=1, gain=4.0)


def demodulation(kernel: tf.Tensor, style: tf.Tensor) -> tf.Tensor:
    """What brings each output channel back to unit variance, equation 3.

    Args:
      kernel: float32 [size, size, inputs, filters].
      style: float32 [batch, inputs].

    Returns:
      float32 [batch, filters], one over the norm of the kernel scaled by the style.
    """
    squares = tf.reduce_sum(tf.square(kernel), axis=[0, 1])  # [inputs, filters]
    return tf.math.rsqrt(tf.matmul(tf.square(style), squares) + 1e-8)


class StyleConvolution(keras.layers.Layer):
    """Modulated and demodulated 3x3 convolution, noise, bias, leaky ReLU times sqrt(2).

    `call(features, w, noise=None)` -> [batch, size, size, filters] in the compute dtype:
      features: float [batch, size, size, inputs], or half the size where `is_doubling`.
      w: float32 [batch, style_size].
      noise: float32 [batch or 1, size, size, 1]; None is the layer's own constant noise.

    Args:
      inputs, filters: channels.
      style_size: length of w.
      size: pixels of the output.
      seeds: of the weights.
      is_doubling: the size is doubled.
      clamp: largest magnitude of the output; 0 sets no bound.
    """

    def __init__(
        self,
        inputs: int,
        filters: int,
        style_size: int,
        size: int,
        seeds: Iterator[int],
        is_doubling: bool = False,
        clamp: float = 0.0,
        **keywords,
    ) -> None:
        super().__init__(autocast=False, **keywords)
        self.is_doubling = is_doubling
        self.clamp = clamp
        self.affine = EqualizedDense(style_size, inputs, next(seeds), bias=1.0, dtype="float32", name="affine")
        draw, draw_noise = (keras.initializers.RandomNormal(0.0, 1.0, seed=next(seeds)) for _ in range(2))
        self.kernel = self.add_weight((3, 3, inputs, filters), draw, name="kernel", autocast=False)
        self.bias = self.add_weight((filters,), "zeros", name="bias", autocast=False)
        self.noise_strength = self.add_weight((), "zeros", name="noise_strength", autocast=False)
        self.noise = self.add_weight((size, size), draw_noise, trainable=False, name="noise", autocast=False)
        self.built = True  # all weights exist; else Keras would trace `call` at first use to find out

    def call(self, features: tf.Tensor, w: tf.Tensor, noise: tf.Tensor | None = None) -> tf.Tensor:
        style = self.affine(w)
        kernel = tf.convert_to_tensor(self.kernel)
        features = modulated_convolution(tf.cast(features, self.compute_dtype), kernel, style, self.is_doubling)
        # the leaky ReLU passes positive factors through, so its gain goes into the small factors beforehand
        scale = tf.cast(ACTIVATION_GAIN * demodulation(kernel, style), features.dtype)
        noise = tf.convert_to_tensor(self.noise)[None, :, :, None] if noise is None else noise
        noise = tf.cast(noise * (ACTIVATION_GAIN * self.noise_strength), features.dtype)
        features = features * scale[:, None, None, :] + noise
        features = tf.nn.bias_add(features, tf.cast(ACTIVATION_GAIN * self.bias, features.dtype))
        return clamped(leaky_relu(features), self.clamp)


class ToImage(keras.layers.Layer):
    """Modulated 1x1 convolution to the image's channels, without demodulation; the sum is kept in float32.

    `call(features, w)`: features float [batch, size, size, inputs], w float32 [batch, style_size] -> float32
    [batch, size, size, channels], about -1 to 1; at most `clamp` where that is not 0.
    """

    def __init__(
        self, inputs: int, channels: int, style_size: int, seeds: Iterator[int], clamp: float = 0.0, **keywords
    ) -> None:
        super().__init__(autocast=False, **keywords)
        self.clamp = clamp
        self.affine = EqualizedDense(style_size, inputs, next(seeds), bias=1.0, dtype="float32", name="affine")
        draw = keras.initializers.RandomNormal(0.0, 1.0, seed=next(seeds))
        self.kernel = self.add_weight((1, 1, inputs, channels), draw, name="kernel", autocast=False)
        self.bias = self.add_weight((channels,), "zeros", name="bias", autocast=False)
        self.style_scale = 1.0 / math.sqrt(inputs)
        self.built = True  # as above

    def call(self, features: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        kernel = tf.convert_to_tensor(self.kernel)
        image = modulated_convolution(features, kernel, self.affine(w) * self.style_scale)
        return clamped(tf.nn.bias_add(tf.cast(image, tf.float32), tf.convert_to_tensor(self.bias)), self.clamp)
