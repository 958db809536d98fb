"""PGGAN's networks, which grow: Karras et al. 2018, "Progressive Growing of GANs", table 2.

Two dialects, as the weights that are published in them need:

|                                   | "segal" (Segal et al. 2021)     | "karras" (GAN zoo, after Karras et al.)     |
| --------------------------------- | ------------------------------- | ------------------------------------------- |
| after the latent dense layer      | no normalization                | pixel normalization                         |
| after the layer from the image    | no activation                   | leaky ReLU                                  |
| minibatch stddev                  | whole batch, biased variance    | 4 consecutive images, unbiased variance     |
| channels of a discriminator's block | change in its first convolution | change in its second one                  |
| discriminator while 8 px fade in  | blends old and new path         | new path only                               |
| slope of the decision layers      | .2 always                       | the configured one                          |
| images (`PGGANConfig`)            | [0, 1]                          | [-1, 1]                                     |

Same in both: y = sqrt(2 / fan in) (W x + b) in every layer, no activation before the image, and alpha is the weight of
the **old** path: 1 when a block has just been added, 0 when it stands alone. All blocks are made at construction; a
network of a lower size is the same one, called with that size.
"""

import functools
import itertools
import math
from collections.abc import Iterator

import keras
import tensorflow as tf

from tfcxr.layers.equalized import ScaledConvolution, ScaledDense
from tfcxr.layers.initializers import initializer_seeds
from tfcxr.layers.leaky_relu import LEAKY_SLOPE, leaky_relu
from tfcxr.layers.minibatch_stddev import append_channel, consecutive_stddev, minibatch_stddev
from tfcxr.layers.pixel_normalization import pixel_normalization
from tfcxr.layers.recomputation import recomputed
from tfcxr.layers.resample import average_pixels, repeat_pixels
from tfcxr.models.pggan.config import BASE_SIZE, PGGANConfig

LONE_DEVIATION = {"segal": 1e-4, "karras": 0.0}  # minibatch stddev of an image alone


