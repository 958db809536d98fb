"""Reads `.pt`, `.pth` and `.pkl` files of PyTorch without PyTorch and without running anything that is in them.

    checkpoint = read_pytorch_file("Final_Full_Model.pth")
    state = state_dict(checkpoint["state_dict"])  # key -> array

Three layouts are known: the zip of torch.save (PyTorch 1.6 and later), its pickles and raw storages one after another
of before, and a plain pickle, as NVIDIA's programs write. In any of them may be a whole pickled module. A tensor
becomes a numpy array of its dtype (bfloat16: float32), whatever device it was on; an array may be read-only.
"""

import functools
import os
import pathlib
import zipfile
from typing import Any

from tfcxr.porting import inert_pickle
from tfcxr.porting.pickle_names import check_name
from tfcxr.porting.pickled_values import Resolver, Storage, find_persistent, itemsize

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
SPARE_NUMBERS = 2**20  # that a small file may repeat


def read_pytorch_file(path: str | os.PathLike) -> Any:
    """Reads a file of PyTorch as dictionaries, lists, tuples, sets, text, numbers, None and numpy arrays.

    Instances of network and configuration classes become `PickledObject`s.

    Raises:
      FileNotFoundError: no such file.
      ValueError: truncated or damaged, not of PyTorch, a TorchScript archive, or it names something else than tensors
        and plain data (the name is given; nothing was run).
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                return _read_zip(path)
        return _read_pickles(path.read_bytes())
    except (ValueError, RuntimeError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:  # of zipfile
        raise ValueError(f"the checkpoint {path} was not read: {error}") from error


def _read_zip(path: pathlib.Path) -> Any:
    file_size = path.stat().st_size
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError("it begins like a zip and has no end; it is truncated, copy or download it again") from error
    with archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        names = [name for name in entries if name.split("/")[-1] == "data.pkl" and name.count("/") <= 1]
        if not names:
            raise ValueError("it is a zip of something else: torch.save writes a data.pkl, which it lacks")
        prefix = names[0].removesuffix("data.pkl")
        if f"{prefix}constants.pkl" in entries or any(name.startswith(f"{prefix}code/") for name in entries):
            raise ValueError("it is a TorchScript archive, a program; expected torch.save(model.state_dict(), ...)")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("it is compressed, which torch.save never does; unpack and save it with torch.save again")
        if len(names) > 1 or len(entries) != len(archive.infolist()):
            raise ValueError("it is damaged: it has two entries of one name")
        if sum(entry.file_size for entry in archive.infolist()) > file_size:
            raise ValueError("its parts are larger than the whole, so it is damaged")

        def read_storage(storage: Storage) -> bytes:
            entry = f"{prefix}data/{storage.key}"
            expected = storage.whole_count * itemsize(storage.dtype)
            if entry not in entries or entries[entry].file_size != expected:
                size = entries[entry].file_size if entry in entries else "no"
                raise ValueError(f"it is damaged: {entry:.100} has {size} bytes, expected {expected}")
            return archive.read(entry)

        order = archive.read(f"{prefix}byteorder").decode("ascii") if f"{prefix}byteorder" in entries else "little"
        if order not in ("little", "big"):
            raise ValueError(f"its byte order is {order[:20]!r}, expected little or big")
        find = functools.partial(_find_persistent, {})
        value, _ = inert_pickle.load(archive.read(f"{prefix}data.pkl"), check_name, find)
        return Resolver(read_storage, _inner_storage, _max_numbers(file_size), order).resolve(value)


def _read_pickles(content: bytes) -> Any:
    """Reads the layout from before the zip, or a plain pickle."""
    if content[:1] not in (b"\x80", b"(", b"]", b"}", b"c"):
        kind = f"begins with {content[:4]!r}" if content else "is empty"
        raise ValueError(f"it {kind}, so neither a zip nor the older layout of torch.save")
    value, contents = _unpickled(content)
    return Resolver(lambda storage: contents[storage.key], _inner_storage, _max_numbers(len(content))).resolve(value)


def _inner_storage(content: Any) -> Storage:
    """Reads a storage that a plain pickle holds as a file of the older layout."""
    value, contents = _unpickled(content) if isinstance(content, bytes) else (None, {})
    if not (isinstance(value, Storage) and value.key in contents):
        raise ValueError("a tensor's storage is described in an unknown way")
    return value._replace(content=contents[value.key])


def _unpickled(content: bytes) -> tuple[Any, dict[str, memoryview]]:
    """Reads the older layout or a plain pickle; returns the object, and the bytes of each storage by its key.

    The older layout is a magic number, the version, the system, the object, the storages' keys, and each storage.
    """
    storages: dict[str, Storage] = {}
    find = functools.partial(_find_persistent, storages)
    value, position = inert_pickle.load(content, check_name, find)
    if value != LEGACY_MAGIC:
        if position != len(content) or storages:
            raise ValueError("it is damaged: it begins like a plain pickle, which has nothing outside it")
        return value, {}
    parts = []
    for _ in range(4):
        part, position = inert_pickle.load(content, check_name, find, position)
        parts.append(part)
    protocol, system, value, keys = parts
    if protocol != LEGACY_PROTOCOL or not isinstance(system, dict) or not system.get("little_endian", True):
        raise ValueError("its layout is of an unknown version of PyTorch or of another byte order")
    if not isinstance(keys, list) or set(storages) - set(map(str, keys)):
        raise ValueError("it is damaged: the list of its storages is not whole")
    contents = {}
    for key in map(str, keys):
        count = int.from_bytes(content[position : position + 8], "little")
        if key not in storages or count != storages[key].whole_count:
            raise ValueError("it is truncated or damaged: a storage has another length than its tensor says")
        start, position = position + 8, position + 8 + count * itemsize(storages[key].dtype)
        if position > len(content):
            raise ValueError(f"it is truncated: {position} bytes expected, got {len(content)}; copy it again")
        contents[key] = memoryview(content)[start:position]
    return value, contents


def _find_persistent(storages: dict[str, Storage], identifier: Any) -> Any:
    """Keeps the storage in `storages`; refuses the same one with another count or dtype."""
    found = find_persistent(identifier)
    if isinstance(found, Storage):
        first = storages.setdefault(found.key, found)
        if (first.dtype, first.whole_count) != (found.dtype, found.whole_count):
            raise ValueError(f"it is damaged: storage {found.key:.20} is described in two ways")
    return found


def _max_numbers(file_size: int) -> int:
    return 2 * file_size + SPARE_NUMBERS
