"""Generative adversarial networks for chest radiographs, and what their images are worth on real patients."""

import os

# TensorFlow's C++ prints pages about absent GPUs and graph passes; what matters comes back as a Python error.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.1.0"
