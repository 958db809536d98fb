"""A discriminator that sees images through a frozen network: Sauer, Chitta, Mueller, Geiger 2021, "Projected GANs".

Feature maps of a pretrained network at several depths, mixed by fixed random projections, are each scored by a small
head. Heads alone learn: the projections are drawn from the run's seed, and the frozen network is in no checkpoint.

Differs from the paper: maps are divided by their root mean square, so that any network may be given; heads have no
batch normalization, so that an image is scored for itself; each head gives one logit per image, not one per place; and
the heads' losses are averaged, not summed.
"""

from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from tfcxr.backbones.bilinear_resize import resize_antialiased
from tfcxr.backbones.frozen_maps import FrozenMaps
from tfcxr.layers.initializers import initializer_seeds, kernel_initializer
from tfcxr.layers.leaky_relu import leaky_relu
from tfcxr.layers.minibatch_stddev import minibatch_stddev
from tfcxr.layers.spectral_normalization import SpectralConv2D, SpectralDense

LARGEST_LAST_MAP = 7  # pixels, after which a head halves no more
MAX_GROWTH = 8  # channels of the deepest map over those of the finest
HEAD_GROWTH = 4  # most channels within a head over those of the finest map
Embed = Callable[[int, Iterator[int]], keras.layers.Layer]  # units, seeds -> layer of conditions


class RandomProjection(keras.layers.Layer):
    """Feature maps, from fine to coarse, -> as many maps of `widths` channels; its weights are random and fixed.

    Cross-channel mixing by a 1x1 convolution for each map, then cross-scale mixing: from the coarsest map on, each is
    convolved (3x3), enlarged and added to the next finer one (section 3.2 of the paper). Variances are kept.
    """

    def __init__(self, maps: FrozenMaps, widths: list[int], seeds: Iterator[int]) -> None:
        super().__init__(trainable=False)
        draw = lambda: kernel_initializer("he", next(seeds), is_before_relu=False)  # noqa: E731
        options = {"padding": "same", "use_bias": False, "trainable": False}
        self.channel_mixing = [keras.layers.Conv2D(width, 1, kernel_initializer=draw(), **options) for width in widths]
        self.scale_mixing = [
            keras.layers.Conv2D(width, 3, kernel_initializer=draw(), **options) for width in widths[:-1]
        ]
        for layer, (size, channels) in zip(self.channel_mixing, maps.shapes, strict=True):
            layer.build([None, size, size, channels])
        for layer, (size, _), width in zip(self.scale_mixing, maps.shapes[1:], widths[1:], strict=True):
            layer.build([None, size, size, width])
        self.built = True

    def call(self, maps: list[tf.Tensor]) -> list[tf.Tensor]:
        mixed = [layer(_unit_scale(found)) for layer, found in zip(self.channel_mixing, maps, strict=True)]
        for depth in reversed(range(len(self.scale_mixing))):
            coarse = self.scale_mixing[depth](mixed[depth + 1])
            mixed[depth] = (mixed[depth] + resize_antialiased(coarse, mixed[depth].shape[1])) * 0.5**0.5
        return mixed


