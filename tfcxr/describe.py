"""Lists what a name on the command line may be, or says of one its settings, defaults and sources.

python -m tfcxr describe
python -m tfcxr describe cgan tstr
"""

import dataclasses
import inspect
import itertools
from collections.abc import Callable
from typing import Any

from tfcxr import command_line
from tfcxr.benchmarks import MEASUREMENTS
from tfcxr.command_line import Arguments, flag
from tfcxr.config import settings_text
from tfcxr.evaluation.extractors import CLASSIFIERS
from tfcxr.evaluation.protocols import PROTOCOLS
from tfcxr.models import MODELS
from tfcxr.porting import FORMATS
from tfcxr.registry import Registry, nearest_name
from tfcxr.startup import tensorflow_started


@dataclasses.dataclass(frozen=True, kw_only=True)
class DescribeArguments(Arguments):
    """What is described.

    Attributes:
      names: Models, protocols, classifiers, checkpoint formats or measurements; all, a line each, where none is given.
    """

    names: tuple[str, ...] = flag((), is_positional=True)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A registry whose names a flag takes.

    Attributes:
      flag: that takes them.
      what: such an entry, in the plural.
      entries: the registry.
      settings: an entry -> the text on its settings.
    """

    flag: str
    what: str
    entries: Registry
    settings: Callable[[str, Any], str]


def describe(arguments: DescribeArguments) -> None:
    """Prints a line for each name there is, or all about those that are given.

    Raises:
      ValueError: an unknown name; the nearest is offered.
    """
    kinds = {name: kind for kind in KINDS for name in kind.entries}
    for name in arguments.names:
        if name not in kinds:
            raise ValueError(
                f"unknown name {name!r}; {nearest_name(name, kinds)}. Data sets: python -m tfrecords_builder describe"
            )
    for name in arguments.names:
        kind = kinds[name]
        print(f"--{kind.flag}={name}: {kind.entries.docstring(name)}\n", flush=True)
        with tensorflow_started():
            entry = kind.entries[name]
        print(kind.settings(name, entry), end="\n\n")
    if not arguments.names:
        for kind in KINDS:
            print(f"{kind.what}, --{kind.flag}=:")
            for text, names in itertools.groupby(kind.entries, kind.entries.docstring):
                print(f"  {', '.join(names):<18}{text.splitlines()[0]}")
        print("Data sets: python -m tfrecords_builder describe\nOf one of these: python -m tfcxr describe NAME")


def _model_settings(name: str, model: Any) -> str:
    return f"  --batch_size={model.config_class.usual_batch_size}\n{settings_text(model.config_class)}"


def _protocol_settings(name: str, protocol: Any) -> str:
    return f"{protocol.question}\n\n{settings_text(protocol.settings_class, f'{name}.')}"


def _classifier_settings(name: str, architecture: Any) -> str:
    from tfcxr.evaluation.extractors.classifier_config import ClassifierConfig

    about = inspect.getdoc(architecture.trunk) or ""
    defaults = {**architecture.defaults, "architecture": name}
    return f"{about}\n\n{settings_text(ClassifierConfig, 'classifier.', defaults)}"


def _format_settings(name: str, port_format: Any) -> str:
    parameters = list(inspect.signature(port_format.port).parameters.values())[1:]
    options = "\n".join(f"  --set={parameter.name}={parameter.default}" for parameter in parameters)
    return f"{inspect.getdoc(port_format.port)}\n\n{options or '  no options'}"


def _measurement_settings(name: str, measurement: Any) -> str:
    return inspect.getdoc(measurement.measure) or ""


KINDS = (
    Kind("model", "Models", MODELS, _model_settings),
    Kind("protocols", "Protocols", PROTOCOLS, _protocol_settings),
    Kind("classifier", "Classifiers", CLASSIFIERS, _classifier_settings),
    Kind("format", "Checkpoint formats", FORMATS, _format_settings),
    Kind("measure", "Measurements", MEASUREMENTS, _measurement_settings),
)


if __name__ == "__main__":
    command_line.run(describe)
