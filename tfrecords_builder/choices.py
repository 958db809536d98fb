"""Settings that take one of a few words."""

from collections.abc import Iterable

from tfcxr.registry import nearest_name


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raises ValueError, which offers the nearest choice, when a setting's value is none of them."""
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}; {nearest_name(value, choices)}")


def split_names(text: str, what: str) -> list[str]:
    """The names of a list with commas between them, none for a blank text.

    Raises:
      ValueError: an empty name, or one that comes twice; the message begins with `what`.
    """
    names = [name.strip() for name in text.split(",")] if text.strip() else []
    if "" in names or len(set(names)) < len(names):
        raise ValueError(f"{what} expects different names with commas between, got {text!r}")
    return names
