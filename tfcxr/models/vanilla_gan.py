"""Vanilla GAN: two perceptrons against each other (Goodfellow et al. 2014), in the sizes of Chetty 2023.

Fast, and the first to collapse: watch the diversity that training logs.
"""

import dataclasses
import math
from typing import Literal

import keras
import tensorflow as tf

from tfcxr.layers.initializer_seeds import initializer_seeds
from tfcxr.layers.leaky_relu import LEAKY_SLOPE, leaky_relu
from tfcxr.losses.adversarial import discriminator_loss, generator_loss
from tfcxr.models.base import GAN
from tfcxr.models.model_config import GANConfig


@dataclasses.dataclass(frozen=True)
class VanillaGANConfig(GANConfig):
    """Settings of the vanilla GAN.

    Attributes:
      conditional: the label is given to both networks beside z and beside the image (Mirza, Osindero 2014).
      generator_units, discriminator_units: hidden layers of the perceptrons; the defaults are chetty2023's.
      normalization: of the generator's hidden layers, "batch" or "none". As in the public PyTorch code that chetty2023
        seems to stand on, the first hidden layer has none; the study itself does not say so.
      batch_normalization_epsilon: added to the variance. chetty2023's code gave .8 as the second positional argument,
        which is epsilon, where it probably meant the momentum: .8 is as published, and the default is corrected.
      initializer: of the kernels: "uniform" within 1 / sqrt(inputs), which is PyTorch's default and so chetty2023's,
        "glorot", "he" (He et al. 2015), or "normal" N(0, .02) (Radford, Metz, Chintala 2016). Biases start at 0.
      adversarial_loss: "log" for the non-saturating generator, or "minimax" (Goodfellow et al. 2014, section 3).
    """

    conditional: bool = False
    label_count: int = 0
    generator_units: tuple[int, ...] = (128, 256, 512, 1024)
    discriminator_units: tuple[int, ...] = (512, 256)
    normalization: Literal["batch", "none"] = "batch"
    batch_normalization_epsilon: float = 1e-5
    initializer: Literal["uniform", "glorot", "he", "normal"] = "uniform"
    adversarial_loss: Literal["log", "minimax"] = "log"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_normalization_epsilon <= 0:
            raise ValueError(f"batch_normalization_epsilon must be above 0, got {self.batch_normalization_epsilon}")
        for name in ("generator_units", "discriminator_units"):
            units = getattr(self, name)
            if not units or min(units) < 1:
                raise ValueError(f"{name} needs at least one hidden layer of at least one unit, got {units}")


class PerceptronGenerator(keras.Model):
    """float32 z [batch, latent], condition [batch, labels] -> float32 images [batch, size, size, channels] in [-1, 1].

    Each hidden layer is dense, normalized from the second on, and leaky.
    """

    def __init__(self, config: VanillaGANConfig, seed: int) -> None:
        super().__init__()
        self.image_shape = (config.image_size, config.image_size, config.channels)
        seeds = initializer_seeds(seed)
        self.hidden = []
        for index, units in enumerate(config.generator_units):
            is_normalized = index > 0 and config.normalization == "batch"
            kernel = kernel_initializer(config.initializer, next(seeds))
            dense = keras.layers.Dense(units, use_bias=not is_normalized, kernel_initializer=kernel)
            layers = [dense, batch_normalization(config)] if is_normalized else [dense]
            self.hidden.append(keras.Sequential([*layers, keras.layers.LeakyReLU(LEAKY_SLOPE)]))
        kernel = kernel_initializer(config.initializer, next(seeds))
        self.to_image = keras.layers.Dense(math.prod(self.image_shape), kernel_initializer=kernel)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool = False) -> tf.Tensor:
        features = tf.concat(inputs, axis=-1)
        for layer in self.hidden:
            features = layer(features, training=training)
        image = tf.tanh(tf.cast(self.to_image(features), tf.float32))
        return tf.reshape(image, [-1, *self.image_shape])


