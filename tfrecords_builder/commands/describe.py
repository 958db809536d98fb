"""Lists the data sets, or says of one how its raw folder looks, which settings it takes, and its licence.

python -m tfrecords_builder describe
python -m tfrecords_builder describe chexpert
"""

import dataclasses
import inspect

from tfcxr.command_line import Arguments, flag
from tfrecords_builder.datasets import DATASETS, full_name, reader_settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class DescribeArguments(Arguments):
    """What to describe.

    Attributes:
      datasets: Names of data sets, or how they begin; all, in a line each, where none is given.
    """

    datasets: tuple[str, ...] = flag((), is_positional=True)


def describe(arguments: DescribeArguments) -> None:
    """Prints a line for each data set, or all about those that are named."""
    names = [full_name(name) for name in arguments.datasets]
    print("\n\n".join(map(_whole, names)) or "\n".join(map(_line, sorted(DATASETS))))


def _line(name: str) -> str:
    return f"{name:<22}{DATASETS.docstring(name).splitlines()[0]}"


def _whole(name: str) -> str:
    reader = DATASETS[name]
    parameters = inspect.signature(reader.__init__).parameters
    settings = [f"  --set {key}={parameters[key].default}" for key in reader_settings(reader)] or ["  none"]
    lines = [f"--dataset={name}: {DATASETS.docstring(name)}", "", "Settings and their defaults:", *settings]
    for title, text in (("Source", reader.homepage), ("Cite", reader.citation), ("Licence", reader.licence)):
        if text:
            lines.append(f"{title}: {text}")
    return "\n".join(lines)
