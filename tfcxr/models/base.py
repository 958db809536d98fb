"""What all models share: two networks with their optimizers, an averaged generator, seeded noise, one training step.

`AdversarialModel` is a `keras.Model` that holds `generator`, `discriminator` and, with `ema_decay` > 0,
`ema_generator`. `GAN` is one that generates images from z and a label. A new model subclasses either, names its
configuration and networks, and writes its own `train_step`; what others must know of it (see `kind`,
`prepare_settings`, `progress_text` and the configuration's methods) it says by overriding.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import keras
import tensorflow as tf
from absl import logging

from tfcxr.data.conditions import UNKNOWN
from tfcxr.layers.label_condition import label_condition
from tfcxr.losses.penalties import is_due, lazy_gradients, r1_penalty
from tfcxr.models.averaging import rate_by_images, rate_by_steps
from tfcxr.models.learning_rate_decay import remaining_share
from tfcxr.models.model_config import AdversarialConfig, GANConfig, Stage
from tfcxr.models.pretrained import ReadRun, StoredRun, changed_discriminator_settings, load_networks, settings_from
from tfcxr.optimizers import FusedAdam
from tfcxr.precision import precision_scope

MOVING_STATISTICS = ("moving_mean", "moving_variance")  # names of batch normalization's variables


class AdversarialModel(keras.Model, abc.ABC):
    """Base of all models; see the module's first lines.

    Networks, optimizers and metrics are built at construction, so construct it inside the strategy's scope.
    All noise is drawn statelessly from (seed, step, stream) for the whole batch, and each replica takes its rows:
    one and two replicas see the same noise, and a resumed run continues with it.

    Attributes:
      step: generator steps so far.
      state: what `make_state` made.
      stage: what `begin_stage` was told last.
    """

    config_class: ClassVar[type[AdversarialConfig]] = AdversarialConfig
    generator_class: ClassVar[Callable[[Any, int], keras.Model]]  # of the configuration and the seed of the weights
    discriminator_class: ClassVar[Callable[[Any, int], keras.Model]]
    metric_names: ClassVar[tuple[str, ...]] = ()
    # metric -> its word on the progress bar; metrics without one are written to metrics.jsonl alone
    bar_names: ClassVar[dict[str, str]] = {
        "discriminator_adversarial": "D",
        "discriminator_loss": "D",
        "generator_adversarial": "G",
        "generator_loss": "G",
        "discriminator_class": "D class",
        "generator_class": "G class",
        "r1": "R1",
        "gradient_penalty": "GP",
        "pixel_error": "pixel",
        "content": "content",
        "augmentation_probability": "ADA p",
    }
    # how it is watched, exported and measured
    kind: ClassVar[Literal["generator", "super_resolution"]] = "generator"

    def __init__(self, config: AdversarialConfig, seed: int = 0) -> None:
        super().__init__()
        self.config: Any = config  # of the class of `config_class`
        self.seed = seed
        with precision_scope(config.precision):
            self.generator = self._built_generator("generator")
            self.discriminator = self.make_discriminator()
            if not self.discriminator.built:
                self.discriminator(self.discriminator_inputs())
            self.ema_generator = self._built_generator("ema_generator") if config.ema_decay else None
        if self.ema_generator is not None:
            self.ema_generator.trainable = False
            for average, weight in zip(self.ema_generator.variables, self.generator.variables, strict=True):
                average.assign(weight)
        self.generator_optimizer = self._built_optimizer(config.generator_learning_rate, self.generator)
        self.discriminator_optimizer = self._built_optimizer(config.discriminator_learning_rate, self.discriminator)
        self.step = self.generator_optimizer.iterations
        self.state = self.make_state()
        self.stage = Stage(config.image_size, 0, 0, 0)
        self._means = {name: keras.metrics.Mean(name=name) for name in self.metric_names}
        for mean in self._means.values():
            mean.update_state(0.0)
            mean.reset_state()
        self.compile(optimizer=None, jit_compile=False)
        self.built = True

    def make_generator(self) -> keras.Model:
        """The network that makes images in [-1, 1]."""
        return self.generator_class(self.config, self.seed)

    def make_discriminator(self) -> keras.Model:
        """The network that scores images in [-1, 1]."""
        return self.discriminator_class(self.config, self.seed + 1)

    @abc.abstractmethod
    def generator_inputs(self) -> Any:
        """Zeros of batch 1 that the generator is built with."""

    @abc.abstractmethod
    def discriminator_inputs(self) -> Any:
        """Zeros of batch 1 that the discriminator is built with."""

    def make_state(self) -> dict[str, keras.Variable]:
        """Further variables that training changes, by name; made once at construction."""
        return {}

    def ema_rate(self) -> tf.Tensor:
        """How far the averaged generator moves towards the trained one in this step, a float32 scalar in (0, 1]."""
        return self._ema_rate(steps=self.step.value, earlier_steps=self.step.value - 1)

    @property
    def ema_half_life(self) -> float:
        """Images after which half of the averaged generator is newer; 0 where the average has a decay per step."""
        return self.config.ema_half_life

    @property
    def images_per_step(self) -> int:
        """Real images that a training step takes, over all replicas and all steps of the critic."""
        assert self.stage.batch_size, "begin_stage comes before the first step"
        return self.stage.batch_size * self.config.batches_per_step

    @classmethod
    def prepare_settings(cls, settings: dict[str, Any], read_run: ReadRun) -> dict[str, Any]:
        """The settings of a new training, with those filled in that the run of `pretrained` or another network decides.

        Raises:
          FileNotFoundError: no such run folder, or no checkpoint in it.
          ValueError: a run of another model, or a setting that its networks do not have.
        """
        if not settings.get("pretrained"):
            return settings
        return settings_from(read_run(settings["pretrained"]), cls.config_class, settings)

    def load_initial_weights(self, run: StoredRun) -> None:
        """Puts the networks of the run of `pretrained` into a fresh model; optimizers and steps stay new.

        Raises:
          ValueError: weights that do not fit.
        """
        goes_on = self.continued_discriminator(run)
        if goes_on is None:
            logging.info("the discriminator starts anew: that of %s had other settings", run.name)
        load_networks(self.networks | {"discriminator": goes_on}, run)

    def continued_discriminator(self, run: StoredRun) -> keras.Model | None:
        """The network that goes on from the run's discriminator, None where that has other settings."""
        return None if changed_discriminator_settings(run, self.config) else self.discriminator

    def begin_stage(self, stage: Stage, is_new: bool = True) -> None:
        """Prepares for steps of a stage; `is_new` is False where a resumed run is in the middle of it."""
        self.stage = stage

    def learning_rates(self) -> tuple[float, float]:
        """Of generator and discriminator in this stage, before they fall at the end of the training."""
        if self.stage.learning_rate is not None:
            return self.stage.learning_rate, self.stage.learning_rate
        return self.config.generator_learning_rate, self.config.discriminator_learning_rate

    def decay_learning_rates(self, steps: int, end_step: int) -> dict[str, float]:
        """Sets both optimizers' rates for the next step, where `decay_last` lets them fall.

        Args:
          steps: finished so far.
          end_step: steps of the whole training.

        Returns:
          "learning_rate" of the generator, to be logged; {} where the rates stay.
        """
        config = self.config
        if not config.decay_last:
            return {}
        share = remaining_share(steps, end_step, config.decay_last, config.final_learning_rate_share)
        of_generator, of_discriminator = self.learning_rates()
        self.generator_optimizer.learning_rate = share * of_generator
        self.discriminator_optimizer.learning_rate = share * of_discriminator
        return {"learning_rate": share * of_generator}

    def notes(self) -> list[str]:
        """What a user should know of its networks before the first step."""
        return []

    def progress_text(self) -> str:
        """What the progress bar says before its numbers."""
        return "training"

    @property
    def current_size(self) -> int:
        """Pixels of the images that the generator makes now; less than `image_size` while a model grows."""
        return self.config.image_size

    def sampling_state(self) -> list[Any]:
        """Further variables that sampling and scoring read; they are exported with the weights."""
        return []

    def frozen_parts(self) -> list[Any]:
        """Objects of TensorFlow with fixed weights that scoring reads; exported, and in no checkpoint."""
        return []

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self._means.values())

    def call(self, inputs: Any) -> tf.Tensor:
        """Images by the generator that is exported."""
        return self.sampling_generator(inputs, training=False)

    @property
    def networks(self) -> dict[str, keras.Model | None]:
        """All networks by name; None for an average that is not kept."""
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "ema_generator": self.ema_generator,
        }

    @property
    def sampling_generator(self) -> keras.Model:
        """The averaged generator, or the trained one where no average is kept."""
        return self.generator if self.ema_generator is None else self.ema_generator

    def discriminator_features(self, image: tf.Tensor, network: keras.Model | None = None) -> tf.Tensor:
        """What the discriminator's last layer reads, float32 [batch, features]; each image stands for itself.

        Args:
          image: float32 [batch, image_size, image_size, 1 or channels] in [-1, 1].
          network: a discriminator of the same layers and other weights; the model's own where None.

        Raises:
          ValueError: the discriminator gives no features; a model whose does overrides this.
        """
        raise ValueError(
            f"the discriminator of a {type(self).__name__} gives no features of an image, so its last layer cannot be "
            "replaced; give the run folder of a pggan or stylegan2"
        )

    def checkpoint_variables(self) -> dict[str, Any]:
        """Everything that training changes, by a name that does not depend on the process."""
        owners = ("generator", "discriminator", "ema_generator", "generator_optimizer", "discriminator_optimizer")
        variables = {name: getattr(self, name).variables for name in owners if getattr(self, name) is not None}
        named = numbered(variables) | {f"state/{name}": variable for name, variable in self.state.items()}
        for name, mean in self._means.items():
            named |= {f"metrics/{name}/{index}": variable for index, variable in enumerate(mean.variables)}
        return named

    def normal(self, shape: list[int], stream: int) -> tf.Tensor:
        """This replica's rows of float32 N(0, 1) noise; `shape` begins with the replica's batch."""
        return self._replica_rows(tf.random.stateless_normal, shape, stream)

    def uniform(self, shape: list[int], stream: int) -> tf.Tensor:
        """This replica's rows of float32 noise in [0, 1); `shape` begins with the replica's batch."""
        return self._replica_rows(tf.random.stateless_uniform, shape, stream)

    def apply_gradients(
        self, network: keras.Model, gradients: list[tf.Tensor], variables: list[Any] | None = None
    ) -> None:
        """One step of a network's optimizer with gradients of a mean over this replica's rows, averaged over replicas.

        Args:
          network: the generator or the discriminator.
          gradients: one for each variable.
          variables: of the network; None is all trainable ones.
        """
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if replicas > 1:  # the optimizer sums over replicas
            gradients = [gradient / replicas for gradient in gradients]
        optimizer = self.generator_optimizer if network is self.generator else self.discriminator_optimizer
        variables = network.trainable_variables if variables is None else variables
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    def update_average(self, moved: list[Any] | None = None) -> None:
        """Moves the averaged generator towards the trained one.

        The moving statistics of batch normalization are averaged with the weights: those of one step are of the last
        dozen batches alone. Other variables are copied.

        `moved`: the generator's variables that take part, all where None.
        """
        if self.ema_generator is None:
            return
        rate = self.ema_rate()
        averaged = {id(variable) for variable in self.generator.trainable_variables}
        averaged |= {id(variable) for variable in self.generator.variables if variable.name in MOVING_STATISTICS}
        chosen = {id(variable) for variable in moved or ()}
        pairs = [
            (average.value, weight.value, rate if id(weight) in averaged else 1.0)
            for average, weight in zip(self.ema_generator.variables, self.generator.variables, strict=True)
            if moved is None or id(weight) in chosen
        ]
        tf.__internal__.distribute.interim.maybe_merge_call(_move_averages, tf.distribute.get_strategy(), pairs)

    def record_means(self, values: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Adds a step's values to the running means and returns the means."""
        for name, value in values.items():
            self._means[name].update_state(value)
        return {name: mean.result() for name, mean in self._means.items()}

    def _ema_rate(self, steps: tf.Tensor, earlier_steps: tf.Tensor) -> tf.Tensor:
        """By the half-life where there is one, counted from `earlier_steps`, else by the decay, from `steps`."""
        if self.ema_half_life:
            return rate_by_images(self.ema_half_life, self.images_per_step, tf.cast(earlier_steps, tf.float32))
        return rate_by_steps(self.config.ema_decay, tf.cast(steps, tf.float32))

    def _replica_rows(self, draw: Any, shape: list[int], stream: int) -> tf.Tensor:
        replica_context = tf.distribute.get_replica_context()
        rows = shape[0]
        noise = draw(
            [rows * replica_context.num_replicas_in_sync, *shape[1:]],
            seed=tf.stack([tf.constant(self.seed * 64 + stream, tf.int64), tf.cast(self.step.value, tf.int64)]),
        )
        start = tf.cast(replica_context.replica_id_in_sync_group, tf.int32) * rows
        return tf.slice(noise, [start] + [0] * (len(shape) - 1), shape)

    def _built_generator(self, name: str) -> keras.Model:
        network = self.make_generator()
        network.name = name
        if not network.built:
            network(self.generator_inputs())
        return network

    def _built_optimizer(self, learning_rate: float, network: keras.Model) -> keras.optimizers.Optimizer:
        optimizer = FusedAdam(learning_rate, self.config.beta_1, self.config.beta_2, epsilon=self.config.epsilon)
        optimizer.build(network.trainable_variables)
        return optimizer


class GAN(AdversarialModel):
    """Base of the models that generate images from z and a label: `generator((z, condition))`."""

    config_class: ClassVar[type[GANConfig]] = GANConfig

    def generator_inputs(self) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.zeros([1, self.config.latent_size]), tf.zeros([1, self.config.label_width])

    def discriminator_inputs(self) -> Any:
        """Zeros of (image, condition); a discriminator that is told no label overrides it."""
        size = self.config.image_size
        return tf.zeros([1, size, size, self.config.channels]), tf.zeros([1, self.config.label_width])

    @property
    def discriminator_reads_label(self) -> bool:
        """Whether the discriminator scores an image together with its label."""
        return self.config.conditional

    @property
    def discriminator_predicts_labels(self) -> bool:
        """Whether the discriminator predicts the labels of an image."""
        return False

    def score(
        self, image: tf.Tensor, label: tf.Tensor, label_mask: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """What the discriminator says of images, as it is exported.

        Args:
          image: float32 [batch, image_size, image_size, channels] in [-1, 1].
          label: float32 [batch, labels], read where `discriminator_reads_label`.
          label_mask: float32 [batch, labels], 1 where the label is known; all are known where None.

        Returns:
          realism logits, or critic values of a Wasserstein loss, which have no zero of their own; float32 [batch, 1].
          label logits float32 [batch, labels] where `discriminator_predicts_labels`, else None.
        """
        return self.discriminator((image, self.condition(label, label_mask))), None

    def condition(self, label: tf.Tensor, label_mask: tf.Tensor | None = None) -> tf.Tensor:
        """What the networks are told of labels float32 [batch, labels]; all are known where there is no mask.

        An unconditional model is told nothing, float32 [batch, 0], also where the data have labels. Columns behind the
        labels are conditions, from 0 to 1, which become -1 to 1; where they are left out they are unknown, which is 0.
        """
        if not self.config.conditional:
            return label[:, :0]
        if columns := len(self.config.condition_columns):
            label = full_label(label, self.config.label_width)
            labels, values = tf.split(label, [self.config.label_count, columns], axis=1)
            told = label_condition(labels, label_mask, self.config.is_single_label)
            return tf.concat([told, 2.0 * values - 1.0], axis=1)
        return label_condition(label, label_mask, self.config.is_single_label)

    def generate_from_latent(self, z: tf.Tensor, label: tf.Tensor, truncation: tf.Tensor | float = 1.0) -> tf.Tensor:
        """Images float32 [batch, image_size, image_size, channels] in [-1, 1] by the generator that is exported.

        Args:
          z: float32 [batch, latent_size].
          label: float32 [batch, labels].
          truncation: one number, or float32 [batch, 1]; below 1 the images are less varied. It scales z here; a model
            may do otherwise.
        """
        image = self.sampling_generator((z * truncation, self.condition(label)), training=False)
        return tf.clip_by_value(tf.cast(image, tf.float32), -1.0, 1.0)

    def generate(self, seed: tf.Tensor, label: tf.Tensor, truncation: tf.Tensor | float = 1.0) -> tf.Tensor:
        """Images of seeds, int64 [batch]; a seed and a label give the same image in any batch."""
        return self.generate_from_latent(latents_from_seeds(seed, self.config.latent_size), label, truncation)

    def balanced_labels(self, rows: int, stream: int) -> tf.Tensor:
        """Exclusive labels float32 [rows, labels], one-hot, each as likely as the others."""
        count = self.config.label_count
        return tf.one_hot(tf.cast(self.uniform([rows, 1], stream)[:, 0] * count, tf.int32), count)

    def lazy_r1(
        self, realism: Callable[[tf.Tensor], tf.Tensor], real: tf.Tensor, gamma: float, interval: int
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """R1 at real images every `interval` steps: its value, and the gradients of gamma * interval * R1.

        `realism` maps images to logits [batch, 1]; the gradients are by the discriminator's trainable variables. Both
        are 0 in other steps, and always where gamma is 0.
        """
        return lazy_gradients(
            is_due(self.step.value, interval, gamma),
            lambda: r1_penalty(realism, real),
            self.discriminator.trainable_variables,
            scale=gamma * interval,
            name="r1",
        )

    def check_critic_batches(self, rows: int) -> None:
        """Checks the rows of a training step.

        Raises:
          ValueError: they are not one batch of equal size for each step of the critic.
        """
        steps = self.config.batches_per_step
        if rows % steps:
            raise ValueError(
                f"a training step takes critic_steps={steps} batches of equal size, got {rows} images; "
                f"give a multiple of {steps}"
            )


def full_label(label: tf.Tensor, width: int) -> tf.Tensor:
    """float32 [batch, width] of labels [batch, width or fewer]: conditions that are left out are unknown."""
    missing = width - tf.shape(label)[1]
    return tf.ensure_shape(tf.pad(label, [[0, 0], [0, missing]], constant_values=UNKNOWN), [label.shape[0], width])


def latents_from_seeds(seed: tf.Tensor, latent_size: int) -> tf.Tensor:
    """float32 z ~ N(0, 1) [batch, latent_size] of int64 seeds [batch], each row from its own seed alone."""
    draw = lambda row: tf.random.stateless_normal([latent_size], tf.stack([row, tf.zeros_like(row)]))  # noqa: E731
    return tf.map_fn(draw, tf.cast(seed, tf.int64), fn_output_signature=tf.TensorSpec([latent_size], tf.float32))


def numbered(variables: dict[str, list[Any]]) -> dict[str, Any]:
    """Variables by "owner/number" with the owner's name, the same in every process."""
    return {f"{owner}/{index:03d}": item for owner, items in variables.items() for index, item in enumerate(items)}


def probability_means(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> dict[str, tf.Tensor]:
    """The metrics "real_score" and "fake_score": mean sigmoid of the realism logits, float32 scalars in [0, 1]."""
    logits = {"real_score": real_logits, "fake_score": fake_logits}
    return {name: tf.reduce_mean(tf.sigmoid(value)) for name, value in logits.items()}


def _move_averages(strategy: tf.distribute.Strategy, pairs: list[tuple[tf.Variable, tf.Variable, Any]]) -> None:
    def move(average: tf.Variable, weight: tf.Tensor, rate: Any) -> None:
        tf.raw_ops.ResourceApplyGradientDescent(
            var=average.handle, alpha=tf.cast(rate, average.dtype), delta=average - weight
        )

    for average, weight, rate in pairs:
        strategy.extended.update(average, move, args=(weight, rate), group=False)
