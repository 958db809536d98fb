"""How every command reads its flags, starts and fails: a user's mistake gives one clear sentence and exit status 1.

A command is a function of one frozen dataclass, its arguments. Each field is a flag; the class's `Attributes:` say what
it means, and the module's docstring opens `--help`. Notebooks and tests call the function with the dataclass.
"""

import dataclasses
import errno
import inspect
import logging
import os
import pathlib
import re
import shlex
import sys
import textwrap
import typing
from collections.abc import Callable, Collection, Iterable
from typing import Any

from absl import flags
from absl import logging as absl_logging
from tqdm import tqdm

from tfcxr.registry import load_plugin, nearest_name
from tfcxr.threads import bound_threads

OUR_FOLDERS = (pathlib.Path(__file__).parent, pathlib.Path(__file__).parents[1] / "tfrecords_builder")
HELP_WIDTH = 100
COMMON_FLAGS = {
    "plugin": "A Python file of your own to load first, see tfcxr/registry.py; repeatable.",
    "threads": "Processor threads to compute with; all cores by default. BLAS takes one, see tfcxr/threads.py.",
    "traceback": "Show the whole traceback of an error instead of one sentence.",
}
GIVEN_PLUGINS: list[str] = []  # of the command that was parsed last, for processes that it starts
DEFINERS: dict[type, Callable[..., Any]] = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Base of a command's arguments: values outside a field's range, and unknown names, are refused.

    A field's type is bool, int, float, str, any of these or None, or a tuple of str; its flag has the field's name.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, least, most = (
                getattr(self, field.name),
                field.metadata.get("minimum"),
                field.metadata.get("maximum"),
            )
            _check_names(field, value)
            if value is None or ((least is None or value >= least) and (most is None or value <= most)):
                continue
            allowed = f"from {least:g} to {most:g}" if most is not None else f"{least:g} or more"
            raise ValueError(f"--{_flag_name(field)} must be {allowed}, got {value}")


def flag(
    default: Any = dataclasses.MISSING,
    *,
    name: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Collection[str] | None = None,
    also: tuple[str, ...] = (),
    takes_file: bool = False,
    is_repeated: bool = False,
    is_positional: bool = False,
) -> Any:
    """A field of `Arguments` that says more of its flag than its type does.

    Args:
      default: required where left out.
      name: of the flag, where the field has another.
      minimum: the smallest value that is allowed.
      maximum: the largest value that is allowed; it needs a minimum.
      choices: the names that are allowed, such as a registry; `--help` lists them.
      also: with choices: other values that are allowed.
      takes_file: with choices: the path of a Python file is allowed too, see tfcxr/registry.py.
      is_repeated: the values of a tuple are given one by one, `--set=a=1 --set=b=2`, not with commas between.
      is_positional: the values of a tuple stand beside the flags.
    """
    facts = {
        "name": name,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "also": also,
        "takes_file": takes_file,
        "is_repeated": is_repeated,
        "is_positional": is_positional,
    }
    return dataclasses.field(default=default, metadata=facts)


def run(command: Callable[[Any], Any], argv: list[str] | None = None) -> None:
    """Reads the flags of a command and calls it; a wrong value, path or file ends with one sentence and exit status 1.

    Args:
      command: takes its arguments alone, annotated with their class.
      argv: the program's name and the flags; `sys.argv` where None.

    Raises:
      SystemExit: a mistake of the user's (1), Ctrl-C (130), or --help (0).
    """
    flags.FLAGS.mark_as_parsed()  # libraries that define flags of their own find their defaults
    _log_to_the_terminal()
    is_traced = False
    try:
        arguments, is_traced = parse(command, sys.argv if argv is None else argv)
        command(arguments)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError, ImportError, flags.Error) as error:
        if is_traced:
            raise
        print(f"error: {_sentence(error)}", file=sys.stderr)
        sys.exit(1)


def parse(command: Callable[[Any], Any], argv: list[str]) -> tuple[Any, bool]:
    """The arguments of a command by `argv`, and whether a whole traceback is asked for.

    Raises:
      ValueError: a required flag is missing, a value is out of range, or something stands beside the flags.
      absl.flags.Error: an unknown flag (the nearest is named) or a value of another type.
      SystemExit: --help.
    """
    arguments_class = _arguments_class(command)
    types_by_name = typing.get_type_hints(arguments_class)
    values = flags.FlagValues()
    flags.DEFINE_bool("help", False, "Show this help.", short_name="h", flag_values=values)
    flags.DEFINE_bool("traceback", False, COMMON_FLAGS["traceback"], flag_values=values)
    flags.DEFINE_integer("threads", None, COMMON_FLAGS["threads"], lower_bound=1, flag_values=values)
    flags.DEFINE_multi_string("plugin", [], COMMON_FLAGS["plugin"], flag_values=values)
    fields = dataclasses.fields(arguments_class)
    for field in fields:
        if not field.metadata.get("is_positional"):
            _define(field, types_by_name[field.name], values)
    beside = tuple(values(argv)[1:])
    if values.help:
        print(help_text(command))
        sys.exit(0)
    bound_threads(values.threads)
    for path in values.plugin:
        load_plugin(path)
    GIVEN_PLUGINS[:] = values.plugin
    given: dict[str, Any] = {}
    for field in fields:
        name = _flag_name(field)
        if field.metadata.get("is_positional"):
            given[field.name], beside = beside, ()
        elif values[name].value is None and field.default is dataclasses.MISSING:
            raise ValueError(f"--{name} is required: {attribute_meanings(arguments_class)[field.name]}")
        else:
            value = values[name].value
            given[field.name] = tuple(value) if isinstance(value, list) else value
    if beside:
        raise ValueError(f"unexpected argument {beside[0]!r}; flags are written --name=value")
    return arguments_class(**given), values.traceback


