"""A feature network in a folder: a SavedModel that loads without tfcxr, its weights for tfcxr, and a description.

    backbone = load_backbone("saved_models/xrv/1")        # a frozen DenseNet
    features = backbone.pooled(backbone.from_signed(images))

`serving_default`: `image` float32 [batch, height, width, 1] in [-1, 1], as everywhere in tfcxr -> `features` float32
[batch, features], `logits` float32 [batch, classes] where the network has a classifier, and feature maps of the image
as it comes where it has `maps`. The network's own value range, its three channels and its resizing are inside. It can
be differentiated, so it serves as a feature extractor, as SRGAN's content model (`output=features` there) and, with
maps, as a critic's eye. `weights.weights.h5` holds the weights, and `backbone.json` says where they came from and,
under "settings", of what network they are.
"""

import json
import math
import os
import pathlib
from typing import Any

import tensorflow as tf

from tfcxr.backbones.base import VALUE_RANGES, Backbone
from tfcxr.backbones.densenet import DenseNet
from tfcxr.backbones.saved_network import save_quietly
from tfcxr.precision import precision_scope

DESCRIPTION_FILE = "backbone.json"
WEIGHTS_FILE = "weights.weights.h5"
ARCHITECTURE = ("growth_rate", "block_config", "initial_filters", "bottleneck_size", "classes", "channels")
WRITERS = "tfcxr.port"


class ServedBackbone(tf.Module):
    """The function that is exported, `loaded.extract` of `tf.saved_model.load`."""

    def __init__(self, model: Backbone) -> None:
        super().__init__(name="tfcxr")
        self._weights = [variable.value for variable in model.variables]

        def extract(image: tf.Tensor) -> dict[str, tf.Tensor]:
            pixels = tf.shape(image)[1:3]
            checks = []
            if not model.input_size:  # else every size is resized
                message = [f"images need at least {model.smallest_size} pixels a side, got", pixels]
                checks.append(tf.debugging.Assert(tf.reduce_min(pixels) >= model.smallest_size, message))
            with tf.control_dependencies(checks):
                image = model.from_signed(image)
                features = model.pooled(image)
            outputs = {"features": features} | ({"logits": model.classify(features)} if model.classes else {})
            return outputs | (model.maps(image) if hasattr(model, "maps") else {})

        spec = tf.TensorSpec([None, None, None, 1], tf.float32, "image")
        self.extract = tf.function(extract, input_signature=[spec], autograph=False)


def write_saved_model(model: Backbone, folder: str | os.PathLike) -> None:
    """Writes the SavedModel alone.

    Raises:
      OSError: no space or permission.
    """
    served = ServedBackbone(model)
    save_quietly(served, folder, served.extract)


def describe_network(model: Backbone) -> dict[str, Any]:
    """The entries "input" and "outputs" of the description, ready for JSON."""
    return {
        "input": {
            "image": "float32 [batch, height, width, 1] in [-1, 1]",
            "network_channels": model.channels,
            "network_value_range": VALUE_RANGES[model.value_range].text,
            "resized_to": model.input_size or None,
            "smallest_size": 1 if model.input_size else model.smallest_size,
        },
        "outputs": {"features": model.feature_count}
        | ({"logits": model.classes} if model.classes else {})
        | getattr(model, "map_channels", {}),
    }


def read_backbone(folder: str | os.PathLike) -> dict[str, Any]:
    """The description of a DenseNet; its "settings" hold all that `DenseNet` is made with, but for the seed.

    Raises:
      FileNotFoundError: no such folder, or no description in it.
      ValueError: a description that cannot be read, or that is of another network than a DenseNet.
    """
    folder = pathlib.Path(folder)
    path = folder / DESCRIPTION_FILE
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; give one that {WRITERS} wrote")
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no feature network, it has no {DESCRIPTION_FILE}{_hint(folder)}")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        settings = dict(description["settings"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}); write the folder anew") from error
    if missing := [name for name in (*ARCHITECTURE, "value_range") if name not in settings]:
        raise ValueError(
            f"{folder} holds a network of format {description.get('format')!r}, which is no DenseNet: "
            f"its settings have no {missing[0]}"
        )
    return description


def load_backbone(folder: str | os.PathLike) -> DenseNet:
    """The DenseNet of a folder that `tfcxr.port` wrote, frozen, in float32.

    Raises:
      FileNotFoundError: no such folder, or no description or weights in it.
      ValueError: a damaged description, another network than a DenseNet, or weights that do not fit.
    """
    settings = read_backbone(folder)["settings"]
    path = pathlib.Path(folder) / WEIGHTS_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {WEIGHTS_FILE}; write the folder anew with {WRITERS}")
    ranges = {value_range.text: name for name, value_range in VALUE_RANGES.items()}
    thresholds = [math.nan if value is None else value for value in settings.get("op_thresholds", [])]
    try:
        with precision_scope("float32"):
            model = DenseNet(
                **{name: settings[name] for name in ARCHITECTURE},
                value_range=ranges.get(settings["value_range"], settings["value_range"]),
                input_size=settings.get("input_size", 0),
                op_thresholds=thresholds,
            )
            model.load_weights(path)
    except (ValueError, TypeError, KeyError, OSError) as error:
        what = " ".join(str(error).split())
        raise ValueError(f"{path} does not fit the settings in {DESCRIPTION_FILE}, or is damaged: {what}") from error
    model.trainable = False
    return model


def _hint(folder: pathlib.Path) -> str:
    """Offers the newest version inside the folder, or says who writes such folders."""
    versions = sorted(path.parent.name for path in folder.glob(f"*/{DESCRIPTION_FILE}"))
    return f"; did you mean {folder / versions[-1]}?" if versions else f"; give a folder that {WRITERS} wrote"
