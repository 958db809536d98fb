"""The second classifier of Segal et al. 2021: the discriminator of a PGGAN, its last layer replaced by the labels.

    classifier = train_discriminator_classifier(model, images, labels, validation_images, validation_labels, True)
    probability, features = classifier.predict(test_images)

Training ends when the validation images' loss gets no better, and the best epoch's weights are kept.
"""

import dataclasses

import numpy as np

from tfcxr.losses.classification import label_loss
from tfcxr.models.pggan import PGGAN
from tfcxr.models.pggan.retrained_discriminator import RetrainedDiscriminator, RetrainingConfig, checked_pggan
from tfcxr.training.label_fitting import FittingRules, LabelledImages, fit_labels, judge_images, label_probability


@dataclasses.dataclass(frozen=True)
class DiscriminatorClassifierConfig(RetrainingConfig):
    """How the classifier is trained; all ours to choose.

    Attributes:
      max_epochs, patience: training ends after `max_epochs`, or `patience` epochs after the best validation loss.
      seed: of the images' order.
    """

    max_epochs: int = 30
    patience: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("max_epochs", 1), ("patience", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"DiscriminatorClassifierConfig.{name} must be {least} or more, got {getattr(self, name)}"
                )


@dataclasses.dataclass(frozen=True)
class DiscriminatorClassifier:
    """A discriminator that names labels, with the weights of its best epoch.

    Attributes:
      network: images in [-1, 1] -> logits float32 [batch, labels]. is_single_label: softmax, else a sigmoid each.
      curves: "loss", "validation_loss" and "validation_auc", one value an epoch. best_epoch: counted from 1.
      macro_auc: on the validation images at the best epoch; NaN where no label has known positives and negatives.
    """

    network: RetrainedDiscriminator
    is_single_label: bool
    curves: dict[str, list[float]]
    best_epoch: int
    macro_auc: float

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Judges uint8 or uint16 images [images, size, size, 1].

        Returns:
          probabilities float32 [images, labels], and what the last layer reads, float32 [images, features].
        """
        logits, features = judge_images(self.network.predict, images)
        return label_probability(logits, self.is_single_label), features


def train_discriminator_classifier(
    model: PGGAN,
    images: np.ndarray,
    labels: np.ndarray,
    validation_images: np.ndarray,
    validation_labels: np.ndarray,
    is_single_label: bool,
    config: DiscriminatorClassifierConfig | None = None,
) -> DiscriminatorClassifier:
    """Trains with a progress bar; the same arguments give the same weights on one CPU.

    Args:
      images, validation_images: uint8 or uint16 [images, size, size, 1], of different patients.
      labels, validation_labels: float32 [images, labels], 1 present, 0 absent, NaN unknown, which counts nowhere.

    Raises:
      ValueError: the model is no PGGAN, images of another size than the model's, no training or validation image, no
        label, no known label on either side, or a loss that is not finite.
    """
    checked_pggan(model)
    config = config or DiscriminatorClassifierConfig()
    _check_data(model, images, labels, validation_images, validation_labels)
    network = RetrainedDiscriminator(model, labels.shape[1], config)
    batch_size = min(config.batch_size, len(images))
    rules = FittingRules(batch_size, config.max_epochs, config.patience, config.seed)
    curves, best_epoch, auc = fit_labels(
        "discriminator as classifier",
        lambda image, label: network.train_step(image, lambda logits: label_loss(logits, label, is_single_label)),
        network.predict,
        list(network.checkpoint_variables().values()),
        LabelledImages(images, labels),
        LabelledImages(validation_images, validation_labels),
        is_single_label,
        rules,
    )
    return DiscriminatorClassifier(network, is_single_label, curves, best_epoch, auc)


def _check_data(
    model: PGGAN, images: np.ndarray, labels: np.ndarray, validation_images: np.ndarray, validation_labels: np.ndarray
) -> None:
    size = model.config.image_size
    for name, pixels, values in (("training", images, labels), ("validation", validation_images, validation_labels)):
        if not len(pixels):
            raise ValueError(f"a classifier needs training and validation images, got no {name} image")
        if pixels.shape[1:3] != (size, size):
            raise ValueError(
                f"the model's images have {size}x{size} pixels, but those for {name} {pixels.shape[1]}x"
                f"{pixels.shape[2]}; use records of {size} px"
            )
        if not values.shape[1] or np.isnan(values).all():
            raise ValueError(f"a classifier needs labels, but no label of the {name} images is known")
