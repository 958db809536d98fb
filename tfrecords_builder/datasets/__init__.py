"""The raw data sets the builder reads. A new one is one file here and one line in `DATASETS`."""

import inspect
import typing
from collections.abc import Sequence
from typing import Any

from tfcxr.registry import find, nearest_name
from tfrecords_builder.datasets.chest_xray_pneumonia import ChestXrayPneumonia
from tfrecords_builder.datasets.chestxray8 import ChestXray8
from tfrecords_builder.datasets.chexpert import Chexpert
from tfrecords_builder.datasets.covid19_radiography import Covid19Radiography
from tfrecords_builder.datasets.covid_chestxray import CovidChestxray
from tfrecords_builder.datasets.image_folder import ImageFolder
from tfrecords_builder.datasets.image_table import ImageTable
from tfrecords_builder.datasets.lera import Lera
from tfrecords_builder.datasets.mimic_cxr_jpg import MimicCxrJpg
from tfrecords_builder.datasets.mura import Mura
from tfrecords_builder.datasets.nih_chestxray14 import NihChestXray14
from tfrecords_builder.datasets.padchest import PadChest
from tfrecords_builder.datasets.phantom import Phantom
from tfrecords_builder.datasets.reader import Reader
from tfrecords_builder.datasets.rsna_pneumonia import RsnaPneumonia

DATASETS: dict[str, type[Reader]] = {
    "chest_xray_pneumonia": ChestXrayPneumonia,
    "chestxray8": ChestXray8,
    "chexpert": Chexpert,
    "covid19_radiography": Covid19Radiography,
    "covid_chestxray": CovidChestxray,
    "image_folder": ImageFolder,
    "image_table": ImageTable,
    "lera": Lera,
    "mimic_cxr_jpg": MimicCxrJpg,
    "mura": Mura,
    "nih_chestxray14": NihChestXray14,
    "padchest": PadChest,
    "phantom": Phantom,
    "rsna_pneumonia": RsnaPneumonia,
}

_TRUTH = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def make_reader(name: str, raw_dir: str = "", settings: Sequence[str] = ()) -> Reader:
    """A reader by its registry name.

    Args:
      name: a key of `DATASETS`, or the path of a file that registers one.
      raw_dir: the raw folder; empty for a data set that needs none.
      settings: `name=value` texts for further arguments of the reader's constructor.

    Raises:
      ValueError: an unknown data set or setting (the nearest name is offered), or a value of another type.
      FileNotFoundError: the raw folder is missing or not in the published layout.
    """
    name, reader_class = find(DATASETS, name, "data set")
    expected = reader_settings(reader_class)
    arguments = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"expected --set name=value, got {setting!r}")
        if key not in expected:
            raise ValueError(f"data set {name} has no setting {key!r}; {nearest_name(key, expected)}")
        arguments[key] = _parse(text, expected[key], f"{name} setting {key}")
    return reader_class(raw_dir, **arguments)


def reader_settings(reader_class: type[Reader]) -> dict[str, Any]:
    """Name -> type of the constructor's arguments beside `raw_dir`."""
    hints = typing.get_type_hints(reader_class.__init__)
    names = inspect.signature(reader_class.__init__).parameters
    return {name: hints[name] for name in names if name not in ("self", "raw_dir")}


def _parse(text: str, expected: Any, what: str) -> Any:
    """`text` as the first of the expected types (a type or a union of types) that it can be."""
    for option in typing.get_args(expected) or (expected,):
        word = text.strip().lower()
        if option is type(None) and word == "none":
            return None
        if option is bool and word in _TRUTH:
            return _TRUTH[word]
        if option is str:
            return text
        if option in (int, float):
            try:
                return option(text)
            except ValueError:
                continue
    raise ValueError(f"{what} expects {getattr(expected, '__name__', expected)}, got {text!r}")
