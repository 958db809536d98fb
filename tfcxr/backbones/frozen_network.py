"""Feature networks that are not trained here: a ported backbone's folder, any SavedModel, any .keras file.

    network = open_frozen_network("saved_models/xrv/1")
    network = open_frozen_network("xception.keras:layer=avg_pool:values=signed")
    features = network.features(images)

Images become what the network takes: antialiased bicubic resizing where it has an input size, grey repeated for three
channels, and its range of values (`VALUES`). All that the features depend on stands in the passport.
"""

import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcxr.backbones.base import VALUE_RANGES
from tfcxr.backbones.saved_network import folder_sha256
from tfcxr.backbones.stored_backbone import DESCRIPTION_FILE
from tfcxr.data.pipeline import from_pixels
from tfcxr.data.records import file_sha256
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
# what a .keras file may name: classes without code of the file's author, and none of Keras's helpers for files
KERAS_MODULES = (
    *("keras", "keras.models", "keras.src.models.functional", "keras.src.models.sequential"),
    *("keras.layers", "keras.initializers", "keras.regularizers", "keras.constraints", "keras.activations"),
    *("keras.optimizers", "keras.optimizers.schedules", "keras.losses", "keras.metrics"),
)
MODEL_CLASSES = ("Functional", "Sequential")  # are registered under their names
TENSOR = "__keras_tensor__"  # an input of a layer, not a class
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


def open_frozen_network(text: str) -> FrozenNetwork:
    """A network by its path, with options behind it: `PATH:layer=NAME:values=signed`.

    Options:
      layer: of a .keras file, or an output of a SavedModel; by default the last global pooling, or the only output.
      values: the range that the network takes, one of `VALUES`; "signed", [-1, 1], by default.
      precision: "float32", the default, or "bfloat16", faster on processors that have it; features differ by up to 1 %
        of the largest, so they are others in the passport.

    Raises:
      FileNotFoundError: no such file or folder.
      ValueError: an unknown option, a file that is no network or holds code, no such layer, or a network that does not
        take one image.
    """
    path_text, *options = text.split(":")
    settings = {"layer": "", "values": "signed", "precision": "float32"}
    for option in options:
        name, _, value = option.partition("=")
        if name not in settings or not value:
            raise ValueError(f"{text}: {option!r} is no option of an extractor; {nearest_name(name, settings)}")
        settings[name] = value
    if settings["values"] not in VALUES:
        raise ValueError(f"{text}: values={settings['values']} is unknown; {nearest_name(settings['values'], VALUES)}")
    if (precision := settings["precision"]) not in PRECISIONS:
        raise ValueError(f"{text}: precision={precision} is unknown; {nearest_name(precision, PRECISIONS)}")
    if precision == "bfloat16" and (tf.config.list_physical_devices("GPU") or not has_bfloat16()):
        raise ValueError(f"{text}: precision=bfloat16 is for processors that have it, and this one has not")
    network = _open(pathlib.Path(path_text), settings["layer"], settings["values"])
    return dataclasses.replace(network, passport=network.passport | {"precision": precision}, graphs={})


def _open(path: pathlib.Path, layer: str, values: str) -> FrozenNetwork:
    if path.is_file():
        return _open_keras_file(path, layer, values)
    for folder in (path, *sorted(path.glob("[0-9]*"), key=lambda entry: entry.name.zfill(20), reverse=True)):
        if (folder / "saved_model.pb").is_file():
            return _open_saved_model(folder, layer, values)
    raise FileNotFoundError(
        f"{path} is neither a .keras file nor the folder of a SavedModel; python -m tfcxr.port writes one of a "
        "published network"
    )


