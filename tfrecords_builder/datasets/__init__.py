"""The raw data sets the builder reads. A new one is one file here and one line in `DATASETS`."""

import inspect
import typing
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import logging

from tfcxr.config import describe_type
from tfcxr.registry import Registry, find, nearest_name

if TYPE_CHECKING:  # it brings OpenCV, and names are listed without
    from tfrecords_builder.datasets.reader import Reader

DATASETS: Registry[type["Reader"]] = Registry(
    chest_xray_pneumonia="tfrecords_builder.datasets.chest_xray_pneumonia:ChestXrayPneumonia",
    chestxray8="tfrecords_builder.datasets.chestxray8:ChestXray8",
    chexpert="tfrecords_builder.datasets.chexpert:Chexpert",
    covid19_radiography="tfrecords_builder.datasets.covid19_radiography:Covid19Radiography",
    covid_chestxray="tfrecords_builder.datasets.covid_chestxray:CovidChestxray",
    image_folder="tfrecords_builder.datasets.image_folder:ImageFolder",
    image_table="tfrecords_builder.datasets.image_table:ImageTable",
    lera="tfrecords_builder.datasets.lera:Lera",
    mimic_cxr_jpg="tfrecords_builder.datasets.mimic_cxr_jpg:MimicCxrJpg",
    mura="tfrecords_builder.datasets.mura:Mura",
    nih_chestxray14="tfrecords_builder.datasets.nih_chestxray14:NihChestXray14",
    padchest="tfrecords_builder.datasets.padchest:PadChest",
    phantom="tfrecords_builder.datasets.phantom:Phantom",
    rsna_pneumonia="tfrecords_builder.datasets.rsna_pneumonia:RsnaPneumonia",
)

_TRUTH = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def full_name(name: str) -> str:
    """The data set that a name means: its own, or the only one that begins so, such as "nih"; paths stay as they are.

    Raises:
      ValueError: no data set begins so (the nearest name is offered), or several do.
    """
    if name in DATASETS or name.endswith(".py"):
        return name
    begun = [known for known in DATASETS if name and known.startswith(name)]
    if len(begun) > 1:
        raise ValueError(f"data set {name!r} may be {', '.join(begun)}; write more of the name")
    if not begun:
        raise ValueError(f"unknown data set {name!r}; {nearest_name(name, DATASETS)}")
    logging.info("%s is taken for data set %s", name, begun[0])
    return begun[0]


def make_reader(name: str, raw_dir: str = "", settings: Sequence[str] = ()) -> "Reader":
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


def reader_settings(reader_class: type["Reader"]) -> dict[str, Any]:
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
    raise ValueError(f"{what} expects {describe_type(expected)}, got {text!r}")
