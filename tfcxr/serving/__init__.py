"""What leaves the project: a trained generator as a SavedModel that needs none of this package, and its model card.

from tfcxr.serving import Client

images = Client("localhost:8500").generate("acgan", labels=["PNEUMONIA"], count=8, seed=1)
"""

import importlib
from typing import Any

__all__ = ["Client", "ClientError"]
_MODULES = {"Client": "tfcxr.serving.client", "ClientError": "tfcxr.serving.client_error"}


def __getattr__(name: str) -> Any:
    """Public names, imported when they are asked for; neither starts TensorFlow."""
    if name not in _MODULES:
        raise AttributeError(f"module 'tfcxr.serving' has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(importlib.import_module(_MODULES[name]), name)
