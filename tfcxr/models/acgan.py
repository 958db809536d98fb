"""ACGAN: a generator told which class to draw, a discriminator that also names the class (Odena, Olah, Shlens 2017).

The defaults are the recipe found best on real radiographs at 64 px (experiments/singh2023_acgan_vgg16.py, table of the
search); `as_published` there sets the network of Singh et al. 2023 with LayerNormalization and least squares.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Literal

import keras
import tensorflow as tf

from tfcxr.layers.differentiable_augmentation import AUGMENTATIONS, UNIFORMS_PER_IMAGE, augment
from tfcxr.layers.initializer_seeds import initializer_seeds
from tfcxr.layers.leaky_relu import leaky_relu
from tfcxr.layers.minibatch_stddev import minibatch_stddev
from tfcxr.losses.adversarial import discriminator_loss, generator_loss
from tfcxr.losses.classification import class_loss
from tfcxr.losses.penalties import is_due, lazy_gradients, r1_penalty
from tfcxr.models.base import GAN
from tfcxr.models.model_config import GANConfig

BASE_SIZE = 8  # pixels of the generator's first feature map


@dataclasses.dataclass(frozen=True)
class ACGANConfig(GANConfig):
    """Settings of the ACGAN.

    Attributes:
      output: "tanh" for networks in [-1, 1], "sigmoid" for networks in [0, 1] (singh2023). Images outside the
        networks are in [-1, 1] either way.
      generator_dense_units: dense layers between (z, label) and the first feature map; singh2023 has (1024,).
      generator_filters: channels at 8 px, halved at each doubling of the size, at least 16.
      normalization: of the generator: "layer" over the channels of each pixel (Keras's default, singh2023), "batch".
      upsampling: "transpose" convolution of stride 2, or "resize" to the nearest pixel and convolve (Odena, Dumoulin,
        Olah 2016, against checkerboards).
      generator_kernel_size, discriminator_kernel_size: pixels.
      discriminator_filters: channels after the first convolution, doubled at each halving, at most 8 times.
      dropout: before the discriminator's heads. l2: weight of the squared kernels (singh2023's "regularised").
      minibatch_stddev: a channel that tells how much a batch varies (Karras et al. 2018).
      initializer: "normal" N(0, .02) (Radford, Metz, Chintala 2016) or "glorot" (Keras's default).
      adversarial_loss: "least_squares" on the sigmoid (singh2023) or "log", non-saturating (Goodfellow et al. 2014).
      discriminator_class_weight, generator_class_weight: of the class losses beside the adversarial ones.
      classify_fakes: the discriminator's class loss counts generated images too, as Odena et al. 2017 do.
      r1_gamma, r1_interval: gradient penalty on real images (Mescheder et al. 2018) and steps between its lazy
        applications (Karras et al. 2020, appendix B); 0 is none.
      augmentations: of `AUGMENTATIONS`, applied to real and generated images alike (Zhao et al. 2020).
      fake_labels: which classes are drawn in training: "balanced" (single-label only) or as in the real "batch".
    """

    output: Literal["tanh", "sigmoid"] = "tanh"
    generator_dense_units: tuple[int, ...] = ()
    generator_filters: int = 256
    normalization: Literal["layer", "batch"] = "batch"
    upsampling: Literal["transpose", "resize"] = "transpose"
    generator_kernel_size: int = 4
    discriminator_filters: int = 64
    discriminator_kernel_size: int = 5
    dropout: float = 0.0
    l2: float = 0.0
    minibatch_stddev: bool = False
    initializer: Literal["normal", "glorot"] = "normal"
    adversarial_loss: Literal["least_squares", "log"] = "log"
    discriminator_class_weight: float = 1.0
    generator_class_weight: float = 1.0
    classify_fakes: bool = True
    r1_gamma: float = 0.1
    r1_interval: int = 4
    augmentations: tuple[str, ...] = ()
    fake_labels: Literal["balanced", "batch"] = "balanced"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.conditional:
            raise ValueError("an ACGAN is conditional; for images without labels choose another model")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if unknown := set(self.augmentations) - set(AUGMENTATIONS):
            raise ValueError(f"unknown augmentations {sorted(unknown)}; valid names: {', '.join(AUGMENTATIONS)}")
        if self.r1_interval < 1:
            raise ValueError(f"r1_interval must be at least 1 step, got {self.r1_interval}")

    @property
    def compares_images(self) -> bool:
        return self.minibatch_stddev


class Generator(keras.Model):
    """float32 z [batch, latent], condition [batch, labels] -> float32 images [batch, size, size, channels], [-1, 1]."""

    def __init__(self, config: ACGANConfig, seed: int) -> None:
        super().__init__()
        self.config = config
        make = _LayerMaker(config, seed)
        kernel = config.generator_kernel_size
        self.dense = [make.dense(units) for units in config.generator_dense_units]
        self.project = make.dense(BASE_SIZE * BASE_SIZE * config.generator_filters)
        self.stages = []
        stage_count = int(math.log2(config.image_size // BASE_SIZE))
        for stage in range(stage_count):
            filters = max(config.generator_filters >> (stage + 1), 16)
            if config.upsampling == "transpose":
                layers = [make.transposed_convolution(filters, kernel)]
            else:
                layers = [keras.layers.UpSampling2D(interpolation="nearest"), make.convolution(filters, kernel)]
            self.stages.append(keras.Sequential([*layers, make.normalization(), keras.layers.ReLU()]))
        self.project_normalization = make.normalization()
        self.to_image = make.convolution(config.channels, kernel)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool = False) -> tf.Tensor:
        features = tf.concat(inputs, axis=-1)
        for layer in self.dense:
            features = tf.nn.relu(layer(features))
        features = tf.reshape(self.project(features), [-1, BASE_SIZE, BASE_SIZE, self.config.generator_filters])
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
        make = _LayerMaker(config, seed)
        stage_count = int(math.log2(config.image_size // 4))
        self.convolutions = [
            make.convolution(config.discriminator_filters << min(stage, 3), config.discriminator_kernel_size, strides=2)
            for stage in range(stage_count)
        ]
        self.realism = make.dense(1, is_output=True)
        self.label = make.dense(config.label_count, is_output=True)

    def call(self, image: tf.Tensor, dropout_noise: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """`dropout_noise`: float32 [batch, 4, 4, filters] in [0, 1) in training; None drops nothing."""
        features = image if self.config.output == "tanh" else (image + 1.0) / 2.0
        for convolution in self.convolutions:
            features = leaky_relu(convolution(features))  # [batch, size / 2, size / 2, filters]
        if dropout_noise is not None and self.config.dropout:
            kept = tf.cast(dropout_noise >= self.config.dropout, features.dtype)
            features = features * kept / (1.0 - self.config.dropout)
        if self.config.minibatch_stddev:
            features = minibatch_stddev(features)
        flat = tf.reshape(features, [-1, math.prod(features.shape[1:])])
        return self.realism(flat), self.label(flat)


class ACGAN(GAN):
    """Auxiliary classifier GAN; one training step moves the discriminator and the generator once each."""

    config_class = ACGANConfig
    metric_names = (
        "discriminator_adversarial",
        "discriminator_class",
        "generator_adversarial",
        "generator_class",
        "r1",
        "real_score",
        "fake_score",
    )

    def make_generator(self) -> keras.Model:
        return Generator(self.config, self.seed)

    def make_discriminator(self) -> keras.Model:
        return Discriminator(self.config, self.seed + 1)

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
        return self.discriminator(image)

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step on {"image" [batch, size, size, 1 or channels] in [-1, 1], "label", "label_mask" [batch, labels]}.

        The images are generated and judged once; both networks' gradients are taken before either moves. Without
        dropout and batch statistics in the discriminator this equals moving the generator first.
        """
        config = self.config
        real, label, label_mask = data["image"], data["label"], data["label_mask"]
        if real.shape[-1] != config.channels:
            real = tf.repeat(real, config.channels, axis=-1)  # grey to the three channels of a published model
        batch = real.shape[0]
        z = self.normal([batch, config.latent_size], stream=0)
        fake_label, fake_mask = self._labels_to_draw(label, label_mask)
        real = augment(real, config.augmentations, self.uniform([batch, UNIFORMS_PER_IMAGE], stream=1))
        fake_noise = self.uniform([batch, UNIFORMS_PER_IMAGE], stream=2)

        with tf.GradientTape(persistent=True) as tape:
            fake = augment(
                self.generator((z, self.condition(fake_label, fake_mask)), training=True),
                config.augmentations,
                fake_noise,
            )
            fake_logits, fake_classes = self.discriminator(fake, self._dropout_noise(batch, stream=3))
            real_logits, real_classes = self.discriminator(real, self._dropout_noise(batch, stream=4))
            real_class_loss = class_loss(config.is_single_label, real_classes, label, label_mask)
            fake_class_loss = class_loss(config.is_single_label, fake_classes, fake_label, fake_mask)
            class_terms = 0.5 * (real_class_loss + fake_class_loss) if config.classify_fakes else real_class_loss
            discriminator_adversarial = discriminator_loss(config.adversarial_loss, real_logits, fake_logits)
            generator_adversarial = generator_loss(config.adversarial_loss, fake_logits)
            discriminator_total = (
                discriminator_adversarial
                + config.discriminator_class_weight * class_terms
                + self._kernel_penalty(self.discriminator)
            )
            generator_total = (
                generator_adversarial
                + config.generator_class_weight * fake_class_loss
                + self._kernel_penalty(self.generator)
            )
        generator_gradients = tape.gradient(generator_total, self.generator.trainable_variables)
        discriminator_gradients = tape.gradient(discriminator_total, self.discriminator.trainable_variables)
        r1, r1_gradients = self._lazy_r1(real)
        discriminator_gradients = [sum(pair) for pair in zip(discriminator_gradients, r1_gradients, strict=True)]

        self.apply_gradients(self.discriminator_optimizer, discriminator_gradients, self.discriminator)
        self.apply_gradients(self.generator_optimizer, generator_gradients, self.generator)
        self.update_average()
        return self.record_means(
            {
                "discriminator_adversarial": discriminator_adversarial,
                "discriminator_class": class_terms,
                "generator_adversarial": generator_adversarial,
                "generator_class": fake_class_loss,
                "r1": r1,
                "real_score": tf.reduce_mean(tf.sigmoid(real_logits)),
                "fake_score": tf.reduce_mean(tf.sigmoid(fake_logits)),
            }
        )

    def _labels_to_draw(self, label: tf.Tensor, label_mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if self.config.is_single_label and self.config.fake_labels == "balanced":
            count = self.config.label_count
            drawn = tf.cast(self.uniform([label.shape[0], 1], stream=5)[:, 0] * count, tf.int32)
            return tf.one_hot(drawn, count), tf.ones_like(label)
        return label, label_mask  # rows keep their joint labels; unknown ones are drawn as unknown and not scored

    def _dropout_noise(self, batch: int, stream: int) -> tf.Tensor | None:
        filters = self.discriminator.convolutions[-1].filters
        return self.uniform([batch, 4, 4, filters], stream) if self.config.dropout else None

    def _kernel_penalty(self, network: keras.Model) -> tf.Tensor | float:
        if not self.config.l2:
            return 0.0
        kernels = [variable for variable in network.trainable_variables if len(variable.shape) > 1]
        return self.config.l2 * tf.add_n([tf.reduce_sum(tf.square(kernel)) for kernel in kernels])

    def _lazy_r1(self, real: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        gamma, interval = self.config.r1_gamma, self.config.r1_interval
        return lazy_gradients(
            is_due(self.step.value, interval) if gamma else False,
            lambda: r1_penalty(lambda image: self.discriminator(image)[0], real),
            self.discriminator.trainable_variables,
            scale=gamma * interval,
            name="r1",
        )


class _LayerMaker:
    """Makes layers with the configuration's initializer, each with a seed of its own."""

    def __init__(self, config: ACGANConfig, seed: int) -> None:
        self._config = config
        self._seeds: Iterator[int] = initializer_seeds(seed)

    def dense(self, units: int, is_output: bool = False) -> keras.layers.Layer:
        dtype = "float32" if is_output else None
        return keras.layers.Dense(units, kernel_initializer=self._initializer(), dtype=dtype)

    def convolution(self, filters: int, kernel: int, strides: int = 1) -> keras.layers.Layer:
        return keras.layers.Conv2D(filters, kernel, strides, padding="same", kernel_initializer=self._initializer())

    def transposed_convolution(self, filters: int, kernel: int) -> keras.layers.Layer:
        return keras.layers.Conv2DTranspose(filters, kernel, 2, padding="same", kernel_initializer=self._initializer())

    def normalization(self) -> keras.layers.Layer:
        if self._config.normalization == "layer":
            return keras.layers.LayerNormalization()
        return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)

    def _initializer(self) -> keras.initializers.Initializer:
        seed = next(self._seeds)
        if self._config.initializer == "normal":
            return keras.initializers.RandomNormal(0.0, 0.02, seed=seed)
        return keras.initializers.GlorotUniform(seed=seed)