class PerceptronDiscriminator(keras.Model):
    """float32 images in [-1, 1], condition [batch, labels] -> realism logits float32 [batch, 1]."""

    def __init__(self, config: VanillaGANConfig, seed: int) -> None:
        super().__init__()
        self.pixel_count = config.image_size * config.image_size * config.channels
        seeds = initializer_seeds(seed)
        self.hidden = [
            keras.layers.Dense(units, kernel_initializer=kernel_initializer(config.initializer, next(seeds)))
            for units in config.discriminator_units
        ]
        kernel = kernel_initializer(config.initializer, next(seeds))
        self.realism = keras.layers.Dense(1, kernel_initializer=kernel, dtype="float32")

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, condition = inputs
        features = tf.concat([tf.reshape(image, [-1, self.pixel_count]), condition], axis=-1)
        for dense in self.hidden:
            features = leaky_relu(dense(features))
        return self.realism(features)


class VanillaGAN(GAN):
    """The first GAN; one training step moves the discriminator and the generator once each."""

    config_class = VanillaGANConfig
    metric_names = ("discriminator_adversarial", "generator_adversarial", "real_score", "fake_score")

    def make_generator(self) -> keras.Model:
        return PerceptronGenerator(self.config, self.seed)

    def make_discriminator(self) -> keras.Model:
        return PerceptronDiscriminator(self.config, self.seed + 1)

    def score(self, image: tf.Tensor, label: tf.Tensor, label_mask: tf.Tensor | None = None) -> tuple[tf.Tensor, None]:
        """Realism logits float32 [batch, 1] of images, and no label logits."""
        condition = self.condition(label, label_mask)
        return self.discriminator((image, condition)), None

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step on {"image" [batch, size, size, 1 or channels] in [-1, 1], "label", "label_mask" [batch, labels]}.

        The images are generated and judged once, and both networks' gradients are taken before either moves: the same
        as moving the generator first and then the discriminator against the images already drawn.
        """
        config = self.config
        real = data["image"]
        if real.shape[-1] != config.channels:
            real = tf.repeat(real, config.channels, axis=-1)  # grey to the three channels of a published model
        condition = self.condition(data["label"], data["label_mask"])
        z = self.normal([real.shape[0], config.latent_size], stream=0)

        with tf.GradientTape(persistent=True) as tape:
            fake = self.generator((z, condition), training=True)
            fake_logits = self.discriminator((fake, condition))
            real_logits = self.discriminator((real, condition))
            discriminator_adversarial = discriminator_loss(config.adversarial_loss, real_logits, fake_logits)
            generator_adversarial = generator_loss(config.adversarial_loss, fake_logits)
        generator_gradients = tape.gradient(generator_adversarial, self.generator.trainable_variables)
        discriminator_gradients = tape.gradient(discriminator_adversarial, self.discriminator.trainable_variables)

        self.apply_gradients(self.generator_optimizer, generator_gradients, self.generator)
        self.apply_gradients(self.discriminator_optimizer, discriminator_gradients, self.discriminator)
        self.update_average()
        return self.record_means(
            {
                "discriminator_adversarial": discriminator_adversarial,
                "generator_adversarial": generator_adversarial,
                "real_score": tf.reduce_mean(tf.sigmoid(real_logits)),
                "fake_score": tf.reduce_mean(tf.sigmoid(fake_logits)),
            }
        )


def kernel_initializer(
    name: str, seed: int, is_before_relu: bool = True, transposed_stride: int = 0
) -> keras.initializers.Initializer:
    """The initializer that `VanillaGANConfig.initializer` names.

    Args:
      is_before_relu: "he" doubles the variance for the half that a ReLU cuts off (He et al. 2015, equation 10).
      transposed_stride: of a transposed convolution, 0 for other layers. Keras takes the outputs of one for its inputs;
        here its inputs count, of which one in stride**2 reaches a pixel.
    """
    if name == "glorot":
        return keras.initializers.GlorotUniform(seed=seed)
    if name == "normal":
        return keras.initializers.RandomNormal(0.0, 0.02, seed=seed)
    if name == "uniform":  # a third of 1 / inputs is the variance of U(-1 / sqrt(inputs), 1 / sqrt(inputs))
        scale, distribution = 1.0 / 3.0, "uniform"
    else:
        scale, distribution = 2.0 if is_before_relu else 1.0, "truncated_normal"
    scale, mode = (scale * transposed_stride**2, "fan_out") if transposed_stride else (scale, "fan_in")
    return keras.initializers.VarianceScaling(scale, mode, distribution, seed=seed)


def batch_normalization(config: VanillaGANConfig) -> keras.layers.Layer:
    """Batch normalization whose moving statistics arrive within a short training (momentum .9, PyTorch's default)."""
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=config.batch_normalization_epsilon)
