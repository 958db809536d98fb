"""StyleGAN2's networks: mapping, synthesis with skip connections, residual discriminator.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", sections 2 and 4; label inputs as in
Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", appendix C. Layers carry the names
of the authors' PyTorch program (b8, conv0, affine ...), so that its checkpoints can be read into them. All weights are
made at construction; each layer says `built`, or Keras would trace every `call` an extra time to find out.
"""

import math
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf

from tfcxr.layers.equalized import EqualizedConvolution, EqualizedDense, normalize_second_moment
from tfcxr.layers.minibatch_stddev import minibatch_stddev
from tfcxr.layers.modulated_convolution import StyleConvolution, ToImage
from tfcxr.layers.resample import upsample
from tfcxr.models.base import initializer_seeds

BASE_SIZE = 4  # pixels of the first feature map


class MappingNetwork(keras.layers.Layer):
    """float32 z [batch, latent_size] or None, condition [batch, label_count] -> float32 w [batch, style_size].

    z and the embedded condition are each normalised, put side by side, and pass dense layers that learn a hundred times
    more slowly than others; without such layers, what is put side by side comes out.

    Attributes:
      average: the running mean of w, where `has_average`, to which truncation leads.
    """

    def __init__(
        self,
        latent_size: int,
        label_count: int,
        style_size: int,
        layer_count: int,
        seeds: Iterator[int],
        has_average: bool,
        **keywords,
    ) -> None:
        super().__init__(dtype="float32", **keywords)
        self.embed = None
        if label_count:
            self.embed = EqualizedDense(label_count, style_size, next(seeds), dtype="float32", name="embed")
        widths = [latent_size + (style_size if label_count else 0)] + [style_size] * layer_count
        self.dense = [
            EqualizedDense(
                inputs,
                units,
                next(seeds),
                is_activated=True,
                learning_rate_multiplier=0.01,
                dtype="float32",
                name=f"fc{index}",
            )
            for index, (inputs, units) in enumerate(zip(widths[:-1], widths[1:], strict=True))
        ]
        if has_average:
            self.average = self.add_weight(
                shape=(style_size,), initializer="zeros", trainable=False, name="w_avg", aggregation="mean"
            )
        self.built = True

    def call(self, z: tf.Tensor | None, condition: tf.Tensor) -> tf.Tensor:
        parts = [] if z is None else [normalize_second_moment(z)]
        if self.embed is not None:
            parts.append(normalize_second_moment(self.embed(condition)))
        features = tf.concat(parts, axis=-1)
        for layer in self.dense:
            features = layer(features)
        return features


