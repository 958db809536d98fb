"""Equalized learning rate: weights drawn from N(0, 1) and scaled when used (Karras et al. 2018, "Progressive Growing of
GANs", section 4.1), so that Adam moves all layers at the same relative speed.

Two forms, as published weights need them:
- `ScaledDense`, `ScaledConvolution` of PGGAN: y = c (W x + b), where c = sqrt(2 / fan in) is the constant of He et al.
  2015. Differs from the paper: c multiplies the bias too, as in the programs of Segal et al. 2021 and of the GAN zoo.
- `EqualizedDense`, `EqualizedConvolution` of StyleGAN2: W x / sqrt(fan in) + b; the leaky ReLU carries the sqrt(2).
"""

import math

import keras
import tensorflow as tf

from tfcxr.layers.leaky_relu import leaky_relu
from tfcxr.layers.resample import blur, downsample

ACTIVATION_GAIN = math.sqrt(2.0)  # keeps the variance that the leaky ReLU takes


class _ScaledWeights(keras.layers.Layer):
    """Holds a kernel [..., inputs, outputs] and a bias, and the factors that multiply them when used.

    Args:
      shape: of the kernel.
      seed: of the kernel, drawn from N(0, deviation^2).
      kernel_factor: multiplies the kernel.
      bias_factor: multiplies the bias; None leaves out the bias.
      bias: value of the stored bias at the start.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        seed: int,
        kernel_factor: float,
        bias_factor: float | None,
        deviation: float = 1.0,
        bias: float = 0.0,
        **keywords,
    ) -> None:
        super().__init__(**keywords)
        self.kernel_factor = kernel_factor
        self.bias_factor = bias_factor
        draw = keras.initializers.RandomNormal(0.0, deviation, seed=seed)
        self.kernel = self.add_weight(shape=shape, initializer=draw, name="kernel", autocast=False)
        if bias_factor is not None:
            start = keras.initializers.Constant(bias)
            self.bias = self.add_weight(shape=shape[-1:], initializer=start, name="bias", autocast=False)
        self.built = True

    def used_kernel(self) -> tf.Tensor:
        return tf.cast(self.kernel * self.kernel_factor, self.compute_dtype)

    def with_bias(self, outputs: tf.Tensor) -> tf.Tensor:
        return tf.nn.bias_add(outputs, tf.cast(self.bias * self.bias_factor, self.compute_dtype))


class ScaledDense(_ScaledWeights):
    """PGGAN's dense layer: float [batch, inputs] -> [batch, units] in the layer's compute dtype.

    Args:
      inputs, units: widths.
      seed: of the weights.
      is_equalized: False leaves out c and draws W from N(0, c^2) instead.
    """

    def __init__(self, inputs: int, units: int, seed: int, is_equalized: bool = True, **keywords) -> None:
        factor, deviation = _he_factor(inputs, is_equalized)
        super().__init__((inputs, units), seed, factor, factor, deviation, **keywords)

    def call(self, features: tf.Tensor) -> tf.Tensor:
        return self.with_bias(tf.matmul(features, self.used_kernel()))


class ScaledConvolution(_ScaledWeights):
    """PGGAN's convolution: float [batch, height, width, inputs] -> [batch, height, width, filters].

    Args:
      inputs, filters: channels.
      kernel_size: pixels, odd; zeros are beyond the border.
      seed: of the weights.
      is_equalized: as in `ScaledDense`.
    """

    def __init__(
        self, inputs: int, filters: int, kernel_size: int, seed: int, is_equalized: bool = True, **keywords
    ) -> None:
        factor, deviation = _he_factor(inputs * kernel_size**2, is_equalized)
        super().__init__((kernel_size, kernel_size, inputs, filters), seed, factor, factor, deviation, **keywords)

    def call(self, features: tf.Tensor) -> tf.Tensor:
        return self.with_bias(tf.nn.conv2d(features, self.used_kernel(), 1, "SAME"))


class EqualizedDense(_ScaledWeights):
    """StyleGAN2's dense layer: float [batch, inputs] -> [batch, units] in the layer's compute dtype.

    Args:
      inputs, units: widths.
      seed: of the weights.
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
        # the leaky ReLU passes positive factors through, so its gain goes into the small weights beforehand
        gain = ACTIVATION_GAIN if is_activated else 1.0
        super().__init__(
            (inputs, units),
            seed,
            kernel_factor=learning_rate_multiplier / math.sqrt(inputs) * gain,
            bias_factor=learning_rate_multiplier * gain,
            deviation=1.0 / learning_rate_multiplier,
            bias=bias / learning_rate_multiplier,
            **keywords,
        )
        self.is_activated = is_activated

    def call(self, features: tf.Tensor) -> tf.Tensor:
        outputs = self.with_bias(tf.matmul(features, self.used_kernel()))
        return leaky_relu(outputs) if self.is_activated else outputs


class EqualizedConvolution(_ScaledWeights):
    """StyleGAN2's convolution: float [batch, height, width, inputs] -> [batch, height, width, filters], or half of it.

    Args:
      inputs, filters: channels.
      kernel_size: pixels, odd.
      seed: of the weights.
      is_activated: a bias and a leaky ReLU of slope .2, times sqrt(2), follow; without, there is no bias either.
      is_halving: height and width are halved, filtered by `resample` beforehand.
      gain: multiplies the output.
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
        whole_gain = gain * (ACTIVATION_GAIN if is_activated else 1.0)
        super().__init__(
            (kernel_size, kernel_size, inputs, filters),
            seed,
            kernel_factor=1.0 / math.sqrt(kernel_size**2 * inputs) * whole_gain,
            bias_factor=whole_gain if is_activated else None,
            **keywords,
        )
        self.kernel_size = kernel_size
        self.is_activated = is_activated
        self.is_halving = is_halving
        self.clamp = clamp * gain

    def call(self, features: tf.Tensor) -> tf.Tensor:
        kernel = self.used_kernel()
        if not self.is_halving:
            features = tf.nn.conv2d(features, kernel, 1, "SAME")
        elif self.kernel_size == 1:
            features = tf.nn.conv2d(downsample(features), kernel, 1, "SAME")
        else:
            features = tf.nn.conv2d(blur(features, padding=1 + self.kernel_size // 2), kernel, 2, "VALID")
        return clamped(leaky_relu(self.with_bias(features)), self.clamp) if self.is_activated else features


def clamped(features: tf.Tensor, clamp: float) -> tf.Tensor:
    """Float features of any shape, cut off at -`clamp` and `clamp`; 0 leaves them."""
    return tf.clip_by_value(features, -clamp, clamp) if clamp else features


def _he_factor(fan_in: int, is_equalized: bool) -> tuple[float, float]:
    """The factor c of PGGAN's layers and the standard deviation that their weights are drawn with."""
    constant = math.sqrt(2.0 / fan_in)
    return (constant, 1.0) if is_equalized else (1.0, constant)
