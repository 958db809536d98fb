"""Feature networks that are not trained here: a ported backbone's folder, any SavedModel, any .keras file.

    network = open_frozen_network("saved_models/xrv/1")
    network = open_frozen_network("xception.keras:layer=avg_pool:values=signed")
    features = network.features(images)

Images become what the network takes: antialiased bicubic resizing where it has an input size, grey repeated for three
channels, and its range of values (`VALUES`). All that the features depend on stands in the passport.
"""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcxr.backbones.base import VALUE_RANGES
from tfcxr.backbones.network_file import NetworkFile, open_network_file, split_options
from tfcxr.backbones.stored_backbone import DESCRIPTION_FILE
from tfcxr.data.pipeline import from_pixels
from tfcxr.data.stored_images import Images, read_batches
from tfcxr.layers.channels import with_channels
from tfcxr.precision import graphs_in, has_bfloat16
from tfcxr.registry import nearest_name

# range of values -> from images in [-1, 1]
VALUES: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "signed": lambda image: image,
    "pixels": lambda image: (image + 1.0) * 127.5,
    **{name: value_range.from_signed for name, value_range in VALUE_RANGES.items()},
}
VALUE_TEXTS = {"signed": "[-1, 1]", "pixels": "[0, 255]"} | {name: of.text for name, of in VALUE_RANGES.items()}
RESIZE = "bicubic, antialiased"
PRECISIONS = ("float32", "bfloat16")
BATCH_PIXELS = 2**21  # of the network's input at once
IMAGE_PIXELS = 2**24  # of images at once, before they are resized
POOLING = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)


