"""Networks of the SRGAN (Ledig et al. 2017, figure 4); `models.srgan` trains them and names the differences."""

import math
from typing import Literal

import keras
import tensorflow as tf

from tfcxr.layers.leaky_relu import leaky_relu
from tfcxr.models.base import initializer_seeds

RESIDUAL_SCALE = 0.1  # of the last layer's output; Adam's first step, the same for all its weights, stays small so


def enlarge_bicubic(images: tf.Tensor, scale: int) -> tf.Tensor:
    """Bicubic enlargement (Keys 1981), float32 [batch, height * scale, width * scale, channels]; may leave [-1, 1]."""
    return tf.image.resize(images, scale * tf.shape(images)[1:3], "bicubic")


class Generator(keras.Model):
    """float32 images [batch, h, w, channels] in [-1, 1] -> float32 [batch, h * scale, w * scale, channels].

    The output is linear: it may leave [-1, 1]. An untrained generator is the bicubic enlargement.
    """

    def __init__(
        self,
        channels: int,
        scale: int,
        residual_blocks: int,
        filters: int,
        kernel_size: int,
        normalization: Literal["none", "batch"],
        activation: Literal["leaky_relu", "prelu"],
        seed: int,
    ) -> None:
        super().__init__()
        self.scale = scale
        seeds = initializer_seeds(seed)

        def convolution(outputs: int, kernel: int = 3, variance: float = 2.0) -> keras.layers.Layer:
            initializer = keras.initializers.VarianceScaling(variance, "fan_in", seed=next(seeds))
            return keras.layers.Conv2D(outputs, kernel, padding="same", kernel_initializer=initializer)

        self.first = convolution(filters, kernel_size)
        self.first_activation = _activation(activation)
        # the second convolution of a block starts small, so that deep sums keep their size (Wang et al. 2018)
        self.blocks = [
            keras.Sequential(
                [
                    convolution(filters),
                    *_normalization(normalization),
                    _activation(activation),
                    convolution(filters, variance=0.02),
                    *_normalization(normalization),
                ]
            )
            for _ in range(residual_blocks)
        ]
        self.after_blocks = keras.Sequential([convolution(filters), *_normalization(normalization)])
        stages = range(int(math.log2(scale)))
        self.upsampling = [convolution(4 * filters) for _ in stages]
        self.upsampling_activations = [_activation(activation) for _ in stages]
        self.last = keras.layers.Conv2D(channels, kernel_size, padding="same", kernel_initializer="zeros", name="last")

    def call(self, image: tf.Tensor, training: bool = False) -> tf.Tensor:
        features = first = self.first_activation(self.first(image))  # [batch, h, w, filters]
        for block in self.blocks:
            features += block(features, training=training)
        features = first + self.after_blocks(features, training=training)
        for convolution, activation in zip(self.upsampling, self.upsampling_activations, strict=True):
            # sub-pixel convolution (Shi et al. 2016): [batch, h, w, 4 * filters] -> [batch, 2 h, 2 w, filters]
            features = activation(tf.nn.depth_to_space(convolution(features), 2))
        residual = RESIDUAL_SCALE * tf.cast(self.last(features), tf.float32)
        return enlarge_bicubic(tf.cast(image, tf.float32), self.scale) + residual


class Discriminator(keras.Model):
    """float32 images in [-1, 1] -> realism logits float32 [batch, 1]; figure 4 of Ledig et al."""

    def __init__(self, filters: int, dense_units: int, seed: int) -> None:
        super().__init__()
        seeds = initializer_seeds(seed)
        self.convolutions = [
            keras.layers.Conv2D(
                filters << (layer // 2),
                3,
                strides=1 + layer % 2,
                padding="same",
                kernel_initializer=keras.initializers.HeNormal(seed=next(seeds)),
            )
            for layer in range(8)
        ]
        self.dense = None
        if dense_units:
            initializer = keras.initializers.HeNormal(seed=next(seeds))
            self.dense = keras.layers.Dense(dense_units, kernel_initializer=initializer)
        initializer = keras.initializers.GlorotUniform(seed=next(seeds))
        self.realism = keras.layers.Dense(1, kernel_initializer=initializer, dtype="float32")

    def call(self, image: tf.Tensor) -> tf.Tensor:
        features = image
        for convolution in self.convolutions:  # every second one halves the size
            features = leaky_relu(convolution(features))
        if self.dense is None:
            return self.realism(tf.reduce_mean(tf.cast(features, tf.float32), axis=[1, 2]))
        flat = tf.reshape(features, [-1, math.prod(features.shape[1:])])
        return self.realism(leaky_relu(self.dense(flat)))


def _normalization(kind: str) -> list[keras.layers.Layer]:
    return [keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)] if kind == "batch" else []


def _activation(kind: str) -> keras.layers.Layer:
    if kind == "prelu":
        return keras.layers.PReLU(shared_axes=[1, 2])
    return keras.layers.LeakyReLU(negative_slope=0.2)
