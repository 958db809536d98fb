"""Lists the data sets, or says of one how its raw folder looks, which settings it takes, and its licence.

python -m tfrecords_builder describe
python -m tfrecords_builder describe chexpert
"""

import inspect
import sys

from tfcxr.command_line import nearest_name
from tfrecords_builder.datasets import DATASETS, reader_settings


def define_flags() -> None:
    """This command has none."""


def main(arguments: list[str]) -> None:
    """Prints what `arguments` name, or a line for each data set."""
    for name in arguments:
        if name not in DATASETS:
            raise ValueError(f"unknown data set {name!r}; {nearest_name(name, DATASETS)}")
    print("\n\n".join(_whole(name) for name in arguments) or "\n".join(_line(name) for name in sorted(DATASETS)))


def _line(name: str) -> str:
    return f"{name:<22}{_text(name).splitlines()[0]}"


def _whole(name: str) -> str:
    reader = DATASETS[name]
    parameters = inspect.signature(reader.__init__).parameters
    settings = [f"  --set {key}={parameters[key].default}" for key in reader_settings(reader)]
    lines = [f"--dataset={name}: {_text(name)}", "", "Settings and their defaults:", *(settings or ["  none"])]
    for title, text in (("Source", reader.homepage), ("Cite", reader.citation), ("Licence", reader.licence)):
        if text:
            lines.append(f"{title}: {text}")
    return "\n".join(lines)


def _text(name: str) -> str:
    return inspect.cleandoc(sys.modules[DATASETS[name].__module__].__doc__)
