"""How every classifier is trained: epochs until validation gets no better, and the best epoch's weights are kept."""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfcxr.config import check_range
from tfcxr.data.pipeline import from_pixels
from tfcxr.data.stored_images import read_batches
from tfcxr.evaluation.labelled_images import Images, LabelledImages
from tfcxr.losses.classification import class_loss

PREDICTION_BATCH = 256  # images predicted at once, at most
PREDICTION_PIXELS = 2**21  # of them: from 91 px on, batches are smaller, so that activations do not fill the memory
PARALLEL_READS = 4  # batches that are decoded at once


@dataclasses.dataclass(frozen=True)
class FittingConfig:
    """How any classifier is trained.

    Attributes:
      learning_rate: of Adam.
      batch_size: images per step.
      max_epochs: at most.
      patience: training ends this many epochs after the best validation loss.
      validation_fraction: share of the training images kept for validation where no validation split is given.
      augmentation: small turns, shifts and exposure changes of the training images (`tfcxr.data.augment`).
      balance_classes: "weights" gives rare labels more weight, so that positives and negatives count alike.
    """

    learning_rate: float = 1e-3
    batch_size: int = 32
    max_epochs: int = 20
    patience: int = 4
    validation_fraction: float = 0.1
    augmentation: bool = False
    balance_classes: Literal["none", "weights"] = "none"

    def __post_init__(self) -> None:
        check_range(self, "batch_size", "max_epochs", "patience", "learning_rate", above=0)
        check_range(self, "validation_fraction", minimum=0, below=1)


@dataclasses.dataclass(frozen=True)
class Fit:
    """What a training was like.

    Attributes:
      curves: "loss" and "validation_loss", one value per epoch.
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
    scale: Callable[[tf.Tensor], tf.Tensor] = from_pixels,
    steps_per_epoch: int | None = None,
) -> Fit:
    """Trains with a progress bar and leaves the best epoch's weights in the network.

    The training images are shuffled anew each epoch, by `seed`; those that fill no batch are left out of that epoch.

    Args:
      network: scaled images -> logits float32 [batch, labels].
      optimizer: built for the network's trainable variables.
      is_single_label: exclusive labels, softmax; else a sigmoid for each.
      description: for the progress bar and messages.
      scale: stored pixels -> what the network takes.
      steps_per_epoch: after how many steps validation follows; None is once all images were seen.

    Raises:
      ValueError: no label that can be learned, no known label of the validation images, or a loss that is not finite.
    """
    started = time.monotonic()
    if not ((training.labels == 1).any(axis=0) & (training.labels == 0).any(axis=0)).any():
        raise ValueError("no label is known to be in some training images and not in others, so nothing can be learned")
    if np.isnan(validation.labels).all():
        raise ValueError("no label of the validation images is known, so training cannot tell when to end")
    weights = _label_weights(training.labels, is_single_label, config.balance_classes)
    network.compile(optimizer=optimizer, loss=_cross_entropy(is_single_label, weights), jit_compile=False)
    batch_size = min(config.batch_size, len(training.images))
    steps = steps_per_epoch or len(training.images) // batch_size
    batches = _batches(training, batch_size, scale, seed, config.augmentation)
    history = network.fit(
        batches.repeat() if steps_per_epoch else batches,
        steps_per_epoch=steps_per_epoch,
        validation_data=_batches(validation, prediction_batch(validation.images.shape[1]), scale),
        epochs=config.max_epochs,
        verbose=0,
        shuffle=False,  # the data set shuffles itself
        callbacks=[
            keras.callbacks.EarlyStopping(patience=config.patience, restore_best_weights=True),
            _Progress(description, config.max_epochs * steps),
        ],
    ).history
    return Fit(
        curves={"loss": history["loss"], "validation_loss": history["val_loss"]},
        best_epoch=int(np.argmin(history["val_loss"])) + 1,
        seconds=time.monotonic() - started,
    )


def predict_logits(network: keras.Model, images: Images, scale: Callable[[tf.Tensor], tf.Tensor]) -> np.ndarray:
    """Logits float32 [images, labels] of stored images."""
    predict = tf.function(lambda pixels: network(scale(pixels), training=False), autograph=False, reduce_retracing=True)
    batches = read_batches(images, prediction_batch(images.shape[1]))
    return np.concatenate([predict(tf.constant(batch)) for batch in batches])


def quick_momentum(momentum: float, steps_per_epoch: int) -> float:
    """The momentum of batch normalisation, lowered where an epoch has few steps.

    Statistics then forget nine tenths of what they were within the first epoch, before validation uses them.
    """
    return min(momentum, 0.1 ** (1 / steps_per_epoch))


def prediction_batch(image_size: int) -> int:
    """How many images are predicted at once."""
    return max(1, min(PREDICTION_BATCH, PREDICTION_PIXELS // image_size**2))


def _batches(
    data: LabelledImages,
    batch_size: int,
    scale: Callable[[tf.Tensor], tf.Tensor],
    seed: int | None = None,
    augment: bool = False,
) -> tf.data.Dataset:
    """Batches of (scaled image, label): in order, or with a seed shuffled anew each epoch, whole batches only."""
    images, labels = data.images, tf.constant(data.labels)

    def read(chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.numpy_function(images.__getitem__, [chosen], tf.as_dtype(images.dtype))
        return tf.ensure_shape(pixels, [*chosen.shape, *images.shape[1:]]), tf.gather(labels, chosen)

    positions = tf.data.Dataset.range(len(images))
    if seed is not None:
        positions = positions.shuffle(len(images), seed=seed, reshuffle_each_iteration=True)
    batches = positions.batch(batch_size, drop_remainder=seed is not None)
    batches = batches.map(read, num_parallel_calls=PARALLEL_READS, deterministic=True)
    batches = batches.map(lambda pixels, label: (scale(pixels), label))
    if augment:
        from tfcxr.data.augment import make_augmentation  # here, because importing keras-cv takes seconds

        change = make_augmentation(seed or 0)
        batches = batches.map(lambda image, label: (change(image), label))
    return batches.prefetch(2)


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


class _Progress(keras.callbacks.Callback):
    """A bar with losses and time left (at most: training may stop early), and an end at a loss that is not finite."""

    def __init__(self, description: str, steps: int) -> None:
        super().__init__()
        self.bar = tqdm(total=steps, desc=description, unit="step", leave=False)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not math.isfinite(logs["loss"]):
            self.bar.close()
            raise ValueError(
                f"{self.bar.desc}: the loss is {logs['loss']} at step {self.bar.n + 1}; lower learning_rate"
            )
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.bar.set_postfix(epoch=epoch + 1, loss=f"{logs['loss']:.3f}", validation=f"{logs['val_loss']:.3f}")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.bar.close()
