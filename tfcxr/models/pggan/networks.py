"""PGGAN's networks, which grow: Karras et al. 2018, "Progressive Growing of GANs", table 2.

Two dialects, as the weights that are published in them need:

|                                   | "segal" (Segal et al. 2021)     | "karras" (GAN zoo, after Karras et al.)     |
| --------------------------------- | ------------------------------- | ------------------------------------------- |
| after the latent dense layer      | no normalization                | pixel normalization                         |
| after the layer from the image    | no activation                   | leaky ReLU                                  |
| minibatch deviation               | whole batch, biased variance    | groups of 4 that follow, unbiased variance  |
| channels in a discriminator's block | change in its first convolution | change in its second                       |
| channels change in a discriminator's block | at its first convolution | at its second                     |
| discriminator while 8 px fade in  | blends old and new path         | new path only                               |
| slope of the decision layers      | .2 always                       | the configured one                          |
| images (`PGGANConfig`)            | [0, 1]                          | [-1, 1]                                     |

Same in both: y = sqrt(2 / fan in) (W x + b) in every layer, no activation before the image, and alpha is the weight of
the **old** path: 1 when a block has just been added, 0 when it stands alone. All blocks are made at construction; a
network of a lower size is the same one, called with that size.
"""

import dataclasses
import math
from typing import Literal

import keras
import tensorflow as tf

from tfcxr.layers.initializer_seeds import initializer_seeds
from tfcxr.layers.leaky_relu import LEAKY_SLOPE, leaky_relu
from tfcxr.layers.minibatch_stddev import consecutive_stddev, minibatch_stddev
from tfcxr.layers.pixel_normalization import pixel_normalization
from tfcxr.layers.resample import average_pixels, repeat_pixels
from tfcxr.layers.runtime_scaled import ScaledConvolution, ScaledDense

