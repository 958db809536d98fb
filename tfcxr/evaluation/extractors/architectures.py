"""Classifiers: VGG-16, DenseNet-121 (segal2021), MedFID (chetty2023) and a small network that trains quickly.

A new one is a function and an `Architecture` here, and a line in `CLASSIFIERS`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras


def vgg16(images: keras.KerasTensor) -> keras.KerasTensor:
    """VGG-16 (Simonyan, Zisserman 2015), max-pooled: [batch, size, size, 3] in [0, 1] -> [batch, 512]; from 32 px."""
    return keras.applications.VGG16(include_top=False, weights=None, input_tensor=images, pooling="max").output


def densenet121(images: keras.KerasTensor) -> keras.KerasTensor:
    """DenseNet-121 (Huang et al. 2017), mean-pooled: [batch, size, size, 3] in [0, 1] -> [batch, 1024]."""
    return keras.applications.DenseNet121(include_top=False, weights=None, input_tensor=images, pooling="avg").output


def inception_v3(images: keras.KerasTensor) -> keras.KerasTensor:
    """Inception v3 (Szegedy et al. 2016), mean-pooled: [batch, size, size, 3] -> [batch, 2048]; from 75 px."""
    return keras.applications.InceptionV3(include_top=False, weights=None, input_tensor=images, pooling="avg").output


def small_cnn(images: keras.KerasTensor) -> keras.KerasTensor:
    """Four strided convolutions, mean-pooled, quick to train: [batch, size, size, 3] in [0, 1] -> [batch, 256]."""
    features = images
    for channels in (32, 64, 128, 256):
        features = keras.layers.Conv2D(channels, 3, strides=2, padding="same", use_bias=False)(features)
        features = keras.layers.ReLU()(keras.layers.BatchNormalization()(features))
    return keras.layers.GlobalAveragePooling2D()(features)


def normalized_layers(hidden: keras.KerasTensor, widths: Sequence[int], dropout: float, seed: int) -> keras.KerasTensor:
    """As in Singh et al. 2023: dropout before each dense layer, batch normalisation and LeakyReLU .2 after it."""
    for index, width in enumerate(widths):
        hidden = keras.layers.Dropout(dropout, seed=seed + index)(hidden)
        hidden = keras.layers.BatchNormalization()(keras.layers.Dense(width, use_bias=False)(hidden))
        hidden = keras.layers.LeakyReLU(negative_slope=0.2)(hidden)
    return hidden


def relu_layers(hidden: keras.KerasTensor, widths: Sequence[int], dropout: float, seed: int) -> keras.KerasTensor:
    """As in Chetty 2023: dense layers with a ReLU; dropout follows behind the features."""
    for width in widths:
        hidden = keras.layers.Dense(width, activation="relu")(hidden)
    return hidden


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A trunk, its dense layers, and the settings that differ for it.

    Attributes:
      trunk: float32 images [batch, size, size, 3] in [0, 1] -> features [batch, width], by a global pooling.
      defaults: of `ClassifierConfig`.
      dense_layers: the trunk's output, widths, dropout and a seed -> features.
      drops_features: dropout also between the features and the last layer.
      imagenet: gives the same layers with ImageNet weights; None where there are none.
      imagenet_input: scale and offset, by channel, from [0, 1] to what those weights were trained on.
      is_published_from_imagenet: the study of `defaults` starts from ImageNet weights.
    """

    trunk: Callable[[keras.KerasTensor], keras.KerasTensor]
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    dense_layers: Callable[..., keras.KerasTensor] = normalized_layers
    drops_features: bool = False
    imagenet: Callable[[], keras.Model] | None = None
    imagenet_input: tuple[Sequence[float], Sequence[float]] = ((1.0,) * 3, (0.0,) * 3)
    is_published_from_imagenet: bool = False


VGG16 = Architecture(
    vgg16,
    imagenet=lambda: keras.applications.VGG16(include_top=False, weights="imagenet"),
    imagenet_input=((255.0,) * 3, (-103.939, -116.779, -123.68)),  # blue, green, red
)
# Segal et al. 2021: the last layer is simply replaced. Batch, epochs and both patiences are ours to choose.
DENSENET121 = Architecture(
    densenet121,
    {
        "dense_units": (),
        "dropout": 0.0,
        "learning_rate": 1e-3,
        "batch_size": 32,
        "max_epochs": 60,
        "patience": 8,
        "augmentation": "segal2021",
        "balance_classes": "weights",
        "selects_by": "auc",
        "schedule": "plateau",
        "plateau_patience": 3,
    },
    imagenet=lambda: keras.applications.DenseNet121(include_top=False, weights="imagenet"),
    imagenet_input=((1 / 0.229, 1 / 0.224, 1 / 0.225), (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225)),
    is_published_from_imagenet=True,
)
# MedFID of Chetty 2023, in two phases. Batch, the second rate and that the best epoch is kept are ours to choose.
MEDFID = Architecture(
    inception_v3,
    {
        "input_size": 299,
        "dense_units": (2048,) * 4,
        "dropout": 0.2,
        "optimizer": "rmsprop",
        "learning_rate": 1e-4,
        "batch_size": 32,
        "max_epochs": 50,
        "patience": 50,
        "fine_tuned_from": 249,
        "fine_tuning_epochs": 20,
        "fine_tuning_rate": 1e-5,
        "augmentation": "chetty2023",
    },
    relu_layers,
    drops_features=True,
    imagenet=lambda: keras.applications.InceptionV3(include_top=False, weights="imagenet"),
    imagenet_input=((2.0,) * 3, (-1.0,) * 3),
    is_published_from_imagenet=True,
)
SMALL_CNN = Architecture(small_cnn, {"learning_rate": 1e-3, "dense_units": (64,)})
