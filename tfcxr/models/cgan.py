"""CGAN: both networks are told the label (Mirza, Osindero 2014); Woloszyn 2025 makes chest radiographs of 128 px by it.

The generator up-samples and convolves, both networks use LeakyReLU, the discriminator has dropout, and the loss is the
conditional log loss (woloszyn2025, equations 2-4). The study gives no widths, rates or slopes: the defaults are ours,
width, rate and batch size those that draw best after equal time on a processor (experiments/quality_tried.md).
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from tfcxr.backbones.frozen_maps import FrozenMaps
from tfcxr.config import check_names, check_range
from tfcxr.data.conditions import CONDITIONS
from tfcxr.layers.channels import with_channels
from tfcxr.layers.differentiable_augmentation import AUGMENTATIONS, UNIFORMS_PER_IMAGE, augment
from tfcxr.layers.dropout import drop_out
from tfcxr.layers.initializers import initializer_seeds, kernel_initializer
from tfcxr.layers.leaky_relu import leaky_relu
from tfcxr.layers.minibatch_stddev import minibatch_stddev
from tfcxr.layers.normalization import normalization
from tfcxr.layers.spectral_normalization import SpectralConv2D, SpectralDense
from tfcxr.layers.upsampled_convolution import UpsampledConvolution
from tfcxr.losses.adversarial import ADVERSARIAL_LOSSES
from tfcxr.losses.penalties import add_gradients
from tfcxr.models.base import probability_means
from tfcxr.models.model_config import GANConfig
from tfcxr.models.projected_discriminator import ProjectedDiscriminator
from tfcxr.models.projected_gan import PairedDiscriminator, ProjectedConfig, ProjectedGAN

FIRST_SIZE = 8  # pixels of the generator's first feature map
LAST_SIZE = 4  # pixels of the discriminator's last feature map


@dataclasses.dataclass(frozen=True)
class CGANConfig(ProjectedConfig):
    """Settings of the CGAN.

    Attributes:
      generator_filters: channels at 8 px, halved at each doubling of the size, at least 32 (or `generator_filters`).
      normalization: of the generator, "batch" with weights N(0, .02) (Radford, Metz, Chintala 2016), or "none" with
        those of He et al. 2015.
      discriminator_filters: channels after the first convolution, doubled at each halving, at most 8 times as many.
      full_size_filters: channels of a 3x3 convolution at the image's size, before the generator's image, with a plane
        of noise made from z beside its input (after Karras et al. 2019, section 3.2), and of one that the
        discriminator begins with; 0 is none.
      conditioning: how the discriminator is told the label. "concatenate": the label, embedded to one plane, is a
        further channel of the image. "projection": the label's embedding times the features is added to the logit
        (Miyato, Koyama 2018, equation 3).
      minibatch_stddev: the discriminator, and each head on a frozen network, has a channel that tells how much a batch
        varies (Karras et al. 2018).
      dropout: of the features that the discriminator decides on.
      spectral_normalization: of the discriminator's kernels (Miyato et al. 2018).
      adversarial_loss: "log", where the generator's is non-saturating (Goodfellow et al. 2014, section 3); "minimax",
        where it is log(1 - D) to the letter of woloszyn2025's equation 1; "hinge" (Lim, Ye 2017).
      r1_gamma: weight of the gradient penalty on real images (Mescheder et al. 2018); 0 is none.
      r1_interval: steps between its lazy applications (Karras et al. 2020, appendix B).
      augmentations: of `AUGMENTATIONS`, applied to real and generated images alike (Zhao et al. 2020).
      fake_labels: classes of generated images in training: "balanced" (single-label only), or those of the "batch".
        Joint labels are always those of the batch, so that they occur together as in the data.
      conditions: fields of a record that both networks are told beside the labels: "sex", "age", "view". Those of
        generated images are the batch's.
      mismatched_share: how much of what the discriminator should refuse are real images told a label that is not
        theirs; .5 in Reed et al. 2016, "Generative Adversarial Text to Image Synthesis", section 4.2. Makes labels of
        generated images clearer and images of a class more alike. Labels must exclude each other.
    """

    generator_learning_rate: float = 4e-4
    discriminator_learning_rate: float = 4e-4
    generator_filters: int = 128
    normalization: Literal["batch", "none"] = "batch"
    discriminator_filters: int = 32
    full_size_filters: int = 0
    conditioning: Literal["concatenate", "projection"] = "concatenate"
    minibatch_stddev: bool = False
    dropout: float = 0.3
    spectral_normalization: bool = False
    adversarial_loss: Literal["log", "minimax", "hinge"] = "log"
    r1_gamma: float = 0.1
    r1_interval: int = 4
    augmentations: tuple[str, ...] = ()
    fake_labels: Literal["balanced", "batch"] = "balanced"
    conditions: tuple[str, ...] = ()  # type: ignore[misc]
    mismatched_share: float = 0.0

    discriminator_settings = (
        *ProjectedConfig.discriminator_settings,
        "discriminator_filters",
        "conditioning",
        "minibatch_stddev",
        "spectral_normalization",
    )
    network_settings = (
        *GANConfig.network_settings,
        *discriminator_settings,
        "generator_filters",
        "normalization",
        "full_size_filters",
        "conditions",
    )
    trains_in_bfloat16 = True
    largest_size = 256
    usual_batch_size = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.conditional:
            raise ValueError("a CGAN is conditional; for images without labels choose another model")
        check_range(self, "generator_filters", "discriminator_filters", "r1_interval", minimum=1)
        check_range(self, "dropout", minimum=0, below=1)
        check_range(self, "r1_gamma", "full_size_filters", minimum=0)
        check_names(self, "augmentations", AUGMENTATIONS)
        check_names(self, "conditions", CONDITIONS)
        check_range(self, "mismatched_share", minimum=0, below=1)
        if self.mismatched_share and (not self.is_single_label or self.label_count < 2):
            raise ValueError("mismatched_share needs at least two labels that exclude each other; leave it out")

    @property
    def compares_images(self) -> bool:
        return self.minibatch_stddev

    @classmethod
    def tiny_settings(cls) -> tuple[dict[str, Any], ...]:
        tiny = {"image_size": 32, "latent_size": 8, "generator_filters": 32, "discriminator_filters": 8}
        spectral = {"conditioning": "projection", "spectral_normalization": True, "r1_gamma": 0.0}
        textured = tiny | {"normalization": "none", "full_size_filters": 8}
        return tiny, textured | {"r1_gamma": 1.0, "mismatched_share": 0.5}, textured | spectral


class Generator(keras.Model):
    """float32 z [batch, latent], condition [batch, labels] -> float32 images [batch, size, size, channels] in [-1, 1].

    The condition stands beside z as it is: embedded to as many numbers as z has, it drowned z within 20 steps, and
    all images of a class became one.
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
        self.normalizations = [normalization(config.normalization) for _ in filters]
        self.texture = None
        if config.full_size_filters:
            self.texture = Texture(config, seeds)
        # before a tanh half the variance, so that few pixels of an untrained generator are black or white
        initializer = _initializer(config, seeds, is_before_relu=False)
        self.to_image = keras.layers.Conv2D(config.channels, 3, padding="same", kernel_initializer=initializer)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool = False) -> tf.Tensor:
        features = tf.concat(inputs, axis=-1)  # [batch, latent + labels]
        features = tf.reshape(self.project(features), self.first_shape)
        features = leaky_relu(self.normalizations[0](features, training=training))
        for convolution, normalize in zip(self.convolutions, self.normalizations[1:], strict=True):
            features = leaky_relu(normalize(convolution(features), training=training))  # [batch, 2 x, 2 x, filters]
        if self.texture is not None:
            features = self.texture((features, inputs[0]), training=training)
        return tf.tanh(tf.cast(self.to_image(features), tf.float32))


