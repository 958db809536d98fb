"""How every classifier is trained: epochs until validation gets no better, and the best epoch's weights are kept."""

import dataclasses
import pathlib
import time
from collections.abc import Callable
from typing import Literal

import keras
import numpy as np
import tensorflow as tf
from absl import logging
from tqdm import tqdm

from tfcxr.config import check_range
from tfcxr.data.pipeline import from_pixels
from tfcxr.data.stored_images import Images, read_batches
from tfcxr.evaluation.extractors.epoch_selection import EpochSelection
from tfcxr.evaluation.extractors.training_batches import Scale, training_batches, unchanged
from tfcxr.evaluation.labelled_images import LabelledImages
from tfcxr.evaluation.scores import mean_auc
from tfcxr.losses.classification import class_loss

PREDICTION_BATCH = 256  # images predicted at once, at most
PREDICTION_PIXELS = 2**21  # of them: from 91 px on, batches are smaller, so that activations do not fill the memory
PLATEAU_FACTOR = 10.0  # Segal et al. 2021


@dataclasses.dataclass(frozen=True)
class FittingConfig:
    """How any classifier is trained.

    Attributes:
      input_size: pixels to which images are resized inside the network, antialiased; 0 takes them as they are.
      learning_rate: of the optimizer.
      batch_size: images per step.
      max_epochs: at most.
      patience: training ends this many epochs after the best one.
      validation_fraction: share of the training images kept for validation where no validation split is given.
      augmentation: "small" turns, shifts and exposure changes (`tfcxr.data.augment`), or those of a study
        (`tfcxr.data.published_augmentation`).
      balance_classes: "weights" gives rare labels more weight, so that positives and negatives count alike. Segal et
        al.'s w_P = (Np + Nn) / Np and w_N = (Np + Nn) / Nn are twice these, and Adam's steps do not depend on a factor.
      selects_by: validation value by which the best epoch is chosen, "loss" or macro "auc".
      schedule: "cosine" lets the rate fall to 0 at `max_epochs`; "plateau" divides it by 10 where the validation value
        gets no better for `plateau_patience` epochs.
      plateau_patience: in epochs.
    """

    input_size: int = 0
    learning_rate: float = 1e-3
    batch_size: int = 32
    max_epochs: int = 20
    patience: int = 4
    validation_fraction: float = 0.1
    augmentation: Literal["none", "small", "segal2021", "chetty2023"] = "none"
    balance_classes: Literal["none", "weights"] = "none"
    selects_by: Literal["loss", "auc"] = "loss"
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    plateau_patience: int = 3

    def __post_init__(self) -> None:
        check_range(self, "batch_size", "max_epochs", "patience", "plateau_patience", "learning_rate", above=0)
        check_range(self, "validation_fraction", minimum=0, below=1)
        check_range(self, "input_size", minimum=0)

    def rate(self, steps_per_epoch: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
        """What an optimizer is made with."""
        if self.schedule != "cosine":
            return self.learning_rate
        return keras.optimizers.schedules.CosineDecay(self.learning_rate, self.max_epochs * steps_per_epoch)


@dataclasses.dataclass(frozen=True)
class Fit:
    """What a training was like.

    Attributes:
      curves: "loss", "validation_loss" and, where it decides, "validation_auc"; one value per epoch.
      best_epoch: whose weights were kept, counted from 1.
      seconds: that it took.
    """

    curves: dict[str, list[float]]
    best_epoch: int
    seconds: float


def fit_classifier(
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    training: LabelledImages,
    validation: LabelledImages,
    is_single_label: bool,
    config: FittingConfig,
    seed: int,
    description: str,
    scale: Scale = unchanged,
    steps_per_epoch: int | None = None,
    progress_file: pathlib.Path | None = None,
) -> Fit:
    """Trains with a progress bar and leaves the best epoch's weights in the network.

    The training images are shuffled anew each time all were seen, by `seed`; those that fill no batch are left out.

    Args:
      network: scaled images -> logits float32 [batch, labels].
      optimizer: built for the network's trainable variables.
      is_single_label: exclusive labels, softmax; else a sigmoid for each.
      description: for the progress bar and messages.
      scale: images in [-1, 1] -> what the network takes.
      steps_per_epoch: after how many steps validation follows; None is once all images were seen.
      progress_file: is written after each epoch; where it is there, the training goes on after that epoch.

    Raises:
      ValueError: no label that can be learned, no known label of the validation images, or none with both sides where
        the AUC decides; a damaged `progress_file`, or a loss that is not finite.
    """
    if not _has_both_sides(training.labels):
        raise ValueError("no label is known to be in some training images and not in others, so nothing can be learned")
    if np.isnan(validation.labels).all():
        raise ValueError("no label of the validation images is known, so training cannot tell when to end")
    if config.selects_by == "auc" and not _has_both_sides(validation.labels):
        raise ValueError(
            "no label is known to be in some validation images and not in others, so that no AUC can choose the best "
            "epoch; give other validation images, or set selects_by=loss"
        )
    weights = _label_weights(training.labels, is_single_label, config.balance_classes)
    loss_of = _cross_entropy(is_single_label, weights)
    batch_size = min(config.batch_size, len(training.images))
    steps = steps_per_epoch or len(training.images) // batch_size
    selection = EpochSelection(config.patience, config.plateau_patience, config.selects_by == "auc")
    if progress_file is not None and progress_file.is_file():
        selection.restore(progress_file, network, optimizer)
        logging.info("%s: resuming after epoch %d", description, selection.epochs)
    variables = network.trainable_variables
    values = [variable.value for variable in variables]

    @tf.function(autograph=False, jit_compile=False)
    def train_step(image: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:  # keeps nothing for a frozen trunk
            tape.watch(values)
            total = loss_of(label, network(image, training=True))
        optimizer.apply_gradients(zip(tape.gradient(total, values), variables, strict=True))
        return total

    predict = _predictor(network, scale, config.input_size)
    batches = iter(training_batches(training, batch_size, scale, seed, config.augmentation, selection.epochs * steps))
    done, before = selection.epochs * steps, selection.seconds
    started = time.monotonic()
    with tqdm(total=config.max_epochs * steps, initial=done, desc=description, unit="step", leave=False) as bar:
        while selection.epochs < config.max_epochs and not selection.is_over:
            found = []
            for _ in range(steps):
                found.append(train_step(*next(batches)))
                bar.update()
            losses = np.array(tf.stack(found))  # once per epoch: each read waits for the device
            if not np.isfinite(losses).all():
                first = int(np.flatnonzero(~np.isfinite(losses))[0])
                raise ValueError(
                    f"{description}: the loss is {losses[first]} at step {selection.epochs * steps + first + 1}; lower "
                    "learning_rate"
                )
            logits = predict(validation.images)
            curves = {"loss": float(np.mean(losses))}
            curves["validation_loss"] = float(loss_of(tf.constant(validation.labels), tf.constant(logits)))
            if config.selects_by == "auc":
                names = range(logits.shape[1])
                curves["validation_auc"] = mean_auc(names, is_single_label, validation.labels, logits)
            value = list(curves.values())[-1]
            selection.add(value, curves, network)
            selection.seconds = before + time.monotonic() - started
            if config.schedule == "plateau" and selection.lowers_rate():
                optimizer.learning_rate = float(optimizer.learning_rate) / PLATEAU_FACTOR
            if progress_file is not None:
                selection.save(progress_file, network, optimizer)
            bar.set_postfix(epoch=selection.epochs, loss=f"{curves['loss']:.3f}", validation=f"{value:.3f}")
    network.set_weights(selection.best_weights)
    return Fit(selection.curves, selection.best_epoch, selection.seconds)


def quick_momentum(momentum: float, steps_per_epoch: int) -> float:
    """The momentum of batch normalisation, lowered where an epoch has few steps.

    Statistics then forget nine tenths of what they were within the first epoch, before validation uses them.
    """
    return min(momentum, 0.1 ** (1 / steps_per_epoch))


def prediction_batch(image_size: int) -> int:
    """How many images are predicted at once."""
    return max(1, min(PREDICTION_BATCH, PREDICTION_PIXELS // image_size**2))


def _predictor(network: keras.Model, scale: Scale, input_size: int) -> Callable[[Images], np.ndarray]:
    """Stored images -> logits float32 [images, labels], traced once."""
    graph = tf.function(
        lambda pixels: network(scale(from_pixels(pixels)), training=False), autograph=False, reduce_retracing=True
    )

    def predict(images: Images) -> np.ndarray:
        batches = read_batches(images, prediction_batch(max(images.shape[1], input_size)))
        return np.concatenate([graph(tf.constant(batch)) for batch in batches])

    return predict


def _has_both_sides(labels: np.ndarray) -> bool:
    """Whether a label is known to be in some images and not in others."""
    return bool(((labels == 1).any(axis=0) & (labels == 0).any(axis=0)).any())


def _label_weights(labels: np.ndarray, is_single_label: bool, balance: str) -> np.ndarray:
    """Weights float32 [2, labels] of an absent and a present label; 1 where a side does not occur."""
    weights = np.ones([2, labels.shape[1]], np.float32)
    if balance == "weights":
        counts = np.stack([(labels == 0).sum(0), (labels == 1).sum(0)])
        shares = labels.shape[1] if is_single_label else 2
        np.divide(counts.sum(0), shares * counts, out=weights, where=counts > 0, casting="same_kind")
    return weights


def _cross_entropy(is_single_label: bool, weights: np.ndarray) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Weighted mean cross-entropy over known labels, of labels with NaN where unknown and of logits."""

    def loss(label: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        is_known = tf.logical_not(tf.math.is_nan(label))
        known = tf.cast(is_known, logits.dtype)
        return class_loss(is_single_label, logits, tf.where(is_known, label, 0.0), known, weights)

    return loss
