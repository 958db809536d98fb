"""Spectral normalization: kernels divided by their largest singular value (Miyato, Kataoka, Koyama, Yoshida 2018).

    layer = SpectralDense(10, seed=1)
    real = layer(features, update=True)  # once per training step: u moves by one power iteration
    fake = layer(other_features)  # the same u; nothing is written

Keras's own `SpectralNormalization` overwrites its kernel in every call with `training=True`, so also when the
generator's step looks through the discriminator. Here the stored kernel is what the optimizer left, and u moves only
where a training step asks for it. Differs from the paper: v is not kept but computed anew from u, so that all calls
after the update, in the same step or in a loaded model, divide by the same number.
"""

from typing import Any

import keras
import tensorflow as tf


class _SpectralLayer(keras.layers.Layer):
    """Holds a kernel [..., outputs], a bias and u, the left singular vector that power iteration has found so far.

    Args:
      kernel_initializer: of Keras.
      use_bias: adds a trained bias.
      seed: of the first u.

    Attributes:
      left_vector: u, float32 [outputs, 1] of length 1; not trained, but moved by training, so checkpoints keep it.
    """

    def __init__(
        self,
        kernel_initializer: keras.initializers.Initializer | str = "glorot_uniform",
        use_bias: bool = True,
        seed: int = 0,
        **keywords: Any,
    ) -> None:
        super().__init__(**keywords)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.use_bias = use_bias
        self.seed = seed

    def spectral_norm(self) -> tf.Tensor:
        """The estimate u^T W v of the kernel's largest singular value, a float32 scalar.

        Its gradient is that of the kernel alone, u and v are held constant (Miyato et al. 2018, section 2.3).
        """
        product = tf.matmul(self._matrix(), tf.convert_to_tensor(self.left_vector))
        v = tf.stop_gradient(tf.math.l2_normalize(product))
        return tf.reduce_sum(v * product)

    def normalized_kernel(self, update: bool) -> tf.Tensor:
        """The kernel divided by its spectral norm, in the compute dtype; `update` first moves u by one iteration."""
        if update:  # one round of algorithm 1 of Miyato et al. 2018
            matrix = tf.stop_gradient(self._matrix())
            v = tf.math.l2_normalize(tf.matmul(matrix, tf.convert_to_tensor(self.left_vector)))
            self.left_vector.assign(tf.math.l2_normalize(tf.matmul(matrix, v, transpose_a=True)))
        norm = tf.maximum(self.spectral_norm(), 1e-12)  # a kernel of zeros stays zeros
        return tf.cast(tf.convert_to_tensor(self.kernel) / norm, self.compute_dtype)

    def _matrix(self) -> tf.Tensor:
        """float32 [inputs, outputs], the transpose of the paper's W."""
        return tf.reshape(tf.convert_to_tensor(self.kernel), [-1, self.kernel.shape[-1]])

    def _add_weights(self, kernel_shape: tuple[int, ...]) -> None:
        outputs = kernel_shape[-1]
        self.kernel = self.add_weight(
            shape=kernel_shape,
            initializer=self.kernel_initializer,
            autocast=False,  # the singular value is computed in float32
            name="kernel",
        )
        self.left_vector = self.add_weight(
            shape=(outputs, 1),
            initializer=keras.initializers.Orthogonal(seed=self.seed),  # one column, so a random direction
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",  # all compute the same; without one they may not assign to it
            name="left_vector",
        )
        self.bias = self.add_weight(shape=(outputs,), initializer="zeros", name="bias") if self.use_bias else None

    def _with_bias(self, outputs: tf.Tensor) -> tf.Tensor:
        return outputs if self.bias is None else outputs + tf.cast(self.bias, outputs.dtype)


class SpectralDense(_SpectralLayer):
    """Dense layer whose kernel has a largest singular value of 1 (Miyato et al. 2018, section 2.1 and algorithm 1).

    `call(inputs, update=False)`: float [..., inputs] -> [..., units] in the compute dtype.

    Args:
      units: outputs.
      **keywords: as for `_SpectralLayer`.

    Raises:
      ValueError: `units` below 1.
    """

    def __init__(self, units: int, **keywords: Any) -> None:
        super().__init__(**keywords)
        if units < 1:
            raise ValueError(f"a SpectralDense layer needs at least 1 unit, got {units}")
        self.units = units

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self._add_weights((input_shape[-1], self.units))

    def call(self, inputs: tf.Tensor, update: bool = False) -> tf.Tensor:
        return self._with_bias(tf.matmul(inputs, self.normalized_kernel(update)))


class SpectralConv2D(_SpectralLayer):
    """Convolution, "same" padding, whose kernel [height * width * inputs, filters] has a largest singular value of 1.

    This is the norm of the reshaped kernel (Miyato et al. 2018, section 2.1 and appendix D.1), not of the convolution
    as a linear map of images.

    `call(inputs, update=False)`: float [batch, height, width, channels] -> [batch, ceil(height / strides), ceil(width /
    strides), filters].

    Args:
      filters: output channels.
      kernel_size, strides: pixels.
      **keywords: as for `_SpectralLayer`.

    Raises:
      ValueError: `filters`, `kernel_size` or `strides` below 1.
    """

    def __init__(self, filters: int, kernel_size: int, strides: int = 1, **keywords: Any) -> None:
        super().__init__(**keywords)
        if min(filters, kernel_size, strides) < 1:
            raise ValueError(
                f"a SpectralConv2D layer needs filters, kernel_size and strides of at least 1, "
                f"got {filters}, {kernel_size} and {strides}"
            )
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self._add_weights((self.kernel_size, self.kernel_size, input_shape[-1], self.filters))

    def call(self, inputs: tf.Tensor, update: bool = False) -> tf.Tensor:
        return self._with_bias(tf.nn.conv2d(inputs, self.normalized_kernel(update), self.strides, "SAME"))
