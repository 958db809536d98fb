"""The second classifier of Segal et al. 2021: the discriminator of a PGGAN, its last layer replaced by the labels.

    classifier = train_discriminator_classifier(model, images, labels, validation_images, validation_labels, True)
    probability, features = classifier.predict(test_images)

Training ends when the validation images' loss gets no better, and the best epoch's weights are kept.
"""

import dataclasses
import math

import numpy as np
import tensorflow as tf
from absl import logging
from tqdm import tqdm

from tfcxr.data.pipeline import to_unit_range
from tfcxr.metrics.classification import roc_auc
from tfcxr.models.pggan import PGGAN
from tfcxr.models.retrained_discriminator import RetrainedDiscriminator, RetrainingConfig, checked_pggan, label_loss

PREDICTION_BATCH = 128


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
        logits, features = _outputs(self.network, images)
        return _probability(logits, self.is_single_label), features


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
    stored_images, stored_labels = tf.constant(images), tf.constant(labels, tf.float32)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([batch_size], tf.int64)])
    def step_function(chosen: tf.Tensor) -> tf.Tensor:
        image, label = to_unit_range(tf.gather(stored_images, chosen)), tf.gather(stored_labels, chosen)
        return network.train_step(image, lambda logits: label_loss(logits, label, is_single_label))

    curves: dict[str, list[float]] = {"loss": [], "validation_loss": [], "validation_auc": []}
    steps = len(images) // batch_size
    best = _weights(network)
    with tqdm(total=config.max_epochs * steps, unit="step", desc="discriminator as classifier", leave=False) as bar:
        for epoch in range(config.max_epochs):
            order = np.random.default_rng([config.seed, epoch]).permutation(len(images))
            losses = []
            for step in range(steps):
                losses.append(float(step_function(order[step * batch_size : (step + 1) * batch_size])))
                if not math.isfinite(losses[-1]):
                    at = epoch * steps + step + 1
                    raise ValueError(f"the label loss is {losses[-1]} at step {at}; lower learning_rate")
                bar.update()
            logits, _ = _outputs(network, validation_images)
            curves["loss"].append(float(np.mean(losses)))
            curves["validation_loss"].append(float(label_loss(logits, validation_labels, is_single_label)))
            curves["validation_auc"].append(macro_auc(_probability(logits, is_single_label), validation_labels))
            bar.set_postfix({name: f"{values[-1]:.3f}" for name, values in curves.items()})
            best_epoch = int(np.argmin(curves["validation_loss"]))
            if best_epoch == epoch:
                best = _weights(network)
            elif epoch - best_epoch >= config.patience:
                break
    for variable, value in zip(network.checkpoint_variables().values(), best, strict=True):
        variable.assign(value)
    auc = curves["validation_auc"][best_epoch]
    logging.info("discriminator as classifier: best epoch %d, macro AUC of validation %.3f", best_epoch + 1, auc)
    return DiscriminatorClassifier(network, is_single_label, curves, best_epoch + 1, auc)


def macro_auc(probability: np.ndarray, labels: np.ndarray) -> float:
    """Mean area under the ROC curve over labels, each on the images where it is known.

    Args:
      probability, labels: float32 [images, labels]; labels NaN where unknown.

    Returns:
      NaN where no label has both positives and negatives; a label that lacks either is left out.
    """
    areas = []
    for score, label in zip(probability.T, labels.T, strict=True):
        is_known = ~np.isnan(label)
        areas.append(float(roc_auc(label[is_known] == 1, score[is_known])[0]))
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else math.nan


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


def _outputs(network: RetrainedDiscriminator, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits and features of stored images."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, *images.shape[1:]], images.dtype)])
    def judge(pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features = network.features(to_unit_range(pixels))
        return network.last_layer(features), features

    starts = range(0, len(images), PREDICTION_BATCH)
    parts = [judge(images[start : start + PREDICTION_BATCH]) for start in starts]
    logits, features = (np.concatenate([part.numpy() for part in column]) for column in zip(*parts, strict=True))
    return logits, features


def _probability(logits: np.ndarray, is_single_label: bool) -> np.ndarray:
    return (tf.nn.softmax(logits) if is_single_label else tf.sigmoid(logits)).numpy()


def _weights(network: RetrainedDiscriminator) -> list[np.ndarray]:
    return [np.asarray(variable).copy() for variable in network.checkpoint_variables().values()]