def flag_names(command: Callable[[Any], Any]) -> list[str]:
    """The flags of a command."""
    fields = dataclasses.fields(_arguments_class(command))
    return [_flag_name(field) for field in fields if not field.metadata.get("is_positional")]


def help_text(command: Callable[[Any], Any]) -> str:
    """What --help prints: the module's docstring, then each flag with its meaning and default."""
    arguments_class = _arguments_class(command)
    meanings = attribute_meanings(arguments_class)
    lines = [inspect.cleandoc(sys.modules[command.__module__].__doc__ or ""), "", "Flags:"]
    for field in dataclasses.fields(arguments_class):
        if field.metadata.get("is_positional"):
            continue
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        note = " (required)" if default is dataclasses.MISSING else f" (default: {default})"
        choices = field.metadata.get("choices")
        names = f" One of {', '.join([*choices, *field.metadata['also']])}." if choices else ""
        text = meanings[field.name] + names + ("" if default in (None, "") else note)
        lines += [f"  --{_flag_name(field)}", textwrap.indent(textwrap.fill(text, HELP_WIDTH), "      ")]
    for name, text in COMMON_FLAGS.items():
        lines += [f"  --{name}", f"      {text}"]
    return "\n".join(lines)


def name_and_path(text: str) -> tuple[str, str]:
    """Both parts of a value such as NAME=PATH; the name is "" where only a path is given, which may have a "=" too."""
    match = re.fullmatch(r"([^=:/\\]+)=(.+)", text)
    return (match[1], match[2]) if match else ("", text)


def command_text(command: Callable[[Any], Any], arguments: Arguments) -> str:
    """The line that runs a command with these arguments, for a shell; flags that have their default are left out."""
    spec = sys.modules[command.__module__].__spec__  # it has the name also where the module runs as __main__
    assert spec is not None
    words = ["python", "-m", spec.name]
    for field in dataclasses.fields(arguments):
        name, value = _flag_name(field), getattr(arguments, field.name)
        if value == field.default:
            continue
        if field.metadata.get("is_positional"):
            words += value
        elif field.metadata.get("is_repeated"):
            words += [f"--{name}={part}" for part in value]
        elif isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no{name}")
        else:
            words.append(f"--{name}={','.join(value) if isinstance(value, tuple) else value}")
    return shlex.join(words)


def refuse_flags(arguments: Arguments, names: Iterable[str], reason: str) -> None:
    """Refuses flags that the user set although they have no effect in what is asked for.

    Args:
      names: of the arguments' fields.
      reason: why, such as "they are of a cascade; ...".

    Raises:
      ValueError: one of them has another value than its default; the message names those.
    """
    fields = {field.name: field for field in dataclasses.fields(arguments)}
    set_flags = [f"--{_flag_name(fields[name])}" for name in names if getattr(arguments, name) != fields[name].default]
    if set_flags:
        raise ValueError(f"{' and '.join(set_flags)} would have no effect: {reason}")


class _TerminalHandler(logging.Handler):
    """Our own messages, and the warnings of libraries, one line each and above a progress bar, not through it."""

    def emit(self, record: logging.LogRecord) -> None:
        is_ours = any(folder in pathlib.Path(record.pathname).parents for folder in OUR_FOLDERS)
        if is_ours or record.levelno >= logging.WARNING:
            tqdm.write(f"{record.levelname.lower()}: {record.getMessage()}", file=sys.stderr)


def _log_to_the_terminal() -> None:
    absl_logging.set_verbosity(absl_logging.INFO)
    absl_logging.get_absl_logger().handlers = [_TerminalHandler()]
    absl_logging.get_absl_logger().propagate = False


def _arguments_class(command: Callable[[Any], Any]) -> type[Arguments]:
    (parameter,) = inspect.signature(command).parameters.values()
    return parameter.annotation


def _check_names(field: dataclasses.Field, value: Any) -> None:
    choices = field.metadata.get("choices")
    if choices is None or value is None:
        return
    valid = [*choices, *field.metadata["also"]]
    for name in value if isinstance(value, tuple) else (value,):
        if name not in valid and not (field.metadata["takes_file"] and name.endswith(".py")):
            raise ValueError(f"--{_flag_name(field)}={name} is unknown; {nearest_name(name, valid)}")


def _flag_name(field: dataclasses.Field) -> str:
    return field.metadata.get("name") or field.name


def _define(field: dataclasses.Field, field_type: Any, values: flags.FlagValues) -> None:
    default = None if field.default is dataclasses.MISSING else field.default
    is_tuple = any(typing.get_origin(option) is tuple for option in (field_type, *typing.get_args(field_type)))
    if is_tuple:
        define: Callable[..., Any] = flags.DEFINE_list
        if field.metadata.get("is_repeated"):
            define = flags.DEFINE_multi_string
        default = None if default is None else list(default)
    else:
        options = typing.get_args(field_type) or (field_type,)
        define = DEFINERS[next(option for option in options if option is not type(None))]
    define(name=_flag_name(field), default=default, help=field.name, flag_values=values)


def attribute_meanings(arguments_class: type) -> dict[str, str]:
    """Field name -> what the class's `Attributes:` say of it."""
    meanings: dict[str, str] = {}
    for base in reversed(arguments_class.__mro__):
        _, _, attributes = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")
        for name, text in re.findall(r"^  (\w+): (.*(?:\n {4,}.*)*)", attributes, re.MULTILINE):
            meanings[name] = " ".join(text.split())
    return meanings


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        where = f" {error.filename}" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return f"no space left to write{where}; what was finished before is kept, free some space and run again"
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"no permission for{where}; choose a folder you may write to"
        return f"{os.strerror(error.errno)}:{where}"
    return str(error)
