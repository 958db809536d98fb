"""Batch normalization as PyTorch has it (Ioffe, Szegedy 2015), and convolutions that it follows.

Differs from Keras's layer: training moves the running variance towards the batch's unbiased variance (sum of squares
over n - 1), while images are normalized by the biased one; and batch statistics are used where the caller says
`training=True`, whatever `trainable` is, as PyTorch does for a module of which only the parameters are frozen.

Statistics are kept and applied in float32. All of it can be differentiated twice, as a gradient penalty asks.
"""

import keras
import tensorflow as tf

from tfcxr.layers.initializers import kernel_initializer


class BatchNormalization(keras.layers.Layer):
    """Each channel normalized, scaled and shifted: float [batch, height, width, channels] -> the same shape.

    `call(features, training=False)`: by the running statistics, or by the batch's, which then move the running ones.

    Args:
      channels: of the features.
      epsilon: added to the variance.
      momentum: share of the running statistics that a step keeps (PyTorch's `momentum=0.1` is .9 here).
    """

    def __init__(self, channels: int, epsilon: float = 1e-5, momentum: float = 0.9, **keywords) -> None:
        super().__init__(**keywords)
        self.epsilon = epsilon
        self.momentum = momentum
        shared = {"shape": (channels,), "autocast": False}
        self.gamma = self.add_weight(initializer="ones", name="gamma", **shared)
        self.beta = self.add_weight(initializer="zeros", name="beta", **shared)
        shared |= {"trainable": False, "aggregation": "mean"}
        self.moving_mean = self.add_weight(initializer="zeros", name="moving_mean", **shared)
        self.moving_variance = self.add_weight(initializer="ones", name="moving_variance", **shared)
        self.built = True

    def call(self, features: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            return self._by_batch_statistics(features)
        scale, offset = self.scale_and_offset()
        # faster than the fused operation (a quarter with its gradient), which computes gradients of its weights too
        return tf.nn.bias_add(features * tf.cast(scale, features.dtype), tf.cast(offset, features.dtype))

    def scale_and_offset(self) -> tuple[tf.Tensor, tf.Tensor]:
        """float32 [channels] each: normalising by the running statistics is `features * scale + offset`."""
        scale = self.gamma * tf.math.rsqrt(self.moving_variance + self.epsilon)
        return scale, self.beta - self.moving_mean * scale

    def _by_batch_statistics(self, features: tf.Tensor) -> tf.Tensor:
        if features.shape[:3].num_elements() == 1:
            raise ValueError(
                f"batch statistics need more than one value per channel, got features of shape {features.shape}; "
                "give more images or larger ones"
            )
        normalized, mean, unbiased_variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=features,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.constant([], tf.float32),
            variance=tf.constant([], tf.float32),
            epsilon=self.epsilon,
            is_training=True,
        )
        for average, value in ((self.moving_mean, mean), (self.moving_variance, unbiased_variance)):
            average.assign(average * self.momentum + tf.stop_gradient(value) * (1.0 - self.momentum))
        return normalized


class Convolution(keras.layers.Layer):
    """Convolution without a bias: float [batch, height, width, inputs] -> [batch, new height, new width, filters].

    Args:
      inputs, filters: channels.
      kernel_size: pixels, one number or (height, width).
      seed: of the weights (He et al. 2015).
      stride: pixels.
      padding: zeros on each side, one number or (vertical, horizontal). Keras's "same" pads unevenly with stride 2.
    """

    def __init__(
        self,
        inputs: int,
        filters: int,
        kernel_size: int | tuple[int, int],
        seed: int,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
        **keywords,
    ) -> None:
        super().__init__(**keywords)
        size, sides = _pair(kernel_size), _pair(padding)
        self.stride = stride
        self.padding: str | list[list[int]] = [[0, 0], [sides[0]] * 2, [sides[1]] * 2, [0, 0]]
        if sides == (0, 0):
            self.padding = "VALID"
        elif stride == 1 and size == (2 * sides[0] + 1, 2 * sides[1] + 1):
            self.padding = "SAME"
        draw = kernel_initializer("he", seed)
        self.kernel = self.add_weight((*size, inputs, filters), draw, name="kernel", autocast=False)
        self.built = True

    def call(self, features: tf.Tensor) -> tf.Tensor:
        return self.convolve(features, tf.convert_to_tensor(self.kernel))

    def convolve(self, features: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """The convolution with a kernel in place of the layer's own, float32 of the same shape."""
        return tf.nn.conv2d(features, tf.cast(kernel, features.dtype), self.stride, self.padding)


class NormalizedConvolution(Convolution):
    """A convolution without a bias, batch normalization and ReLU, shapes as of `Convolution`.

    `call(features, training=False)`: where the running statistics are used, the normalization is folded into the kernel
    and a bias, so that only the result of the ReLU is kept for the gradient.

    Attributes:
      norm: the normalization.
    """

    def __init__(self, *arguments, epsilon: float = 1e-5, **keywords) -> None:
        super().__init__(*arguments, **keywords)
        self.norm = BatchNormalization(self.kernel.shape[-1], epsilon, dtype=self.dtype_policy, name="norm")

    def call(self, features: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            return tf.nn.relu(self.norm(super().call(features), training=True))
        scale, offset = self.norm.scale_and_offset()
        features = self.convolve(features, self.kernel * scale)
        return tf.nn.relu(tf.nn.bias_add(features, tf.cast(offset, features.dtype)))


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
