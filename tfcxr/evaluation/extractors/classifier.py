"""A classifier of radiographs, trained from random or given weights with early stopping.

    classifier = train_classifier(config, training, validation, is_single_label=True, seed=0)
    probability, features = classifier.predict(test_images)

`vgg16` follows Singh, Lala, Macwan, Chaurasia 2023: VGG-16 without its top, max-pooled, then dropout .4, dense layers
with batch normalisation and LeakyReLU .2, binary cross-entropy, Adam 1e-5, batches of 64, up to 60 epochs, and an end
after 2 epochs without improvement on the validation images. Ours to choose: the dense layers' widths, the momentum of
batch normalisation, and that the best epoch's weights are kept.

Differs from the paper: exclusive labels end in a softmax, which for two classes is their sigmoid (of the difference
of the two logits) with the same loss; labels that may occur together end in a sigmoid each, unknown ones masked.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from tfcxr.config import check_range, make_config, to_plain
from tfcxr.data.atomic import atomic_path
from tfcxr.data.pipeline import from_pixels
from tfcxr.data.stored_images import Images, read_batches
from tfcxr.evaluation.extractors import CLASSIFIERS
from tfcxr.evaluation.extractors.fitting import (
    Fit,
    FittingConfig,
    fit_classifier,
    prediction_batch,
    quick_momentum,
)
from tfcxr.evaluation.extractors.initial_weights import (
    IMAGENET,
    check_initial_weights,
    initial_weights_hash,
    load_initial_weights,
)
from tfcxr.evaluation.labelled_images import LabelledImages
from tfcxr.optimizers import FusedAdam
from tfcxr.precision import precision_scope
from tfcxr.registry import nearest_name


@dataclasses.dataclass(frozen=True)
class ClassifierConfig(FittingConfig):
    """How a classifier is built and trained; the defaults are those of singh2023.

    Attributes:
      architecture: a name in `CLASSIFIERS`.
      dropout: before each dense layer.
      dense_units: widths of the hidden layers; the last one gives the features.
      batch_norm_momentum: at most; lower where an epoch has few steps, so that the first epoch's statistics arrive
        before early stopping looks. Keras's .99 needs more steps than a short training has: chance-level scores.
      initializer: of all kernels; "glorot_uniform" is Keras's own.
      initial_weights: what training starts from: "" is random weights, "imagenet" Keras's own, else FILE.keras or
        FILE.weights.h5 of a network of this architecture that takes images in [0, 1].
      precision: "mixed_bfloat16" computes in bfloat16 and keeps weights in float32.
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
    initial_weights: str = ""
    precision: Literal["float32", "mixed_bfloat16"] = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.architecture not in CLASSIFIERS:
            raise ValueError(
                f"unknown classifier {self.architecture!r}; {nearest_name(self.architecture, CLASSIFIERS)}"
            )
        check_range(self, "dropout", "batch_norm_momentum", minimum=0, below=1)
        if any(width < 1 for width in self.dense_units):
            raise ValueError(f"ClassifierConfig.dense_units must be 1 or more each, got {self.dense_units}")
        check_initial_weights(self.initial_weights, self.architecture, CLASSIFIERS[self.architecture])

    @property
    def identity(self) -> dict[str, Any]:
        """What a training depends on, plain: the settings, with the hash of a file in place of its path."""
        return to_plain(self) | {"initial_weights": initial_weights_hash(self.initial_weights)}


