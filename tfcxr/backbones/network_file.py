"""Opens a stored network that takes one image: a .keras file without code, or a SavedModel."""

import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tfcxr.backbones.saved_network import folder_sha256
from tfcxr.data.records import file_sha256
from tfcxr.registry import nearest_name

# what a .keras file may name: classes without code of the file's author, and none of Keras's helpers for files
KERAS_MODULES = (
    *("keras", "keras.models", "keras.src.models.functional", "keras.src.models.sequential"),
    *("keras.layers", "keras.initializers", "keras.regularizers", "keras.constraints", "keras.activations"),
    *("keras.optimizers", "keras.optimizers.schedules", "keras.losses", "keras.metrics"),
)
MODEL_CLASSES = ("Functional", "Sequential")  # are registered under their names
TENSOR = "__keras_tensor__"  # an input of a layer, not a class


@dataclasses.dataclass(frozen=True)
class NetworkFile:
    """A stored network with one input, float [batch, size, size, channels].

    Attributes:
      path: of the .keras file, or the folder that holds saved_model.pb.
      sha256: over the file, or the folder's files.
      input_size: pixels of the images that it takes, None for any.
      channels: of the images, 1 or 3.
      model: of a .keras file; None of a SavedModel.
      loaded: of a SavedModel, which must live as long as its function.
      outputs: of a SavedModel by name.
      function: of a SavedModel, images -> outputs by name.
    """

    path: pathlib.Path
    sha256: str
    input_size: int | None
    channels: int
    model: keras.Model | None = None
    loaded: Any = None
    outputs: dict[str, tf.TensorSpec] = dataclasses.field(default_factory=dict)
    function: Callable[[tf.Tensor], dict[str, tf.Tensor]] | None = None


def open_network_file(path: pathlib.Path, expected_sha256: str = "") -> NetworkFile:
    """The network of a .keras file, or of a SavedModel's folder or its newest version.

    Args:
      path: of the file or folder.
      expected_sha256: of the file when a run began; empty accepts any.

    Raises:
      FileNotFoundError: no such file or folder.
      ValueError: another file than expected, a damaged file, one with code, or a network that does not take one square
        image of 1 or 3 channels.
    """
    if path.is_file():
        return _open_keras_file(path, _same(path, file_sha256(path), expected_sha256))
    for folder in (path, *sorted(path.glob("[0-9]*"), key=lambda entry: entry.name.zfill(20), reverse=True)):
        if (folder / "saved_model.pb").is_file():
            return _open_saved_model(folder, _same(path, folder_sha256(folder), expected_sha256))
    raise FileNotFoundError(
        f"{path} is neither a .keras file nor the folder of a SavedModel; python -m tfcxr.port writes one of a "
        "published network"
    )


def split_options(text: str, options: dict[str, str]) -> tuple[pathlib.Path, dict[str, str]]:
    """The path and the options of `PATH:name=value:...`; `options` holds the defaults.

    Raises:
      ValueError: an unknown option, or one without a value.
    """
    path, *given = text.split(":")
    for option in given:
        name, _, value = option.partition("=")
        if name not in options or not value:
            raise ValueError(f"{text}: {option!r} is no option of a frozen network; {nearest_name(name, options)}")
        options = options | {name: value}
    return pathlib.Path(path), options


def _same(path: pathlib.Path, sha256: str, expected: str) -> str:
    if expected not in ("", sha256):
        raise ValueError(
            f"{path} is another file than when this run began (SHA-256 {sha256[:12]}, expected {expected[:12]}); "
            "put the file back"
        )
    return sha256


def _open_keras_file(path: pathlib.Path, sha256: str) -> NetworkFile:
    _refuse_code(path)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be loaded as a Keras model: {' '.join(str(error).split())[:300]}") from error
    if len(getattr(model, "inputs", None) or ()) != 1 or len(model.inputs[0].shape) != 4:
        raise ValueError(f"{path} must take one input [batch, height, width, channels]")
    _, height, width, channels = model.inputs[0].shape
    return NetworkFile(path, sha256, *_image_size(height, width, channels, path), model=model)


def _open_saved_model(folder: pathlib.Path, sha256: str) -> NetworkFile:
    try:
        loaded = tf.saved_model.load(str(folder))
        function = loaded.signatures["serving_default"]
    except (OSError, KeyError, tf.errors.OpError, UnicodeDecodeError) as error:
        raise ValueError(f"{folder} is damaged or has no signature serving_default: {error}") from error
    inputs = function.structured_input_signature[1]
    images = {name: spec for name, spec in inputs.items() if spec.shape.rank == 4 and spec.dtype.is_floating}
    if len(inputs) != 1 or len(images) != 1:
        raise ValueError(
            f"{folder} must take one float input [batch, height, width, channels], got {', '.join(map(str, inputs))}"
        )
    ((name, spec),) = images.items()
    _, height, width, channels = spec.shape
    return NetworkFile(
        folder,
        sha256,
        *_image_size(height, width, channels, folder),
        loaded=loaded,
        outputs=function.structured_outputs,
        function=lambda image: function(**{name: image}),
    )


def _image_size(
    height: int | None, width: int | None, channels: int | None, path: pathlib.Path
) -> tuple[int | None, int]:
    if height != width:
        raise ValueError(f"{path} takes images of {height} x {width} pixels; they must be square")
    if channels not in (1, 3):
        raise ValueError(f"{path} takes images of {channels} channels; they must be 1 (grey) or 3")
    return height, channels


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