class Head(keras.layers.Layer):
    """One map [batch, size, size, channels] -> float32 features [batch, units] by spectrally normalized layers.

    `compares_images` adds a channel that tells how much a batch varies, before the last layer.
    """

    def __init__(
        self, size: int, channels: int, largest: int, units: int, seeds: Iterator[int], compares_images: bool = False
    ) -> None:
        super().__init__()
        self.compares_images = compares_images
        draw = lambda: {"kernel_initializer": kernel_initializer("he", next(seeds)), "seed": next(seeds)}  # noqa: E731
        self.convolutions = []
        shape = [None, size, size, channels]
        while size > LARGEST_LAST_MAP or not self.convolutions:
            kernel, strides = (4, 2) if size > LARGEST_LAST_MAP else (3, 1)
            channels, size = min(2 * channels, largest), -(-size // strides)
            layer = SpectralConv2D(channels, kernel, strides, **draw())
            layer.build(shape)
            self.convolutions.append(layer)
            shape = [None, size, size, channels]
        self.dense = SpectralDense(units, dtype="float32", **draw())
        self.flat = size * size * (channels + compares_images)
        self.dense.build([None, self.flat])
        self.built = True

    def call(self, features: tf.Tensor) -> tf.Tensor:
        for layer in self.convolutions:
            features = leaky_relu(layer(features))
        if self.compares_images:
            features = minibatch_stddev(features)
        return leaky_relu(self.dense(tf.cast(tf.reshape(features, [-1, self.flat]), tf.float32)))


class ProjectedDiscriminator(keras.Model):
    """float32 images [batch, size, size, channels] in [-1, 1], condition -> one logit per head, float32 [batch, heads].

    A model's own subclass gives `call` the arguments of its other discriminator.

    Attributes:
      maps: the frozen network.
    """

    def __init__(
        self,
        maps: FrozenMaps,
        width: int,
        seed: int,
        embed: Embed | None = None,
        label_count: int = 0,
        compares_images: bool = False,
    ) -> None:
        """
        Args:
          maps: the frozen network.
          width: channels of the finest projected map, doubled with each depth, at most `MAX_GROWTH` times as many; and
            the features that a head decides on.
          seed: of projections and heads.
          embed: makes a layer that embeds conditions in so many units, which are multiplied with a head's features and
            added to its logit (Miyato, Koyama 2018, equation 3); None tells no condition.
          label_count: labels that the heads predict, their mean logits; 0 for none.
          compares_images: each head is told how much a batch varies (minibatch stddev, Karras et al. 2018).
        """
        super().__init__(autocast=False)
        seeds, self.maps = initializer_seeds(seed), maps
        widths = [width * min(1 << depth, MAX_GROWTH) for depth in range(len(maps.shapes))]
        self.projection = RandomProjection(maps, widths, seeds)
        sizes = [size for size, _ in maps.shapes]
        self.heads = [
            Head(size, channels, HEAD_GROWTH * width, width, seeds, compares_images)
            for size, channels in zip(sizes, widths, strict=True)
        ]
        draw = lambda: kernel_initializer("glorot", next(seeds))  # noqa: E731
        self.realism = [SpectralDense(1, kernel_initializer=draw(), seed=next(seeds), dtype="float32") for _ in sizes]
        self.embeddings = [embed(width, seeds) for _ in sizes] if embed else []
        self.labels = [
            keras.layers.Dense(label_count, kernel_initializer=draw(), dtype="float32")
            for _ in (sizes if label_count else ())
        ]
        for layer in (*self.realism, *self.labels):
            layer.build([None, width])
        self.built = True

    def scores(self, image: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Realism logits float32 [batch, heads]; label logits float32 [batch, labels], None where none are predicted.

        `condition` float32 [batch, label_width] is read where labels are embedded.
        """
        projected = self.projection(self.maps(image))
        features = [head(found) for head, found in zip(self.heads, projected, strict=True)]  # each [batch, width]
        logits = [layer(found) for layer, found in zip(self.realism, features, strict=True)]
        if self.embeddings:
            logits = [
                logit + tf.reduce_sum(self.embedding(layer, condition) * found, axis=1, keepdims=True)
                for logit, layer, found in zip(logits, self.embeddings, features, strict=True)
            ]
        labels = [layer(found) for layer, found in zip(self.labels, features, strict=False)]
        return tf.concat(logits, axis=1), tf.add_n(labels) / len(labels) if labels else None

    def move_spectral_norms(self) -> None:
        """Estimates the spectral norms one step further; a training step does so once, before it scores images."""
        of_heads = [layer for head in self.heads for layer in (*head.convolutions, head.dense)]
        for layer in (*of_heads, *self.realism, *self.embeddings):
            if isinstance(layer, SpectralConv2D | SpectralDense):
                layer.normalized_kernel(update=True)

    def embedding(self, layer: keras.layers.Layer, condition: tf.Tensor) -> tf.Tensor:
        """What a layer that `embed` made gives for a condition, float32 [batch, width]."""
        return layer(condition)


def _unit_scale(features: tf.Tensor) -> tf.Tensor:
    """Maps divided by their root mean square, image by image, in the dtype that they have."""
    mean_square = tf.reduce_mean(tf.square(tf.cast(features, tf.float32)), axis=[1, 2, 3], keepdims=True)
    return features * tf.cast(tf.math.rsqrt(mean_square + 1e-8), features.dtype)
