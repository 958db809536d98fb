"""CGAN: both networks are told the label (Mirza, Osindero 2014), as Woloszyn 2025 draws chest radiographs at 128 px.

The generator up-samples and convolves, both networks use LeakyReLU, the discriminator has dropout, and the loss is the
conditional log loss (woloszyn2025, equations 2-4). The study gives no widths, rates or slopes: the defaults are ours.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from tfcxr.layers.differentiable_augmentation import AUGMENTATIONS, UNIFORMS_PER_IMAGE, augment
from tfcxr.layers.initializer_seeds import initializer_seeds
from tfcxr.layers.leaky_relu import leaky_relu
from tfcxr.layers.spectral_normalization import SpectralConv2D, SpectralDense
from tfcxr.losses.adversarial import discriminator_loss, generator_loss
from tfcxr.losses.penalties import is_due, lazy_gradients, r1_penalty
from tfcxr.models.base import GAN
from tfcxr.models.model_config import GANConfig

FIRST_SIZE = 8  # pixels of the generator's first feature map
LAST_SIZE = 4  # pixels of the discriminator's last feature map
MAX_IMAGE_SIZE = 256


@dataclasses.dataclass(frozen=True)
class CGANConfig(GANConfig):
    """Settings of the CGAN.

    Attributes:
      generator_filters: channels at 8 px, halved at each doubling of the size, at least 32 (or `generator_filters`).
      normalization: of the generator, "batch" with weights N(0, .02) (Radford, Metz, Chintala 2016), or "none" with
        those of He et al. 2015.
      discriminator_filters: channels after the first convolution, doubled at each halving, at most 8 times.
      conditioning: how the discriminator is told the label. "concatenate": the label, embedded to one plane, is a
        further channel of the image. "projection": the label's embedding times the features is added to the logit
        (Miyato, Koyama 2018, equation 3).
      dropout: of the features that the discriminator decides on.
      spectral_normalization: of the discriminator's kernels (Miyato et al. 2018).
      adversarial_loss: "log", where the generator's is non-saturating (Goodfellow et al. 2014, section 3); "minimax",
        where it is log(1 - D) to the letter of woloszyn2025's equation 1; "hinge" (Lim, Ye 2017).
      r1_gamma, r1_interval: gradient penalty on real images (Mescheder et al. 2018) and steps between its lazy
        applications (Karras et al. 2020, appendix B); 0 is none.
      augmentations: of `AUGMENTATIONS`, applied to real and generated images alike (Zhao et al. 2020).
      fake_labels: which classes are drawn in training: "balanced" (single-label only) or as in the real "batch".
        Joint labels are always those of the batch, so that they occur together as in the data.
    """

    generator_filters: int = 256
    normalization: Literal["batch", "none"] = "batch"
    discriminator_filters: int = 64
    conditioning: Literal["concatenate", "projection"] = "concatenate"
    dropout: float = 0.3
    spectral_normalization: bool = False
    adversarial_loss: Literal["log", "minimax", "hinge"] = "log"
    r1_gamma: float = 0.1
    r1_interval: int = 4
    augmentations: tuple[str, ...] = ()
    fake_labels: Literal["balanced", "batch"] = "balanced"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.conditional:
            raise ValueError("a CGAN is conditional; for images without labels choose another model")
        if self.image_size > MAX_IMAGE_SIZE:
            raise ValueError(
                f"a CGAN draws up to {MAX_IMAGE_SIZE} px, got image_size {self.image_size}; "
                "enlarge smaller ones with srgan, or choose stylegan2"
            )
        if min(self.generator_filters, self.discriminator_filters) < 1:
            raise ValueError(
                f"filters must be at least 1, got generator_filters={self.generator_filters}, "
                f"discriminator_filters={self.discriminator_filters}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.r1_gamma < 0 or self.r1_interval < 1:
            raise ValueError(
                f"expected r1_gamma >= 0 and r1_interval of at least 1 step, got {self.r1_gamma}, {self.r1_interval}"
            )
        if unknown := set(self.augmentations) - set(AUGMENTATIONS):
            raise ValueError(f"unknown augmentations {sorted(unknown)}; valid names: {', '.join(AUGMENTATIONS)}")


class Generator(keras.Model):
    """float32 z [batch, latent], condition [batch, labels] -> float32 images [batch, size, size, channels] in [-1, 1].

    The condition stands beside z as it is: embedded to as many numbers as z has, it drowned z within 20 steps, and
    the pictures of a class became one.
    """

    def __init__(self, config: CGANConfig, seed: int) -> None:
        super().__init__()
        seeds = initializer_seeds(seed)
        filters = [
            max(config.generator_filters >> stage, min(32, config.generator_filters))
            for stage in range(_doublings(config, FIRST_SIZE) + 1)
        ]
        self.first_shape = (-1, FIRST_SIZE, FIRST_SIZE, filters[0])
        project_units = FIRST_SIZE * FIRST_SIZE * filters[0]
        self.project = keras.layers.Dense(project_units, kernel_initializer=_initializer(config, seeds))
        self.convolutions = [UpsampledConvolution(count, _initializer(config, seeds)) for count in filters[1:]]
        self.normalizations = [_normalization(config) for _ in filters]
        initializer = _initializer(config, seeds, is_before_relu=False)
        self.to_image = keras.layers.Conv2D(config.channels, 3, padding="same", kernel_initializer=initializer)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool = False) -> tf.Tensor:
        features = tf.concat(inputs, axis=-1)  # [batch, latent + labels]
        features = tf.reshape(self.project(features), self.first_shape)
        features = leaky_relu(self.normalizations[0](features, training=training))
        for convolution, normalization in zip(self.convolutions, self.normalizations[1:], strict=True):
            features = normalization(convolution(features), training=training)  # [batch, 2 x, 2 x, filters]
            features = leaky_relu(features)
        return tf.tanh(tf.cast(self.to_image(features), tf.float32))


class UpsampledConvolution(keras.layers.Layer):
    """Up-sampling to twice the size by the nearest pixel, then a 3x3 convolution, in one operation.

    Doubling a pixel is itself a transposed convolution with a 2x2 kernel of ones, and two convolutions in a row are
    one: 4x4 numbers, sums of the 3x3 weights, do for both what takes 9 products a pixel in 4 (as Karras et al. 2018
    do in their published code for large images). float [batch, x, x, channels] -> [batch, 2 x, 2 x, filters].
    """

    def __init__(self, filters: int, kernel_initializer: keras.initializers.Initializer) -> None:
        super().__init__()
        self.filters = filters
        self.kernel_initializer = kernel_initializer

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = (3, 3, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel", autocast=False)
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, features: tf.Tensor) -> tf.Tensor:
        # Transposed convolution reads its kernel backwards: [height, width, filters, channels].
        flipped = tf.transpose(tf.convert_to_tensor(self.kernel)[::-1, ::-1], [0, 1, 3, 2])
        shifts = [[[row, 1 - row], [column, 1 - column], [0, 0], [0, 0]] for row in (0, 1) for column in (0, 1)]
        kernel = tf.add_n([tf.pad(flipped, shift) for shift in shifts])  # [4, 4, filters, channels]
        batch, height, width = tf.shape(features)[0], 2 * features.shape[1], 2 * features.shape[2]
        output_shape = tf.stack([batch, height, width, self.filters])
        outputs = tf.nn.conv2d_transpose(features, tf.cast(kernel, features.dtype), output_shape, 2, "SAME")
        return outputs + tf.cast(self.bias, outputs.dtype)


class Discriminator(keras.Model):
    """float32 images [batch, size, size, channels] in [-1, 1] and condition [batch, labels] -> logits [batch, 1]."""

    def __init__(self, config: CGANConfig, seed: int) -> None:
        super().__init__()
        self.config = config
        seeds = initializer_seeds(seed)
        self.convolutions = []
        for stage in range(_doublings(config, LAST_SIZE)):
            filters = config.discriminator_filters << min(stage, 3)
            initializer = _small(seeds)
            if config.spectral_normalization:
                layer = SpectralConv2D(filters, 4, 2, kernel_initializer=initializer, seed=next(seeds))
            else:
                layer = keras.layers.Conv2D(filters, 4, 2, padding="same", kernel_initializer=initializer)
            self.convolutions.append(layer)
        self.feature_count = LAST_SIZE * LAST_SIZE * self.convolutions[-1].filters
        self.realism = self._head(1, seeds)
        if config.conditioning == "projection":
            self.embed_label = self._head(self.feature_count, seeds, use_bias=False)
        else:  # sees no image, so is not spectrally normalized; a label's plane starts flat, at a level of its own
            levels = np.linspace(-1.0, 1.0, config.label_count)
            if not config.is_single_label:  # their sums should differ too
                levels = np.random.default_rng(next(seeds)).normal(0.0, config.label_count**-0.5, config.label_count)
            level = keras.initializers.Constant(levels[:, None].astype(np.float32))
            self.embed_label = keras.layers.Dense(config.image_size**2, kernel_initializer=level)

    def call(
        self, inputs: tuple[tf.Tensor, tf.Tensor], dropout_noise: tf.Tensor | None = None, update: bool = False
    ) -> tf.Tensor:
        """`dropout_noise`: float32 [batch, 4 * 4 * filters] in [0, 1) in training; None drops nothing. `update`: the
        spectral norms are estimated one step further, once a training step.
        """
        features, condition = inputs
        if self.config.conditioning == "concatenate":
            plane = tf.reshape(self.embed_label(condition), [-1, *features.shape[1:3], 1])
            features = tf.concat([tf.cast(features, plane.dtype), plane], axis=-1)
        for convolution in self.convolutions:
            features = self._apply(convolution, features, update)  # [batch, size / 2, size / 2, filters]
            features = leaky_relu(features)
        features = tf.cast(tf.reshape(features, [-1, self.feature_count]), tf.float32)
        if dropout_noise is not None:
            kept = tf.cast(dropout_noise >= self.config.dropout, tf.float32)
            features = features * kept / (1.0 - self.config.dropout)
        logits = self._apply(self.realism, features, update)
        if self.config.conditioning == "projection":  # phi keeps its 4x4 places; the paper sums over them
            embedding = self._apply(self.embed_label, condition, update)
            logits += tf.reduce_sum(embedding * features, axis=1, keepdims=True)
        return logits

    def _head(self, units: int, seeds: Iterator[int], use_bias: bool = True) -> keras.layers.Layer:
        options = {"kernel_initializer": _small(seeds), "use_bias": use_bias, "dtype": "float32"}
        if self.config.spectral_normalization:
            return SpectralDense(units, seed=next(seeds), **options)
        return keras.layers.Dense(units, **options)

    def _apply(self, layer: keras.layers.Layer, features: tf.Tensor, update: bool) -> tf.Tensor:
        return layer(features, update=update) if self.config.spectral_normalization else layer(features)


class CGAN(GAN):
    """Conditional GAN; one training step moves the discriminator and the generator once each."""

    config_class = CGANConfig
    metric_names = ("discriminator_adversarial", "generator_adversarial", "r1", "real_score", "fake_score")

    def make_generator(self) -> keras.Model:
        return Generator(self.config, self.seed)

    def make_discriminator(self) -> keras.Model:
        return Discriminator(self.config, self.seed + 1)

    def score(self, image: tf.Tensor, label: tf.Tensor, label_mask: tf.Tensor | None = None) -> tuple[tf.Tensor, None]:
        return self.discriminator((image, self.condition(label, label_mask))), None

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step on {"image" [batch, size, size, 1 or channels] in [-1, 1], "label", "label_mask" [batch, labels]}.

        The images are generated and judged once, with one dropout mask for both losses; both networks' gradients are
        taken before either moves. Real images come first: they move the spectral norms.
        """
        config = self.config
        real = data["image"]
        if real.shape[-1] != config.channels:
            real = tf.repeat(real, config.channels, axis=-1)  # grey to three channels
        batch = real.shape[0]
        z = self.normal([batch, config.latent_size], stream=0)
        condition = self.condition(data["label"], data["label_mask"])
        fake_condition = self._condition_to_draw(condition)
        real = augment(real, config.augmentations, self.uniform([batch, UNIFORMS_PER_IMAGE], stream=1))
        fake_noise = self.uniform([batch, UNIFORMS_PER_IMAGE], stream=2)

        with tf.GradientTape(persistent=True) as tape:
            fake = augment(self.generator((z, fake_condition), training=True), config.augmentations, fake_noise)
            real_logits = self.discriminator((real, condition), self._dropout_noise(batch, stream=3), update=True)
            fake_logits = self.discriminator((fake, fake_condition), self._dropout_noise(batch, stream=4))
            discriminator_total = discriminator_loss(config.adversarial_loss, real_logits, fake_logits)
            generator_total = generator_loss(config.adversarial_loss, fake_logits)
        generator_gradients = tape.gradient(generator_total, self.generator.trainable_variables)
        discriminator_gradients = tape.gradient(discriminator_total, self.discriminator.trainable_variables)
        if config.r1_gamma:
            r1, r1_gradients = lazy_gradients(
                is_due(self.step.value, config.r1_interval),
                lambda: r1_penalty(lambda image: self.discriminator((image, condition)), real),
                self.discriminator.trainable_variables,
                scale=config.r1_gamma * config.r1_interval,
                name="r1",
            )
            discriminator_gradients = [sum(pair) for pair in zip(discriminator_gradients, r1_gradients, strict=True)]

        self.apply_gradients(self.discriminator_optimizer, discriminator_gradients, self.discriminator)
        self.apply_gradients(self.generator_optimizer, generator_gradients, self.generator)
        self.update_average()
        return self.record_means(
            {
                "discriminator_adversarial": discriminator_total,
                "generator_adversarial": generator_total,
                "r1": r1 if config.r1_gamma else 0.0,
                "real_score": tf.reduce_mean(tf.sigmoid(real_logits)),
                "fake_score": tf.reduce_mean(tf.sigmoid(fake_logits)),
            }
        )

    def _condition_to_draw(self, condition: tf.Tensor) -> tf.Tensor:
        if not self.config.is_single_label or self.config.fake_labels == "batch":
            return condition
        batch, count = condition.shape
        drawn = tf.cast(self.uniform([batch, 1], stream=5)[:, 0] * count, tf.int32)
        return tf.one_hot(drawn, count)

    def _dropout_noise(self, batch: int, stream: int) -> tf.Tensor | None:
        return self.uniform([batch, self.discriminator.feature_count], stream) if self.config.dropout else None


def _doublings(config: CGANConfig, size: int) -> int:
    return int(math.log2(config.image_size // size))


def _normalization(config: CGANConfig) -> keras.layers.Layer:
    if config.normalization == "batch":
        return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    return keras.layers.Identity()


def _initializer(
    config: CGANConfig, seeds: Iterator[int], is_before_relu: bool = True
) -> keras.initializers.Initializer:
    if config.normalization == "batch":
        return _small(seeds)
    # before a tanh half the variance, so that few pixels of an untrained generator are black or white
    return (keras.initializers.HeNormal if is_before_relu else keras.initializers.LecunNormal)(seed=next(seeds))


def _small(seeds: Iterator[int]) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(0.0, 0.02, seed=next(seeds))
