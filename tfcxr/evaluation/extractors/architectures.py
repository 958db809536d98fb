"""Classifiers without their last layers: VGG-16, DenseNet-121 and a small network that trains quickly.

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
    """DenseNet-121 (Huang et al. 2017), mean-pooled: [batch, size, size, 3] in [0, 1] -> [batch, 1024].

    Differs from Segal et al. 2021: it starts from random weights, unless initial_weights is "imagenet".
    """
    return keras.applications.DenseNet121(include_top=False, weights=None, input_tensor=images, pooling="avg").output


def small_cnn(images: keras.KerasTensor) -> keras.KerasTensor:
    """Four strided convolutions, mean-pooled, quick to train: [batch, size, size, 3] in [0, 1] -> [batch, 256]."""
    features = images
    for channels in (32, 64, 128, 256):
        features = keras.layers.Conv2D(channels, 3, strides=2, padding="same", use_bias=False)(features)
        features = keras.layers.ReLU()(keras.layers.BatchNormalization()(features))
    return keras.layers.GlobalAveragePooling2D()(features)


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A trunk and the settings that differ for it.

    Attributes:
      trunk: float32 images [batch, size, size, 3] in [0, 1] -> features [batch, width], by a global pooling.
      defaults: of `ClassifierConfig`.
      imagenet: gives the same layers with ImageNet weights; None where there are none.
      imagenet_input: scale and offset, by channel, from [0, 1] to what those weights were trained on.
    """

    trunk: Callable[[keras.KerasTensor], keras.KerasTensor]
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    imagenet: Callable[[], keras.Model] | None = None
    imagenet_input: tuple[Sequence[float], Sequence[float]] = ((1.0,) * 3, (0.0,) * 3)


VGG16 = Architecture(
    vgg16,
    imagenet=lambda: keras.applications.VGG16(include_top=False, weights="imagenet"),
    imagenet_input=((255.0,) * 3, (-103.939, -116.779, -123.68)),  # blue, green, red
)
DENSENET121 = Architecture(
    densenet121,
    {"learning_rate": 1e-3},
    imagenet=lambda: keras.applications.DenseNet121(include_top=False, weights="imagenet"),
    imagenet_input=((1 / 0.229, 1 / 0.224, 1 / 0.225), (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225)),
)
SMALL_CNN = Architecture(small_cnn, {"learning_rate": 1e-3, "dense_units": (64,)})
