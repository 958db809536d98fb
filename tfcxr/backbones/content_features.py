"""Frozen networks in whose features a super-resolved image is compared with the real one.

A feature network is a function: float32 images [batch, height, width, 1 or 3] in [-1, 1] -> float32 features
[batch, ...]. It is differentiable in the images; its own weights are never trained, checkpointed or exported.
"""

import os
import pathlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcxr.config import nearest_name
from tfcxr.layers.channels import with_channels
from tfcxr.layers.initializers import initializer_seeds, kernel_initializer
from tfcxr.precision import precision_scope

FeatureNetwork = Callable[[tf.Tensor], tf.Tensor]

VGG19_BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))  # convolutions and their filters
VGG19_LAYERS = tuple(
    f"block{block}_conv{convolution}"
    for block, (convolutions, _) in enumerate(VGG19_BLOCKS, start=1)
    for convolution in range(1, convolutions + 1)
)
VGG19_MEANS = (103.939, 116.779, 123.68)  # of ImageNet's blue, green and red, from 0 to 255
SAVED_MODEL_RANGES = {"-1..1": (1.0, 0.0), "0..1": (0.5, 0.5), "0..255": (127.5, 127.5)}  # factor and offset
DEFAULT_SIGNATURE = "serving_default"


def vgg19_features(layer: str, weights: str, precision: str = "float32", seed: int = 0) -> FeatureNetwork:
    """Features of VGG19 (Simonyan, Zisserman 2015) at a convolution, before its activation (Wang et al. 2018).

    Differs from Ledig et al. 2017, who take them after it, where most are zero.

    Args:
      layer: of `VGG19_LAYERS`; "block5_conv4" is VGG54 of Ledig et al., "block2_conv2" VGG22.
      weights: "imagenet" (downloaded by Keras at its first use), a file of Keras weights of VGG19 without its top, or
        "random" with `seed`: for benchmarks only, as such features say little about content.
      precision: "mixed_bfloat16" computes in bfloat16 with weights rounded to it once.

    Raises:
      ValueError: an unknown layer, or a file of other weights.
      FileNotFoundError: no such file, or ImageNet weights that can be neither found nor downloaded.
    """
    if layer not in VGG19_LAYERS:
        raise ValueError(f"VGG19 has no convolution {layer!r}; {nearest_name(layer, VGG19_LAYERS)}")
    source = None if weights == "random" else _pretrained_vgg19(weights)
    with precision_scope("bfloat16" if precision == "mixed_bfloat16" else precision):
        layers = list(_vgg19_layers(layer, initializer_seeds(seed)))
        network = keras.Sequential(layers, name="vgg19_features")
        network.trainable = False
        network.build([None, None, None, 3])
    if source is not None:
        for copied in layers:
            copied.set_weights(source.get_layer(copied.name).get_weights())
    means = tf.constant(VGG19_MEANS)

    def features(images: tf.Tensor) -> tf.Tensor:
        colours = with_channels(images, 3)
        reversed_bytes = (colours[..., ::-1] + 1.0) * 127.5 - means  # blue, green, red, as the weights were trained
        return tf.cast(network(reversed_bytes, training=False), tf.float32)

    return features


def saved_model_features(path: str | os.PathLike, value_range: str = "-1..1", output: str = "") -> FeatureNetwork:
    """Outputs of a SavedModel, such as any exported classifier; none of the code behind it is needed.

    Args:
      path: a folder that `tf.saved_model.load` reads. Its signature `serving_default` is called, or where it has none
        the model itself. It takes one float tensor [batch, height, width, 1 or 3]; images are resized (bilinear) where
        it fixes their size, and grey is repeated where it has three channels.
      value_range: of the images that it takes, of `SAVED_MODEL_RANGES`.
      output: name of the signature's output; the first in alphabetical order where empty.

    Raises:
      FileNotFoundError: no SavedModel there.
      ValueError: an unknown range or output, or a model that takes no float images or gives no gradient.
    """
    if value_range not in SAVED_MODEL_RANGES:
        raise ValueError(f"value_range expects one of {', '.join(SAVED_MODEL_RANGES)}, got {value_range!r}")
    if not (pathlib.Path(path) / "saved_model.pb").is_file():
        raise FileNotFoundError(f"{path} is no SavedModel: it has no saved_model.pb; set content_model to its folder")
    factor, offset = SAVED_MODEL_RANGES[value_range]
    loaded = tf.saved_model.load(str(path))
    call, spec = _called_with_images(loaded, path)
    size = [spec.shape[1] or 0, spec.shape[2] or 0]

    def features(images: tf.Tensor) -> tf.Tensor:
        images = with_channels(images, spec.shape[3])
        if all(size) and size != images.shape[1:3]:
            images = tf.image.resize(images, size)
        outputs = call(tf.cast(images * factor + offset, spec.dtype))
        if isinstance(outputs, dict) and output:
            if output not in outputs:
                raise ValueError(f"{path} has no output {output!r}; {nearest_name(output, outputs)}")
            return tf.cast(outputs[output], tf.float32)
        return tf.cast(tf.nest.flatten(outputs)[0], tf.float32)

    features.loaded = loaded  # its variables live as long as this does
    _check_differentiable(features, size, path)
    return features


