"""Feature maps of a frozen network at several depths, as a discriminator reads them.

    maps = open_frozen_maps("xception.keras:values=signed", image_size=64)
    fine, *_, coarse = maps(images)

Gradients pass through to the images. The weights never move: watch the trained ones alone (`tfcxr.losses.weight_tape`),
since a plain tape watches these too.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfcxr.backbones.bilinear_resize import resize_antialiased
from tfcxr.backbones.frozen_network import VALUES, check_values
from tfcxr.backbones.network_file import NetworkFile, open_network_file, split_options
from tfcxr.layers.channels import with_channels
from tfcxr.precision import precision_scope
from tfcxr.registry import nearest_name

DEPTHS = 4  # maps by default: Sauer et al. 2021 read four
SMALLEST_MAP = 4  # pixels
SAME_LEVEL = 2 / 3  # a map of less than this part of another's size is of a deeper level
Maps = dict[str, Any]  # name of a layer or output -> its tensor, in the order in which they are computed
Choose = Callable[[list[str]], tuple[Callable[[tf.Tensor], list[tf.Tensor]], list[Any]]]  # -> compute, weights


@dataclasses.dataclass(frozen=True)
class FrozenMaps:
    """float32 images [batch, size, size, 1 or 3] in [-1, 1] -> maps float [batch, map size, map size, channels].

    Attributes:
      sha256: of the file.
      size: pixels of the images that the network sees.
      names: of the layers or outputs, from the finest map to the coarsest.
      shapes: (pixels, channels) of each map.
      compute: the maps of images of `size`, in the network's channels and range of values.
      channels: of the images that the network takes.
      values: range of their values, of `VALUES`.
      weights: TensorFlow objects that hold the fixed variables, for an export.
    """

    sha256: str
    size: int
    names: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    compute: Callable[[tf.Tensor], list[tf.Tensor]]
    channels: int
    values: str
    weights: list[Any]

    @property
    def parameters(self) -> int:
        """Numbers that the network computes the maps with."""
        return sum(int(tf.size(part)) for part in self.weights if isinstance(part, tf.Variable))

    def __call__(self, image: tf.Tensor) -> list[tf.Tensor]:
        resized = resize_antialiased(image, self.size)
        return self.compute(VALUES[self.values](with_channels(resized, self.channels)))


def open_frozen_maps(
    text: str, image_size: int, size: int = 0, precision: str = "float32", expected_sha256: str = ""
) -> FrozenMaps:
    """A network by its path, with options behind it: `PATH:values=signed:layers=a,b,c,d`.

    Options:
      values: the range that the network takes, one of `VALUES`; "signed", [-1, 1], by default.
      layers: of a .keras file, whose nested models count as their layers; by default the last one at each of the four
        coarsest resolutions. Outputs of a SavedModel; by default all that are maps.

    Args:
      text: the path with its options.
      image_size: pixels of the images, used where the network takes any size.
      size: pixels that the network sees; 0 is its own input size, or `image_size` where it has none.
      precision: "mixed_bfloat16" computes the layers of a .keras file in bfloat16; a SavedModel computes as it is.
      expected_sha256: of the file when a run began; empty accepts any.

    Raises:
      FileNotFoundError: no such file or folder.
      ValueError: an unknown option or layer, no map of at least `SMALLEST_MAP` pixels, a SavedModel of another size, or
        see `open_network_file`.
    """
    path, options = split_options(text, {"values": "signed", "layers": ""})
    check_values(text, options["values"])
    file = open_network_file(path, expected_sha256)
    size = size or file.input_size or image_size
    if file.model is None:
        maps, choose = _saved_model_maps(file, size)
    else:
        maps, choose = _keras_maps(file, size, precision)
    shapes = {name: tuple(found.shape[1:]) for name, found in maps.items()}
    usable = {name: shape for name, shape in shapes.items() if _is_map(shape)}
    if not usable:
        raise ValueError(
            f"{path} is too small a network at {size} px: it has no square feature map of at least {SMALLEST_MAP} px; "
            "set critic_size to more pixels, or choose another network"
        )
    chosen = list(usable) if file.model is None else _coarsest(usable)
    names = options["layers"].split(",") if options["layers"] else chosen
    for name in names:
        if name not in shapes:
            raise ValueError(f"{path} has no layer {name!r}; {nearest_name(name, usable)}")
        if name not in usable:
            raise ValueError(
                f"{path}: layer {name!r} gives {list(shapes[name])} values per image at {size} px, expected a square "
                f"map [size, size, channels] of at least {SMALLEST_MAP} px"
            )
    names = sorted(names, key=lambda name: -usable[name][0])
    compute, weights = choose(names)
    return FrozenMaps(
        sha256=file.sha256,
        size=size,
        names=tuple(names),
        shapes=tuple((usable[name][0], usable[name][2]) for name in names),
        compute=compute,
        channels=file.channels,
        values=options["values"],
        weights=weights,
    )


def _is_map(shape: tuple[int | None, ...]) -> bool:
    return len(shape) == 3 and None not in shape and shape[0] == shape[1] >= SMALLEST_MAP


def _coarsest(shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """The last layer at each of the coarsest resolutions."""
    levels: list[list[str]] = []
    for name in sorted(shapes, key=lambda name: -shapes[name][0]):  # stable: layers of one size stay in order
        if levels and shapes[name][0] > SAME_LEVEL * shapes[levels[-1][0]][0]:
            levels[-1].append(name)
        else:
            levels.append([name])
    return [level[-1] for level in levels[-DEPTHS:]]


def _keras_maps(file: NetworkFile, size: int, precision: str) -> tuple[Maps, Choose]:
    maps: Maps = {}
    with precision_scope(precision):
        image = keras.Input([size, size, file.channels])
        try:
            _call_layers(file.model, image, maps, precision)
        except ValueError:  # a dense layer behind the maps may take no other size
            if size == file.input_size or not maps:
                raise

    def choose(names: list[str]) -> tuple[Callable[[tf.Tensor], list[tf.Tensor]], list[Any]]:
        with precision_scope(precision):
            network = keras.Model(image, [maps[name] for name in names])
        network.trainable = False
        compute = lambda image: tf.nest.flatten(network(image, training=False))  # noqa: E731  # one map comes bare
        return compute, [variable.value for variable in network.variables]

    return maps, choose


def _call_layers(model: keras.Model, image: Any, maps: Maps, precision: str) -> Any:
    """Calls the layers of a model and of its nested models on a symbolic image, and notes what each makes."""

    def call(layer: keras.layers.Layer, *inputs: Any, **keywords: Any) -> Any:
        if isinstance(layer, keras.Model):
            return _call_layers(layer, *inputs, maps, precision)
        layer.dtype_policy = precision
        output = layer(*inputs, **keywords)
        if hasattr(output, "shape"):
            maps[layer.name] = output
        return output

    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            image = call(layer, image)
        return image
    same = lambda layer: layer  # noqa: E731
    inputs = keras.tree.pack_sequence_as(model.input, [image])
    return keras.models.clone_model(model, inputs, clone_function=same, call_function=call).output


def _saved_model_maps(file: NetworkFile, size: int) -> tuple[Maps, Choose]:
    if file.input_size not in (None, size):
        raise ValueError(f"{file.path} takes images of {file.input_size} px alone, got critic_size={size}")
    maps = file.function(tf.zeros([1, size, size, file.channels]))

    def choose(names: list[str]) -> tuple[Callable[[tf.Tensor], list[tf.Tensor]], list[Any]]:
        def compute(image: tf.Tensor) -> list[tf.Tensor]:
            outputs = file.function(image)  # of no known size where the network takes any
            return [tf.ensure_shape(outputs[name], [None, *maps[name].shape[1:]]) for name in names]

        return compute, [file.loaded, *file.loaded.signatures["serving_default"].variables]

    return maps, choose
