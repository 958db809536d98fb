"""Vanilla GAN: two perceptrons against each other (Goodfellow et al. 2014), in the sizes of Chetty 2023.

Fast, and the first to collapse: watch the diversity that training logs.
"""

import dataclasses
import math
from typing import Any, Literal

import keras
import tensorflow as tf

from tfcxr.config import check_range
from tfcxr.layers.channels import with_channels
from tfcxr.layers.initializers import InitializerName, kernel_initializers
from tfcxr.layers.leaky_relu import LEAKY_SLOPE, leaky_relu
from tfcxr.layers.normalization import normalization
from tfcxr.losses.adversarial import ADVERSARIAL_LOSSES
from tfcxr.models.base import GAN, probability_means
from tfcxr.models.model_config import GANConfig


@dataclasses.dataclass(frozen=True)
class VanillaGANConfig(GANConfig):
    """Settings of the vanilla GAN.

    Attributes:
      conditional: the label is given to both networks beside z and beside the image (Mirza, Osindero 2014).
      generator_units: hidden layers of the generator; the defaults are chetty2023's.
      discriminator_units: hidden layers of the discriminator, likewise.
      normalization: of the generator's hidden layers, "batch" or "none". As in the public PyTorch code that chetty2023
        seems to stand on, the first hidden layer has none; the study itself does not say so.
      batch_normalization_epsilon: added to the variance. chetty2023's code gave .8 as the second positional argument,
        which is epsilon, where it probably meant the momentum: .8 is as published, and the default is corrected.
      initializer: of the kernels, see `kernel_initializer`; "uniform" is chetty2023's. Biases start at 0.
      adversarial_loss: "log" for the non-saturating generator, or "minimax" (Goodfellow et al. 2014, section 3).
    """

    conditional: bool = False
    label_count: int = 0
    generator_units: tuple[int, ...] = (128, 256, 512, 1024)
    discriminator_units: tuple[int, ...] = (512, 256)
    normalization: Literal["batch", "none"] = "batch"
    batch_normalization_epsilon: float = 1e-5
    initializer: InitializerName = "uniform"
    adversarial_loss: Literal["log", "minimax"] = "log"

    network_settings = (
        *GANConfig.network_settings,
        "generator_units",
        "discriminator_units",
        "normalization",
        "batch_normalization_epsilon",
    )
    trains_in_bfloat16 = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "batch_normalization_epsilon", above=0)
        check_range(self, "generator_units", "discriminator_units", minimum=1)
        if not (self.generator_units and self.discriminator_units):
            raise ValueError(
                "generator_units and discriminator_units need at least one hidden layer each, got "
                f"{self.generator_units} and {self.discriminator_units}"
            )

    @classmethod
    def tiny_settings(cls) -> tuple[dict[str, Any], ...]:
        tiny = {"image_size": 32, "latent_size": 8, "generator_units": (16, 32), "discriminator_units": (32, 16)}
        return tiny, tiny | {"normalization": "none", "conditional": True, "label_count": 2}


class PerceptronGenerator(keras.Model):
    """float32 z [batch, latent], condition [batch, labels] -> float32 images [batch, size, size, channels] in [-1, 1].

    Each hidden layer is dense, normalized from the second on, and leaky.
    """

    def __init__(self, config: VanillaGANConfig, seed: int) -> None:
        super().__init__()
        self.image_shape = (config.image_size, config.image_size, config.channels)
        draw = kernel_initializers(config.initializer, seed)
        self.hidden = []
        for index, units in enumerate(config.generator_units):
            is_normalized = index > 0 and config.normalization == "batch"
            dense = keras.layers.Dense(units, use_bias=not is_normalized, kernel_initializer=draw())
            layers = [dense, normalization("batch", config.batch_normalization_epsilon)] if is_normalized else [dense]
            self.hidden.append(keras.Sequential([*layers, keras.layers.LeakyReLU(LEAKY_SLOPE)]))
        self.to_image = keras.layers.Dense(math.prod(self.image_shape), kernel_initializer=draw())

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
        draw = kernel_initializers(config.initializer, seed)
        self.hidden = [keras.layers.Dense(units, kernel_initializer=draw()) for units in config.discriminator_units]
        self.realism = keras.layers.Dense(1, kernel_initializer=draw(), dtype="float32")

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, condition = inputs
        features = tf.concat([tf.reshape(image, [-1, math.prod(image.shape[1:])]), condition], axis=-1)
        for dense in self.hidden:
            features = leaky_relu(dense(features))
        return self.realism(features)


class VanillaGAN(GAN):
    """The first GAN; one training step moves the discriminator and the generator once each."""

    config_class = VanillaGANConfig
    generator_class = PerceptronGenerator
    discriminator_class = PerceptronDiscriminator
    metric_names = ("discriminator_adversarial", "generator_adversarial", "real_score", "fake_score")

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step on {"image" [batch, size, size, 1 or channels] in [-1, 1], "label", "label_mask" [batch, labels]}.

        The images are generated and scored once, and both networks' gradients are taken before either moves: the same
        as moving the generator first and then the discriminator against the same images.
        """
        config, loss = self.config, ADVERSARIAL_LOSSES[self.config.adversarial_loss]
        real = with_channels(data["image"], config.channels)
        condition = self.condition(data["label"], data["label_mask"])
        z = self.normal([real.shape[0], config.latent_size], stream=0)

        with tf.GradientTape(persistent=True) as tape:
            fake = self.generator((z, condition), training=True)
            fake_logits = self.discriminator((fake, condition))
            real_logits = self.discriminator((real, condition))
            discriminator_adversarial = loss.discriminator(real_logits, fake_logits)
            generator_adversarial = loss.generator(fake_logits)
        generator_gradients = tape.gradient(generator_adversarial, self.generator.trainable_variables)
        discriminator_gradients = tape.gradient(discriminator_adversarial, self.discriminator.trainable_variables)

        self.apply_gradients(self.discriminator, discriminator_gradients)
        self.apply_gradients(self.generator, generator_gradients)
        self.update_average()
        adversarial = {
            "discriminator_adversarial": discriminator_adversarial,
            "generator_adversarial": generator_adversarial,
        }
        return self.record_means(adversarial | probability_means(real_logits, fake_logits))