@dataclasses.dataclass(frozen=True)
class TrainedClassifier:
    """A classifier with the weights of its best epoch.

    Attributes:
      model: float32 images [batch, size, size, 1] in [-1, 1] -> (probabilities [batch, labels], features of the last
        hidden layer [batch, features]), both float32.
      fit: how it was trained.
    """

    model: keras.Model
    fit: Fit

    def predict(self, images: Images) -> tuple[np.ndarray, np.ndarray]:
        """Of uint8 images [images, size, size, 1], of which only some batches are in memory.

        Returns:
          (probabilities float32 [images, labels], features of the last hidden layer float32 [images, features]).
        """
        batches = [self.predict_batch(batch) for batch in read_batches(images, prediction_batch(images.shape[1]))]
        probability, features = (np.concatenate(column) for column in zip(*batches, strict=True))
        return probability, features

    def save(self, path: pathlib.Path) -> None:
        """Writes the weights to a FILE.weights.h5, whole or not at all."""
        with atomic_path(path) as temporary:
            self.model.save_weights(temporary)

    @functools.cached_property
    def predict_batch(self) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """The model on uint8 images [batch, size, size, 1], as a graph that is traced once."""

        def predict_batch(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            probability, features = self.model(from_pixels(images), training=False)
            return probability, tf.cast(features, tf.float32)

        spec = tf.TensorSpec([None, *self.model.input_shape[1:]], tf.uint8)
        return tf.function(predict_batch, input_signature=[spec], autograph=False)


def make_classifier_config(architecture: str, settings: dict[str, Any]) -> ClassifierConfig:
    """The configuration of an architecture: its own defaults, then `settings`.

    Raises:
      ValueError: an unknown architecture or setting, a value of another type or range, or `architecture` in `settings`.
    """
    if "architecture" in settings:
        raise ValueError("architecture is not a setting here; choose it with --classifier")
    defaults = CLASSIFIERS[architecture].defaults if architecture in CLASSIFIERS else {}
    return make_config(ClassifierConfig, defaults, settings, {"architecture": architecture})


def build_classifier(
    config: ClassifierConfig, image_size: int, labels: int, is_single_label: bool, seed: int
) -> keras.Model:
    """Builds the network with random weights that follow from `seed`: images -> (probabilities, features, logits).

    Raises:
      ValueError: images too small for the architecture.
    """
    with precision_scope(config.precision):
        grey = keras.Input([image_size, image_size, 1])
        unit_range = keras.layers.Rescaling(0.5, offset=0.5)(grey)  # [-1, 1] -> [0, 1], as in the paper
        architecture, rgb = CLASSIFIERS[config.architecture], keras.layers.Concatenate()([unit_range] * 3)
        if config.initial_weights == IMAGENET:
            rgb = keras.layers.Rescaling(*map(list, architecture.imagenet_input))(rgb)
        hidden = architecture.trunk(rgb)
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
    training: LabelledImages,
    validation: LabelledImages,
    is_single_label: bool,
    seed: int,
    description: str = "training",
    start: pathlib.Path | None = None,
    steps_per_epoch: int | None = None,
) -> TrainedClassifier:
    """Trains one classifier with a progress bar; the same arguments give the same weights on one CPU.

    Args:
      seed: of the weights and of the order of the images.
      start: weights that `TrainedClassifier.save` wrote of the same classifier, in place of the configuration's.
      steps_per_epoch: as for `fit_classifier`.

    Raises:
      ValueError: no training or validation image, no label that can be learned or none that is known of the validation
        images, images too small for the architecture, initial weights that do not fit, or a loss that is not finite.
    """
    count = len(training.images)
    if not count or not len(validation.images):
        raise ValueError(
            f"a classifier needs training and validation images, got {count} and {len(validation.images)}; "
            "give more images or set classifier.validation_fraction"
        )
    momentum = quick_momentum(config.batch_norm_momentum, steps_per_epoch or count // min(config.batch_size, count))
    config = dataclasses.replace(config, batch_norm_momentum=momentum)
    model = build_classifier(config, training.images.shape[1], training.labels.shape[1], is_single_label, seed)
    classifier, trained = (keras.Model(model.input, outputs) for outputs in (model.output[:2], model.output[2]))
    if start is not None:
        classifier.load_weights(start)
    elif config.initial_weights:
        load_initial_weights(model, config.initial_weights, CLASSIFIERS[config.architecture])
    optimizer = FusedAdam(config.learning_rate)
    optimizer.build(trained.trainable_variables)
    fit = fit_classifier(
        trained, optimizer, training, validation, is_single_label, config, seed, description,
        steps_per_epoch=steps_per_epoch,
    )  # fmt: skip
    return TrainedClassifier(classifier, fit)


def open_classifier(
    config: ClassifierConfig, path: pathlib.Path, fit: Fit, image_size: int, labels: int, is_single_label: bool
) -> TrainedClassifier:
    """What `TrainedClassifier.save` wrote."""
    model = build_classifier(config, image_size, labels, is_single_label, seed=0)
    classifier = keras.Model(model.input, model.output[:2])
    classifier.load_weights(path)
    return TrainedClassifier(classifier, fit)
