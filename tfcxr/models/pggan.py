"""PGGAN: Karras et al. 2018, "Progressive Growing of GANs", and Segal et al. 2021, who grew it on radiographs to 1024.

Training goes from 4 px up. At each size a new block fades in, then trains on at full strength; `PGGANConfig.stages` is
that schedule, counted in images, and `tfcxr.train` follows it in one run.
"""

import dataclasses
import math
from typing import Any, Literal

import keras
import tensorflow as tf

from tfcxr.layers.resample import average_pixels, repeat_pixels
from tfcxr.losses.adversarial import discriminator_loss, generator_loss
from tfcxr.losses.penalties import drift_penalty, gradient_penalty
from tfcxr.models.base import GAN, GANConfig, Stage
from tfcxr.models.pggan_networks import BASE_SIZE, LONE_DEVIATION, Architecture, Discriminator, Generator

DEVIATION_RATE = 0.01  # how far the typical minibatch deviation moves in a step
LARGEST_SIZE = 1024


@dataclasses.dataclass(frozen=True)
class PGGANConfig(GANConfig):
    """Settings of PGGAN; the defaults are those of Segal et al. 2021 but for grey images and `update_order`.

    Attributes:
      dialect: "segal" or "karras", see `models.pggan_networks`. value_range: of the images inside, "auto" is the
        dialect's.
      channel_base, channel_max: channels are channel_base / size in pixels, at most channel_max. filters: channels at
        4 px, 8 px ... image_size instead.
      leaky_slope, upsampling, normalizes_generator, normalizes_discriminator, is_equalized, has_minibatch_deviation,
        output_activation: of the networks. critic_outputs: 1; others are for ported weights.
      penalty_weight: of the gradient penalty. drift_weight: of the critic's squared values on real images.
      critic_steps: of the critic before each step of the generator.
      update_order: "joint" takes both networks' gradients from one and the same batch of fakes before either moves;
        "alternating" moves the critic first and then draws fresh fakes, as published, at more cost.
      first_size: pixels that training begins with. stage_images: images at each size from there on; one number holds
        for all. fading_share: of them while the new block fades in, from the second size on. batch_sizes: images a
        step at each size, instead of one number for all. learning_rates: at each size, instead of
        `generator_learning_rate` for all.
      resets_optimizers: Adam starts anew when a block is added, as in the programs of both Karras et al. and Segal et
        al., whose optimizers are made anew at each size.
      average_growth: "copied" starts the averaged generator's new block as a copy of the trained one's; "fresh" from
        weights of its own, as published by Segal et al.
      blends_real: real images fade in likewise, from half their size (Karras et al., appendix B); None is auto: only in
        dialect "karras".
      recomputes_blocks: keeps less for the gradient and computes it again (gradient checkpointing), but in the penalty,
        which is differentiated twice.
    """

    image_size: int = 64
    label_count: int = 0
    latent_size: int = 512
    conditional: bool = False
    generator_learning_rate: float = 1e-3
    discriminator_learning_rate: float = 1e-3
    beta_1: float = 0.0
    beta_2: float = 0.99
    dialect: Literal["segal", "karras"] = "segal"
    value_range: Literal["auto", "0..1", "-1..1"] = "auto"
    channel_base: int = 16384
    channel_max: int = 512
    filters: tuple[int, ...] = ()
    leaky_slope: float = 0.2
    upsampling: Literal["nearest", "bilinear"] = "nearest"
    normalizes_generator: bool = True
    normalizes_discriminator: bool = False
    is_equalized: bool = True
    has_minibatch_deviation: bool = True
    critic_outputs: int = 1
    output_activation: Literal["linear", "tanh"] = "linear"
    penalty_weight: float = 10.0
    drift_weight: float = 1e-3
    critic_steps: int = 1
    update_order: Literal["joint", "alternating"] = "joint"
    first_size: int = BASE_SIZE
    stage_images: tuple[int, ...] = (1_600_000,)
    fading_share: float = 0.5
    batch_sizes: tuple[int, ...] = ()
    learning_rates: tuple[float, ...] = ()
    resets_optimizers: bool = True
    average_growth: Literal["copied", "fresh"] = "copied"
    blends_real: bool | None = None
    recomputes_blocks: bool = False

    smallest_size = BASE_SIZE

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_size > LARGEST_SIZE:
            raise ValueError(f"pggan makes images of {BASE_SIZE} to {LARGEST_SIZE} px, got {self.image_size}")
        if self.value_range == "auto":
            object.__setattr__(self, "value_range", "0..1" if self.dialect == "segal" else "-1..1")
        if self.blends_real is None:
            object.__setattr__(self, "blends_real", self.dialect == "karras")
        sizes = _sizes(BASE_SIZE, self.image_size)
        if not self.filters:
            filters = tuple(max(1, min(self.channel_max, self.channel_base // size)) for size in sizes)
            object.__setattr__(self, "filters", filters)
        if len(self.filters) != len(sizes) or min(self.filters) < 1:
            raise ValueError(
                f"filters needs a number of channels for each of {', '.join(map(str, sizes))} px, got {self.filters}"
            )
        if self.first_size not in sizes:
            raise ValueError(f"first_size must be a power of two from 4 to image_size, got {self.first_size}")
        stage_count = len(_sizes(self.first_size, self.image_size))
        for name in ("stage_images", "batch_sizes", "learning_rates"):
            values = getattr(self, name)
            if (len(values) not in (1, stage_count) and (values or name == "stage_images")) or min(
                values, default=1
            ) <= 0:
                raise ValueError(
                    f"{name} needs one positive number, or one for each size from {self.first_size} to "
                    f"{self.image_size} px ({stage_count}), got {values}"
                )
        if not 0 <= self.fading_share < 1:
            raise ValueError(f"fading_share must be in [0, 1), got {self.fading_share}")
        if self.critic_steps < 1 or self.critic_outputs < 1:
            raise ValueError(
                f"critic_steps and critic_outputs must be at least 1, got {self.critic_steps}, {self.critic_outputs}"
            )
        if self.critic_steps > 1 and self.update_order == "joint":
            raise ValueError(f"update_order='joint' needs critic_steps=1, got {self.critic_steps}; use 'alternating'")
        if self.penalty_weight < 0 or self.drift_weight < 0:
            raise ValueError(
                f"penalty_weight and drift_weight must not be negative, got {self.penalty_weight}, {self.drift_weight}"
            )

    def for_inference(self) -> "PGGANConfig":
        return dataclasses.replace(self, precision="float32", recomputes_blocks=False)

    @property
    def batches_per_step(self) -> int:
        return self.critic_steps

    @property
    def architecture(self) -> Architecture:
        """What the networks are made of."""
        fields = dataclasses.fields(Architecture)
        return Architecture(**{field.name: getattr(self, field.name) for field in fields})

    def stages(self, batch_size: int, steps: int | None = None) -> tuple[Stage, ...]:
        """The schedule: each size from `first_size` on, fading and then stable; `steps` cuts or prolongs its end.

        Images are rounded up to whole steps. A size that comes to have no fading has the stable stage alone.
        """
        stages: list[Stage] = []
        sizes = _sizes(self.first_size, self.image_size)
        for index, size in enumerate(sizes):
            images = _at(self.stage_images, index)
            batch = _at(self.batch_sizes, index) if self.batch_sizes else batch_size
            rate = _at(self.learning_rates, index) if self.learning_rates else None
            fading = images * self.fading_share if index else 0.0
            for is_fading, count in ((True, fading), (False, images - fading)):
                first = stages[-1].end_step if stages else 0
                if count:
                    stages.append(Stage(size, batch, first, first + math.ceil(count / batch), is_fading, rate))
        if steps is None:
            return tuple(stages)
        stages = [stage for stage in stages if stage.first_step < steps]
        last = stages[-1]
        if last.image_size == self.image_size and not last.is_fading:
            return *stages[:-1], dataclasses.replace(last, end_step=steps)
        return *stages[:-1], dataclasses.replace(last, end_step=min(steps, last.end_step))


class PGGAN(GAN):
    """Progressive GAN with WGAN-GP; one training step moves the critic `critic_steps` times and the generator once."""

    config_class = PGGANConfig
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
            others = Generator(config.architecture, seed + 2)
            for index, block in enumerate(others.blocks):
                own = [self.ema_generator.blocks[index], self.ema_generator.to_image[index + 1]]
                for average, fresh in zip(own, [block, others.to_image[index + 1]], strict=True):
                    for variable, value in zip(average.variables, fresh.variables, strict=True):
                        variable.assign(value)

    def make_generator(self) -> keras.Model:
        return Generator(self.config.architecture, self.seed)

    def make_discriminator(self) -> keras.Model:
        return Discriminator(self.config.architecture, self.seed + 1)

    def make_state(self) -> dict[str, keras.Variable]:
        """Steps; pixels of the images now; weight of the old path; minibatch deviation of real images."""
        deviation = LONE_DEVIATION[self.config.dialect]
        return {
            "step": keras.Variable(0, trainable=False, dtype="int64", aggregation="only_first_replica", name="step"),
            "size": keras.Variable(self.config.image_size, trainable=False, dtype="int64", name="size"),
            "alpha": keras.Variable(0.0, trainable=False, aggregation="mean", name="alpha"),
            "deviation": keras.Variable(deviation, trainable=False, aggregation="mean", name="deviation"),
        }

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
        config = self.config
        for optimizer, rate in (
            (self.generator_optimizer, config.generator_learning_rate),
            (self.discriminator_optimizer, config.discriminator_learning_rate),
        ):
            if is_new and stage.is_fading and config.resets_optimizers:
                for variable in optimizer.variables:
                    variable.assign(tf.zeros(variable.shape, variable.dtype))
            optimizer.learning_rate = rate if stage.learning_rate is None else stage.learning_rate

    def judge(self, image: tf.Tensor, label: tf.Tensor, label_mask: tf.Tensor | None = None) -> tuple[tf.Tensor, None]:
        """Critic values float32 [batch, 1], without a zero of their own; each image is judged for itself."""
        while image.shape[1] > self.current_size:
            image = average_pixels(image)
        condition = self.condition(label, label_mask)
        deviation = self.state["deviation"].value
        inputs = self._inside(image), condition
        return self.discriminator(inputs, alpha=self._blending(), deviation=deviation)[:, :1], None

    def decode(self, z: tf.Tensor, label: tf.Tensor, truncation: tf.Tensor | float = 1.0) -> tf.Tensor:
        """Images of z and label by the averaged generator, float32 [batch, size, size, channels] in [-1, 1].

        `truncation` below 1 cuts z off at twice its value on either side: the network normalizes z, so that a mere
        scale has no effect. While the model grows, the images of the current size are enlarged by repeated pixels.
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
        config, steps = self.config, self.config.critic_steps
        images = self._inside(data["image"])
        if images.shape[0] % steps:
            raise ValueError(
                f"a training step takes critic_steps={steps} batches of equal size, got {images.shape[0]} images; "
                f"give a multiple of {steps}"
            )
        if images.shape[-1] != config.channels:
            images = tf.repeat(images, config.channels, axis=-1)
        alpha = self._next_alpha()
        if config.blends_real and self.stage.is_fading:
            images = alpha * repeat_pixels(average_pixels(images)) + (1.0 - alpha) * images
        condition = self.condition(data["label"], data["label_mask"])
        step = self._joint_step if config.update_order == "joint" else self._alternating_steps
        values = step(images, condition, alpha)
        self.update_average(self.generator.weights_of(images.shape[1], self.stage.is_fading))
        self.step.assign_add(1)
        facts = {"image_size": tf.constant(float(images.shape[1])), "alpha": tf.convert_to_tensor(alpha)}
        return self.record_means(values | facts)

    def _joint_step(self, real: tf.Tensor, condition: tf.Tensor, alpha: tf.Tensor | float) -> dict[str, tf.Tensor]:
        """Both networks' gradients from the same fakes and in one pass.

        The generator's loss is the negative of the critic's part of it, so one gradient of the critic's loss holds
        both: as it is for the critic, with its sign turned for the generator.
        """
        config, size = self.config, real.shape[1]
        generator_weights = self.generator.weights_of(size, self.stage.is_fading)
        critic_weights = self.discriminator.weights_of(size, self.stage.is_fading)
        z = self.normal([real.shape[0], config.latent_size], stream=0)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([weight.value for weight in [*generator_weights, *critic_weights]])
            fake = self.generator((z, condition), size=size, alpha=alpha)
            total, values = self._critic_loss(real, fake, condition, alpha)
        gradients = tape.gradient(total, [weight.value for weight in [*generator_weights, *critic_weights]])
        penalty, penalty_gradients = self._penalty_gradients(real, fake, condition, alpha, stream=1)

        split = len(generator_weights)
        generator_gradients = [-gradient for gradient in gradients[:split]]
        critic_gradients = _added(gradients[split:], penalty_gradients)
        self.apply_gradients(self.discriminator_optimizer, critic_gradients, self.discriminator, critic_weights)
        self.apply_gradients(self.generator_optimizer, generator_gradients, self.generator, generator_weights)
        return values | {"gradient_penalty": penalty, "generator_adversarial": -values["fake_score"]}

    def _alternating_steps(
        self, real: tf.Tensor, condition: tf.Tensor, alpha: tf.Tensor | float
    ) -> dict[str, tf.Tensor]:
        """`critic_steps` of the critic, then one of the generator on fresh fakes."""
        config, steps = self.config, self.config.critic_steps
        rows = real.shape[0] // steps
        z = self.normal([rows * (steps + 1), config.latent_size], stream=0)
        sums: dict[str, tf.Tensor] = {}
        for index in range(steps):
            part, told = real[index::steps], condition[index::steps]
            values = self._critic_step(part, told, z[index :: steps + 1], alpha, stream=1 + index)
            sums = {name: sums.get(name, 0.0) + value for name, value in values.items()}
        means = {name: value / steps for name, value in sums.items()}
        told = condition[steps - 1 :: steps]
        return means | {"generator_adversarial": self._generator_step(z[steps :: steps + 1], told, alpha)}

    def _critic_step(
        self, real: tf.Tensor, condition: tf.Tensor, z: tf.Tensor, alpha: tf.Tensor | float, stream: int
    ) -> dict[str, tf.Tensor]:
        fake = self.generator((z, condition), size=real.shape[1], alpha=alpha)
        weights = self.discriminator.weights_of(real.shape[1], self.stage.is_fading)
        with tf.GradientTape() as tape:
            total, values = self._critic_loss(real, fake, condition, alpha)
        gradients = tape.gradient(total, weights)
        penalty, penalty_gradients = self._penalty_gradients(real, fake, condition, alpha, stream)
        gradients = _added(gradients, penalty_gradients)
        self.apply_gradients(self.discriminator_optimizer, gradients, self.discriminator, weights)
        return values | {"gradient_penalty": penalty}

    def _generator_step(self, z: tf.Tensor, condition: tf.Tensor, alpha: tf.Tensor | float) -> tf.Tensor:
        weights = self.generator.weights_of(self.stage.image_size, self.stage.is_fading)
        with tf.GradientTape() as tape:
            fake = self.generator((z, condition), size=self.stage.image_size, alpha=alpha)
            values = self.discriminator((fake, condition), alpha=alpha, recomputes=self.config.recomputes_blocks)
            adversarial = generator_loss("wasserstein", values)
        self.apply_gradients(self.generator_optimizer, tape.gradient(adversarial, weights), self.generator, weights)
        return adversarial

    def _critic_loss(
        self, real: tf.Tensor, fake: tf.Tensor, condition: tf.Tensor, alpha: tf.Tensor | float
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The critic's loss without its penalty, and its parts; notes how much the real images differ."""
        recomputes = self.config.recomputes_blocks
        fake_values = self.discriminator((fake, condition), alpha=alpha, recomputes=recomputes)
        real_map = self.discriminator.map_of(real, alpha, recomputes)
        real_values = self.discriminator.values(real_map, condition)
        adversarial = discriminator_loss("wasserstein", real_values, fake_values)
        drift = drift_penalty(real_values)
        if self.config.has_minibatch_deviation:
            typical = self.state["deviation"]
            deviation = tf.stop_gradient(self.discriminator.batch_deviation(real_map))
            rate = tf.maximum(DEVIATION_RATE, 1.0 / tf.cast(self.step.value + 1, tf.float32))
            typical.assign(typical.value + rate * (deviation - typical.value))
        return adversarial + self.config.drift_weight * drift, {
            "discriminator_adversarial": adversarial,
            "drift": drift,
            "real_score": tf.reduce_mean(real_values),
            "fake_score": tf.reduce_mean(fake_values),
        }

    def _penalty_gradients(
        self, real: tf.Tensor, fake: tf.Tensor, condition: tf.Tensor, alpha: tf.Tensor | float, stream: int
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """On a tape of its own: what the losses keep for their gradient is gone by then."""
        weights = self.discriminator.weights_of(real.shape[1], self.stage.is_fading)
        uniform = self.uniform([real.shape[0], 1], stream)
        with tf.GradientTape() as tape:
            penalty = gradient_penalty(
                lambda image: self.discriminator((image, condition), alpha=alpha), real, fake, uniform
            )
            total = self.config.penalty_weight * penalty
        return penalty, tape.gradient(total, weights)

    def _next_alpha(self) -> tf.Tensor | float:
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

    def _blending(self) -> tf.Tensor | float:
        return 0.0 if float(self._now("alpha")) == 0 else self.state["alpha"].value

    def _now(self, name: str) -> Any:
        """The value of a state variable also while a graph is traced."""
        with tf.init_scope():
            return self.state[name].numpy()


def _sizes(first: int, last: int) -> list[int]:
    return [1 << power for power in range(first.bit_length() - 1, last.bit_length())]


def _at(values: tuple, index: int) -> Any:
    return values[0] if len(values) == 1 else values[index]


def _added(gradients: list[tf.Tensor], others: list[tf.Tensor | None]) -> list[tf.Tensor]:
    """The penalty does not depend on the last bias."""
    return [mine if other is None else mine + other for mine, other in zip(gradients, others, strict=True)]