@dataclasses.dataclass(frozen=True)
class FrozenNetwork:
    """A network with fixed weights.

    Attributes:
      name: of its file or folder.
      passport: all that its features depend on, ready for JSON.
      extract: float32 images [batch, size, size, 1] in [-1, 1] -> float32 features [batch, features].
      network: of a .keras file, what computes its features; None of a SavedModel.
      batch_pixels: of the network's input at once.
      graphs: by image size, what is traced once.
    """

    name: str
    passport: dict[str, Any]
    extract: Callable[[tf.Tensor], tf.Tensor]
    network: keras.Model | None = None
    batch_pixels: int = BATCH_PIXELS
    graphs: dict[int, Callable[[np.ndarray], tf.Tensor]] = dataclasses.field(default_factory=dict)

    def features(self, images: Images) -> np.ndarray:
        """Features float32 [images, features] of uint8 images [images, size, size, 1], a batch in memory at a time.

        Raises:
          ValueError: a feature is NaN or infinite, or the network does not take images of this size.
        """
        size = images.shape[1]
        side = self.passport["input_size"] or size
        if size not in self.graphs:
            spec = tf.TensorSpec([None, size, size, 1], tf.uint8)
            graph = tf.function(lambda batch: self.extract(from_pixels(batch)), input_signature=[spec], autograph=False)
            self.graphs[size] = graph
        extract = self.graphs[size]
        try:
            with graphs_in(self.passport["precision"]):
                rows = max(1, min(self.batch_pixels // side**2, IMAGE_PIXELS // size**2))
                batches = [extract(batch).numpy() for batch in read_batches(images, rows)]
        except (ValueError, tf.errors.OpError) as error:
            what = " ".join(str(error).split())[:300]
            raise ValueError(f"{self.name} does not take images of {size} px: {what}") from error
        found = np.concatenate(batches)
        if found.ndim != 2:
            raise ValueError(
                f"{self.name} gives {list(found.shape[1:])} values per image, expected one row; choose another layer: "
                f"{self.name}:layer=NAME"
            )
        if not np.isfinite(found).all():
            rows = int((~np.isfinite(found)).any(axis=1).sum())
            raise ValueError(f"{self.name} gives NaN or infinite features for {rows} of {len(found)} images")
        return found


def open_frozen_network(text: str, expected_sha256: str = "") -> FrozenNetwork:
    """A network by its path, with options behind it: `PATH:layer=NAME:values=signed`.

    Options:
      layer: of a .keras file, or an output of a SavedModel; by default the last global pooling, or the only output.
      values: the range that the network takes, one of `VALUES`; "signed", [-1, 1], by default.
      precision: "float32", the default, or "bfloat16", faster on processors that have it; features differ by up to 1 %
        of the largest, so they are others in the passport.

    Args:
      text: the path with its options.
      expected_sha256: of the file when a run began; empty accepts any.

    Raises:
      FileNotFoundError: no such file or folder.
      ValueError: an unknown option, no such layer, or see `open_network_file`.
    """
    path, settings = split_options(text, {"layer": "", "values": "signed", "precision": "float32"})
    values, precision = settings["values"], settings["precision"]
    check_values(text, values)
    if precision not in PRECISIONS:
        raise ValueError(f"{text}: precision={precision} is unknown; {nearest_name(precision, PRECISIONS)}")
    if precision == "bfloat16" and (tf.config.list_physical_devices("GPU") or not has_bfloat16()):
        raise ValueError(f"{text}: precision=bfloat16 is for processors that have it, and this one has not")
    file = open_network_file(path, expected_sha256)
    make = _saved_model_network if file.model is None else _keras_network
    network = make(file, settings["layer"], values)
    return dataclasses.replace(network, passport=network.passport | {"precision": precision}, graphs={})


def check_values(text: str, values: str) -> None:
    """Checks the option `values` of a frozen network's text.

    Raises:
      ValueError: it is none of `VALUES`.
    """
    if values not in VALUES:
        raise ValueError(f"{text}: values={values} is unknown; {nearest_name(values, VALUES)}")


def _keras_network(file: NetworkFile, layer: str, values: str) -> FrozenNetwork:
    path, model = file.path, file.model
    layers = {found.name: found for found in model.layers}
    pooling = [name for name, found in layers.items() if isinstance(found, POOLING)]
    if layer and layer not in layers:
        raise ValueError(f"{path} has no layer {layer!r}; {nearest_name(layer, layers)}")
    if not layer and not pooling:
        raise ValueError(f"{path} has no global pooling; choose a layer: {path}:layer=NAME; {', '.join(layers)}")
    chosen = layer or pooling[-1]
    network = keras.Model(model.inputs, layers[chosen].output)
    facts = {"network": "a .keras file", "sha256": file.sha256, "layer": chosen}
    opened = _network(path.name, file, lambda image: network(image, training=False), facts, values)
    return dataclasses.replace(opened, network=network)


def _saved_model_network(file: NetworkFile, output: str, values: str) -> FrozenNetwork:
    folder, outputs = file.path, file.outputs
    output = output or ("features" if "features" in outputs else next(iter(outputs)) if len(outputs) == 1 else "")
    if output not in outputs:
        raise ValueError(f"{folder} has no output {output!r}; {nearest_name(output, outputs)}: {folder}:layer=NAME")
    description = folder / DESCRIPTION_FILE
    facts = {"network": "a SavedModel", "sha256": file.sha256, "layer": output}
    if description.is_file():  # a backbone of ours has its own size, values and channels inside
        facts["network"] = json.loads(description.read_text(encoding="utf-8"))["input"]
    return _network(str(folder), file, lambda image: file.function(image)[output], facts, values)


def _network(
    name: str, file: NetworkFile, call: Callable[[tf.Tensor], tf.Tensor], facts: dict[str, Any], values: str
) -> FrozenNetwork:
    def extract(image: tf.Tensor) -> tf.Tensor:  # `file` lives as long, and a SavedModel with it
        if file.input_size and image.shape[1] != file.input_size:
            image = tf.image.resize(image, [file.input_size, file.input_size], "bicubic", antialias=True)
        return tf.cast(call(VALUES[values](with_channels(image, file.channels))), tf.float32)

    passport = {
        **facts,
        "input_size": file.input_size,
        "resize": RESIZE if file.input_size else "none",
        "values": VALUE_TEXTS[values],
        "channels": file.channels,
    }
    return FrozenNetwork(name, passport, extract)
