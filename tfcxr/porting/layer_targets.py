"""Where the keys of PyTorch's modules go in the layers of `tfcxr.layers.batch_normalization` and Keras's Dense."""

import keras
import numpy as np

from tfcxr.layers.batch_normalization import BatchNormalization
from tfcxr.porting.weight_transfer import Target, dense_kernel

BATCH_COUNTERS = {"*num_batches_tracked": "counts the batches of training; nothing reads it"}


def normalization_targets(key: str, layer: BatchNormalization) -> dict[str, Target]:
    """Of a BatchNorm2d called `key`."""
    return {
        f"{key}.weight": Target(layer.gamma),
        f"{key}.bias": Target(layer.beta),
        f"{key}.running_mean": Target(layer.moving_mean),
        f"{key}.running_var": Target(layer.moving_variance),
    }


def dense_targets(key: str, layer: keras.layers.Dense) -> dict[str, Target]:
    """Of a Linear called `key`."""
    return {f"{key}.weight": Target(layer.kernel, dense_kernel), f"{key}.bias": Target(layer.bias)}


def dimension(state: dict[str, np.ndarray], key: str, axis: int, default: int) -> int:
    """A width read from a checkpoint; `default` where the key is absent, so that the transfer lists it as missing."""
    array = state.get(key)
    return default if array is None or array.ndim <= axis else array.shape[axis] or default
