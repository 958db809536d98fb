"""WGAN-GP: a critic held to slope 1 by a gradient penalty, and a generator that follows it (Gulrajani et al. 2017).

Two architectures: "convolutional" after DCGAN (Radford, Metz, Chintala 2016), and the "perceptron" of Chetty 2023,
which is the vanilla GAN's. The defaults are those that draw best after equal time on a processor
(experiments/quality_tried.md); algorithm 1 of Gulrajani et al. has critic_steps=5, rates of 1e-4, beta_1=0, beta_2=.9.
"""

import dataclasses
import functools
import math
from typing import Any, Literal

import keras
import tensorflow as tf

from tfcxr.config import check_range
from tfcxr.layers.channels import with_channels
from tfcxr.layers.initializers import InitializerName, kernel_initializers
from tfcxr.layers.leaky_relu import leaky_relu
from tfcxr.layers.normalization import normalization
from tfcxr.layers.upsampled_convolution import UpsampledConvolution
from tfcxr.losses.adversarial import wasserstein_discriminator_loss, wasserstein_generator_loss
from tfcxr.losses.penalties import add_gradients, drift_penalty, gradient_penalty, is_due, lazy_gradients
from tfcxr.models.base import GAN
from tfcxr.models.vanilla_gan import PerceptronDiscriminator, PerceptronGenerator, VanillaGANConfig

STRIDE = 2  # of all convolutions
BASE_SIZE = 4  # pixels of the generator's first and the critic's last feature map


@dataclasses.dataclass(frozen=True)
class WGANGPConfig(VanillaGANConfig):
    """Settings of WGAN-GP; those of the vanilla GAN's networks hold here too, its units for the perceptron only.

    Attributes:
      architecture: "convolutional" or "perceptron".
      filters: channels beside the image, doubled at each halving of the size, at most 8 times as many.
      kernel_size: pixels of the convolutions; 4, a multiple of the stride, against checkerboards (Odena, Dumoulin,
        Olah 2016). Differs from Radford et al., who have 5.
      upsampling: how the generator doubles the size: "transpose", convolutions of `kernel_size` (Radford et al.), or
        "resize", repeated pixels and then a 3x3 convolution (Odena et al.).
      image_layer: "transpose", the generator's last doubling of the size (Radford et al.), or "convolution" of features
        that have the image's size already.
      critic_steps: steps of the critic before each step of the generator (n_critic); 5 in Gulrajani et al.
      penalty_weight: of the gradient penalty (lambda).
      penalty_interval: steps of the generator between those in which it is due, then that much stronger (after Karras
        et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", appendix B); 1 in Gulrajani et al.
      drift_weight: of the critic's squared values on real images (Karras et al. 2018, appendix A.1); Gulrajani et al.
        have none.
    """

    generator_learning_rate: float = 2e-4
    discriminator_learning_rate: float = 4e-4
    beta_1: float = 0.0
    beta_2: float = 0.9
    initializer: InitializerName = "normal"
    adversarial_loss: Literal["wasserstein"] = "wasserstein"
    architecture: Literal["convolutional", "perceptron"] = "convolutional"
    filters: int = 32
    kernel_size: int = 4
    upsampling: Literal["transpose", "resize"] = "resize"
    image_layer: Literal["transpose", "convolution"] = "convolution"
    critic_steps: int = 1
    penalty_weight: float = 10.0
    penalty_interval: int = 1
    drift_weight: float = 1e-3

    network_settings = (
        *VanillaGANConfig.network_settings,
        "architecture",
        "filters",
        "kernel_size",
        "upsampling",
        "image_layer",
    )
    largest_size = 256
    usual_batch_size = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "critic_steps", "filters", "penalty_interval", minimum=1)
        check_range(self, "kernel_size", minimum=STRIDE)
        check_range(self, "penalty_weight", "drift_weight", minimum=0)

    @classmethod
    def tiny_settings(cls) -> tuple[dict[str, Any], ...]:
        tiny = {"image_size": 32, "latent_size": 8, "filters": 4, "critic_steps": 2, "initializer": "he"}
        perceptron = {"architecture": "perceptron", "generator_units": (16, 32), "discriminator_units": (32, 16)}
        labelled = {"conditional": True, "label_count": 2}
        plain = {"normalization": "none"}
        resized = {"image_layer": "convolution", "upsampling": "resize", "penalty_interval": 2}
        return tiny, tiny | plain | resized, tiny | perceptron | labelled | plain

    @property
    def batches_per_step(self) -> int:
        return self.critic_steps


