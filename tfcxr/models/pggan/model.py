"""PGGAN: Karras et al. 2018, "Progressive Growing of GANs", and Segal et al. 2021, who grew it on radiographs to 1024.

Training goes from 4 px up. At each size a new block fades in, then trains on at full strength; `PGGANConfig.stages` is
that schedule, counted in images, and `tfcxr.train` follows it in one run.
"""

import functools
from typing import Any

import keras
import tensorflow as tf

from tfcxr.layers.channels import with_channels
from tfcxr.layers.minibatch_stddev import update_typical_deviation
from tfcxr.layers.resample import average_pixels, repeat_pixels
from tfcxr.losses.adversarial import wasserstein_discriminator_loss, wasserstein_generator_loss
from tfcxr.losses.penalties import add_gradients, drift_penalty, gradient_penalty
from tfcxr.losses.weight_tape import weight_tape
from tfcxr.models.base import GAN
from tfcxr.models.model_config import Stage
from tfcxr.models.pggan.config import PGGANConfig
from tfcxr.models.pggan.networks import LONE_DEVIATION, Discriminator, Generator
from tfcxr.models.pretrained import ReadRun, StoredRun

Alpha = tf.Tensor | float  # weight of the old path; a Python 0.0 leaves it out


class PGGAN(GAN):
    """Progressive GAN with WGAN-GP; one training step moves the critic `critic_steps` times and the generator once."""

    config_class = PGGANConfig
    generator_class = Generator
    discriminator_class = Discriminator
    metric_names = (
        "discriminator_adversarial",
        "generator_adversarial",
        "gradient_penalty",
        "drift",
        "real_score",
        "fake_score",
        "image_size",
        "alpha",
    )

    def __init__(self, config: PGGANConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        self.step = self.state["step"]  # Adam's own count starts anew with each block
        if self.ema_generator is not None and config.average_growth == "fresh":
            fresh, average = Generator(config, seed + 2), self.ema_generator
            new_layers, layers = ([*network.blocks, *network.to_image[1:]] for network in (fresh, average))
            for new, layer in zip(new_layers, layers, strict=True):
                for variable, value in zip(layer.variables, new.variables, strict=True):
                    variable.assign(value)

    def make_state(self) -> dict[str, keras.Variable]:
        """The variables:

        step: steps so far.
        grown_at: the step at which the last block was added.
        size: pixels of the images now.
        alpha: weight of the old path.
        deviation: minibatch stddev of real images.
        """
        deviation = LONE_DEVIATION[self.config.dialect]
        make = functools.partial(keras.Variable, trainable=False)
        return {
            "step": make(0, dtype="int64", aggregation="only_first_replica", name="step"),
            "grown_at": make(0, dtype="int64", name="grown_at"),
            "size": make(self.config.image_size, dtype="int64", name="size"),
            "alpha": make(0.0, aggregation="mean", name="alpha"),
            "deviation": make(deviation, aggregation="mean", name="deviation"),
        }

    @classmethod
    def prepare_settings(cls, settings: dict[str, Any], read_run: ReadRun) -> dict[str, Any]:
        """As in other models; a pretrained one is grown to its end, so that training goes on at its full size."""
        if not settings.get("pretrained"):
            return settings
        prepared = super().prepare_settings(settings, read_run)
        check_is_grown(read_run(settings["pretrained"]))
        return {"first_size": prepared["image_size"]} | prepared

    @property
    def current_size(self) -> int:
        return int(self._now("size"))

    def sampling_state(self) -> list[Any]:
        return [self.state["alpha"], self.state["deviation"]]

    def progress_text(self) -> str:
        alpha = f"fading, alpha {float(self._now('alpha')):.2f}" if self.stage.is_fading else "stable"
        return f"{self.stage.image_size} px {alpha}"

    def begin_stage(self, stage: Stage, is_new: bool = True) -> None:
        """Sets the size, the learning rate and, where a block is added, the optimizers back to their start."""
        super().begin_stage(stage, is_new)
        self.state["size"].assign(stage.image_size)
        if is_new:
            self.state["alpha"].assign(float(stage.is_fading))
        if is_new and stage.is_fading:
            self.state["grown_at"].assign(stage.first_step)
        optimizers = self.generator_optimizer, self.discriminator_optimizer
        for optimizer, rate in zip(optimizers, self.learning_rates(), strict=True):
            if is_new and stage.is_fading and self.config.resets_optimizers:
                for variable in optimizer.variables:
                    variable.assign(tf.zeros(variable.shape, variable.dtype))
            optimizer.learning_rate = rate

    def ema_rate(self) -> tf.Tensor:
        """As in other models, but counted from the step at which the last block was added.

        Else the average of a new block would lag by 1 / (1 - ema_decay) steps, and spoil the images until then:
        measured, a growth of a few thousand steps ended with a dark averaged generator. "fresh" is as published.
        """
        if self.config.average_growth == "fresh" and not self.ema_half_life:
            return tf.constant(1.0 - self.config.ema_decay)
        steps = self.step.value - self.state["grown_at"].value  # this one is counted after it
        return self._ema_rate(steps, earlier_steps=steps)

    def score(self, image: tf.Tensor, label: tf.Tensor, label_mask: tf.Tensor | None = None) -> tuple[tf.Tensor, None]:
        """Critic values float32 [batch, 1], without a zero of their own; each image is scored for itself."""
        inputs = self._critic_images(image), self.condition(label, label_mask)
        deviation = self.state["deviation"].value
        return self.discriminator(inputs, alpha=self._blending(), deviation=deviation)[:, :1], None

    def discriminator_features(self, image: tf.Tensor, network: Discriminator | None = None) -> tf.Tensor:
        """float32 [batch, filters[0]], with the typical minibatch stddev that was noted in training; see the base."""
        image = with_channels(self._critic_images(image), self.config.channels)
        network = self.discriminator if network is None else network
        return tf.cast(network.features(image, self._blending(), self.state["deviation"].value), tf.float32)

    def _critic_images(self, image: tf.Tensor) -> tf.Tensor:
        """Whole images [batch, image_size, image_size, ...] in [-1, 1], in the size and range of the critic now."""
        while image.shape[1] > self.current_size:
            image = average_pixels(image)
        return self._inside(image)

    def generate_from_latent(self, z: tf.Tensor, label: tf.Tensor, truncation: tf.Tensor | float = 1.0) -> tf.Tensor:
        """Images by the generator that is exported, float32 [batch, size, size, channels] in [-1, 1].

        A `truncation` below 1 clips z at twice its value on either side: the network normalizes z, so that scaling it
        has no effect. While the model grows, the images of the current size are enlarged by repeated pixels.
        """
        limit = tf.where(truncation < 1.0, 2.0 * truncation, z.dtype.max)
        inputs = tf.clip_by_value(z, -limit, limit), self.condition(label)
        size = self.current_size
        image = self._outside(self.sampling_generator(inputs, size=size, alpha=self._blending()))
        while size < self.config.image_size:
            image, size = repeat_pixels(image), 2 * size
        return tf.clip_by_value(image, -1.0, 1.0)

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step on {"image" [rows, size, size, 1 or channels] in [-1, 1], "label", "label_mask" [rows, labels]}.

        The size is the stage's; rows are batch * critic_steps, of which critic step k takes k, k + critic_steps, ...

        Returns:
          Running means; `real_score` and `fake_score` are critic values, alpha is the weight of the old path.

        Raises:
          ValueError: the rows are not critic_steps batches of equal size.
        """
        images = data["image"]
        self.check_critic_batches(images.shape[0])
        alpha = self._next_alpha()
        condition = self.condition(data["label"], data["label_mask"])
        step = self._joint_step if self.config.update_order == "joint" else self._alternating_steps
        values = step(self._real_images(images, alpha), condition, alpha)
        self.update_average(self._generator_weights())
        self.step.assign_add(1)
        facts = {"image_size": tf.constant(float(images.shape[1])), "alpha": tf.convert_to_tensor(alpha)}
        return self.record_means(values | facts)

    # what fine-tuning does otherwise, see `transfer`

    def _real_images(self, images: tf.Tensor, alpha: Alpha) -> tf.Tensor:
        """What the critic is shown of real images [rows, size, size, 1 or channels] in [-1, 1]."""
        images = with_channels(self._inside(images), self.config.channels)
        if self.config.blends_real and self.stage.is_fading:
            images = alpha * repeat_pixels(average_pixels(images)) + (1.0 - alpha) * images
        return images

    def _fake_images(self, z: tf.Tensor, condition: tf.Tensor, alpha: Alpha) -> tf.Tensor:
        """What the critic is shown of generated images."""
        return self.generator((z, condition), size=self.stage.image_size, alpha=alpha)

    def _generator_weights(self) -> list:
        return self.generator.weights_of(self.stage.image_size, self.stage.is_fading)

    def _critic_weights(self) -> list:
        return self.discriminator.weights_of(self.stage.image_size, self.stage.is_fading)

    def _joint_step(self, real: tf.Tensor, condition: tf.Tensor, alpha: Alpha) -> dict[str, tf.Tensor]:
        """Both networks' gradients from the same fakes and in one pass.

        The generator's loss is the negative of the critic's part of it, so one gradient of the critic's loss holds
        both: as it is for the critic, with its sign turned for the generator.
        """
        generator_weights, critic_weights = self._generator_weights(), self._critic_weights()
        z = self.normal([real.shape[0], self.config.latent_size], stream=0)
        weights = [*generator_weights, *critic_weights]
        gradients, penalty_gradients, values = self._critic_gradients(weights, real, z, condition, alpha, stream=1)
        split = len(generator_weights)
        critic_gradients = add_gradients(gradients[split:], penalty_gradients)
        self.apply_gradients(self.discriminator, critic_gradients, critic_weights)
        self.apply_gradients(self.generator, [-gradient for gradient in gradients[:split]], generator_weights)
        return values | {"generator_adversarial": -values["fake_score"]}

    def _alternating_steps(self, real: tf.Tensor, condition: tf.Tensor, alpha: Alpha) -> dict[str, tf.Tensor]:
        """`critic_steps` of the critic, then one of the generator on fresh fakes."""
        config, steps = self.config, self.config.critic_steps
        rows = real.shape[0] // steps
        z = self.normal([rows * (steps + 1), config.latent_size], stream=0)
        parts = [
            self._critic_step(real[k::steps], condition[k::steps], z[k :: steps + 1], alpha, stream=1 + k)
            for k in range(steps)
        ]
        means = {name: sum(part[name] for part in parts) / steps for name in parts[0]}
        adversarial = self._generator_step(z[steps :: steps + 1], condition[steps - 1 :: steps], alpha)
        return means | {"generator_adversarial": adversarial}

    def _critic_step(
        self, real: tf.Tensor, condition: tf.Tensor, z: tf.Tensor, alpha: Alpha, stream: int
    ) -> dict[str, tf.Tensor]:
        weights = self._critic_weights()
        gradients, penalty_gradients, values = self._critic_gradients(weights, real, z, condition, alpha, stream)
        self.apply_gradients(self.discriminator, add_gradients(gradients, penalty_gradients), weights)
        return values

    def _generator_step(self, z: tf.Tensor, condition: tf.Tensor, alpha: Alpha) -> tf.Tensor:
        weights = self._generator_weights()
        with weight_tape(weights) as tape:
            fake = self._fake_images(z, condition, alpha)
            adversarial = wasserstein_generator_loss(self.discriminator((fake, condition), alpha=alpha))
        self.apply_gradients(self.generator, tape.gradient(adversarial, weights), weights)
        return adversarial

    def _critic_gradients(
        self, weights: list, real: tf.Tensor, z: tf.Tensor, condition: tf.Tensor, alpha: Alpha, stream: int
    ) -> tuple[list[tf.Tensor], list[tf.Tensor | None], dict[str, tf.Tensor]]:
        """Gradients of the critic's loss by `weights`, those of its penalty by the critic's weights, and the values.

        The penalty is on a tape of its own, after the losses' gradients: what those keep is gone by then.
        """
        with weight_tape(weights) as tape:
            fake = self._fake_images(z, condition, alpha)
            total, values = self._critic_loss(real, fake, condition, alpha)
        gradients = tape.gradient(total, weights)
        with tf.control_dependencies(gradients):  # so that two computations do not hold their memory at once
            real, fake = tf.identity(real), tf.identity(fake)
        critic_weights = self._critic_weights()
        uniform = self.uniform([real.shape[0], 1], stream)
        with weight_tape(critic_weights) as tape:
            critic = lambda image: self.discriminator((image, condition), alpha=alpha)  # noqa: E731
            penalty = gradient_penalty(critic, real, fake, uniform)
            total = self.config.penalty_weight * penalty
        return gradients, tape.gradient(total, critic_weights), values | {"gradient_penalty": penalty}

    def _critic_loss(
        self, real: tf.Tensor, fake: tf.Tensor, condition: tf.Tensor, alpha: Alpha
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The critic's loss without its penalty, and its parts; updates the typical minibatch stddev."""
        fake_values = self.discriminator((fake, condition), alpha=alpha)
        real_map = self.discriminator.map_of(real, alpha)
        real_values = self.discriminator.values(real_map, condition)
        adversarial = wasserstein_discriminator_loss(real_values, fake_values)
        drift = drift_penalty(real_values)
        if self.config.minibatch_stddev:
            deviation = tf.stop_gradient(self.discriminator.batch_deviation(real_map))
            update_typical_deviation(self.state["deviation"], deviation, self.step.value)
        return adversarial + self.config.drift_weight * drift, {
            "discriminator_adversarial": adversarial,
            "drift": drift,
            "real_score": tf.reduce_mean(real_values),
            "fake_score": tf.reduce_mean(fake_values),
        }

    def _next_alpha(self) -> Alpha:
        """Weight of the old path in this step: falls from 1 to 0 over a fading stage; 0.0 itself in others."""
        if not self.stage.is_fading:
            return 0.0
        first, end = self.stage.first_step, self.stage.end_step
        alpha = 1.0 - tf.cast(self.step.value - first, tf.float32) / float(end - first)
        alpha = tf.clip_by_value(alpha, 0.0, 1.0)
        self.state["alpha"].assign(alpha)
        return alpha

    def _inside(self, image: tf.Tensor) -> tf.Tensor:
        return 0.5 * (image + 1.0) if self.config.value_range == "0..1" else image

    def _outside(self, image: tf.Tensor) -> tf.Tensor:
        return 2.0 * image - 1.0 if self.config.value_range == "0..1" else image

    def _blending(self) -> Alpha:
        return 0.0 if float(self._now("alpha")) == 0 else self.state["alpha"].value

    def _now(self, name: str) -> Any:
        """The value of a state variable also while a graph is traced."""
        with tf.init_scope():
            return self.state[name].numpy()


def check_is_grown(run: StoredRun) -> None:
    """Raises ValueError where a run of a PGGAN has not grown to the size of its images."""
    size = int(run.weights["state/size"])
    if size != run.settings["image_size"]:
        raise ValueError(
            f"{run.name} has grown to {size} of {run.settings['image_size']} px only; train it to its end first"
        )
