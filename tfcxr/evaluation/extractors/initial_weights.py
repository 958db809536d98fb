"""What a classifier starts from in place of random weights: ImageNet, or a file of Keras weights.

    --set=classifier.initial_weights=imagenet
    --set=classifier.initial_weights=runs/verdict/arms/real-2559-seed0.weights.h5

A file is read as numbers alone, so no code in it runs. A classifier of the same labels starts from all of its weights,
any other network from those of its trunk, which must be this architecture's.
"""

import collections
import io
import pathlib
import re
import zipfile
from collections.abc import Iterator

import h5py
import keras
import numpy as np
from absl import logging

from tfcxr.data.records import file_sha256
from tfcxr.evaluation.extractors.architectures import Architecture

IMAGENET = "imagenet"
SUFFIXES = (".weights.h5", ".keras")
POOLING_LAYERS = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)


def check_initial_weights(given: str, name: str, architecture: Architecture) -> None:
    """Refuses what cannot be a start.

    Args:
      given: "" for random weights, "imagenet", or the path of a file.
      name: of the architecture.

    Raises:
      FileNotFoundError: no such file.
      ValueError: another kind of file, or an architecture without ImageNet weights.
    """
    if not given or (given == IMAGENET and architecture.imagenet):
        return
    if given == IMAGENET:
        raise ValueError(
            f"classifier.initial_weights=imagenet: Keras has no ImageNet weights of {name}; choose --classifier=vgg16, "
            "densenet121 or medfid, or give a file"
        )
    if not given.endswith(SUFFIXES):
        raise ValueError(f"classifier.initial_weights expects imagenet, FILE.keras or FILE.weights.h5, got {given}")
    if not pathlib.Path(given).is_file():
        raise FileNotFoundError(f"classifier.initial_weights={given}: there is no such file")


def initial_weights_hash(given: str) -> str:
    """What results depend on: a file's SHA-256 in place of its path."""
    return given if given in ("", IMAGENET) else file_sha256(pathlib.Path(given))


def load_initial_weights(model: keras.Model, given: str, architecture: Architecture) -> None:
    """Puts them into a classifier that was just built.

    Raises:
      ValueError: ImageNet weights that are neither here nor can be fetched, or a file whose layers do not fit.
    """
    trunk = keras.Model(model.input, global_pooling(model).output)
    if given == IMAGENET:
        trunk.set_weights(_imagenet(architecture))
        return
    for part in (model, trunk):
        if (weights := _stored_weights(pathlib.Path(given), part)) is not None:
            part.set_weights(weights)
            logging.info("%s starts from %s", "every layer" if part is model else "the trunk", given)
            return
    shapes = [weight.shape for weight in trunk.weights]
    raise ValueError(
        f"classifier.initial_weights={given} does not hold the trunk of {model.name}: expected a file of Keras 3 with "
        f"{len(shapes)} weights from {shapes[0]} to {shapes[-1]}"
    )


def global_pooling(model: keras.Model) -> keras.layers.Layer:
    """The last global pooling, behind which the dense layers begin."""
    return [layer for layer in model.layers if isinstance(layer, POOLING_LAYERS)][-1]


def _stored_weights(path: pathlib.Path, network: keras.Model) -> list[np.ndarray] | None:
    """Weights for all layers of a network, by class and place (conv2d, conv2d_1, ...); None where they do not fit.

    Keras would read them too, but leaves some layers as they are where a file has others.
    """
    try:
        with zipfile.ZipFile(path) if path.suffix == ".keras" else path.open("rb") as opened:
            content = opened.read("model.weights.h5") if isinstance(opened, zipfile.ZipFile) else opened.read()
        with h5py.File(io.BytesIO(content)) as file:
            groups = [file]
            file.visititems(lambda _, found: groups.append(found) if isinstance(found, h5py.Group) else None)
            for group in (group["layers"] for group in groups if "layers" in group):  # a trunk may be a layer itself
                found = [_variables(group, name) for name in _stored_names(network)]
                weights = [array for arrays in found for array in arrays]
                if [array.shape for array in weights] == [weight.shape for weight in network.weights]:
                    return weights
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"classifier.initial_weights={path} cannot be read: {error}") from error
    return None


def _stored_names(network: keras.Model) -> Iterator[str]:
    """What Keras calls the layers with weights in a file, in order."""
    counts: collections.Counter[str] = collections.Counter()
    for layer in network.layers:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", type(layer).__name__).lower()
        if layer.weights:
            yield f"{name}_{counts[name]}" if counts[name] else name
        counts[name] += 1


def _variables(group: h5py.Group, name: str) -> list[np.ndarray]:
    stored = group[name]["vars"] if name in group else {}
    return [np.asarray(stored[index]) for index in sorted(stored, key=int)]


def _imagenet(architecture: Architecture) -> list[np.ndarray]:
    try:
        return architecture.imagenet().get_weights()
    except Exception as error:  # Keras raises this very class where a download fails
        raise ValueError(
            "the ImageNet weights could not be fetched; where this machine has no network, put the file that the "
            f"address below ends with into ~/.keras/models (or models of KERAS_HOME): {error}"
        ) from error
