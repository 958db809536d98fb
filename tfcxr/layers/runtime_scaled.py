"""Equalized learning rate as PGGAN has it: y = c (W x + b), c = sqrt(2 / fan in), W drawn from N(0, 1).

Karras et al. 2018, "Progressive Growing of GANs", section 4.1, where c is the constant of He et al. 2015. Differs from
the paper: c multiplies the bias too, as in the programs of Segal et al. 2021 and of the GAN zoo. `layers.equalized` is
StyleGAN2's way to write the same idea.
"""

import math

import keras
import tensorflow as tf


class ScaledDense(keras.layers.Layer):
    """float [batch, inputs] -> [batch, units] in the layer's compute dtype.

    Args:
      inputs, units: widths. seed: of the weights.
      is_equalized: False leaves out c and draws W from N(0, c^2) instead.
    """

    def __init__(self, inputs: int, units: int, seed: int, is_equalized: bool = True, **keywords) -> None:
        super().__init__(**keywords)
        self.scale, deviation = _scale(inputs, is_equalized)
        draw = keras.initializers.RandomNormal(0.0, deviation, seed=seed)
        self.kernel = self.add_weight(shape=(inputs, units), initializer=draw, name="kernel", autocast=False)
        self.bias = self.add_weight(shape=(units,), initializer="zeros", name="bias", autocast=False)
        self.built = True

    def call(self, features: tf.Tensor) -> tf.Tensor:
        kernel = tf.cast(self.kernel * self.scale, self.compute_dtype)
        bias = tf.cast(self.bias * self.scale, self.compute_dtype)
        return tf.nn.bias_add(tf.matmul(tf.cast(features, self.compute_dtype), kernel), bias)


class ScaledConvolution(keras.layers.Layer):
    """float [batch, height, width, inputs] -> [batch, height, width, filters], zeros beyond the border.

    Args:
      inputs, filters: channels. kernel_size: pixels, odd. seed: of the weights.
      is_equalized: as in `ScaledDense`.
    """

    def __init__(
        self, inputs: int, filters: int, kernel_size: int, seed: int, is_equalized: bool = True, **keywords
    ) -> None:
        super().__init__(**keywords)
        self.scale, deviation = _scale(inputs * kernel_size**2, is_equalized)
        draw = keras.initializers.RandomNormal(0.0, deviation, seed=seed)
        shape = (kernel_size, kernel_size, inputs, filters)
        self.kernel = self.add_weight(shape=shape, initializer=draw, name="kernel", autocast=False)
        self.bias = self.add_weight(shape=(filters,), initializer="zeros", name="bias", autocast=False)
        self.built = True

    def call(self, features: tf.Tensor) -> tf.Tensor:
        kernel = tf.cast(self.kernel * self.scale, self.compute_dtype)
        bias = tf.cast(self.bias * self.scale, self.compute_dtype)
        convolved = tf.nn.conv2d(tf.cast(features, self.compute_dtype), kernel, 1, "SAME")
        return tf.nn.bias_add(convolved, bias)


def _scale(fan_in: int, is_equalized: bool) -> tuple[float, float]:
    """The factor c of a layer's output and the standard deviation that its weights are drawn with."""
    constant = math.sqrt(2.0 / fan_in)
    return (constant, 1.0) if is_equalized else (1.0, constant)
