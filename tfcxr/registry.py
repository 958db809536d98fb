"""Names in registries: the nearest valid one, and models, metrics, data sets and protocols of your own.

A file outside the package registers what it defines by the same line as the package's own: `MODELS["my_gan"] = MyGAN`.
It is loaded for one run, by `--model=path/to/my_gan.py` (likewise `--dataset` and `--protocols`) or, on any command, by
`--plugin`. Only a file that the user names is run, never one that a run folder or a request names.
"""

import ast
import difflib
import importlib
import importlib.util
import inspect
import pathlib
import sys
from collections.abc import Iterable, Iterator, MutableMapping
from types import ModuleType
from typing import Any, Generic, TypeVar

PACKAGES = pathlib.Path(__file__).parents[1]
Entry = TypeVar("Entry")


class Registry(MutableMapping, Generic[Entry]):
    """Name -> entry. The package's own are given by their place, and imported when they are asked for.

        MODELS = Registry(acgan="tfcxr.models.acgan:ACGAN")

    So names can be listed and checked before TensorFlow is there. An entry of your own is an object:
    `MODELS["mine"] = MyGAN`.
    """

    def __init__(self, **places: str) -> None:
        """Takes name -> "module:attribute"."""
        self._places = dict(places)
        self._entries: dict[str, Entry] = {}

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            module, _, attribute = self._places[name].partition(":")
            self._entries[name] = getattr(importlib.import_module(module), attribute)
        return self._entries[name]

    def docstring(self, name: str) -> str:
        """What the entry's module says of itself, read without importing it."""
        if not self._places[name]:  # of your own
            return inspect.getdoc(sys.modules[self._entries[name].__module__]) or ""
        path = PACKAGES.joinpath(*self._places[name].partition(":")[0].split("."))
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        return ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""

    def __setitem__(self, name: str, entry: Entry) -> None:
        self._places[name] = ""
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._places[name]
        self._entries.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places  # without importing it


def nearest_name(name: str, names: Iterable[str]) -> str:
    """A hint for an unknown name: the closest valid one, then all of them."""
    names = list(names)
    as_written = {other.lower(): other for other in names}
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    close += [as_written[text] for text in difflib.get_close_matches(name.lower(), as_written, n=1, cutoff=0.5)]
    return (f"did you mean {close[0]!r}? " if close else "") + f"valid names: {', '.join(names) or 'none'}"


def load_plugin(path: str) -> ModuleType:
    """Runs a Python file as a module of its own name, once per process; worker processes can import it too.

    Raises:
      FileNotFoundError: no such file.
      ValueError: the file's name is that of another module, or the file fails.
    """
    file = pathlib.Path(path).resolve()
    if not file.is_file():
        raise FileNotFoundError(f"plugin {path} does not exist; expected a Python file")
    name = file.stem
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(file):
        return loaded
    found = importlib.util.find_spec(name) if name.isidentifier() and loaded is None else None
    is_taken = loaded is not None or (found is not None and found.origin != str(file))
    if is_taken or not name.isidentifier():
        raise ValueError(f"plugin {path} cannot be imported as {name!r}: choose a file name no other module has")
    sys.path.insert(0, str(file.parent))  # worker processes inherit it
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ValueError(f"plugin {path} failed: {type(error).__name__}: {error}") from error


def find(registry: MutableMapping[str, Any], name: str, what: str) -> tuple[str, Any]:
    """The entry of a registry by its name, or by the path of a file that registers one.

    Args:
      registry: name -> entry.
      name: a key, or a path that ends in .py.
      what: an entry, in words, for messages.

    Returns:
      the entry's name and the entry.

    Raises:
      FileNotFoundError: no such file.
      ValueError: an unknown name (the nearest is offered), or a file that registers no entry or several.
    """
    if not name.endswith(".py"):
        if name not in registry:
            raise ValueError(f"unknown {what} {name!r}; {nearest_name(name, registry)}")
        return name, registry[name]
    before = set(registry)
    module = load_plugin(name)
    added = vars(module).setdefault("_REGISTERED", {}).setdefault(what, sorted(set(registry) - before))
    if len(added) != 1:
        found = ", ".join(added) or "none"
        raise ValueError(f"{name} must register one {what} to be named by its path, but it registers {found}")
    return added[0], registry[added[0]]
