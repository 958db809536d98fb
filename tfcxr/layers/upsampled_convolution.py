"""Resize-convolution: features are enlarged by repeated pixels, then convolved (Odena, Dumoulin, Olah 2016)."""

import keras
import tensorflow as tf


class UpsampledConvolution(keras.layers.Layer):
    """Up-sampling to twice the size by the nearest pixel, then a 3x3 convolution, in one operation.

    Doubling a pixel is itself a transposed convolution with a 2x2 kernel of ones, and two convolutions in a row are
    one: 4x4 numbers, sums of the 3x3 weights, do for both what takes 9 products a pixel in 4 (as Karras et al. 2018
    do in their published code for large images). float [batch, x, x, channels] -> [batch, 2 x, 2 x, filters].
    """

    def __init__(self, filters: int, kernel_initializer: keras.initializers.Initializer, use_bias: bool = True) -> None:
        super().__init__()
        self.filters = filters
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = (3, 3, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel", autocast=False)
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, features: tf.Tensor) -> tf.Tensor:
        # transposed convolution reads its kernel backwards: [height, width, filters, channels]
        flipped = tf.transpose(tf.convert_to_tensor(self.kernel)[::-1, ::-1], [0, 1, 3, 2])
        shifts = [[[row, 1 - row], [column, 1 - column], [0, 0], [0, 0]] for row in (0, 1) for column in (0, 1)]
        kernel = tf.add_n([tf.pad(flipped, shift) for shift in shifts])  # [4, 4, filters, channels]
        batch, height, width = tf.shape(features)[0], 2 * features.shape[1], 2 * features.shape[2]
        output_shape = tf.stack([batch, height, width, self.filters])
        outputs = tf.nn.conv2d_transpose(features, tf.cast(kernel, features.dtype), output_shape, 2, "SAME")
        return outputs + tf.cast(self.bias, outputs.dtype) if self.use_bias else outputs