def _vgg19_layers(last: str, seeds: Iterator[int]) -> Iterator[keras.layers.Layer]:
    for block, (convolutions, filters) in enumerate(VGG19_BLOCKS, start=1):
        for convolution in range(1, convolutions + 1):
            name = f"block{block}_conv{convolution}"
            activation = None if name == last else "relu"
            kernel = kernel_initializer("he", next(seeds))
            yield keras.layers.Conv2D(
                filters, 3, 1, "same", activation=activation, kernel_initializer=kernel, name=name
            )
            if name == last:
                return
        yield keras.layers.MaxPooling2D(2, name=f"block{block}_pool")


def _pretrained_vgg19(weights: str) -> keras.Model:
    if weights != "imagenet" and not pathlib.Path(weights).is_file():
        raise FileNotFoundError(
            f"content_weights is {weights!r}, but there is no such file; give Keras's VGG19 weights, or 'imagenet'"
        )
    with precision_scope("float32"), warnings.catch_warnings():
        # Keras only warns where a file lacks some weights, and leaves those random
        warnings.filterwarnings("error", message="Skipping")
        try:
            return keras.applications.VGG19(include_top=False, weights=weights)
        except Exception as error:  # Keras raises a plain Exception where a download fails
            if weights == "imagenet":
                raise FileNotFoundError(
                    "VGG19's ImageNet weights are not on this machine and could not be downloaded "
                    f"({' '.join(str(error).split())}); set content_weights to a file of them, or content_loss=pixel"
                ) from error
            raise ValueError(
                f"{weights} does not hold Keras weights of VGG19 without its top: {' '.join(str(error).split())}"
            ) from error


def _called_with_images(loaded: Any, path: str | os.PathLike) -> tuple[Callable, tf.TensorSpec]:
    """The function of a loaded SavedModel that takes images, and the spec of those images."""
    expected = "expected one float tensor [batch, height, width, 1 or 3]"
    if DEFAULT_SIGNATURE in loaded.signatures:
        signature = loaded.signatures[DEFAULT_SIGNATURE]
        inputs = signature.structured_input_signature[1]
        if len(inputs) != 1:
            raise ValueError(f"{path} takes the inputs {', '.join(sorted(inputs))}; {expected}")
        (name, spec), *_ = inputs.items()
        call = lambda images: signature(**{name: images})  # noqa: E731
    else:
        functions = getattr(getattr(loaded, "__call__", None), "concrete_functions", [])  # noqa: B004
        if not functions:
            raise ValueError(f"{path} has neither a signature {DEFAULT_SIGNATURE} nor a call of its own")
        spec, call = tf.nest.flatten(functions[0].structured_input_signature)[0], loaded
    if not (spec.dtype.is_floating and spec.shape.rank == 4 and spec.shape[3] in (1, 3)):
        raise ValueError(f"{path} takes {spec.dtype.name} {spec.shape}; {expected}")
    return call, spec


def _check_differentiable(features: FeatureNetwork, size: list[int], path: str | os.PathLike) -> None:
    images = tf.random.stateless_uniform([1, size[0] or 64, size[1] or 64, 1], [0, 0], -1.0, 1.0)
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = features(images)
    try:
        gradient = tape.gradient(outputs, images)
    except LookupError:  # an operation without a gradient
        gradient = None
    if gradient is None or not np.all(np.isfinite(gradient)):
        raise ValueError(f"{path} gives no finite gradient by its images, so that it cannot score them in training")
