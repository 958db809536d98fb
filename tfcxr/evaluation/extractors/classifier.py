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

import keras
import numpy as np
import tensorflow as tf

from tfcxr.data.atomic import atomic_path
from tfcxr.data.pipeline import from_pixels
from tfcxr.data.stored_images import Images, read_batches
from tfcxr.evaluation.extractors import CLASSIFIERS
from tfcxr.evaluation.extractors.classifier_config import ClassifierConfig
from tfcxr.evaluation.extractors.fitting import (
    Fit,
    fit_classifier,
    prediction_batch,
    quick_momentum,
)
from tfcxr.evaluation.extractors.initial_weights import (
    IMAGENET,
    global_pooling,
    load_initial_weights,
)
from tfcxr.evaluation.labelled_images import LabelledImages
from tfcxr.optimizers import FusedAdam
from tfcxr.precision import precision_scope

RGB, RGB_OF_IMAGENET = "rgb", "rgb_of_imagenet"  # layers that end what is done to an image before the trunk
OPTIMIZERS = {"adam": FusedAdam, "rmsprop": keras.optimizers.RMSprop}


@dataclasses.dataclass(frozen=True)
class TrainedClassifier:
    """A classifier with the weights of its best epoch.

    Attributes:
      model: float32 images [batch, size, size, 1] in [-1, 1] -> (probabilities [batch, labels], features of the last
        hidden layer [batch, features]), both float32.
      fit: how it was trained.
      input_size: to which it resizes images, 0 for none.
    """

    model: keras.Model
    fit: Fit
    input_size: int = 0

    def predict(self, images: Images) -> tuple[np.ndarray, np.ndarray]:
        """Of uint8 images [images, size, size, 1], of which only some batches are in memory.

        Returns:
          (probabilities float32 [images, labels], features of the last hidden layer float32 [images, features]).
        """
        rows = prediction_batch(max(images.shape[1], self.input_size))
        batches = [self.predict_batch(batch) for batch in read_batches(images, rows)]
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


def build_classifier(
    config: ClassifierConfig, image_size: int, labels: int, is_single_label: bool, seed: int
) -> keras.Model:
    """Builds the network with random weights that follow from `seed`: images -> (probabilities, features, logits).

    Raises:
      ValueError: images too small for the architecture.
    """
    with precision_scope(config.precision):
        grey = keras.Input([image_size, image_size, 1])
        image = grey
        if config.input_size not in (0, image_size):
            sides = (config.input_size, config.input_size)
            image = keras.layers.Resizing(*sides, "bicubic", antialias=True, dtype="float32")(image)
        unit_range = keras.layers.Rescaling(0.5, offset=0.5)(image)  # [-1, 1] -> [0, 1], as in the paper
        architecture, rgb = CLASSIFIERS[config.architecture], keras.layers.Concatenate(name=RGB)([unit_range] * 3)
        if config.initial_weights == IMAGENET:
            rgb = keras.layers.Rescaling(*map(list, architecture.imagenet_input), name=RGB_OF_IMAGENET)(rgb)
        hidden = architecture.dense_layers(architecture.trunk(rgb), config.dense_units, config.dropout, seed)
        features = keras.layers.Activation("linear", dtype="float32", name="features")(hidden)
        seen = keras.layers.Dropout(config.dropout, seed=seed)(features) if architecture.drops_features else features
        logits = keras.layers.Dense(labels, dtype="float32", name="logits")(seen)
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
    progress_dir: pathlib.Path | None = None,
) -> TrainedClassifier:
    """Trains one classifier with a progress bar; the same arguments give the same weights on one CPU.

    Args:
      seed: of the weights and of the order of the images.
      start: weights that `TrainedClassifier.save` wrote of the same classifier, in place of the configuration's.
      steps_per_epoch: as for `fit_classifier`.
      progress_dir: keeps the state after each epoch; a training that was stopped goes on from there.

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

    def fit_phase(phase: int, config: ClassifierConfig, words: str) -> Fit:
        steps = steps_per_epoch or max(1, count // min(config.batch_size, count))
        optimizer = OPTIMIZERS[config.optimizer](config.rate(steps))
        optimizer.build(trained.trainable_variables)
        return fit_classifier(
            trained, optimizer, training, validation, is_single_label, config, seed, words,
            steps_per_epoch=steps_per_epoch, progress_file=progress_dir and progress_dir / f"phase_{phase}.npz",
        )  # fmt: skip

    if not config.fine_tuned_from:
        return TrainedClassifier(classifier, fit_phase(1, config, description), config.input_size)
    trunk = trunk_layers(model)
    if config.fine_tuned_from > len(trunk):
        raise ValueError(
            f"fine_tuned_from={config.fine_tuned_from} leaves no layer to train: the trunk of "
            f"{config.architecture} has {len(trunk)}"
        )
    _freeze(trunk, len(trunk))
    first = fit_phase(1, config, f"{description}, phase 1 of 2")
    _freeze(trunk, config.fine_tuned_from - 1)
    second = dataclasses.replace(config, max_epochs=config.fine_tuning_epochs, learning_rate=config.fine_tuning_rate)
    second = fit_phase(2, second, f"{description}, phase 2 of 2")
    curves = {name: first.curves[name] + second.curves[name] for name in first.curves}
    best_epoch = len(first.curves["loss"]) + second.best_epoch
    fit = Fit(curves, best_epoch, first.seconds + second.seconds)
    return TrainedClassifier(classifier, fit, config.input_size)


def trunk_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a classifier between the image and its dense layers, the last global pooling among them."""
    names = [layer.name for layer in model.layers]
    start = names.index(RGB_OF_IMAGENET if RGB_OF_IMAGENET in names else RGB) + 1
    return model.layers[start : names.index(global_pooling(model).name) + 1]


def open_classifier(
    config: ClassifierConfig, path: pathlib.Path, fit: Fit, image_size: int, labels: int, is_single_label: bool
) -> TrainedClassifier:
    """What `TrainedClassifier.save` wrote."""
    model = build_classifier(config, image_size, labels, is_single_label, seed=0)
    classifier = keras.Model(model.input, model.output[:2])
    classifier.load_weights(path)
    return TrainedClassifier(classifier, fit, config.input_size)


def _freeze(trunk: list[keras.layers.Layer], count: int) -> None:
    """Keeps the first layers, and their statistics, as they are; the others learn."""
    for index, layer in enumerate(trunk):
        layer.trainable = index >= count