class Texture(keras.layers.Layer):
    """Features [batch, size, size, filters], z [batch, latent] -> features convolved with a plane of noise beside them.

    The noise is a fixed random projection of z, so that a seed still gives one image: N(0, 1) in each pixel, and in an
    image at most as many values as z has are independent.
    """

    def __init__(self, config: CGANConfig, seeds: Iterator[int]) -> None:
        super().__init__()
        self.plane = keras.layers.Dense(
            config.image_size**2,
            use_bias=False,
            kernel_initializer=keras.initializers.RandomNormal(0.0, config.latent_size**-0.5, seed=next(seeds)),
            trainable=False,
        )
        self.convolution = keras.layers.Conv2D(
            config.full_size_filters, 3, padding="same", kernel_initializer=_initializer(config, seeds)
        )
        self.normalize = normalization(config.normalization)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool = False) -> tf.Tensor:
        features, z = inputs
        noise = tf.reshape(self.plane(z), [-1, *features.shape[1:3], 1])
        features = self.convolution(tf.concat([features, tf.cast(noise, features.dtype)], axis=-1))
        return leaky_relu(self.normalize(features, training=training))


class Discriminator(keras.Model):
    """float32 images [batch, size, size, channels] in [-1, 1] and condition [batch, labels] -> logits [batch, 1]."""

    def __init__(self, config: CGANConfig, seed: int) -> None:
        super().__init__()
        self.config = config
        seeds = initializer_seeds(seed)
        halvings = [
            (config.discriminator_filters << min(stage, 3), 4, 2) for stage in range(_doublings(config, LAST_SIZE))
        ]
        full_size = [(config.full_size_filters, 3, 1)] if config.full_size_filters else []
        self.convolutions = []
        for filters, kernel_size, stride in [*full_size, *halvings]:
            options = {"kernel_initializer": kernel_initializer("normal", next(seeds))}
            if config.spectral_normalization:
                layer = SpectralConv2D(filters, kernel_size, stride, seed=next(seeds), **options)
            else:
                layer = keras.layers.Conv2D(filters, kernel_size, stride, padding="same", **options)
            self.convolutions.append(layer)
        self.feature_count = LAST_SIZE * LAST_SIZE * (self.convolutions[-1].filters + config.minibatch_stddev)
        self.realism = self._head(1, seeds)
        if config.conditioning == "projection":
            self.embed_label = self._head(self.feature_count, seeds, use_bias=False)
        else:  # sees no image, so is not spectrally normalized; a label's plane starts flat, at a level of its own
            levels = np.linspace(-1.0, 1.0, config.label_count)
            if not config.is_single_label:  # their sums should differ too
                levels = np.random.default_rng(next(seeds)).normal(0.0, config.label_count**-0.5, config.label_count)
            if conditions := len(config.condition_columns):
                values = np.random.default_rng(next(seeds)).normal(0.0, config.label_width**-0.5, conditions)
                levels = np.concatenate([levels, values])
            level = keras.initializers.Constant(levels[:, None].astype(np.float32))
            self.embed_label = keras.layers.Dense(config.image_size**2, kernel_initializer=level)

    def call(
        self, inputs: tuple[tf.Tensor, tf.Tensor], dropout_noise: tf.Tensor | None = None, update: bool = False
    ) -> tf.Tensor:
        """`dropout_noise`: float32 [batch, 4 * 4 * filters] in [0, 1) in training; None drops nothing. `update`: the
        spectral norms are estimated one step further, once per training step.
        """
        features, condition = inputs
        if self.config.conditioning == "concatenate":
            plane = tf.reshape(self.embed_label(condition), [-1, *features.shape[1:3], 1])
            features = tf.concat([tf.cast(features, plane.dtype), plane], axis=-1)
        for convolution in self.convolutions:
            features = self._apply(convolution, features, update)  # [batch, size or size / 2, ..., filters]
            features = leaky_relu(features)
        if self.config.minibatch_stddev:
            features = minibatch_stddev(features)
        features = tf.cast(tf.reshape(features, [-1, self.feature_count]), tf.float32)
        features = drop_out(features, dropout_noise, self.config.dropout)
        logits = self._apply(self.realism, features, update)
        if self.config.conditioning == "projection":  # phi keeps its 4x4 places; the paper sums over them
            embedding = self._apply(self.embed_label, condition, update)
            logits += tf.reduce_sum(embedding * features, axis=1, keepdims=True)
        return logits

    def _head(self, units: int, seeds: Iterator[int], use_bias: bool = True) -> keras.layers.Layer:
        initializer = kernel_initializer("normal", next(seeds))
        options = {"kernel_initializer": initializer, "use_bias": use_bias, "dtype": "float32"}
        if self.config.spectral_normalization:
            return SpectralDense(units, seed=next(seeds), **options)
        return keras.layers.Dense(units, **options)

    def _apply(self, layer: keras.layers.Layer, features: tf.Tensor, update: bool) -> tf.Tensor:
        return layer(features, update=update) if self.config.spectral_normalization else layer(features)