class ConvolutionPair(keras.layers.Layer):
    """Two convolutions of 3 x 3, each with leaky ReLU and, where `is_normalized`, pixel normalization.

    Args:
      config: of the network.
      widths: channels before, between and after.
      is_normalized: whether pixel normalization follows.
      seeds: of the weights.
      size: pixels of the larger of its two sides, for its name.
    """

    def __init__(
        self, config: PGGANConfig, widths: tuple[int, int, int], is_normalized: bool, seeds: Iterator[int], size: int
    ) -> None:
        super().__init__(name=f"block_{size}")
        self.slope = config.leaky_slope
        self.is_normalized = is_normalized
        self.convolutions = [
            ScaledConvolution(inputs, filters, 3, next(seeds), config.is_equalized, name=f"convolution_{index}")
            for index, (inputs, filters) in enumerate(itertools.pairwise(widths))
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
      latent: the dense layer from z; its columns are the (row, column, channel) of the first map.
      first: the convolution at 4 px.
      blocks: blocks[i] makes features of 8 * 2^i px.
      to_image: to_image[i] makes images of 4 * 2^i px.
    """

    def __init__(self, config: PGGANConfig, seed: int) -> None:
        super().__init__(autocast=False)  # z, images and alpha stay float32; the layers cast
        seeds = initializer_seeds(seed)
        self.config = config
        filters, is_equalized = config.filters, config.is_equalized
        inputs = config.latent_size + config.label_count
        self.latent = ScaledDense(inputs, BASE_SIZE**2 * filters[0], next(seeds), is_equalized, name="latent")
        self.first = ScaledConvolution(filters[0], filters[0], 3, next(seeds), is_equalized, name="first")
        self.blocks = [
            ConvolutionPair(config, (before, after, after), config.normalizes_generator, seeds, BASE_SIZE << index)
            for index, (before, after) in enumerate(itertools.pairwise(filters), start=1)
        ]
        self.to_image = [
            ScaledConvolution(width, config.channels, 1, next(seeds), is_equalized, name=f"to_image_{index}")
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
        last = depth_of(size, self.config.filters)
        maps = [self.base_features(inputs)]
        for block in self.blocks[:last]:
            enlarged = lambda features, block=block: block(self.enlarge(features))  # noqa: E731
            maps.append(recomputed(enlarged, [block], maps[-1], is_on=self.config.recomputes_blocks))
        return maps[-1:] if _is_off(alpha) or last == 0 else maps[-2:]

    def base_features(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """The features of 4 px, [batch, 4, 4, channels]."""
        config = self.config
        z, condition = inputs
        if config.normalizes_generator:
            z = pixel_normalization(z)
        if config.label_count:
            z = tf.concat([z, condition], axis=-1)
        features = leaky_relu(self.latent(z), config.leaky_slope)
        features = tf.reshape(features, [-1, BASE_SIZE, BASE_SIZE, config.filters[0]])
        if config.dialect == "karras" and config.normalizes_generator:
            features = pixel_normalization(features)
        return _activated(self.first(features), config.leaky_slope, config.normalizes_generator)

    def finish(self, maps: list[tf.Tensor], alpha: tf.Tensor | float) -> tf.Tensor:
        """Images float32 of the last feature map, blended with those of the one before it where there is one."""
        image = self._image(maps[-1])
        if len(maps) > 1:
            old = self.enlarge(self._image(maps[-2]))
            image = alpha * old + (1.0 - alpha) * image
        return tf.tanh(image) if self.config.output_activation == "tanh" else image

    def enlarge(self, features: tf.Tensor) -> tf.Tensor:
        """Twice the size, float [batch, 2 h, 2 w, channels]."""
        if self.config.upsampling == "nearest":
            return repeat_pixels(features)
        height, width = features.shape[1:3]
        return tf.cast(tf.image.resize(features, [2 * height, 2 * width], "bilinear"), features.dtype)

    def weights_of(self, size: int, is_fading: bool) -> list:
        """The trainable variables that images of a size depend on, those of the old path only where it fades."""
        last = depth_of(size, self.config.filters)
        layers = [self.latent, self.first, *self.blocks[:last], *self.to_image[last - is_fading : last + 1]]
        return [variable for layer in layers for variable in layer.trainable_variables]

    def _image(self, features: tf.Tensor) -> tf.Tensor:
        depth = int(math.log2(features.shape[1] // BASE_SIZE))
        return tf.cast(self.to_image[depth](features), tf.float32)


class Discriminator(keras.Model):
    """float32 images [batch, size, size, channels], condition [batch, label_count] -> float32 [batch, critic_outputs].

    A condition is compared with the last features (projection; Miyato, Koyama 2018), which published PGGANs have not.

    Attributes:
      from_image: from_image[i] reads images of 4 * 2^i px.
      blocks: blocks[i] halves features of 8 * 2^i px.
      last: the convolution after the minibatch stddev.
      dense: its rows are the (row, column, channel) of the 4 x 4 map.
      decision: the linear layer.
      projection: of the condition; None without labels.
    """

    def __init__(self, config: PGGANConfig, seed: int) -> None:
        super().__init__(autocast=False)  # z, images and alpha stay float32; the layers cast
        seeds = initializer_seeds(seed)
        self.config = config
        filters, is_equalized, width = config.filters, config.is_equalized, config.filters[0]
        self.from_image = [
            ScaledConvolution(config.channels, after, 1, next(seeds), is_equalized, name=f"from_image_{index}")
            for index, after in enumerate(filters)
        ]
        self.blocks = []
        for index, (after, before) in enumerate(itertools.pairwise(filters), start=1):
            widths = before, after if config.dialect == "segal" else before, after
            self.blocks.append(
                ConvolutionPair(config, widths, config.normalizes_discriminator, seeds, BASE_SIZE << index)
            )
        inputs = width + config.minibatch_stddev
        self.last = ScaledConvolution(inputs, width, 3, next(seeds), is_equalized, name="last")
        self.dense = ScaledDense(BASE_SIZE**2 * width, width, next(seeds), is_equalized, name="dense")
        options = {"is_equalized": is_equalized, "dtype": "float32"}
        self.decision = ScaledDense(width, config.critic_outputs, next(seeds), name="decision", **options)
        self.projection = None
        if config.label_count:
            self.projection = ScaledDense(config.label_count, width, next(seeds), name="projection", **options)
        self.built = True

    def call(
        self,
        inputs: tuple[tf.Tensor, tf.Tensor],
        alpha: tf.Tensor | float = 0.0,
        deviation: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """`alpha`: weight of the old path; 0.0 leaves it out. `deviation`: see `features`."""
        image, condition = inputs
        return self.values(self.map_of(image, alpha), condition, deviation)

    def values(self, features: tf.Tensor, condition: tf.Tensor, deviation: tf.Tensor | None = None) -> tf.Tensor:
        """The features of 4 px -> critic values."""
        features = tf.cast(self.decide(features, deviation), tf.float32)
        values = self.decision(features)
        if self.projection is None:
            return values
        return values + tf.reduce_sum(self.projection(condition) * features, axis=1, keepdims=True)

    def features(
        self, image: tf.Tensor, alpha: tf.Tensor | float = 0.0, deviation: tf.Tensor | None = None
    ) -> tf.Tensor:
        """What the linear layer reads, [batch, filters[0]].

        `deviation`: float32 that stands for the batch's minibatch stddev, so that each image is scored for itself.
        """
        return self.decide(self.map_of(image, alpha), deviation)

    def map_of(self, image: tf.Tensor, alpha: tf.Tensor | float = 0.0) -> tf.Tensor:
        """The features of 4 px before the minibatch stddev, [batch, 4, 4, filters[0]]."""
        depth, is_on = depth_of(image.shape[1], self.config.filters), self.config.recomputes_blocks
        if depth == 0:
            return self._read(image, depth)
        halved = lambda features, index: average_pixels(self.blocks[index](features))  # noqa: E731
        first = lambda image: halved(self._read(image, depth), depth - 1)  # noqa: E731
        features = recomputed(first, [self.from_image[depth], self.blocks[depth - 1]], image, is_on=is_on)
        if self._blends_at(depth) and not _is_off(alpha):
            old = self._read(average_pixels(image), depth - 1)
            weight = tf.cast(alpha, features.dtype)
            features = weight * old + (1.0 - weight) * features
        for index in range(depth - 2, -1, -1):
            block = functools.partial(halved, index=index)
            features = recomputed(block, [self.blocks[index]], features, is_on=is_on)
        return features

    def batch_deviation(self, features: tf.Tensor) -> tf.Tensor:
        """The mean minibatch stddev of features of 4 px, a float32 scalar."""
        return tf.reduce_mean(tf.cast(self._with_deviation(features, None)[..., -1], tf.float32))

    def decide(self, features: tf.Tensor, deviation: tf.Tensor | None = None) -> tf.Tensor:
        """The features of 4 px -> what the linear layer reads."""
        config = self.config
        slope = LEAKY_SLOPE if config.dialect == "segal" else config.leaky_slope
        if config.minibatch_stddev:
            features = self._with_deviation(features, deviation)
        features = _activated(self.last(features), slope, config.normalizes_discriminator)
        features = tf.reshape(features, [-1, math.prod(features.shape[1:])])
        return _activated(self.dense(features), slope, config.normalizes_discriminator)

    def weights_of(self, size: int, is_fading: bool) -> list:
        """The trainable variables that score images of a size, those of the old path only where it fades."""
        last = depth_of(size, self.config.filters)
        has_old_path = is_fading and self._blends_at(last)
        layers = [*self.from_image[last - has_old_path : last + 1], *self.blocks[:last], self.last, self.dense]
        layers += [self.decision] if self.projection is None else [self.decision, self.projection]
        return [variable for layer in layers for variable in layer.trainable_variables]

    def _blends_at(self, depth: int) -> bool:
        """Whether the old path counts while the block of a depth fades in."""
        return depth > 1 or (depth == 1 and self.config.dialect == "segal")

    def _read(self, image: tf.Tensor, depth: int) -> tf.Tensor:
        features = self.from_image[depth](image)
        return leaky_relu(features, self.config.leaky_slope) if self.config.dialect == "karras" else features

    def _with_deviation(self, features: tf.Tensor, deviation: tf.Tensor | None) -> tf.Tensor:
        if deviation is not None:
            return append_channel(features, deviation)
        if self.config.dialect == "karras":
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
