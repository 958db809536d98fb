"""The discriminator of a trained GAN put to another task: a copy of it whose last layer is replaced and trained.

    network = RetrainedDiscriminator(model, outputs=128)
    loss = network.train_step(images, lambda z: tf.reduce_mean(tf.square(z - target)))

Segal et al. 2021 use it twice: with z as the output to embed real images, and with labels as a second classifier. The
GAN's own weights are never touched. It works for every model that overrides `discriminator_features`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import tensorflow as tf

from tfcxr.config import check_range
from tfcxr.layers.equalized import ScaledDense
from tfcxr.models.base import AdversarialModel, numbered
from tfcxr.optimizers import FusedAdam
from tfcxr.precision import precision_scope


@dataclasses.dataclass(frozen=True)
class RetrainingConfig:
    """How a discriminator is retrained. Segal et al. 2021 print none of it: ours to choose.

    Attributes:
      trains: "all_layers", or "last_layer" alone on features that stay as the critic's.
      learning_rate: of Adam with its usual betas, .9 and .999.
      batch_size: images per step.
      precision: "mixed_bfloat16" computes the copied layers in bfloat16 and keeps weights in float32.
    """

    trains: Literal["all_layers", "last_layer"] = "all_layers"
    learning_rate: float = 3e-3
    batch_size: int = 32
    precision: Literal["float32", "mixed_bfloat16"] = "float32"

    def __post_init__(self) -> None:
        check_range(self, "learning_rate", "batch_size", above=0)


class RetrainedDiscriminator:
    """float32 images [batch, image_size, image_size, 1 or channels] in [-1, 1] -> float32 [batch, outputs].

    Attributes:
      trunk: the copied discriminator, of which everything below the decision is used.
      last_layer: the new one.
      trained_variables: what `train_step` moves.
      predict: images -> (outputs, features), as a graph that is traced once for each shape.
    """

    def __init__(self, model: AdversarialModel, outputs: int, config: RetrainingConfig | None = None) -> None:
        """The new layer's weights start at zero, from where it learns sooner than from noise.

        Raises:
          ValueError: the model's discriminator gives no features.
        """
        self._model = model
        config = config or RetrainingConfig()
        with precision_scope(config.precision):
            self.trunk = model.make_discriminator()
            if not self.trunk.built:
                self.trunk(model.discriminator_inputs())
        for copy, variable in zip(self.trunk.variables, model.discriminator.variables, strict=True):
            copy.assign(variable)
        with tf.GradientTape() as tape:
            size = model.config.image_size
            width = self.features(tf.zeros([1, size, size, model.config.channels])).shape[-1]
        self.last_layer = ScaledDense(width, outputs, seed=0, dtype="float32", name="last_layer")
        self.last_layer.kernel.assign(tf.zeros_like(self.last_layer.kernel))
        self.trained_variables = list(self.last_layer.trainable_variables)
        self._trains_trunk = config.trains == "all_layers"
        if self._trains_trunk:
            read = {id(variable) for variable in tape.watched_variables()}  # a growing model leaves some out
            self.trained_variables += [item for item in self.trunk.trainable_variables if id(item.value) in read]
        self._optimizer = FusedAdam(config.learning_rate)
        self._optimizer.build(self.trained_variables)
        self.predict = tf.function(self._predict, autograph=False)

    def __call__(self, image: tf.Tensor) -> tf.Tensor:
        return self._predict(image)[0]

    def features(self, image: tf.Tensor) -> tf.Tensor:
        """What the last layer reads, float32 [batch, features]."""
        return self._model.discriminator_features(image, self.trunk)

    def train_step(self, image: tf.Tensor, loss_of: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """One step of Adam on the loss of this batch's outputs, which is returned."""
        features = None if self._trains_trunk else self.features(image)  # no tape for layers that stay
        values = [variable.value for variable in self.trained_variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            loss = loss_of(self(image) if features is None else self.last_layer(features))
        self._optimizer.apply_gradients(zip(tape.gradient(loss, values), self.trained_variables, strict=True))
        return loss

    def checkpoint_variables(self) -> dict[str, Any]:
        """All weights by a name that does not depend on the process."""
        return numbered({"trunk": self.trunk.variables, "last_layer": self.last_layer.variables})

    def _predict(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features = self.features(image)
        return self.last_layer(features), features
