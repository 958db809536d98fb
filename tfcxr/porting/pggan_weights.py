"""What the checkpoints of all PGGANs share: layouts of the first and last layers, sizes read off shapes, alpha."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfcxr.config import to_plain
from tfcxr.models.pggan import PGGAN
from tfcxr.models.pggan.config import BASE_SIZE
from tfcxr.porting.ported import Ported
from tfcxr.porting.state_dicts import listed
from tfcxr.porting.weight_transfer import WeightTransfer


def latent_kernel(array: np.ndarray) -> np.ndarray:
    """(channel * row * column, latent) -> (latent, row * column * channel) of the 4 px map."""
    latent = array.shape[1]
    return array.reshape(-1, BASE_SIZE, BASE_SIZE, latent).transpose(3, 1, 2, 0).reshape(latent, -1)


def latent_bias(array: np.ndarray) -> np.ndarray:
    """(channel * row * column) -> (row * column * channel) of the 4 px map."""
    return array.reshape(-1, BASE_SIZE, BASE_SIZE).transpose(1, 2, 0).reshape(-1)


def map_kernel(array: np.ndarray) -> np.ndarray:
    """(output, channel, 4, 4) or (output, channel * 4 * 4) -> (row * column * channel, output)."""
    outputs = array.shape[0]
    return array.reshape(outputs, -1, BASE_SIZE, BASE_SIZE).transpose(2, 3, 1, 0).reshape(-1, outputs)


def ported_pggan(model: PGGAN, transfers: dict[str, WeightTransfer], alpha: float, notes: list[str]) -> Ported:
    """Sets `alpha` of a PGGAN that has its weights, and adds the notes of both formats."""
    model.state["alpha"].assign(alpha)
    if model.ema_generator is None:
        notes.append("The checkpoint has no moving average, so the trained generator is exported.")
    if alpha:
        notes.append(f"The checkpoint was saved while its last block faded in, and alpha {alpha:g} is kept.")
    return Ported(model, "gan", transfers, to_plain(model.config) | {"alpha": alpha}, tuple(notes))


def image_layer_shapes(state: Mapping[str, np.ndarray], start: str, end: str) -> list[tuple[int, ...]]:
    """The shapes of the 1 x 1 kernels `start`0`end`, `start`1`end` ..., one per size from 4 px up.

    Raises:
      ValueError: there is none, a number is left out, or one is not of 4 dimensions.
    """
    pattern = f"{re.escape(start)}([0-9]{{1,3}}){re.escape(end)}"
    numbers = {int(match[1]) for key in state if (match := re.fullmatch(pattern, key))}
    if not numbers:
        raise ValueError(f"the checkpoint lacks the key {start}0{end}, by which sizes are known; it has {_some(state)}")
    if missing := sorted(set(range(max(numbers) + 1)) - numbers):
        raise ValueError(f"the checkpoint lacks keys between others: {start}{missing[0]}{end}")
    return [kernel_shape(state, f"{start}{number}{end}", 4) for number in sorted(numbers)]


def kernel_shape(state: Mapping[str, np.ndarray], key: str, rank: int) -> tuple[int, ...]:
    """The shape of a kernel that tells sizes.

    Raises:
      ValueError: it is missing or has another rank.
    """
    if key not in state:
        raise ValueError(f"the checkpoint lacks the key {key}; it has {_some(state)}")
    if state[key].ndim != rank:
        raise ValueError(f"{key} needs {rank} dimensions, got shape {state[key].shape}")
    return state[key].shape


def checked_alpha(value: Any, where: str) -> float:
    """Checks alpha, the weight of the old path.

    Raises:
      ValueError: not a single number in [0, 1].
    """
    number = one_number(value, "alpha", where)
    if not 0 <= number <= 1:
        raise ValueError(f"alpha, the weight of the old path, must be one number in [0, 1]; {where} has {number:g}")
    return number


def one_number(value: Any, name: str, where: str) -> float:
    """A number in a checkpoint, which may be a tensor; lists are not searched, as they may be endless.

    Raises:
      ValueError: something else.
    """
    numbers = np.ravel(value) if isinstance(value, (int, float, np.ndarray)) else np.empty(0)
    if numbers.size != 1 or numbers.dtype.kind not in "biuf":
        shape = f" of shape {value.shape}" if isinstance(value, np.ndarray) else ""
        raise ValueError(f"{name} must be one number; {where} has a value of type {type(value).__name__}{shape}")
    return float(numbers[0])


def _some(state: Mapping[str, Any]) -> str:
    return listed(key[:60] for key in state) or "no keys"