class ConvolutionalGenerator(keras.Model):
    """float32 z [batch, latent], condition [batch, labels] -> float32 images [batch, size, size, channels] in [-1, 1].

    DCGAN's: a dense layer to 4 x 4, doublings of the size with batch normalization and ReLU.
    """

    def __init__(self, config: WGANGPConfig, seed: int) -> None:
        super().__init__()
        draw = kernel_initializers(config.initializer, seed)
        *filters, first_filters = _critic_filters(config)
        if config.image_layer == "convolution":
            filters = [filters[0], *filters]
        self.first_shape = (BASE_SIZE, BASE_SIZE, first_filters)
        self.project = keras.layers.Dense(math.prod(self.first_shape), kernel_initializer=draw())
        if config.upsampling == "resize":
            doubling, kernel = UpsampledConvolution, draw
        else:
            options = {"kernel_size": config.kernel_size, "strides": STRIDE, "padding": "same"}
            doubling = functools.partial(keras.layers.Conv2DTranspose, **options)
            kernel = functools.partial(draw, transposed_stride=STRIDE)
        has_bias = config.normalization == "none"
        self.stages = [doubling(count, use_bias=has_bias, kernel_initializer=kernel()) for count in reversed(filters)]
        norm = config.normalization, config.batch_normalization_epsilon
        self.normalizations = [normalization(*norm) for _ in range(len(filters) + 1)]
        if config.image_layer == "convolution":
            initializer = draw(is_before_relu=False)
            self.to_image = keras.layers.Conv2D(config.channels, 3, padding="same", kernel_initializer=initializer)
        else:
            # by Keras's count of inputs He's rule gives this layer, which has one output, weights nearly six times too
            # large: half of an untrained generator's pixels are black or white, tanh lets no gradient through to them,
            # and they stay as a grid of dots
            self.to_image = doubling(config.channels, kernel_initializer=kernel(is_before_relu=False))

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool = False) -> tf.Tensor:
        features = tf.reshape(self.project(tf.concat(inputs, axis=-1)), [-1, *self.first_shape])
        features = tf.nn.relu(self.normalizations[0](features, training=training))
        for stage, normalize in zip(self.stages, self.normalizations[1:], strict=True):
            features = tf.nn.relu(normalize(stage(features), training=training))  # [batch, 2 x, 2 x, filters]
        return tf.tanh(tf.cast(self.to_image(features), tf.float32))


class ConvolutionalCritic(keras.Model):
    """float32 images in [-1, 1], condition [batch, labels] -> critic values float32 [batch, 1], of any size.

    DCGAN's convolutions of stride 2 without normalization: batch normalization would mix the images of a batch, which
    the penalty forbids (Gulrajani et al. 2017, section 4), and layer normalization there costs time and was not needed.
    A condition is compared with the mean features (projection, Miyato, Koyama 2018); an unknown label adds nothing.
    """

    def __init__(self, config: WGANGPConfig, seed: int) -> None:
        super().__init__()
        draw = kernel_initializers(config.initializer, seed)
        self.convolutions = [
            keras.layers.Conv2D(filters, config.kernel_size, STRIDE, "same", kernel_initializer=draw())
            for filters in _critic_filters(config)
        ]
        self.realism = keras.layers.Dense(1, kernel_initializer=draw(), dtype="float32")
        self.projection = None
        if config.conditional:
            units = self.convolutions[-1].filters
            self.projection = keras.layers.Dense(units, use_bias=False, kernel_initializer=draw(), dtype="float32")

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        features, condition = inputs
        for convolution in self.convolutions:
            features = leaky_relu(convolution(features))  # [batch, size / 2, size / 2, filters]
        value = self.realism(tf.reshape(features, [-1, math.prod(features.shape[1:])]))
        if self.projection is None:
            return value
        mean_features = tf.reduce_mean(tf.cast(features, tf.float32), axis=[1, 2])
        return value + tf.reduce_sum(self.projection(condition) * mean_features, axis=1, keepdims=True)


