"""Reads `.pt` and `.pth` files of `torch.save` without PyTorch and without running anything that is in them.

    checkpoint = read_pytorch_file("Final_Full_Model.pth")
    state = state_dict(checkpoint["state_dict"])  # key -> array

Three layouts are known: the zip of today (PyTorch 1.6 and later), the pickles and raw storages one after another of
before, and in either of them a whole pickled module. A tensor becomes a numpy array of its dtype (bfloat16: float32),
whatever device it was on; an array may be read-only.
"""

import io
import os
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from tfcxr.porting.pickle_machine import PickledObject, PickleMachine
from tfcxr.porting.pickled_numpy import STATEFUL
from tfcxr.porting.pickled_tensors import Storage, find_global, find_storage, itemsize, resolve

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
MAX_KEYS = 100_000  # of a state dict; a small file could describe a module tree without an end


def read_pytorch_file(path: str | os.PathLike) -> Any:
    """The object in a file of `torch.save`: dictionaries, lists, tuples, text, numbers, None and numpy arrays.

    Instances of network and configuration classes are `PickledObject`s.

    Raises:
      FileNotFoundError: no such file.
      ValueError: truncated or damaged, not of `torch.save`, a TorchScript archive, or it names something else than
        tensors and plain containers (the name is given; nothing was run).
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            if start.startswith(b"PK"):
                return _read_zip(file, path.stat().st_size)
            return _read_legacy(file, start, path.stat().st_size)
    except (ValueError, RuntimeError, EOFError, zipfile.BadZipFile) as error:  # RuntimeError: an encrypted zip
        raise ValueError(f"the checkpoint {path} was not read: {error}") from error


def state_dict(value: Any, name: str = "the checkpoint") -> dict[str, np.ndarray]:
    """Key -> array of a state dict, or of a pickled module as its own `state_dict()` would give it.

    Raises:
      ValueError: something else; the message calls it `name`.
    """
    if isinstance(value, PickledObject):
        found: dict[str, np.ndarray] = {}
        _collect(value, "", found, ())
        return found
    if not isinstance(value, Mapping) or not value:
        kind = "an empty dictionary" if isinstance(value, Mapping) else f"of type {type(value).__name__}"
        raise ValueError(f"expected a state dict (key -> tensor) in {name}, which is {kind}")
    if others := [key for key, item in value.items() if not isinstance(item, (np.ndarray, int, float))]:
        keys = ", ".join(f"{key!s:.60}" for key in others[:5]) + (", ..." if len(others) > 5 else "")
        raise ValueError(f"expected a state dict (key -> tensor) in {name}; no tensors are its keys {keys}")
    return {str(key): np.asarray(item) for key, item in value.items()}


# zip


def _read_zip(file: BinaryIO, file_size: int) -> Any:
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise ValueError("it begins like a zip and has no end; it is truncated, copy or download it again") from error
    entries = {entry.filename: entry for entry in archive.infolist()}
    names = [name for name in entries if name.split("/")[-1] == "data.pkl" and name.count("/") <= 1]
    if not names:
        raise ValueError("it is a zip of something else: torch.save writes a data.pkl, which it lacks")
    prefix = names[0].removesuffix("data.pkl")
    if f"{prefix}constants.pkl" in entries or any(name.startswith(f"{prefix}code/") for name in entries):
        raise ValueError("it is a TorchScript archive, a program; expected a file of torch.save(model.state_dict())")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
        raise ValueError("it is compressed, which torch.save never does; unpack it and save it with torch.save again")
    if sum(entry.file_size for entry in archive.infolist()) > file_size:
        raise ValueError("its parts are larger than the whole, so it is damaged")

    def read_storage(storage: Storage) -> bytes:
        entry = f"{prefix}data/{storage.key}"
        expected = storage.whole_count * itemsize(storage.dtype)
        if entry not in entries or entries[entry].file_size != expected:
            size = entries[entry].file_size if entry in entries else "no"
            raise ValueError(f"it is damaged: {entry} has {size} bytes, expected {expected}")
        return archive.read(entry)

    order = archive.read(f"{prefix}byteorder").decode("ascii") if f"{prefix}byteorder" in entries else "little"
    if order not in ("little", "big"):
        raise ValueError(f"its byte order is {order[:20]!r}, expected little or big")
    value = _Reader().load(io.BytesIO(archive.read(f"{prefix}data.pkl")))
    return resolve(value, read_storage, order)


# before the zip


def _read_legacy(file: BinaryIO, start: bytes, file_size: int) -> Any:
    if not start.startswith(b"\x80"):
        kind = "is empty" if not start else f"begins with {start!r}"
        raise ValueError(f"it {kind}, so neither a zip nor the older layout of torch.save")
    machine = _Reader()
    if machine.load(file) != LEGACY_MAGIC:
        raise ValueError("it is a plain pickle, not a file of torch.save; save the state dict with torch.save")
    protocol, system = machine.load(file), machine.load(file)
    if protocol != LEGACY_PROTOCOL or not isinstance(system, dict) or not system.get("little_endian", True):
        raise ValueError("its layout is of an unknown version of PyTorch or of another byte order")
    value = machine.load(file)
    keys = machine.load(file)
    wanted = machine.storages
    if not isinstance(keys, list) or set(wanted) - set(map(str, keys)):
        raise ValueError("it is damaged: the list of its storages is not whole")
    contents = {key: _read_storage(file, wanted.get(str(key)), file_size) for key in map(str, keys)}
    return resolve(value, lambda storage: contents[storage.key])


def _read_storage(file: BinaryIO, storage: Storage | None, file_size: int) -> bytes:
    count = int.from_bytes(file.read(8), "little")
    if storage is None or count != storage.whole_count:
        raise ValueError("it is truncated or damaged: a storage has another length than its tensor says")
    size = count * itemsize(storage.dtype)
    if file.tell() + size > file_size:
        raise ValueError(f"it is truncated: {file.tell() + size} bytes expected, got {file_size}; copy it again")
    return file.read(size)


class _Reader(PickleMachine):
    """Remembers the storages that it met.

    Attributes:
      storages: key -> stand-in; the same key with another count or dtype is an error.
    """

    def __init__(self) -> None:
        super().__init__(find_global, self._find, STATEFUL)
        self.storages: dict[str, Storage] = {}

    def _find(self, identifier: Any) -> Any:
        found = find_storage(identifier)
        if isinstance(found, Storage):
            first = self.storages.setdefault(found.key, found)
            if (first.dtype, first.whole_count) != (found.dtype, found.whole_count):
                raise ValueError(f"it is damaged: storage {found.key:.20} is described in two ways")
        return found


def _collect(module: PickledObject, prefix: str, found: dict[str, np.ndarray], parents: tuple[int, ...]) -> None:
    attributes = module.state
    if not isinstance(attributes, dict) or not isinstance(attributes.get("_modules"), dict):
        where = f" at {prefix.rstrip('.')}" if prefix else ""
        raise ValueError(f"expected a state dict or a pickled torch.nn.Module, got a {module.class_name}{where}")
    if id(module) in parents or len(found) > MAX_KEYS:
        raise ValueError(f"the pickled {module.class_name} has no end at {prefix[:100]}")
    dropped = attributes.get("_non_persistent_buffers_set") or ()
    for kind, names_left_out in (("_parameters", ()), ("_buffers", dropped)):
        for name, array in (attributes.get(kind) or {}).items():
            if array is not None and name not in names_left_out:
                if not isinstance(array, np.ndarray):
                    raise ValueError(f"{prefix}{name} is of type {type(array).__name__}, expected a tensor")
                found[f"{prefix}{name}"] = array
    for name, child in attributes["_modules"].items():
        if child is not None:
            if not isinstance(child, PickledObject):
                raise ValueError(f"{prefix}{name} is of type {type(child).__name__}, expected a module")
            _collect(child, f"{prefix}{name}.", found, (*parents, id(module)))
