"""Equalized learning rate: weights drawn from N(0, 1) and scaled when used (Karras et al. 2018, "Progressive Growing of
GANs", section 4.1), so that Adam moves all layers at the same relative speed.

Differs from the paper: the scale is 1 / sqrt(fan in), and the leaky ReLU carries the factor sqrt(2), as in StyleGAN2.
"""

import math

import keras
import tensorflow as tf

from tfcxr.layers.leaky_relu import leaky_relu
from tfcxr.layers.resample import blur, downsample

ACTIVATION_GAIN = math.sqrt(2.0)  # keeps the variance that the leaky ReLU takes


class EqualizedDense(keras.layers.Layer):
    """Dense layer: float [batch, inputs] -> [batch, units] in the layer's compute dtype.

    Args:
      inputs, units: widths. seed: of the weights.
      is_activated: a leaky ReLU of slope .2, times sqrt(2), follows.
      learning_rate_multiplier: scales weights and bias when used, and the drawn weights the other way round, so that
        the layer starts the same and learns more slowly.
      bias: what the bias adds at the start.
    """

    def __init__(
        self,
        inputs: int,
        units: int,
        seed: int,
        is_activated: bool = False,
        learning_rate_multiplier: float = 1.0,
        bias: float = 0.0,
        **keywords,
    ) -> None:
        super().__init__(**keywords)
        self.is_activated = is_activated
        self.learning_rate_multiplier = learning_rate_multiplier
        draw = keras.initializers.RandomNormal(0.0, 1.0 / learning_rate_multiplier, seed=seed)
        start = keras.initializers.Constant(bias / learning_rate_multiplier)
        self.kernel = self.add_weight(shape=(inputs, units), initializer=draw, name="kernel", autocast=False)
        self.bias = self.add_weight(shape=(units,), initializer=start, name="bias", autocast=False)
        self.kernel_scale = learning_rate_multiplier / math.sqrt(inputs)

    def call(self, features: tf.Tensor) -> tf.Tensor:
        # The leaky ReLU passes positive factors through, so its gain goes into the small weights beforehand.
        gain = ACTIVATION_GAIN if self.is_activated else 1.0
        kernel = tf.cast(self.kernel * (self.kernel_scale * gain), self.compute_dtype)
        bias = tf.cast(self.bias * (self.learning_rate_multiplier * gain), self.compute_dtype)
        outputs = tf.nn.bias_add(tf.matmul(features, kernel), bias)
        return leaky_relu(outputs) if self.is_activated else outputs


class EqualizedConvolution(keras.layers.Layer):
    """Convolution: float [batch, height, width, inputs] -> [batch, height, width, filters], or half the size.

    Args:
      inputs, filters: channels. kernel_size: pixels, odd. seed: of the weights.
      is_activated: a bias and a leaky ReLU of slope .2, times sqrt(2), follow; without, there is no bias either.
      is_halving: the size is halved, filtered by `resample` beforehand.
      gain: multiplies what comes out.
      clamp: after the activation, largest magnitude before the gain; 0 sets no bound.
    """

    def __init__(
        self,
        inputs: int,
        filters: int,
        kernel_size: int,
        seed: int,
        is_activated: bool = True,
        is_halving: bool = False,
        gain: float = 1.0,
        clamp: float = 0.0,
        **keywords,
    ) -> None:
        super().__init__(**keywords)
        self.kernel_size = kernel_size
        self.is_activated = is_activated
        self.is_halving = is_halving
        self.gain = gain * (ACTIVATION_GAIN if is_activated else 1.0)
        self.clamp = clamp * gain
        shape = (kernel_size, kernel_size, inputs, filters)
        draw = keras.initializers.RandomNormal(0.0, 1.0, seed=seed)
        self.kernel = self.add_weight(shape=shape, initializer=draw, name="kernel", autocast=False)
        if is_activated:
            self.bias = self.add_weight(shape=(filters,), initializer="zeros", name="bias", autocast=False)
        self.kernel_scale = 1.0 / math.sqrt(kernel_size**2 * inputs)

    def call(self, features: tf.Tensor) -> tf.Tensor:
        kernel = tf.cast(self.kernel * (self.kernel_scale * self.gain), self.compute_dtype)
        if not self.is_halving:
            features = tf.nn.conv2d(features, kernel, 1, "SAME")
        elif self.kernel_size == 1:
            features = tf.nn.conv2d(downsample(features), kernel, 1, "SAME")
        else:
            features = tf.nn.conv2d(blur(features, padding=1 + self.kernel_size // 2), kernel, 2, "VALID")
        if not self.is_activated:
            return features
        features = tf.nn.bias_add(features, tf.cast(self.bias * self.gain, self.compute_dtype))
        return clamped(leaky_relu(features), self.clamp)


def clamped(features: tf.Tensor, clamp: float) -> tf.Tensor:
    """Float features of any shape, cut off at -`clamp` and `clamp`; 0 leaves them."""
    return tf.clip_by_value(features, -clamp, clamp) if clamp else features


def normalize_second_moment(features: tf.Tensor) -> tf.Tensor:
    """Each row divided by the square root of its mean square (plus 1e-8): float32 [batch, width] likewise."""
    return features * tf.math.rsqrt(tf.reduce_mean(tf.square(features), axis=-1, keepdims=True) + 1e-8)