BASE_SIZE = 4  # pixels of the first feature map
LONE_DEVIATION = {"segal": 1e-4, "karras": 0.0}  # minibatch deviation of an image alone


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What both networks are made of; the names and meanings are those of `PGGANConfig`."""

    dialect: Literal["segal", "karras"]
    latent_size: int
    label_count: int
    channels: int
    filters: tuple[int, ...]
    leaky_slope: float
    upsampling: Literal["nearest", "bilinear"]
    normalizes_generator: bool
    normalizes_discriminator: bool
    is_equalized: bool
    minibatch_stddev: bool
    critic_outputs: int
    output_activation: Literal["linear", "tanh"]
    recomputes_blocks: bool


class ConvolutionPair(keras.layers.Layer):
    """Two convolutions of 3 x 3, each with leaky ReLU and, where asked for, pixel normalization."""

    def __init__(
        self, widths: tuple[int, int, int], slope: float, is_normalized: bool, is_equalized: bool, seeds, **keywords
    ) -> None:
        """`widths`: channels before, between and after."""
        super().__init__(**keywords)
        self.slope = slope
        self.is_normalized = is_normalized
        self.convolutions = [
            ScaledConvolution(inputs, filters, 3, next(seeds), is_equalized, name=f"convolution_{index}")
            for index, (inputs, filters) in enumerate(zip(widths[:-1], widths[1:], strict=True))
        ]
        self.built = True

    def call(self, features: tf.Tensor) -> tf.Tensor:
        for convolution in self.convolutions:
            features = _activated(convolution(features), self.slope, self.is_normalized)
        return features


class Generator(keras.Model):
    """float32 z [batch, latent_size], condition [batch, label_count] -> float32 images [batch, size, size, channels].

    The images are not bounded unless the output activation is tanh.

    Attributes:
      latent: its columns are the (row, column, channel) of the first map. first: the convolution at 4 px.
      blocks: blocks[i] makes features of 8 * 2^i px. to_image: to_image[i] makes images of 4 * 2^i px.
    """

    def __init__(self, architecture: Architecture, seed: int) -> None:
        super().__init__(autocast=False)  # z, images and alpha stay float32; the layers cast
        seeds = initializer_seeds(seed)
        self.architecture = architecture
        filters, is_equalized = architecture.filters, architecture.is_equalized
        inputs = architecture.latent_size + architecture.label_count
        self.latent = ScaledDense(inputs, BASE_SIZE**2 * filters[0], next(seeds), is_equalized, name="latent")
        self.first = ScaledConvolution(filters[0], filters[0], 3, next(seeds), is_equalized, name="first")
        self.blocks = [
            ConvolutionPair(
                (before, after, after),
                architecture.leaky_slope,
                architecture.normalizes_generator,
                is_equalized,
                seeds,
                name=f"block_{BASE_SIZE << index}",
            )
            for index, (before, after) in enumerate(zip(filters[:-1], filters[1:], strict=True), start=1)
        ]
        self.to_image = [
            ScaledConvolution(width, architecture.channels, 1, next(seeds), is_equalized, name=f"to_image_{index}")
            for index, width in enumerate(filters)
        ]
        self.built = True

    def call(
        self,
        inputs: tuple[tf.Tensor, tf.Tensor],
        size: int | None = None,
        alpha: tf.Tensor | float = 0.0,
        training: bool = False,
    ) -> tf.Tensor:
        """`size`: pixels of the images, full size where None. `alpha`: weight of the old path; 0.0 leaves it out."""
        return self.finish(self.features(inputs, size, alpha), alpha)

    def features(
        self, inputs: tuple[tf.Tensor, tf.Tensor], size: int | None = None, alpha: tf.Tensor | float = 0.0
    ) -> list[tf.Tensor]:
        """Feature maps of the size and, where alpha is not 0.0, of half of it before them."""
        last = depth_of(size, self.architecture.filters)
        features = self.base_features(inputs)
        maps = [features]
        for block in self.blocks[:last]:
            enlarged = self.enlarge(features)
            features = self._run(block, enlarged)
            maps.append(features)
        return maps[-1:] if _is_off(alpha) or last == 0 else maps[-2:]

    def base_features(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """The features of 4 px, [batch, 4, 4, channels]."""
        architecture = self.architecture
        z, condition = inputs
        if architecture.normalizes_generator:
            z = pixel_normalization(z)
        if architecture.label_count:
            z = tf.concat([z, condition], axis=-1)
        features = leaky_relu(self.latent(z), architecture.leaky_slope)
        features = tf.reshape(features, [-1, BASE_SIZE, BASE_SIZE, architecture.filters[0]])
        if architecture.dialect == "karras" and architecture.normalizes_generator:
            features = pixel_normalization(features)
        return _activated(self.first(features), architecture.leaky_slope, architecture.normalizes_generator)

    def finish(self, maps: list[tf.Tensor], alpha: tf.Tensor | float) -> tf.Tensor:
        """Images float32 of the last feature map, blended with those of the one before it where there is one."""
        image = self._image(maps[-1])
        if len(maps) > 1:
            old = self.enlarge(self._image(maps[-2]))
            image = alpha * old + (1.0 - alpha) * image
        return tf.tanh(image) if self.architecture.output_activation == "tanh" else image

    def enlarge(self, features: tf.Tensor) -> tf.Tensor:
        """Twice the size, float [batch, 2 h, 2 w, channels]."""
        if self.architecture.upsampling == "nearest":
            return repeat_pixels(features)
        height, width = features.shape[1:3]
        return tf.cast(tf.image.resize(features, [2 * height, 2 * width], "bilinear"), features.dtype)

    def weights_of(self, size: int, is_fading: bool) -> list:
        """The trainable variables that images of a size depend on, those of the old path only where it fades."""
        last = depth_of(size, self.architecture.filters)
        layers = [self.latent, self.first, *self.blocks[:last], *self.to_image[last - is_fading : last + 1]]
        return [variable for layer in layers for variable in layer.trainable_variables]

    def _image(self, features: tf.Tensor) -> tf.Tensor:
        depth = int(math.log2(features.shape[1] // BASE_SIZE))
        return tf.cast(self.to_image[depth](features), tf.float32)

    def _run(self, block: ConvolutionPair, features: tf.Tensor) -> tf.Tensor:
        return _recomputed(block, features) if self.architecture.recomputes_blocks else block(features)


class Discriminator(keras.Model):
    """float32 images [batch, size, size, channels], condition [batch, label_count] -> float32 [batch, critic_outputs].

    A condition is compared with the last features (projection; Miyato, Koyama 2018), which published PGGANs have not.

    Attributes:
      from_image: from_image[i] reads images of 4 * 2^i px. blocks: blocks[i] halves features of 8 * 2^i px.
      last: the convolution after the deviation. dense: its rows are the (row, column, channel) of the 4 x 4 map.
      decision: the linear layer.
    """

    def __init__(self, architecture: Architecture, seed: int) -> None:
        super().__init__(autocast=False)  # z, images and alpha stay float32; the layers cast
        seeds = initializer_seeds(seed)
        self.architecture = architecture
        filters, is_equalized = architecture.filters, architecture.is_equalized
        width = filters[0]
        self.from_image = [
            ScaledConvolution(architecture.channels, after, 1, next(seeds), is_equalized, name=f"from_image_{index}")
            for index, after in enumerate(filters)
        ]
        self.blocks = [
            ConvolutionPair(
                (before, after if architecture.dialect == "segal" else before, after),
                architecture.leaky_slope,
                architecture.normalizes_discriminator,
                is_equalized,
                seeds,
                name=f"block_{BASE_SIZE << index}",
            )
            for index, (before, after) in enumerate(zip(filters[1:], filters[:-1], strict=True), start=1)
        ]
        inputs = width + architecture.minibatch_stddev
        self.last = ScaledConvolution(inputs, width, 3, next(seeds), is_equalized, name="last")
        self.dense = ScaledDense(BASE_SIZE**2 * width, width, next(seeds), is_equalized, name="dense")
        self.decision = ScaledDense(
            width, architecture.critic_outputs, next(seeds), is_equalized, dtype="float32", name="decision"
        )
        self.projection = None
        if architecture.label_count:
            self.projection = ScaledDense(
                architecture.label_count, width, next(seeds), is_equalized, dtype="float32", name="projection"
            )
        self.built = True

    def call(
        self,
        inputs: tuple[tf.Tensor, tf.Tensor],
        alpha: tf.Tensor | float = 0.0,
        deviation: tf.Tensor | None = None,
        recomputes: bool = False,
        training: bool = False,
    ) -> tf.Tensor:
        """`alpha`: weight of the old path; 0.0 leaves it out. `deviation`: see `features`.

        `recomputes`: forgets what is inside the blocks and computes it again for the gradient, which then cannot be
        differentiated a second time.
        """
        image, condition = inputs
        return self.values(self.map_of(image, alpha, recomputes), condition, deviation)

    def values(self, features: tf.Tensor, condition: tf.Tensor, deviation: tf.Tensor | None = None) -> tf.Tensor:
        """The features of 4 px -> critic values."""
        features = tf.cast(self.decide(features, deviation), tf.float32)
        values = self.decision(features)
        if self.projection is None:
            return values
        return values + tf.reduce_sum(self.projection(condition) * features, axis=1, keepdims=True)

    def features(
        self,
        image: tf.Tensor,
        alpha: tf.Tensor | float = 0.0,
        deviation: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """What the linear layer reads, [batch, filters[0]].

        `deviation`: float32 that stands for the batch's minibatch deviation, so that each image is judged for itself.
        """
        return self.decide(self.map_of(image, alpha), deviation)

    def map_of(self, image: tf.Tensor, alpha: tf.Tensor | float = 0.0, recomputes: bool = False) -> tf.Tensor:
        """The features of 4 px before the deviation, [batch, 4, 4, filters[0]]."""
        architecture = self.architecture
        depth = depth_of(image.shape[1], architecture.filters)
        features = self._read(image, depth)
        blends = depth > 0 and not _is_off(alpha) and not (architecture.dialect == "karras" and depth == 1)
        for index in range(depth - 1, -1, -1):
            block = self.blocks[index]
            features = average_pixels(_recomputed(block, features) if recomputes else block(features))
            if blends and index == depth - 1:
                old = self._read(average_pixels(image), index)
                weight = tf.cast(alpha, features.dtype)
                features = weight * old + (1.0 - weight) * features
        return features

    def batch_deviation(self, features: tf.Tensor) -> tf.Tensor:
        """The mean minibatch deviation of features of 4 px, a float32 scalar."""
        return tf.reduce_mean(tf.cast(self._with_deviation(features, None)[..., -1], tf.float32))

    def decide(self, features: tf.Tensor, deviation: tf.Tensor | None = None) -> tf.Tensor:
        """The features of 4 px -> what the linear layer reads."""
        architecture = self.architecture
        slope = LEAKY_SLOPE if architecture.dialect == "segal" else architecture.leaky_slope
        is_normalized = architecture.normalizes_discriminator
        if architecture.minibatch_stddev:
            features = self._with_deviation(features, deviation)
        features = _activated(self.last(features), slope, is_normalized)
        features = tf.reshape(features, [-1, math.prod(features.shape[1:])])
        return _activated(self.dense(features), slope, is_normalized)

    def weights_of(self, size: int, is_fading: bool) -> list:
        """The trainable variables that judge images of a size, those of the old path only where it fades."""
        last = depth_of(size, self.architecture.filters)
        has_old_path = is_fading and not (self.architecture.dialect == "karras" and last == 1)
        layers = [*self.from_image[last - has_old_path : last + 1], *self.blocks[:last], self.last, self.dense]
        layers += [self.decision] if self.projection is None else [self.decision, self.projection]
        return [variable for layer in layers for variable in layer.trainable_variables]

    def _read(self, image: tf.Tensor, depth: int) -> tf.Tensor:
        features = self.from_image[depth](image)
        return (
            leaky_relu(features, self.architecture.leaky_slope) if self.architecture.dialect == "karras" else features
        )

    def _with_deviation(self, features: tf.Tensor, deviation: tf.Tensor | None) -> tf.Tensor:
        if deviation is not None:
            channel = tf.fill(tf.shape(features[..., :1]), tf.cast(deviation, features.dtype))
            return tf.concat([features, channel], axis=-1)
        if self.architecture.dialect == "karras":
            return consecutive_stddev(features)
        return minibatch_stddev(features, group_size=features.shape[0])


def depth_of(size: int | None, filters: tuple[int, ...]) -> int:
    """How many blocks make images of a size in pixels; all of them where it is None."""
    return len(filters) - 1 if size is None else int(math.log2(size // BASE_SIZE))


def _activated(features: tf.Tensor, slope: float, is_normalized: bool) -> tf.Tensor:
    features = leaky_relu(features, slope)
    return pixel_normalization(features) if is_normalized else features


def _is_off(alpha: tf.Tensor | float) -> bool:
    return isinstance(alpha, (int, float)) and alpha == 0


def _recomputed(block: ConvolutionPair, features: tf.Tensor) -> tf.Tensor:
    return tf.recompute_grad(block)(features)
