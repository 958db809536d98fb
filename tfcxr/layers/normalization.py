"""Normalization of a generator's features by the name in its settings."""

from typing import Literal

import keras


def normalization(kind: Literal["batch", "layer", "none"], epsilon: float = 1e-5) -> keras.layers.Layer:
    """A new layer.

    Args:
      kind: "batch", whose moving statistics arrive within a short training (momentum .9, PyTorch's default); "layer"
        over the channels of each pixel, with Keras's epsilon; "none" passes the features on.
      epsilon: of batch normalization, added to the variance.
    """
    if kind == "batch":
        return keras.layers.BatchNormalization(momentum=0.9, epsilon=epsilon)
    return keras.layers.LayerNormalization() if kind == "layer" else keras.layers.Identity()
