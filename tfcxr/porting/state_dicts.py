"""Finds a network's weights in a checkpoint: opens containers, and removes the prefixes that wrappers add to keys.

    state = state_dict(checkpoint, first_key="features.conv0.weight")
    state.notes  # ("The weights are those of the entry 'state_dict'.", "The keys' prefix 'module.' was taken off.")

Where there is a choice, a note says what was taken; `choose` (the command's --entry) takes something else.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tfcxr.porting.inert_pickle import PickledObject
from tfcxr.porting.pickle_names import NETWORK_MODULES, SAVE_WEIGHTS, is_inside
from tfcxr.porting.pickled_values import PERSISTENT

CONTAINERS = (  # the first of these that holds weights is entered
    *("state_dict", "model_state_dict", "model", "network", "net", "weights", "params", "generator", "module"),
    *("ema", "model_ema", "ema_model", "ema_state_dict", "state_dict_ema", "model_ema_state_dict"),
    *("params_ema", "g_ema"),
)
WRAPPERS = ("module", "_orig_mod", "model", "network", "net")  # modules that hold nothing but the network
MAX_DEPTH = 4  # of containers in containers, and of wrappers
MAX_KEYS = 100_000  # of a state dict; a small file could describe a module tree without an end


class StateDict(dict[str, np.ndarray]):
    """Key -> array.

    Attributes:
      notes: how they were found in the checkpoint, a sentence each.
    """

    def __init__(self, items: Mapping[str, np.ndarray], notes: tuple[str, ...] = ()) -> None:
        super().__init__(items)
        self.notes = notes


def state_dict(value: Any, name: str = "the checkpoint", first_key: str | None = None) -> StateDict:
    """Key -> array of a state dict, or of a pickled module as its own `state_dict()` would return it.

    Args:
      value: what `read_pytorch_file` returned.
      name: of the value, for messages.
      first_key: that the network has at any size; whatever precedes it is removed as a prefix. Without it only known
        wrappers' names are removed, and only where all keys begin with them.

    Raises:
      ValueError: anything but weights, or a whole network of a class whose weights only its program can tell.
    """
    notes = []
    for _ in range(MAX_DEPTH):
        found = [key for key in CONTAINERS if isinstance(value, Mapping) and _holds_weights(value.get(key))]
        if not found:
            break
        others = f"; {_quoted(found[1:])} would do as well, chosen by --entry" if found[1:] else ""
        notes.append(f"The weights are those of the entry {found[0]!r}{others}.")
        value = value[found[0]]
    state = _module_arrays(value) if isinstance(value, PickledObject) else _arrays(value, name)
    prefix = _prefix(state, first_key)
    if not prefix:
        return StateDict(state, tuple(notes))
    inside = {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}
    outside = [key for key in state if not key.startswith(prefix)]
    left_out = f"; keys without it were left out: {_quoted(outside)}" if outside else ""
    return StateDict(inside, (*notes, f"The keys' prefix {prefix!r} was taken off{left_out}."))


def choose(value: Any, entry: str) -> Any:
    """The part of a checkpoint that the user names: an entry, one inside another (a/b), or a prefix of keys.

    Raises:
      ValueError: there is none of this name; the message gives those there are.
    """
    for name in entry.split("/"):
        keys = list(value) if isinstance(value, Mapping) else []
        within = [key for key in keys if str(key).startswith(f"{name}.")]
        if name in keys:
            value = value[name]
        elif within:
            value = {key.removeprefix(f"{name}."): value[key] for key in within}
        else:
            raise ValueError(f"the checkpoint has no entry {name!r} for --entry; it has {_quoted(keys) or 'none'}")
    return value


def tensors(value: Any) -> Iterator[tuple[list[str | int], np.ndarray]]:
    """Every array of a checkpoint, once, with the keys and indices that lead to it; a module has its state dict's."""
    seen = set()
    waiting: list[tuple[list[str | int], Any]] = [([], value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, np.ndarray):
            yield path, item
        elif id(item) not in seen and isinstance(item, (Mapping, list, tuple, PickledObject)):
            seen.add(id(item))
            parts = item.items() if isinstance(item, Mapping) else _parts(item)
            waiting += reversed([([*path, key if isinstance(key, int) else str(key)], part) for key, part in parts])


def _parts(item: Any) -> Iterable[tuple[Any, Any]]:
    """Elements of a sequence, arrays of a module; the state of a network whose weights only its program can tell."""
    if not isinstance(item, PickledObject):
        return enumerate(item)
    try:
        return _module_arrays(item).items()
    except ValueError:
        return [("state", item.state)]


def _holds_weights(value: Any, depth: int = MAX_DEPTH) -> bool:
    if not isinstance(value, Mapping):
        return isinstance(value, PickledObject) and _is_module(value)
    if any(isinstance(array, np.ndarray) for array in value.values()):
        return True
    return depth > 0 and any(_holds_weights(value.get(key), depth - 1) for key in CONTAINERS)


def _is_module(item: PickledObject) -> bool:
    return isinstance(item.state, dict) and isinstance(item.state.get("_modules"), dict)


def _arrays(value: Any, name: str) -> dict[str, np.ndarray]:
    if not isinstance(value, Mapping) or not value:
        kind = "an empty dictionary" if isinstance(value, Mapping) else f"of type {type(value).__name__}"
        raise ValueError(f"expected a state dict (key -> tensor) in {name}, which is {kind}")
    if others := [key for key, item in value.items() if not isinstance(item, (np.ndarray, int, float))]:
        weights = [str(key) for key in others if _holds_weights(value[key])]
        keys = listed(f"{key!s:.60}" for key in others)
        hint = f"; {_quoted(weights)} may hold the weights, chosen by --entry" if weights else ""
        raise ValueError(f"expected a state dict (key -> tensor) in {name}; no tensors are its keys {keys}{hint}")
    return {str(key): np.asarray(item) for key, item in value.items()}


def _prefix(state: Mapping[str, np.ndarray], first_key: str | None) -> str:
    if first_key is not None:
        found = sorted({key.removesuffix(first_key) for key in state if f".{key}".endswith(f".{first_key}")})
        if len(found) > 1:
            names = _quoted([prefix.rstrip(".") for prefix in found])
            raise ValueError(f"the checkpoint holds several networks, {names}; choose one with --entry")
        if found:
            return found[0]
    prefix = ""
    for _ in range(MAX_DEPTH):
        longer = [f"{prefix}{name}." for name in WRAPPERS if all(key.startswith(f"{prefix}{name}.") for key in state)]
        prefix = longer[0] if longer else prefix
    return prefix


def _module_arrays(
    module: PickledObject, prefix: str = "", found: dict[str, np.ndarray] | None = None, parents: tuple[int, ...] = ()
) -> dict[str, np.ndarray]:
    """`found`, with the arrays of a module and those inside it."""
    found = {} if found is None else found
    if not _is_module(module):
        where = f" at {prefix.rstrip('.')}" if prefix else ""
        raise ValueError(f"expected a state dict or a pickled torch.nn.Module, got a {module.class_name}{where}")
    if not is_inside(module.class_name, (*NETWORK_MODULES, PERSISTENT)):
        raise ValueError(
            f"it holds a whole network of the class {module.class_name}, a program, and not its weights alone; "
            f"{SAVE_WEIGHTS}"
        )
    if id(module) in parents or len(found) > MAX_KEYS:
        raise ValueError(f"the pickled {module.class_name} has no end at {prefix[:100]}")
    attributes = module.state
    dropped = attributes.get("_non_persistent_buffers_set") or ()
    buffers = {name: array for name, array in (attributes.get("_buffers") or {}).items() if name not in dropped}
    for name, array in [*(attributes.get("_parameters") or {}).items(), *buffers.items()]:
        if array is not None:
            found[f"{prefix}{name}"] = _expected(array, np.ndarray, f"{prefix}{name}", "tensor")
    for name, child in attributes["_modules"].items():
        if child is not None:
            child = _expected(child, PickledObject, f"{prefix}{name}", "module")
            _module_arrays(child, f"{prefix}{name}.", found, (*parents, id(module)))
    return found


def _expected(item: Any, kind: type, where: str, what: str) -> Any:
    if not isinstance(item, kind):
        raise ValueError(f"{where} is of type {type(item).__name__}, expected a {what}")
    return item


def listed(names: Iterable[Any], limit: int = 5) -> str:
    """The first names, and how many more there are."""
    names = list(map(str, names))
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _quoted(names: Iterable[Any]) -> str:
    return listed(repr(str(name)[:60]) for name in names)
