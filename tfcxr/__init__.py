"""Generative adversarial networks for chest radiographs, and what their images are worth on real patients.

import tfcxr

images, labels, patients = tfcxr.read("cohorts/cgan/64")
effusions = tfcxr.load("saved_models/cgan").generate(labels=["Effusion"], count=8, seed=1)
"""

import importlib
import os
from typing import Any

# TensorFlow's C++ prints pages about absent GPUs and graph passes; what matters comes back as a Python error.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# By itself TensorFlow leaves oneDNN off on processors without AVX-512, where steps then take 1.7 times as long.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"
__all__ = ["GeneratedImages", "Generator", "Radiographs", "load", "read"]


def __getattr__(name: str) -> Any:
    """Public names, imported when they are asked for: `import tfcxr` takes no time."""
    if name not in __all__:
        raise AttributeError(f"module 'tfcxr' has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(importlib.import_module("tfcxr.api"), name)