class WGANGP(GAN):
    """Wasserstein GAN with gradient penalty; one training step moves the critic n times and then the generator once.

    Logged `gradient_penalty` is 0 in the steps in which it is not due, so that its mean over many steps is
    1 / penalty_interval of the penalty.
    """

    config_class = WGANGPConfig
    metric_names = (
        "discriminator_adversarial",
        "generator_adversarial",
        "gradient_penalty",
        "drift",
        "real_score",
        "fake_score",
    )

    @property
    def generator_class(self) -> type[keras.Model]:
        return PerceptronGenerator if self.config.architecture == "perceptron" else ConvolutionalGenerator

    @property
    def discriminator_class(self) -> type[keras.Model]:
        return PerceptronDiscriminator if self.config.architecture == "perceptron" else ConvolutionalCritic

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step of the generator after `critic_steps` of the critic (Gulrajani et al. 2017, algorithm 1).

        Every critic step generates its own images with the generator in training mode, as usual. So batch
        normalization sees one batch at a time, and its moving statistics move critic_steps + 1 times.

        Args:
          data: {"image" [rows, size, size, 1 or channels] in [-1, 1], "label", "label_mask" [rows, labels]} of
            rows = batch * critic_steps; critic step k takes the rows k, k + critic_steps, ..., the same on any number
            of replicas.

        Returns:
          Running means; those of the critic are over its steps, `real_score` and `fake_score` are critic values.

        Raises:
          ValueError: the rows are not critic_steps batches of equal size.
        """
        config, steps = self.config, self.config.critic_steps
        images = with_channels(data["image"], config.channels)
        row_count = images.shape[0]
        self.check_critic_batches(row_count)
        conditions = self.condition(data["label"], data["label_mask"])
        z = self.normal([row_count // steps * (steps + 1), config.latent_size], stream=0)
        uniform = self.uniform([row_count, 1], stream=1)

        critic_values = [
            self._critic_step(images[step::steps], conditions[step::steps], z[step :: steps + 1], uniform[step::steps])
            for step in range(steps)
        ]
        generator_adversarial = self._generator_step(conditions[steps - 1 :: steps], z[steps :: steps + 1])
        self.update_average()
        means = {name: tf.add_n([values[name] for values in critic_values]) / steps for name in critic_values[0]}
        return self.record_means(means | {"generator_adversarial": generator_adversarial})

    def _critic_step(
        self, real: tf.Tensor, condition: tf.Tensor, z: tf.Tensor, uniform: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        config = self.config
        fake = self.generator((z, condition), training=True)
        with tf.GradientTape() as tape:
            real_values = self.discriminator((real, condition))
            fake_values = self.discriminator((fake, condition))
            adversarial = wasserstein_discriminator_loss(real_values, fake_values)
            drift = drift_penalty(real_values)
            total = adversarial + config.drift_weight * drift
        weights = self.discriminator.trainable_variables
        gradients = tape.gradient(total, weights)
        penalty, penalty_gradients = lazy_gradients(
            is_due(self.step.value, config.penalty_interval, config.penalty_weight),
            lambda: gradient_penalty(lambda image: self.discriminator((image, condition)), real, fake, uniform),
            weights,
            scale=config.penalty_weight * config.penalty_interval,
            name="penalty",
        )
        self.apply_gradients(self.discriminator, add_gradients(gradients, penalty_gradients))
        return {
            "discriminator_adversarial": adversarial,
            "gradient_penalty": penalty,
            "drift": drift,
            "real_score": tf.reduce_mean(real_values),
            "fake_score": tf.reduce_mean(fake_values),
        }

    def _generator_step(self, condition: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            fake = self.generator((z, condition), training=True)
            adversarial = wasserstein_generator_loss(self.discriminator((fake, condition)))
        self.apply_gradients(self.generator, tape.gradient(adversarial, self.generator.trainable_variables))
        return adversarial


def _critic_filters(config: WGANGPConfig) -> list[int]:
    """Channels after each convolution of the critic, from the image down to 4 x 4."""
    stage_count = int(math.log2(config.image_size // BASE_SIZE))
    return [config.filters << min(stage, 3) for stage in range(stage_count)]
