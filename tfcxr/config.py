"""Typed configuration: a frozen dataclass's defaults, overridden by an experiment file, then by `--set key=value`."""

import ast
import dataclasses
import math
import textwrap
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from tfcxr.command_line import HELP_WIDTH, attribute_meanings
from tfcxr.registry import nearest_name

Configuration = TypeVar("Configuration", bound=Any)


def make_config(config_class: type[Configuration], *overrides: Mapping[str, Any]) -> Configuration:
    """Builds a configuration from its defaults and overrides, later ones winning.

    Args:
      config_class: a frozen dataclass with defaults; its `__post_init__` checks the values.
      *overrides: field name to value, each value of the field's type.

    Raises:
      ValueError: an unknown field (the nearest name is offered), or a value of another type or range.
    """
    return config_class(**typed_settings(config_class, *overrides))


def typed_settings(config_class: type, *overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What `make_config` makes a configuration of: the overrides, later ones winning, as values of the fields' types.

    Raises:
      ValueError: an unknown field (the nearest name is offered), or a value of another type.
    """
    types_by_name = typing.get_type_hints(config_class)
    names = [field.name for field in dataclasses.fields(config_class)]
    values: dict[str, Any] = {}
    for override in overrides:
        for name, value in override.items():
            if name not in names:
                raise ValueError(f"{config_class.__name__} has no setting {name!r}; {nearest_name(name, names)}")
            values[name] = _checked(value, types_by_name[name], f"{config_class.__name__}.{name}")
    return values


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Turns `["latent_size=64", "name=abc"]` into a dictionary; values are Python literals or else plain text.

    `make_config` takes the texts true, false and none in any case where the setting is a bool or may be None.

    Raises:
      ValueError: a setting without "=".
    """
    parsed = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise ValueError(f"expected --set name=value, got {setting!r}")
        parsed[name.strip()] = _literal(text)
    return parsed


def settings_text(config_class: type, prefix: str = "", defaults: Mapping[str, Any] | None = None) -> str:
    """Each setting as it is written on the command line, with its default, what it may be, and its meaning.

    Args:
      config_class: a dataclass whose `Attributes:` say what its fields mean.
      prefix: before each name, such as "tstr.".
      defaults: where they differ from the fields' own.
    """
    meanings, types_by_name, lines = attribute_meanings(config_class), typing.get_type_hints(config_class), []
    for field in dataclasses.fields(config_class):
        default = (defaults or {}).get(field.name, field.default)
        default = ",".join(map(str, default)) if isinstance(default, tuple) else default
        is_literal = typing.get_origin(types_by_name[field.name]) is typing.Literal
        choices = f" ({describe_type(types_by_name[field.name])})" if is_literal else ""
        meaning = textwrap.fill(meanings.get(field.name, "") + choices, HELP_WIDTH - 6)
        lines += [f"  --set={prefix}{field.name}={default}", textwrap.indent(meaning, "      ")]
    return "\n".join(lines)


def to_plain(config: Any) -> dict[str, Any]:
    """A configuration as a dictionary that JSON gives back unchanged (tuples become lists)."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(config).items()}


def check_range(
    config: Any,
    *names: str,
    minimum: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    maximum: float = math.inf,
) -> None:
    """Checks settings, or each number of those that are tuples.

    Raises:
      ValueError: a value out of range, or NaN.
    """
    bounds = {"at least": minimum, "above": above, "below": below, "at most": maximum}
    expected = " and ".join(f"{words} {bound}" for words, bound in bounds.items() if math.isfinite(bound))
    for name in names:
        given = getattr(config, name)
        for value in given if isinstance(given, tuple) else (given,):
            if not (minimum <= value <= maximum and above < value < below):
                raise ValueError(f"{name} must be {expected}, got {given}")


def check_names(config: Any, name: str, valid: Iterable[str]) -> None:
    """Checks a setting that is a tuple of names.

    Raises:
      ValueError: an unknown name.
    """
    if unknown := sorted(set(getattr(config, name)) - set(valid)):
        raise ValueError(f"unknown {name} {unknown}; valid names: {', '.join(valid)}")


def _checked(value: Any, expected: Any, name: str) -> Any:
    """`value` as the `expected` type: whole numbers pass as floats and as texts, words for True, False and None.

    A tuple may be a list, text with commas between, or one value.
    """
    options = typing.get_args(expected) if _is_union(expected) else (expected,)
    word = value.lower() if isinstance(value, str) else None
    if word == "none" and type(None) in options:
        return None
    if word in ("true", "false") and bool in options:
        return word == "true"
    for option in options:
        origin = typing.get_origin(option) or option
        if origin is typing.Literal:
            for choice in typing.get_args(option):
                if value == choice or (value is None and choice == "none"):  # None on the command line
                    return choice
        if origin is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if origin is tuple:
            item_type = typing.get_args(option)[0]
            return tuple(_checked(item, item_type, name) for item in _items(value, item_type))
        if origin in (int, bool, str) and type(value) is origin:
            return value
        if origin is str and type(value) is int:  # a text of digits, read as a number
            return str(value)
        if option is type(None) and value is None:
            return value
    raise ValueError(f"{name} expects {describe_type(expected)}, got {value!r}")


def _literal(text: str) -> Any:
    """The Python literal that a text is, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _items(value: Any, item_type: Any) -> Sequence[Any]:
    """What a tuple holds: a list's items, the parts of a text between commas, or one value alone."""
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",")] if value else []
        return parts if item_type is str else [_literal(part) for part in parts]
    return value if isinstance(value, (list, tuple)) else [value]


def _is_union(expected: Any) -> bool:
    return typing.get_origin(expected) in (typing.Union, types.UnionType)


def describe_type(expected: Any) -> str:
    """A type as words for a message, such as "a whole number"."""
    if _is_union(expected):
        return " or ".join(describe_type(option) for option in typing.get_args(expected))
    if typing.get_origin(expected) is typing.Literal:
        return "one of " + ", ".join(repr(choice) for choice in typing.get_args(expected))
    if typing.get_origin(expected) is tuple:
        return f"{describe_type(typing.get_args(expected)[0])}, or several with commas between"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "none"}
    return words.get(expected, getattr(expected, "__name__", str(expected)))
