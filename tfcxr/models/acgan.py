"""ACGAN: a generator told which class to make, a discriminator that also predicts it (Odena, Olah, Shlens 2017).

The defaults are the recipe found best on real radiographs at 64 px (experiments/singh2023.py, table of the search),
width, rate and batch size those of experiments/quality_tried.md; `as_published` of singh2023 sets the network of Singh
et al. 2023 with LayerNormalization and least squares.
"""

import dataclasses
import math
from typing import Any, Literal

import keras
import tensorflow as tf

from tfcxr.backbones.frozen_maps import FrozenMaps
from tfcxr.config import check_names, check_range
from tfcxr.layers.channels import with_channels
from tfcxr.layers.differentiable_augmentation import AUGMENTATIONS, UNIFORMS_PER_IMAGE, augment
from tfcxr.layers.dropout import drop_out
from tfcxr.layers.initializers import kernel_initializers
from tfcxr.layers.leaky_relu import leaky_relu
from tfcxr.layers.minibatch_stddev import minibatch_stddev
from tfcxr.layers.normalization import normalization
from tfcxr.losses.adversarial import ADVERSARIAL_LOSSES
from tfcxr.losses.classification import class_loss
from tfcxr.losses.penalties import add_gradients
from tfcxr.models.base import probability_means
from tfcxr.models.model_config import GANConfig
from tfcxr.models.projected_discriminator import ProjectedDiscriminator
from tfcxr.models.projected_gan import PairedDiscriminator, ProjectedConfig, ProjectedGAN

FIRST_SIZE = 8  # pixels of the generator's first feature map
LAST_SIZE = 4  # pixels of the discriminator's last feature map


@dataclasses.dataclass(frozen=True)
class ACGANConfig(ProjectedConfig):
    """Settings of the ACGAN.

    Attributes:
      output: "tanh" for networks in [-1, 1], "sigmoid" for networks in [0, 1] (singh2023). Images outside the
        networks are in [-1, 1] either way.
      generator_dense_units: dense layers between (z, label) and the first feature map; singh2023 has (1024,).
      generator_filters: channels at 8 px, halved at each doubling of the size, at least 16.
      normalization: of the generator: "layer" over the channels of each pixel (Keras's default, singh2023), "batch".
      upsampling: "transpose" convolution of stride 2, or "resize" to the nearest pixel and convolve (Odena, Dumoulin,
        Olah 2016, against checkerboards).
      generator_kernel_size: pixels.
      image_layer: "convolution" of the last features, or "transpose", the last doubling of the size (singh2023).
      discriminator_filters: channels after the first convolution, doubled at each halving, at most 8 times as many.
      discriminator_kernel_size: pixels.
      dropout: before the discriminator's heads.
      l2: weight of the squared kernels (singh2023's "regularised").
      generator_l2: which of the generator's kernels it counts: "all", or "projection", the dense layer before the first
        feature map (singh2023).
      minibatch_stddev: a channel that tells how much a batch varies (Karras et al. 2018).
      initializer: "normal" or "glorot", see `kernel_initializer`.
      adversarial_loss: "least_squares" on the sigmoid (singh2023); "log", non-saturating (Goodfellow et al. 2014);
        "hinge" (Lim, Ye 2017).
      discriminator_class_weight: of the discriminator's class loss beside its adversarial loss.
      generator_class_weight: of the generator's.
      classify_fakes: the discriminator's class loss counts generated images too, as Odena et al. 2017 do.
      r1_gamma: weight of the gradient penalty on real images (Mescheder et al. 2018); 0 is none.
      r1_interval: steps between its lazy applications (Karras et al. 2020, appendix B).
      augmentations: of `AUGMENTATIONS`, applied to real and generated images alike (Zhao et al. 2020).
      fake_labels: classes of generated images in training: "balanced" (single-label only), or those of the "batch".
    """

    generator_learning_rate: float = 4e-4
    discriminator_learning_rate: float = 4e-4
    output: Literal["tanh", "sigmoid"] = "tanh"
    generator_dense_units: tuple[int, ...] = ()
    generator_filters: int = 128
    normalization: Literal["layer", "batch"] = "batch"
    upsampling: Literal["transpose", "resize"] = "transpose"
    generator_kernel_size: int = 4
    image_layer: Literal["convolution", "transpose"] = "convolution"
    discriminator_filters: int = 32
    discriminator_kernel_size: int = 5
    dropout: float = 0.0
    l2: float = 0.0
    generator_l2: Literal["all", "projection"] = "all"
    minibatch_stddev: bool = False
    initializer: Literal["normal", "glorot"] = "normal"
    adversarial_loss: Literal["least_squares", "log", "hinge"] = "log"
    discriminator_class_weight: float = 1.0
    generator_class_weight: float = 1.0
    classify_fakes: bool = True
    r1_gamma: float = 0.1
    r1_interval: int = 4
    augmentations: tuple[str, ...] = ()
    fake_labels: Literal["balanced", "batch"] = "balanced"

    discriminator_settings = (
        *ProjectedConfig.discriminator_settings,
        "discriminator_filters",
        "discriminator_kernel_size",
        "minibatch_stddev",
    )
    network_settings = (
        *GANConfig.network_settings,
        *discriminator_settings,
        "output",
        "generator_dense_units",
        "generator_filters",
        "normalization",
        "upsampling",
        "generator_kernel_size",
        "image_layer",
    )
    trains_in_bfloat16 = True
    usual_batch_size = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.conditional:
            raise ValueError("an ACGAN is conditional; for images without labels choose another model")
        check_range(self, "dropout", minimum=0, below=1)
        check_range(self, "r1_interval", minimum=1)
        check_names(self, "augmentations", AUGMENTATIONS)

    @classmethod
    def tiny_settings(cls) -> tuple[dict[str, Any], ...]:
        tiny = {"image_size": 32, "latent_size": 8, "generator_filters": 32, "discriminator_filters": 8}
        layer = tiny | {"normalization": "layer"}
        published = layer | {"image_layer": "transpose", "l2": 1e-3, "generator_l2": "projection"}
        return tiny, layer | {"r1_gamma": 1.0}, published | {"dropout": 0.3}

    @property
    def compares_images(self) -> bool:
        return self.minibatch_stddev


