"""What all GANs share: networks with their optimizers, an averaged generator, seeded noise, one training step.

A GAN is a `keras.Model` that holds `generator`, `discriminator` and, with `ema_decay` > 0, `ema_generator`. A family
subclasses `GAN`, makes its networks in `make_generator` and `make_discriminator`, and writes its own `train_step`.
"""

import abc
import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import keras
import numpy as np
import tensorflow as tf

from tfcxr.optimizers import FusedAdam
from tfcxr.precision import precision_scope


@dataclasses.dataclass(frozen=True)
class GANConfig:
    """Settings that every GAN has.

    Attributes:
      image_size: pixels, a power of two. channels: 1 grey, 3 where a published model needs them.
      label_count: labels of the data set, 0 for an unconditional model. is_single_label: they exclude each other.
      latent_size: length of z.
      ema_decay: of the averaged generator a step; 0 keeps none. Shortened at the start to (1 + step) / (10 + step).
      precision: "mixed_bfloat16" computes in bfloat16 and keeps weights in float32.
    """

    image_size: int = 64
    channels: int = 1
    label_count: int = 2
    is_single_label: bool = True
    latent_size: int = 100
    generator_learning_rate: float = 2e-4
    discriminator_learning_rate: float = 2e-4
    beta_1: float = 0.5
    beta_2: float = 0.999
    ema_decay: float = 0.999
    precision: Literal["float32", "mixed_bfloat16"] = "float32"

    def __post_init__(self) -> None:
        if self.image_size < 32 or self.image_size & (self.image_size - 1):
            raise ValueError(f"image_size must be a power of two from 32, got {self.image_size}")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3, got {self.channels}")
        if self.latent_size < 1 or self.label_count < 0:
            raise ValueError(
                f"expected latent_size >= 1 and label_count >= 0, got {self.latent_size}, {self.label_count}"
            )
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be in [0, 1), got {self.ema_decay}")