class SynthesisBlock(keras.layers.Layer):
    """Doubles the size (but the first block starts from a learned constant) and adds its part to the image.

    `call(features, image, styles, noise)`: features float [batch, size / 2, size / 2, inputs] and image float32
    [batch, size / 2, size / 2, channels] of the block before, both None in the first; one w, float32 [batch,
    style_size], for each convolution and one for the image; one noise, or None, for each convolution -> features
    [batch, size, size, filters], image float32 [batch, size, size, channels].
    """

    def __init__(
        self,
        inputs: int,
        filters: int,
        channels: int,
        style_size: int,
        size: int,
        seeds: Iterator[int],
        clamp: float = 0.0,
        **keywords,
    ) -> None:
        super().__init__(autocast=False, **keywords)
        if inputs:
            self.conv0 = StyleConvolution(
                inputs, filters, style_size, size, seeds, is_doubling=True, clamp=clamp, name="conv0"
            )
        else:
            draw = keras.initializers.RandomNormal(0.0, 1.0, seed=next(seeds))
            self.conv0 = None
            self.const = self.add_weight(shape=(size, size, filters), initializer=draw, name="const", autocast=False)
        self.conv1 = StyleConvolution(filters, filters, style_size, size, seeds, clamp=clamp, name="conv1")
        self.torgb = ToImage(filters, channels, style_size, seeds, clamp, name="torgb")
        self.convolution_count = 2 if inputs else 1
        self.size = size
        self.built = True

    def call(
        self,
        features: tf.Tensor | None,
        image: tf.Tensor | None,
        styles: Sequence[tf.Tensor],
        noise: Sequence[tf.Tensor | None],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if self.conv0 is None:
            start = tf.cast(tf.convert_to_tensor(self.const), self.compute_dtype)[None]
            features = tf.tile(start, [tf.shape(styles[0])[0], 1, 1, 1])
        else:
            features = self.conv0(features, styles[0], noise[0])
        features = self.conv1(features, styles[-2], noise[-1])
        part = self.torgb(features, styles[-1])
        return features, part if image is None else upsample(image) + part


class SynthesisNetwork(keras.layers.Layer):
    """float32 styles [batch, style_count, style_size] -> float32 images [batch, size, size, channels], about [-1, 1].

    Attributes:
      style_count: one for each convolution and one for the last image part; a block's image part shares the style of
        the next block's first convolution.
      noise_sizes: pixels of each convolution's noise.
    """

    def __init__(
        self,
        filters: dict[int, int],
        channels: int,
        style_size: int,
        seeds: Iterator[int],
        clamp: float = 0.0,
        **keywords,
    ) -> None:
        super().__init__(autocast=False, **keywords)
        sizes = sorted(filters)
        self.blocks = [
            SynthesisBlock(
                filters.get(size // 2, 0), filters[size], channels, style_size, size, seeds, clamp, name=f"b{size}"
            )
            for size in sizes
        ]
        self.noise_sizes = [block.size for block in self.blocks for _ in range(block.convolution_count)]
        self.style_count = len(self.noise_sizes) + 1
        self.built = True

    def call(self, styles: tf.Tensor, noise: Sequence[tf.Tensor] | None = None) -> tf.Tensor:
        """`noise`: float32 [batch, noise_size, noise_size, 1] for each convolution; None is each one's constant."""
        styles = tf.unstack(styles, self.style_count, axis=1)
        noise = [None] * len(self.noise_sizes) if noise is None else noise
        features = image = None
        first = 0
        for block in self.blocks:
            after = first + block.convolution_count
            features, image = block(features, image, styles[first : after + 1], noise[first:after])
            first = after
        return image


class Generator(keras.Model):
    """float32 z [batch, latent_size], condition [batch, label_count] -> float32 images, about [-1, 1], not bounded.

    Noise is each layer's constant, so that an image depends on its own row alone.

    Args:
      latent_size, label_count, style_size, channels: of z, the condition, w and the image.
      mapping_layers: dense layers of the mapping network. filters: channels of the features at each size. seed: of
        the weights. clamp: largest magnitude of what a convolution gives; 0 sets no bound.
    """

    def __init__(
        self,
        latent_size: int,
        label_count: int,
        style_size: int,
        mapping_layers: int,
        filters: dict[int, int],
        channels: int,
        seed: int,
        clamp: float = 0.0,
    ) -> None:
        super().__init__()
        seeds = initializer_seeds(seed)
        self.mapping = MappingNetwork(
            latent_size, label_count, style_size, mapping_layers, seeds, has_average=True, name="mapping"
        )
        self.synthesis = SynthesisNetwork(filters, channels, style_size, seeds, clamp, name="synthesis")
        self.built = True

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool = False) -> tf.Tensor:
        z, condition = inputs
        return self.synthesis(self.styles(self.mapping(z, condition)))

    def styles(self, w: tf.Tensor) -> tf.Tensor:
        """The same w for every layer: float32 [batch, style_size] -> [batch, style_count, style_size]."""
        return tf.tile(w[:, None, :], [1, self.synthesis.style_count, 1])


class DiscriminatorBlock(keras.layers.Layer):
    """Halves the size: float [batch, size, size, inputs] -> [batch, size / 2, size / 2, filters]."""

    def __init__(self, inputs: int, filters: int, seeds: Iterator[int], clamp: float = 0.0, **keywords) -> None:
        super().__init__(**keywords)
        half = math.sqrt(0.5)  # of the variance comes from either branch
        self.conv0 = EqualizedConvolution(inputs, inputs, 3, next(seeds), clamp=clamp, name="conv0")
        self.conv1 = EqualizedConvolution(
            inputs, filters, 3, next(seeds), is_halving=True, gain=half, clamp=clamp, name="conv1"
        )
        self.skip = EqualizedConvolution(
            inputs, filters, 1, next(seeds), is_activated=False, is_halving=True, gain=half, name="skip"
        )
        self.built = True

    def call(self, features: tf.Tensor) -> tf.Tensor:
        return self.skip(features) + self.conv1(self.conv0(features))


class Discriminator(keras.Model):
    """float32 images [batch, size, size, channels], condition [batch, label_count] -> logits float32 [batch, 1].

    The logits come with the mean minibatch deviation, a float32 scalar.

    Args:
      label_count: labels that the condition names; 0 is none. filters: channels of the features at each size.
      channels: of the image. mapping_layers: dense layers between the condition's embedding and the projection.
      group_size: images whose deviation is measured together. seed: of the weights.
      clamp: largest magnitude of what an activated convolution gives, before its gain; 0 sets no bound.

    Attributes:
      typical_deviation: running mean of the deviation of real images in training.
    """

    def __init__(
        self,
        label_count: int,
        filters: dict[int, int],
        channels: int,
        mapping_layers: int,
        group_size: int,
        seed: int,
        clamp: float = 0.0,
    ) -> None:
        super().__init__()
        seeds = initializer_seeds(seed)
        sizes = sorted(filters, reverse=True)
        width = filters[BASE_SIZE]
        self.group_size = group_size
        self.fromrgb = EqualizedConvolution(channels, filters[sizes[0]], 1, next(seeds), clamp=clamp, name="fromrgb")
        self.blocks = [
            DiscriminatorBlock(filters[size], filters[size // 2], seeds, clamp, name=f"b{size}") for size in sizes[:-1]
        ]
        self.conv = EqualizedConvolution(width + 1, width, 3, next(seeds), clamp=clamp, name="conv")
        self.fc = EqualizedDense(width * BASE_SIZE**2, width, next(seeds), is_activated=True, name="fc")
        self.out = EqualizedDense(width, width if label_count else 1, next(seeds), dtype="float32", name="out")
        self.mapping = None
        if label_count:
            self.mapping = MappingNetwork(0, label_count, width, mapping_layers, seeds, has_average=False)
        self.typical_deviation = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="typical_deviation", aggregation="mean", autocast=False
        )
        self.built = True

    def call(
        self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool = False, is_alone: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """`is_alone`: each image is judged for itself, with the typical deviation in place of its batch's."""
        image, condition = inputs
        features = self.fromrgb(image)
        for block in self.blocks:
            features = block(features)
        if is_alone:
            deviation = tf.convert_to_tensor(self.typical_deviation)
            channel = tf.fill(tf.shape(features[..., :1]), tf.cast(deviation, features.dtype))
            features = tf.concat([features, channel], axis=-1)
        else:
            features = minibatch_stddev(features, self.group_size)
            deviation = tf.reduce_mean(tf.cast(features[..., -1], tf.float32))
        features = self.conv(features)
        features = self.fc(tf.reshape(features, [-1, math.prod(features.shape[1:])]))
        logits = self.out(features)
        if self.mapping is not None:  # projection on the label's embedding
            projected = logits * self.mapping(None, condition)
            logits = tf.reduce_sum(projected, axis=-1, keepdims=True) / math.sqrt(projected.shape[-1])
        return logits, deviation