def _open_keras_file(path: pathlib.Path, layer: str, values: str) -> FrozenNetwork:
    _refuse_code(path)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} cannot be loaded as a Keras model: {' '.join(str(error).split())[:300]}") from error
    if len(getattr(model, "inputs", None) or ()) != 1 or len(model.inputs[0].shape) != 4:
        raise ValueError(f"{path} must take one input [batch, height, width, channels]")
    layers = {found.name: found for found in model.layers}
    pooling = [name for name, found in layers.items() if isinstance(found, POOLING)]
    if layer and layer not in layers:
        raise ValueError(f"{path} has no layer {layer!r}; {nearest_name(layer, layers)}")
    if not layer and not pooling:
        raise ValueError(f"{path} has no global pooling; choose a layer: {path}:layer=NAME; {', '.join(layers)}")
    chosen = layer or pooling[-1]
    _, height, width, channels = model.inputs[0].shape
    network = keras.Model(model.inputs, layers[chosen].output)
    opened = _network(
        path.name,
        lambda image: network(image, training=False),
        {"network": "a .keras file", "sha256": file_sha256(path), "layer": chosen},
        _square(height, width, path),
        _channels(channels, path),
        values,
    )
    return dataclasses.replace(opened, network=network)


def _open_saved_model(folder: pathlib.Path, output: str, values: str) -> FrozenNetwork:
    try:
        loaded = tf.saved_model.load(str(folder))
        function = loaded.signatures["serving_default"]
    except (OSError, KeyError, tf.errors.OpError, UnicodeDecodeError) as error:
        raise ValueError(f"{folder} is damaged or has no signature serving_default: {error}") from error
    inputs, outputs = function.structured_input_signature[1], function.structured_outputs
    images = {name: spec for name, spec in inputs.items() if spec.shape.rank == 4 and spec.dtype.is_floating}
    if len(inputs) != 1 or len(images) != 1:
        raise ValueError(
            f"{folder} must take one float input [batch, height, width, channels], got {', '.join(map(str, inputs))}"
        )
    output = output or ("features" if "features" in outputs else next(iter(outputs)) if len(outputs) == 1 else "")
    if output not in outputs:
        raise ValueError(f"{folder} has no output {output!r}; {nearest_name(output, outputs)}: {folder}:layer=NAME")
    ((name, spec),) = images.items()
    _, height, width, channels = spec.shape
    description = folder / DESCRIPTION_FILE
    facts = {"network": "a SavedModel", "sha256": folder_sha256(folder), "layer": output}
    if description.is_file():  # a backbone of ours has its own size, values and channels inside
        facts["network"] = json.loads(description.read_text(encoding="utf-8"))["input"]
    return _network(
        str(folder),
        lambda image: function(**{name: image})[output],
        facts,
        _square(height, width, folder),
        _channels(channels, folder),
        values,
        keeps=loaded,
    )


def _network(
    name: str,
    call: Callable[[tf.Tensor], tf.Tensor],
    facts: dict[str, Any],
    input_size: int | None,
    channels: int,
    values: str,
    keeps: Any = None,
) -> FrozenNetwork:
    def extract(image: tf.Tensor, _: Any = keeps) -> tf.Tensor:  # the SavedModel lives as long as its function
        if input_size and image.shape[1] != input_size:
            image = tf.image.resize(image, [input_size, input_size], "bicubic", antialias=True)
        return tf.cast(call(VALUES[values](with_channels(image, channels))), tf.float32)

    passport = {
        **facts,
        "input_size": input_size,
        "resize": RESIZE if input_size else "none",
        "values": VALUE_TEXTS[values],
        "channels": channels,
    }
    return FrozenNetwork(name, passport, extract)


def _square(height: int | None, width: int | None, path: pathlib.Path) -> int | None:
    if height != width:
        raise ValueError(f"{path} takes images of {height} x {width} pixels; they must be square")
    return height


def _channels(channels: int | None, path: pathlib.Path) -> int:
    if channels not in (1, 3):
        raise ValueError(f"{path} takes images of {channels} channels; they must be 1 (grey) or 3")
    return channels


def _refuse_code(path: pathlib.Path) -> None:
    """Refuses a .keras file whose configuration names anything but Keras's own classes, as code could be run by it."""
    try:
        with zipfile.ZipFile(path) as archive:
            configuration = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(f"{path} is no .keras file: {error}") from error
    for entry in _classes(configuration):
        module, name, registered = (entry.get(key) for key in ("module", "class_name", "registered_name"))
        if name == TENSOR:
            continue
        if module not in KERAS_MODULES or "Lambda" in str(name) or registered not in (None, *MODEL_CLASSES):
            raise ValueError(
                f"{path} needs {module}.{name}, which is not Keras's own or could run code; it was not loaded"
            )


def _classes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for item in value.values():
            yield from _classes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _classes(item)
