"""Results on disk: plain JSON, and finished trainings under a key of everything they depend on."""

import hashlib
import importlib.metadata
import io
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging

from tfcxr.data.atomic import write_atomically


def plain_json(value: Any) -> Any:
    """`value` with tuples and arrays as lists, numbers as Python's, and NaN or infinity (no value) as None."""
    if isinstance(value, Mapping):
        return {str(name): plain_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a file that holds no NaN."""
    write_atomically(path, json.dumps(plain_json(value), indent=2, allow_nan=False) + "\n")


def key_of(depends_on: Mapping[str, Any]) -> str:
    """SHA-256 of everything that a kept result depends on."""
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()


def software_versions() -> dict[str, str]:
    """Of the packages on which numbers depend."""
    return {name: importlib.metadata.version(name) for name in ("tensorflow", "keras", "numpy")}


def find(path: pathlib.Path, key: str) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Facts and arrays that `keep` wrote; None where they are not whole or were made from other data or settings."""
    if not path.is_file() or not path.with_suffix(".npz").is_file():
        return None
    facts = json.loads(path.read_text(encoding="utf-8"))
    if facts["key"] != key:
        logging.info("%s was made from other data or settings and is made again", path)
        return None
    with np.load(path.with_suffix(".npz")) as arrays:
        return facts, dict(arrays)


def keep(path: pathlib.Path, key: str, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Writes arrays and then facts, which say that both are whole; returns the facts as they are read back."""
    facts, buffer = plain_json({"key": key, **facts}), io.BytesIO()
    np.savez(buffer, **arrays)
    path.unlink(missing_ok=True)  # never old facts beside new arrays
    write_atomically(path.with_suffix(".npz"), buffer.getvalue())
    write_json(path, facts)
    return facts
