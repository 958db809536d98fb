"""What every classifier of ours is trained by: epochs until validation gets no better, and the best epoch's weights.

A judge stands for a network: images in [-1, 1] -> (logits float32 [batch, labels], features float32 [batch, width]). It
is a `tf.function` made once a network, and traced once for each image size.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging
from tqdm import tqdm

from tfcxr.data.pipeline import from_pixels
from tfcxr.losses.classification import label_loss
from tfcxr.metrics.classification import roc_auc

PREDICTION_BATCH = 128

Judge = tf.types.experimental.PolymorphicFunction


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """Stored images uint8 or uint16 [images, size, size, 1], and labels float32 [images, labels], NaN where unknown."""

    images: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class FittingRules:
    """When training ends: after `max_epochs`, or `patience` epochs after the best; `seed` is of the images' order."""

    batch_size: int
    max_epochs: int
    patience: int
    seed: int


def fit_labels(
    name: str,
    train_step: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    judge: Judge,
    variables: Sequence[Any],
    training: LabelledImages,
    validation: LabelledImages,
    is_single_label: bool,
    rules: FittingRules,
) -> tuple[dict[str, list[float]], int, float]:
    """Trains with a progress bar and leaves the best epoch's values in `variables`.

    Args:
      name: for the progress bar and the log. train_step: images in [-1, 1], labels -> loss; it moves the weights.
      variables: all that training changes.

    Returns:
      "loss", "validation_loss" and "validation_auc", one value an epoch; the best epoch, counted from 1; its macro AUC.

    Raises:
      ValueError: a loss that is not finite.
    """
    step_function = tf.function(train_step, autograph=False)
    curves: dict[str, list[float]] = {"loss": [], "validation_loss": [], "validation_auc": []}
    steps = len(training.images) // rules.batch_size
    best = _values(variables)
    with tqdm(total=rules.max_epochs * steps, unit="step", desc=name, leave=False) as bar:
        for epoch in range(rules.max_epochs):
            order = np.random.default_rng([rules.seed, epoch]).permutation(len(training.images))
            losses = []
            for step in range(steps):
                chosen = order[step * rules.batch_size :][: rules.batch_size]
                image, label = from_pixels(tf.constant(training.images[chosen])), tf.constant(training.labels[chosen])
                losses.append(float(step_function(image, label)))
                if not math.isfinite(losses[-1]):
                    at = epoch * steps + step + 1
                    raise ValueError(f"the label loss is {losses[-1]} at step {at}; lower learning_rate")
                bar.update()
            logits, _ = judge_images(judge, validation.images)
            auc = macro_auc(label_probability(logits, is_single_label), validation.labels)
            loss = float(label_loss(logits, validation.labels, is_single_label))
            for curve, value in zip(curves.values(), (float(np.mean(losses)), loss, auc), strict=True):
                curve.append(value)
            bar.set_postfix({name: f"{values[-1]:.3f}" for name, values in curves.items()})
            best_epoch = int(np.argmin(curves["validation_loss"]))
            if best_epoch == epoch:
                best = _values(variables)
            elif epoch - best_epoch >= rules.patience:
                break
    for variable, value in zip(variables, best, strict=True):
        variable.assign(value)
    auc = curves["validation_auc"][best_epoch]
    logging.info("%s: best epoch %d, macro AUC of validation %.3f", name, best_epoch + 1, auc)
    return curves, best_epoch + 1, auc


def judge_images(judge: Judge, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits float32 [images, labels] and features float32 [images, width] of stored images."""

    any_number = judge.get_concrete_function(tf.TensorSpec([None, *images.shape[1:]], tf.float32))  # traced if new
    starts = range(0, len(images), PREDICTION_BATCH)
    parts = [any_number(from_pixels(tf.constant(images[start : start + PREDICTION_BATCH]))) for start in starts]
    logits, features = (np.concatenate([part.numpy() for part in column]) for column in zip(*parts, strict=True))
    return logits, features


def label_probability(logits: np.ndarray, is_single_label: bool) -> np.ndarray:
    """Softmax over exclusive labels, else a sigmoid for each: float32 [images, labels]."""
    return (tf.nn.softmax(logits) if is_single_label else tf.sigmoid(logits)).numpy()


def macro_auc(probability: np.ndarray, labels: np.ndarray) -> float:
    """Mean area under the ROC curve over labels, each on the images where it is known.

    Returns:
      NaN where no label has both positives and negatives; a label that lacks either is left out.
    """
    areas = []
    for score, label in zip(probability.T, labels.T, strict=True):
        is_known = ~np.isnan(label)
        areas.append(float(roc_auc(label[is_known] == 1, score[is_known])[0]))
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else math.nan


def _values(variables: Sequence[Any]) -> list[np.ndarray]:
    """Copies: an array that a variable gives may share its memory."""
    return [np.asarray(variable).copy() for variable in variables]