class ProjectedHeads(ProjectedDiscriminator):
    """As `Discriminator`, on a frozen network; each head is told the label by projection. -> logits [batch, heads]."""

    def __init__(self, config: CGANConfig, maps: FrozenMaps, seed: int) -> None:
        def embed(units: int, seeds: Iterator[int]) -> keras.layers.Layer:
            initializer = kernel_initializer("glorot", next(seeds))
            options = {"use_bias": False, "seed": next(seeds), "dtype": "float32"}
            layer = SpectralDense(units, kernel_initializer=initializer, **options)
            layer.build([None, config.label_width])
            return layer

        super().__init__(maps, config.critic_width, seed, embed, compares_images=config.minibatch_stddev)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], dropout_noise: None = None, update: bool = False) -> tf.Tensor:
        if update:
            self.move_spectral_norms()
        return self.scores(*inputs)[0]


class PairedNetworks(PairedDiscriminator):
    """`Discriminator` and `ProjectedHeads` side by side -> logits [batch, 2 * heads]."""

    def call(
        self, inputs: tuple[tf.Tensor, tf.Tensor], dropout_noise: tf.Tensor | None = None, update: bool = False
    ) -> tf.Tensor:
        return self.joined(self.own(inputs, dropout_noise, update=update), self.heads(inputs, update=update))

    def scores(self, image: tf.Tensor, condition: tf.Tensor) -> tuple[tf.Tensor, None]:
        return self((image, condition)), None


