"""What the reports and the files of kept trainings have in common as data."""

import importlib.metadata
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


def software_versions() -> dict[str, str]:
    """Of the packages on which figures depend."""
    return {name: importlib.metadata.version(name) for name in ("tensorflow", "keras", "numpy")}
