"""A GAN's discriminator as a classifier: its last layer replaced by one logit per label, trained end to end.

Segal et al. 2021 use the discriminator of their PGGAN so, beside a DenseNet, to optimise latents towards a class.
Images are not resized for it. Learning rate and the rest are printed for the DenseNet alone, and taken over.
"""

import dataclasses
from typing import Literal

import keras
import tensorflow as tf

from tfcxr.evaluation.extractors.fitting import FittingConfig
from tfcxr.models.base import AdversarialModel
from tfcxr.models.retrained_discriminator import RetrainedDiscriminator, RetrainingConfig


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig(FittingConfig):
    """How a discriminator is trained as a classifier; ours to choose, beside what is printed for the DenseNet.

    Attributes:
      trains: "all_layers", or "last_layer" alone on features that stay as the discriminator's.
      precision: "mixed_bfloat16" computes the copied layers in bfloat16 and keeps weights in float32.
    """

    max_epochs: int = 60
    patience: int = 8
    augmentation: Literal["none", "small", "segal2021", "chetty2023"] = "segal2021"
    balance_classes: Literal["none", "weights"] = "weights"
    selects_by: Literal["loss", "auc"] = "auc"
    schedule: Literal["constant", "cosine", "plateau"] = "plateau"
    trains: Literal["all_layers", "last_layer"] = "all_layers"
    precision: Literal["float32", "mixed_bfloat16"] = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input_size:
            raise ValueError(
                f"input_size={self.input_size} does not fit a discriminator, which resizes nothing; leave it out"
            )


class DiscriminatorNetwork(keras.Model):
    """float32 images [batch, image_size, image_size, 1] in [-1, 1] -> logits float32 [batch, labels]."""

    def __init__(self, model: AdversarialModel, labels: int, config: DiscriminatorConfig) -> None:
        """Copies the discriminator; the model itself is never changed.

        Raises:
          ValueError: its discriminator gives no features.
        """
        super().__init__(autocast=False)
        retrained = RetrainedDiscriminator(model, labels, RetrainingConfig(config.trains, precision=config.precision))
        learns = {id(variable) for variable in retrained.trained_variables}
        for variable in retrained.trunk.variables:
            variable.trainable = id(variable) in learns
        self.trunk, self.last_layer = retrained.trunk, retrained.last_layer
        self.features_of = retrained.features
        self.built = True

    def call(self, image: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.classify(image)[1]

    def classify(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Images -> what the last layer reads, float32 [batch, features], and logits."""
        features = self.features_of(image)
        return features, self.last_layer(features)