class CGAN(ProjectedGAN):
    """Conditional GAN; one training step moves the discriminator and the generator once each."""

    config_class = CGANConfig
    generator_class = Generator
    discriminator_class = Discriminator
    projected_class = ProjectedHeads
    paired_class = PairedNetworks
    metric_names = ("discriminator_adversarial", "generator_adversarial", "r1", "real_score", "fake_score")

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step on {"image" [batch, size, size, 1 or channels] in [-1, 1], "label", "label_mask" [batch, labels]}.

        The images are generated and scored once, with one dropout mask for both losses; both networks' gradients are
        taken before either moves. Real images come first: they move the spectral norms.
        """
        config, loss = self.config, ADVERSARIAL_LOSSES[self.config.adversarial_loss]
        real = with_channels(data["image"], config.channels)
        batch = real.shape[0]
        z = self.normal([batch, config.latent_size], stream=0)
        condition = self.condition(data["label"], data["label_mask"])
        fake_condition = self._fake_condition(condition)
        real = augment(real, config.augmentations, self.uniform([batch, UNIFORMS_PER_IMAGE], stream=1))
        fake_noise = self.uniform([batch, UNIFORMS_PER_IMAGE], stream=2)

        with self.loss_tape() as tape:
            fake = augment(self.generator((z, fake_condition), training=True), config.augmentations, fake_noise)
            real_logits = self.discriminator((real, condition), self._dropout_noise(batch, stream=3), update=True)
            fake_logits = self.discriminator((fake, fake_condition), self._dropout_noise(batch, stream=4))
            discriminator_adversarial = loss.discriminator(real_logits, fake_logits)
            if share := config.mismatched_share:
                inputs = real, self._other_condition(condition)
                mismatched = self.discriminator(inputs, self._dropout_noise(batch, stream=6))
                is_known = tf.reduce_min(data["label_mask"], axis=1, keepdims=True) > 0
                mismatched_loss = loss.discriminator(real_logits, tf.where(is_known, mismatched, fake_logits))
                discriminator_adversarial = (1 - share) * discriminator_adversarial + share * mismatched_loss
            generator_adversarial = loss.generator(fake_logits)
        generator_gradients = tape.gradient(generator_adversarial, self.generator.trainable_variables)
        discriminator_gradients = tape.gradient(discriminator_adversarial, self.discriminator.trainable_variables)
        r1, r1_gradients = self.lazy_r1(
            lambda image: self.own_discriminator((image, condition)), real, config.r1_gamma, config.r1_interval
        )

        self.apply_gradients(self.discriminator, add_gradients(discriminator_gradients, r1_gradients))
        self.apply_gradients(self.generator, generator_gradients)
        self.update_average()
        terms = {
            "discriminator_adversarial": discriminator_adversarial,
            "generator_adversarial": generator_adversarial,
            "r1": r1,
        }
        return self.record_means(terms | probability_means(real_logits, fake_logits))

    def _fake_condition(self, condition: tf.Tensor) -> tf.Tensor:
        """The condition of the generated images."""
        if self.config.is_single_label and self.config.fake_labels == "balanced":
            labels = self.balanced_labels(condition.shape[0], stream=5)
            return tf.concat([labels, condition[:, self.config.label_count :]], axis=1)
        return condition

    def _other_condition(self, condition: tf.Tensor) -> tf.Tensor:
        """The same with another label, each of the others as likely; labels exclude each other."""
        count = self.config.label_count
        own = tf.argmax(condition[:, :count], axis=1, output_type=tf.int32)
        further = 1 + tf.cast(self.uniform([condition.shape[0], 1], stream=7)[:, 0] * (count - 1), tf.int32)
        return tf.concat([tf.one_hot((own + further) % count, count), condition[:, count:]], axis=1)

    def _dropout_noise(self, batch: int, stream: int) -> tf.Tensor | None:
        return self.uniform([batch, self.own_discriminator.feature_count], stream) if self.config.dropout else None


def _doublings(config: CGANConfig, size: int) -> int:
    return int(math.log2(config.image_size // size))


def _initializer(
    config: CGANConfig, seeds: Iterator[int], is_before_relu: bool = True
) -> keras.initializers.Initializer:
    return kernel_initializer("normal" if config.normalization == "batch" else "he", next(seeds), is_before_relu)