class GAN(keras.Model, abc.ABC):
    """Base of the GANs; see the module's first lines.

    Networks, optimizers and metrics are built at construction, so construct it inside the strategy's scope.
    All noise is drawn statelessly from (seed, step, stream) for the whole batch, and each replica takes its rows:
    one and two replicas see the same noise, and a resumed run continues with it.
    """

    config_class: ClassVar[type[GANConfig]] = GANConfig
    metric_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: GANConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.seed = seed
        with precision_scope(config.precision):
            self.generator = self._built_generator("generator")
            self.discriminator = self.make_discriminator()
            self.discriminator(tf.zeros([1, config.image_size, config.image_size, config.channels]))
            self.ema_generator = self._built_generator("ema_generator") if config.ema_decay else None
        if self.ema_generator is not None:
            self.ema_generator.trainable = False
            for average, weight in zip(self.ema_generator.variables, self.generator.variables, strict=True):
                average.assign(weight)
        self.generator_optimizer = self._built_optimizer(config.generator_learning_rate, self.generator)
        self.discriminator_optimizer = self._built_optimizer(config.discriminator_learning_rate, self.discriminator)
        self.step = self.generator_optimizer.iterations
        self._means = {name: keras.metrics.Mean(name=name) for name in self.metric_names}
        for mean in self._means.values():
            mean.update_state(0.0)
            mean.reset_state()
        self.compile(optimizer=None, jit_compile=False)
        self.built = True

    @abc.abstractmethod
    def make_generator(self) -> keras.Model:
        """The network float32 z [batch, latent_size], label [batch, label_count] -> images in [-1, 1]."""

    @abc.abstractmethod
    def make_discriminator(self) -> keras.Model:
        """The network float32 images in [-1, 1] -> (realism logits [batch, 1], label logits [batch, label_count])."""

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self._means.values())

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Images of (z, label) by the generator that is exported."""
        return self.sampling_generator(inputs, training=False)

    @property
    def sampling_generator(self) -> keras.Model:
        """The averaged generator, or the trained one where no average is kept."""
        return self.generator if self.ema_generator is None else self.ema_generator

    def generate(self, seed: tf.Tensor, label: tf.Tensor, truncation: tf.Tensor | float = 1.0) -> tf.Tensor:
        """Draws images; a seed and label give the same picture in any batch.

        Args:
          seed: int64 [batch]. label: float32 [batch, label_count]. truncation: scales z; below 1 is less varied.

        Returns:
          float32 [batch, image_size, image_size, channels] in [-1, 1].
        """
        z = latents_from_seeds(seed, self.config.latent_size) * truncation
        return tf.cast(self.sampling_generator((z, label), training=False), tf.float32)

    def checkpoint_variables(self) -> dict[str, Any]:
        """Everything that training changes, by a name that does not depend on the process."""
        owners = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "ema_generator": self.ema_generator,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }
        named = {
            f"{owner_name}/{index:03d}": variable
            for owner_name, owner in owners.items()
            if owner is not None
            for index, variable in enumerate(owner.variables)
        }
        for name, mean in self._means.items():
            named |= {f"metrics/{name}/{index}": variable for index, variable in enumerate(mean.variables)}
        return named

    def normal(self, shape: list[int], stream: int) -> tf.Tensor:
        """This replica's rows of float32 N(0, 1) noise; `shape` begins with the replica's batch."""
        return self._replica_rows(tf.random.stateless_normal, shape, stream)

    def uniform(self, shape: list[int], stream: int) -> tf.Tensor:
        """This replica's rows of float32 noise in [0, 1); `shape` begins with the replica's batch."""
        return self._replica_rows(tf.random.stateless_uniform, shape, stream)

    def apply_gradients(self, optimizer: keras.optimizers.Optimizer, gradients: list[tf.Tensor], network: keras.Model):
        """One optimizer step with gradients of a mean over this replica's rows; replicas are averaged."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if replicas > 1:  # the optimizer sums over replicas
            gradients = [gradient / replicas for gradient in gradients]
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))

    def update_average(self) -> None:
        """Moves the averaged generator towards the trained one; other variables (moving statistics) are copied."""
        if self.ema_generator is None:
            return
        step = tf.cast(self.step.value, tf.float32)
        rate = 1.0 - tf.minimum(self.config.ema_decay, (1.0 + step) / (10.0 + step))
        is_trained = {id(variable) for variable in self.generator.trainable_variables}
        pairs = [
            (average.value, weight.value, rate if id(weight) in is_trained else 1.0)
            for average, weight in zip(self.ema_generator.variables, self.generator.variables, strict=True)
        ]
        tf.__internal__.distribute.interim.maybe_merge_call(_move_averages, tf.distribute.get_strategy(), pairs)

    def record_means(self, values: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Adds a step's values to the running means and returns the means."""
        for name, value in values.items():
            self._means[name].update_state(value)
        return {name: mean.result() for name, mean in self._means.items()}

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
        network((tf.zeros([1, self.config.latent_size]), tf.zeros([1, self.config.label_count])))
        return network

    def _built_optimizer(self, learning_rate: float, network: keras.Model) -> keras.optimizers.Optimizer:
        optimizer = FusedAdam(learning_rate, self.config.beta_1, self.config.beta_2, epsilon=1e-7)
        optimizer.build(network.trainable_variables)
        return optimizer


def latents_from_seeds(seed: tf.Tensor, latent_size: int) -> tf.Tensor:
    """float32 z ~ N(0, 1) [batch, latent_size] of int64 seeds [batch], each row from its own seed alone."""
    draw = lambda row: tf.random.stateless_normal([latent_size], tf.stack([row, tf.zeros_like(row)]))  # noqa: E731
    return tf.map_fn(draw, tf.cast(seed, tf.int64), fn_output_signature=tf.TensorSpec([latent_size], tf.float32))


def initializer_seeds(seed: int) -> Iterator[int]:
    """An endless row of different seeds for weight initializers."""
    generator = np.random.default_rng(seed)
    while True:
        yield int(generator.integers(2**31))


def _move_averages(strategy: tf.distribute.Strategy, pairs: list[tuple[tf.Variable, tf.Variable, Any]]) -> None:
    def move(average: tf.Variable, weight: tf.Tensor, rate: Any) -> None:
        tf.raw_ops.ResourceApplyGradientDescent(
            var=average.handle, alpha=tf.cast(rate, average.dtype), delta=average - weight
        )

    for average, weight, rate in pairs:
        strategy.extended.update(average, move, args=(weight, rate), group=False)
