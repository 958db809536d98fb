"""The judge: a classifier of radiographs, trained from random weights with early stopping.

    classifier = train_classifier(config, images, labels, validation_images, validation_labels, True, seed=0)
    probability, features = predict(classifier, test_images)

`vgg16` follows Singh, Lala, Macwan, Chaurasia 2023: VGG-16 without its top, max-pooled, then dropout .4, dense layers
with batch normalisation and LeakyReLU .2, binary cross-entropy, Adam 1e-5, batches of 64, up to 60 epochs, and an end
after 2 epochs without improvement on the validation images. Ours to choose: the dense layers' widths, the momentum of
batch normalisation, and that the best epoch's weights are kept.

Differs from the paper: exclusive labels end in a softmax, which for two classes is their sigmoid (of the difference
of the two logits) with the same loss; labels that may occur together end in a sigmoid each, unknown ones masked.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfcxr.command_line import nearest_name
from tfcxr.config import make_config
from tfcxr.data.pipeline import from_pixels
from tfcxr.data.stored_images import StoredImages, read_batches
from tfcxr.optimizers import FusedAdam
from tfcxr.precision import precision_scope

PREDICTION_BATCH = 256  # images judged at once, at most
PREDICTION_PIXELS = 2**21  # of them: from 91 px on, batches are smaller, so that activations do not fill the memory
PARALLEL_READS = 4  # batches that are decoded at once


@dataclasses.dataclass(frozen=True)
class ClassifierConfig:
    """How a classifier is built and trained; the defaults are those of singh2023.

    Attributes:
      architecture: a name in `CLASSIFIERS`.
      max_epochs, patience: training ends after `max_epochs`, or `patience` epochs after the best validation loss.
      validation_fraction: share of the training images kept for validation where no validation split is given.
      dropout: before each dense layer. dense_units: widths of the hidden layers; the last one gives the features.
      batch_norm_momentum: at most; lower where an epoch has few steps, so that the first epoch's statistics arrive
        before early stopping judges it. Keras's .99 needs more steps than a short training has: chance-level scores.
      initializer: of all kernels; "glorot_uniform" is Keras's own.
      augmentation: small turns, shifts and exposure changes of the training images (`tfcxr.data.augment`).
      precision: "mixed_bfloat16" computes in bfloat16 and keeps weights in float32.
      balance_classes: "weights" gives rare labels more weight, so that positives and negatives count alike.
    """

    architecture: str = "vgg16"
    learning_rate: float = 1e-5
    batch_size: int = 64
    max_epochs: int = 60
    patience: int = 2
    validation_fraction: float = 0.2
    dropout: float = 0.4
    dense_units: tuple[int, ...] = (512, 128)
    batch_norm_momentum: float = 0.9
    initializer: Literal["glorot_uniform", "he_normal"] = "glorot_uniform"
    augmentation: bool = False
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    balance_classes: Literal["none", "weights"] = "none"

    def __post_init__(self) -> None:
        if self.architecture not in CLASSIFIERS:
            raise ValueError(
                f"unknown classifier {self.architecture!r}; {nearest_name(self.architecture, CLASSIFIERS)}"
            )
        for name in ("batch_size", "max_epochs", "patience", "learning_rate"):
            if not (0 < getattr(self, name) < math.inf):
                raise ValueError(f"ClassifierConfig.{name} must be above 0, got {getattr(self, name)}")
        for name in ("validation_fraction", "dropout", "batch_norm_momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"ClassifierConfig.{name} must be at least 0 and below 1, got {getattr(self, name)}")
        if any(width < 1 for width in self.dense_units):
            raise ValueError(f"ClassifierConfig.dense_units must be 1 or more each, got {self.dense_units}")


@dataclasses.dataclass(frozen=True)
class TrainedClassifier:
    """A classifier with the weights of its best epoch.

    Attributes:
      model: float32 images [batch, size, size, 1] in [-1, 1] -> (probabilities [batch, labels], features of the last
        hidden layer [batch, features]), both float32.
      curves: "loss" and "validation_loss", one value an epoch. best_epoch: counted from 1.
    """

    model: keras.Model
    curves: dict[str, list[float]]
    best_epoch: int
    seconds: float

    @functools.cached_property
    def judge(self) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """What the model says of uint8 images [batch, size, size, 1], as a graph that is traced once."""

        def judge(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            probability, features = self.model(from_pixels(images), training=False)
            return probability, tf.cast(features, tf.float32)

        spec = tf.TensorSpec([None, *self.model.input_shape[1:]], tf.uint8)
        return tf.function(judge, input_signature=[spec], autograph=False)


def vgg16(images: keras.KerasTensor) -> keras.KerasTensor:
    """VGG-16 (Simonyan, Zisserman 2015), max-pooled: [batch, size, size, 3] in [0, 1] -> [batch, 512]; from 32 px."""
    return keras.applications.VGG16(include_top=False, weights=None, input_tensor=images, pooling="max").output


def densenet121(images: keras.KerasTensor) -> keras.KerasTensor:
    """DenseNet-121 (Huang et al. 2017), mean-pooled: [batch, size, size, 3] in [0, 1] -> [batch, 1024].

    Differs from Segal et al. 2021: it starts from random weights, not from ImageNet's.
    """
    return keras.applications.DenseNet121(include_top=False, weights=None, input_tensor=images, pooling="avg").output


def small_cnn(images: keras.KerasTensor) -> keras.KerasTensor:
    """Four strided convolutions, mean-pooled, a quick judge: [batch, size, size, 3] in [0, 1] -> [batch, 256]."""
    features = images
    for channels in (32, 64, 128, 256):
        features = keras.layers.Conv2D(channels, 3, strides=2, padding="same", use_bias=False)(features)
        features = keras.layers.ReLU()(keras.layers.BatchNormalization()(features))
    return keras.layers.GlobalAveragePooling2D()(features)


CLASSIFIERS: dict[str, Callable[[keras.KerasTensor], keras.KerasTensor]] = {
    "vgg16": vgg16,
    "densenet121": densenet121,
    "small_cnn": small_cnn,
}
ARCHITECTURE_DEFAULTS: dict[str, dict[str, Any]] = {
    "densenet121": {"learning_rate": 1e-3},
    "small_cnn": {"learning_rate": 1e-3, "dense_units": (64,)},
}


def make_classifier_config(architecture: str, settings: dict[str, Any]) -> ClassifierConfig:
    """The configuration of an architecture: its own defaults, then `settings`.

    Raises:
      ValueError: an unknown architecture or setting, a value of another type or range, or `architecture` in `settings`.
    """
    if "architecture" in settings:
        raise ValueError("architecture is not a setting here; choose it with --classifier")
    return make_config(
        ClassifierConfig, ARCHITECTURE_DEFAULTS.get(architecture, {}), settings, {"architecture": architecture}
    )


def build_classifier(
    config: ClassifierConfig, image_size: int, labels: int, is_single_label: bool, seed: int
) -> keras.Model:
    """Builds the network with weights that follow from `seed`; see `TrainedClassifier.model` for what it maps.

    Raises:
      ValueError: images too small for the architecture.
    """
    with precision_scope(config.precision):
        grey = keras.Input([image_size, image_size, 1])
        unit_range = keras.layers.Rescaling(0.5, offset=0.5)(grey)  # [-1, 1] -> [0, 1], as in the paper
        hidden = CLASSIFIERS[config.architecture](keras.layers.Concatenate()([unit_range] * 3))
        for index, width in enumerate(config.dense_units):
            hidden = keras.layers.Dropout(config.dropout, seed=seed + index)(hidden)
            hidden = keras.layers.BatchNormalization()(keras.layers.Dense(width, use_bias=False)(hidden))
            hidden = keras.layers.LeakyReLU(negative_slope=0.2)(hidden)
        features = keras.layers.Activation("linear", dtype="float32", name="features")(hidden)
        logits = keras.layers.Dense(labels, dtype="float32", name="logits")(features)
        activation = "softmax" if is_single_label else "sigmoid"
        probability = keras.layers.Activation(activation, dtype="float32", name="probability")(logits)
    model = keras.Model(grey, [probability, features, logits], name=config.architecture)
    for index, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = config.batch_norm_momentum
        if hasattr(layer, "kernel"):  # drawn anew from the seed, because a library sets no global one
            initializer = keras.initializers.get(
                {"class_name": config.initializer, "config": {"seed": 1000 * seed + index}}
            )
            layer.kernel.assign(initializer(layer.kernel.shape))
    return model


def train_classifier(
    config: ClassifierConfig,
    images: np.ndarray | StoredImages,
    labels: np.ndarray,
    validation_images: np.ndarray | StoredImages,
    validation_labels: np.ndarray,
    is_single_label: bool,
    seed: int,
    description: str = "training",
) -> TrainedClassifier:
    """Trains one classifier with a progress bar; the same arguments give the same weights on one CPU.

    Args:
      images, validation_images: uint8 [images, size, size, 1]; only the batches in use are read.
      labels, validation_labels: float32 [images, labels], 1 present, 0 absent, NaN unknown.

    Raises:
      ValueError: no training or validation image, no label that can be learned or none that is known of the validation
        images, images too small for the architecture, or a loss that is not finite.
    """
    if not len(images) or not len(validation_images):
        raise ValueError(
            f"a classifier needs training and validation images, got {len(images)} and {len(validation_images)}; "
            "raise --images or set validation_fraction"
        )
    if not ((labels == 1).any(axis=0) & (labels == 0).any(axis=0)).any():
        raise ValueError("no label is known to be in some training images and not in others, so nothing can be learned")
    if np.isnan(validation_labels).all():
        raise ValueError("no label of the validation images is known, so training cannot tell when to end")
    started = time.monotonic()
    batch_size = min(config.batch_size, len(images))
    steps_per_epoch = len(images) // batch_size
    momentum = min(config.batch_norm_momentum, 0.1 ** (1 / steps_per_epoch))  # a tenth of what was before an epoch
    config = dataclasses.replace(config, batch_norm_momentum=momentum)
    model = build_classifier(config, images.shape[1], labels.shape[1], is_single_label, seed)
    trained = keras.Model(model.input, model.get_layer("logits").output)
    optimizer = FusedAdam(config.learning_rate)
    optimizer.build(trained.trainable_variables)
    loss = _cross_entropy(is_single_label, _label_weights(labels, is_single_label, config.balance_classes))
    trained.compile(optimizer=optimizer, loss=loss, jit_compile=False)
    stopping = keras.callbacks.EarlyStopping(patience=config.patience, restore_best_weights=True)
    progress = _Progress(description, config.max_epochs * steps_per_epoch)
    history = trained.fit(
        _batches(images, labels, batch_size, seed, config.augmentation),
        validation_data=_batches(validation_images, validation_labels, _judged_at_once(images.shape[1])),
        epochs=config.max_epochs,
        verbose=0,
        shuffle=False,  # the data set shuffles itself
        callbacks=[stopping, progress],
    ).history
    return TrainedClassifier(
        model=keras.Model(model.input, model.output[:2]),
        curves={"loss": history["loss"], "validation_loss": history["val_loss"]},
        best_epoch=int(np.argmin(history["val_loss"])) + 1,
        seconds=time.monotonic() - started,
    )


def predict(classifier: TrainedClassifier, images: np.ndarray | StoredImages) -> tuple[np.ndarray, np.ndarray]:
    """Judges uint8 images [images, size, size, 1], of which only some batches are in memory.

    Returns:
      (probabilities float32 [images, labels], features of the last hidden layer float32 [images, features]).
    """
    judged = [classifier.judge(batch) for batch in read_batches(images, _judged_at_once(images.shape[1]))]
    probability, features = (np.concatenate(column) for column in zip(*judged, strict=True))
    return probability, features


def _judged_at_once(image_size: int) -> int:
    return max(1, min(PREDICTION_BATCH, PREDICTION_PIXELS // image_size**2))


def _batches(
    images: np.ndarray | StoredImages,
    labels: np.ndarray,
    batch_size: int,
    seed: int | None = None,
    augment: bool = False,
) -> tf.data.Dataset:
    """Batches of (image in [-1, 1], label): in order, or with a seed shuffled anew each epoch, whole batches only."""
    stored_labels = tf.constant(labels)

    def read(chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.numpy_function(images.__getitem__, [chosen], tf.uint8)
        return tf.ensure_shape(pixels, [*chosen.shape, *images.shape[1:]]), tf.gather(stored_labels, chosen)

    positions = tf.data.Dataset.range(len(images))
    if seed is not None:
        positions = positions.shuffle(len(images), seed=seed, reshuffle_each_iteration=True)
    batches = positions.batch(batch_size, drop_remainder=seed is not None)
    batches = batches.map(read, num_parallel_calls=PARALLEL_READS, deterministic=True)
    batches = batches.map(lambda pixels, label: (from_pixels(pixels), label))
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
        label = tf.where(is_known, label, 0.0)
        if is_single_label:
            losses = tf.nn.softmax_cross_entropy_with_logits(label, logits) * tf.linalg.matvec(label, weights[1])
            is_known = tf.reduce_all(is_known, axis=1)
        else:
            losses = tf.nn.sigmoid_cross_entropy_with_logits(label, logits)
            losses *= label * weights[1] + (1 - label) * weights[0]
        known = tf.cast(is_known, losses.dtype)
        return tf.math.divide_no_nan(tf.reduce_sum(losses * known), tf.reduce_sum(known))

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
