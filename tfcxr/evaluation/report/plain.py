"""Reports and the files of kept trainings as JSON."""

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def plain_json(value: Any) -> Any:
    """`value` with tuples and arrays as lists, numbers as Python's, and NaN or infinity (no value) as None."""
    if isinstance(value, Mapping):
        return {str(name): plain_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(value: Any) -> str:
    """A file's content."""
    return json.dumps(plain_json(value), indent=2, allow_nan=False) + "\n"


def json_key(value: Mapping[str, Any]) -> str:
    """SHA-256 of everything that a kept result depends on."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def software_versions() -> dict[str, str]:
    """Of the packages on which numbers depend."""
    return {name: importlib.metadata.version(name) for name in ("tensorflow", "keras", "numpy")}