class Generator(keras.Model):
    """float32 z [batch, latent], condition [batch, labels] -> float32 images [batch, size, size, channels], [-1, 1]."""

    def __init__(self, config: ACGANConfig, seed: int) -> None:
        super().__init__()
        self.config = config
        kernel, draw = config.generator_kernel_size, kernel_initializers(config.initializer, seed)
        self.dense = [keras.layers.Dense(units, kernel_initializer=draw()) for units in config.generator_dense_units]
        self.first_shape = (FIRST_SIZE, FIRST_SIZE, config.generator_filters)
        self.project = keras.layers.Dense(math.prod(self.first_shape), kernel_initializer=draw())
        self.stages = []
        is_transposed = config.image_layer == "transpose"
        for stage in range(int(math.log2(config.image_size // FIRST_SIZE)) - is_transposed):
            filters = max(config.generator_filters >> (stage + 1), 16)
            if config.upsampling == "transpose":
                layers = [keras.layers.Conv2DTranspose(filters, kernel, 2, "same", kernel_initializer=draw())]
            else:
                convolution = keras.layers.Conv2D(filters, kernel, padding="same", kernel_initializer=draw())
                layers = [keras.layers.UpSampling2D(interpolation="nearest"), convolution]
            self.stages.append(keras.Sequential([*layers, normalization(config.normalization), keras.layers.ReLU()]))
        self.project_normalization = normalization(config.normalization)
        to_image, strides = (keras.layers.Conv2DTranspose, 2) if is_transposed else (keras.layers.Conv2D, 1)
        self.to_image = to_image(config.channels, kernel, strides, "same", kernel_initializer=draw())

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool = False) -> tf.Tensor:
        features = tf.concat(inputs, axis=-1)
        for layer in self.dense:
            features = tf.nn.relu(layer(features))
        features = tf.reshape(self.project(features), [-1, *self.first_shape])
        features = tf.nn.relu(self.project_normalization(features, training=training))
        for stage in self.stages:
            features = stage(features, training=training)  # [batch, 2 x, 2 x, filters]
        image = tf.cast(self.to_image(features), tf.float32)
        return tf.tanh(image) if self.config.output == "tanh" else 2.0 * tf.sigmoid(image) - 1.0


class Discriminator(keras.Model):
    """float32 images in [-1, 1] -> (realism logits float32 [batch, 1], label logits float32 [batch, labels])."""

    def __init__(self, config: ACGANConfig, seed: int) -> None:
        super().__init__()
        self.config = config
        kernel, draw = config.discriminator_kernel_size, kernel_initializers(config.initializer, seed)
        stages = range(int(math.log2(config.image_size // LAST_SIZE)))
        filters = [config.discriminator_filters << min(stage, 3) for stage in stages]
        self.convolutions = [
            keras.layers.Conv2D(count, kernel, 2, "same", kernel_initializer=draw()) for count in filters
        ]
        self.dropout_shape = (LAST_SIZE, LAST_SIZE, filters[-1])
        self.realism = keras.layers.Dense(1, kernel_initializer=draw(), dtype="float32")
        self.label = keras.layers.Dense(config.label_count, kernel_initializer=draw(), dtype="float32")

    def call(self, image: tf.Tensor, dropout_noise: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """`dropout_noise`: float32 [batch, *dropout_shape] in [0, 1) in training; None drops nothing."""
        features = image if self.config.output == "tanh" else (image + 1.0) / 2.0
        for convolution in self.convolutions:
            features = leaky_relu(convolution(features))  # [batch, size / 2, size / 2, filters]
        features = drop_out(features, dropout_noise, self.config.dropout)
        if self.config.minibatch_stddev:
            features = minibatch_stddev(features)
        flat = tf.reshape(features, [-1, math.prod(features.shape[1:])])
        return self.realism(flat), self.label(flat)


class ProjectedHeads(ProjectedDiscriminator):
    """As `Discriminator`, on a frozen network -> (logits float32 [batch, heads], label logits [batch, labels])."""

    def __init__(self, config: ACGANConfig, maps: FrozenMaps, seed: int) -> None:
        labels, compares = config.label_count, config.minibatch_stddev
        super().__init__(maps, config.critic_width, seed, label_count=labels, compares_images=compares)

    def call(self, image: tf.Tensor, dropout_noise: None = None) -> tuple[tf.Tensor, tf.Tensor]:
        return self.scores(image)


class PairedNetworks(PairedDiscriminator):
    """`Discriminator` and `ProjectedHeads` side by side -> (logits [batch, 2 * heads], the mean of their labels')."""

    def call(self, image: tf.Tensor, dropout_noise: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        (own, own_labels), (heads, labels) = self.own(image, dropout_noise), self.heads(image)
        return self.joined(own, heads), 0.5 * (own_labels + labels)

    def scores(self, image: tf.Tensor, condition: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self(image)


class ACGAN(ProjectedGAN):
    """Auxiliary classifier GAN; one training step moves the discriminator and the generator once each."""

    config_class = ACGANConfig
    generator_class = Generator
    discriminator_class = Discriminator
    projected_class = ProjectedHeads
    paired_class = PairedNetworks
    metric_names = (
        "discriminator_adversarial",
        "discriminator_class",
        "generator_adversarial",
        "generator_class",
        "r1",
        "real_score",
        "fake_score",
    )

    def discriminator_inputs(self) -> tf.Tensor:
        return tf.zeros([1, self.config.image_size, self.config.image_size, self.config.channels])

    @property
    def discriminator_reads_label(self) -> bool:
        return False

    @property
    def discriminator_predicts_labels(self) -> bool:
        return True

    def score(
        self, image: tf.Tensor, label: tf.Tensor, label_mask: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return super().score(image, label, label_mask) if self.config.critic_backbone else self.discriminator(image)

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step on {"image" [batch, size, size, 1 or channels] in [-1, 1], "label", "label_mask" [batch, labels]}.

        The images are generated and scored once; both networks' gradients are taken before either moves. Without
        dropout and batch statistics in the discriminator this equals moving the generator first.
        """
        config, loss = self.config, ADVERSARIAL_LOSSES[self.config.adversarial_loss]
        real, label, label_mask = with_channels(data["image"], config.channels), data["label"], data["label_mask"]
        batch = real.shape[0]
        z = self.normal([batch, config.latent_size], stream=0)
        fake_label, fake_mask = self._fake_labels(label, label_mask)
        condition = self.condition(fake_label, fake_mask)
        real = augment(real, config.augmentations, self.uniform([batch, UNIFORMS_PER_IMAGE], stream=1))
        fake_noise = self.uniform([batch, UNIFORMS_PER_IMAGE], stream=2)

        if config.critic_backbone:
            self.discriminator.move_spectral_norms()
        with self.loss_tape() as tape:
            fake = augment(self.generator((z, condition), training=True), config.augmentations, fake_noise)
            fake_logits, fake_classes = self.discriminator(fake, self._dropout_noise(batch, stream=3))
            real_logits, real_classes = self.discriminator(real, self._dropout_noise(batch, stream=4))
            real_class_loss = class_loss(config.is_single_label, real_classes, label, label_mask)
            fake_class_loss = class_loss(config.is_single_label, fake_classes, fake_label, fake_mask)
            class_terms = 0.5 * (real_class_loss + fake_class_loss) if config.classify_fakes else real_class_loss
            discriminator_adversarial = loss.discriminator(real_logits, fake_logits)
            generator_adversarial = loss.generator(fake_logits)
            discriminator_total = discriminator_adversarial + config.discriminator_class_weight * class_terms
            discriminator_total += self._kernel_penalty(self.discriminator.trainable_variables)
            generator_total = generator_adversarial + config.generator_class_weight * fake_class_loss
            generator_total += self._kernel_penalty(self._regularised_weights())
        generator_gradients = tape.gradient(generator_total, self.generator.trainable_variables)
        discriminator_gradients = tape.gradient(discriminator_total, self.discriminator.trainable_variables)
        r1, r1_gradients = self.lazy_r1(
            lambda image: self.own_discriminator(image)[0], real, config.r1_gamma, config.r1_interval
        )

        self.apply_gradients(self.discriminator, add_gradients(discriminator_gradients, r1_gradients))
        self.apply_gradients(self.generator, generator_gradients)
        self.update_average()
        terms = {
            "discriminator_adversarial": discriminator_adversarial,
            "discriminator_class": class_terms,
            "generator_adversarial": generator_adversarial,
            "generator_class": fake_class_loss,
            "r1": r1,
        }
        return self.record_means(terms | probability_means(real_logits, fake_logits))

    def _fake_labels(self, label: tf.Tensor, label_mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Labels of the generated images, and which of them are known."""
        if self.config.is_single_label and self.config.fake_labels == "balanced":
            return self.balanced_labels(label.shape[0], stream=5), tf.ones_like(label)
        return label, label_mask  # rows keep their joint labels, so that they occur together as in the data

    def _dropout_noise(self, batch: int, stream: int) -> tf.Tensor | None:
        if not self.config.dropout:
            return None
        return self.uniform([batch, *self.own_discriminator.dropout_shape], stream)

    def _regularised_weights(self) -> list:
        part = self.generator.project if self.config.generator_l2 == "projection" else self.generator
        return part.trainable_variables

    def _kernel_penalty(self, weights: list) -> tf.Tensor | float:
        if not self.config.l2:
            return 0.0
        kernels = [variable for variable in weights if len(variable.shape) > 1]
        return self.config.l2 * tf.add_n([tf.reduce_sum(tf.square(kernel)) for kernel in kernels])
