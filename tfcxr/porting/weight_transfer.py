"""Assigns the arrays of a checkpoint to Keras variables: every key has a place or a reason, or nothing is assigned.

    targets = {"conv0.weight": Target(layer.kernel, convolution_kernel), "norm0.bias": Target(norm.beta)}
    report = transfer(state, targets, ignored={"*.num_batches_tracked": "counts batches, nothing reads it"})

PyTorch stores a convolution's kernel (output, input, height, width) and a dense one (output, input); Keras stores
(height, width, input, output) and (input, output).
"""

import dataclasses
import fnmatch
import hashlib
from collections.abc import Callable, Mapping

import keras
import numpy as np

from tfcxr.layers.batch_normalization import BatchNormalization
from tfcxr.porting.state_dicts import StateDict, listed

BATCH_COUNTERS = {"*num_batches_tracked": "counts the batches of training; nothing reads it"}
NAMED_KEYS = 10  # of each kind of mistake; the rest is counted


def unchanged(array: np.ndarray) -> np.ndarray:
    """The array as it is: biases, scales, statistics."""
    return array


def convolution_kernel(array: np.ndarray) -> np.ndarray:
    """(output, input, height, width) -> (height, width, input, output)."""
    return array.transpose(2, 3, 1, 0)


def dense_kernel(array: np.ndarray) -> np.ndarray:
    """(output, input) -> (input, output)."""
    return array.transpose(1, 0)


@dataclasses.dataclass(frozen=True)
class Target:
    """Where one key of a checkpoint goes.

    Attributes:
      variable: gets the value.
      convert: from the checkpoint's layout to the variable's; raises ValueError or IndexError for another rank.
    """

    variable: keras.Variable
    convert: Callable[[np.ndarray], np.ndarray] = unchanged


@dataclasses.dataclass(frozen=True)
class WeightTransfer:
    """What was assigned to one network.

    Attributes:
      used: keys that feed a variable, in the checkpoint's order.
      ignored: the other keys -> why.
      parameter_count: numbers in the used arrays.
      sha256: over key, shape and bytes of the used arrays, as little-endian float32 in the checkpoint's layout.
      notes: how the arrays were found in the checkpoint, a sentence each.
    """

    used: tuple[str, ...]
    ignored: dict[str, str]
    parameter_count: int
    sha256: str
    notes: tuple[str, ...] = ()


def transfer(
    state: Mapping[str, np.ndarray],
    targets: Mapping[str, Target],
    ignored: Mapping[str, str] | None = None,
    name: str = "checkpoint",
) -> WeightTransfer:
    """Assigns `state` to the variables of `targets`, all of it or nothing.

    Args:
      state: checkpoint key -> array.
      targets: checkpoint key -> where it goes.
      ignored: key, or pattern with "*" -> reason, for keys without a target.
      name: of the arrays, for messages.

    Raises:
      ValueError: keys missing, without a place, of another shape, or values that are not finite; one message names
        the first 10 of each.
    """
    ignored = ignored or {}
    reasons = {key: _reason(key, ignored) for key in state if key not in targets}
    misshaped, not_finite, values = [], [], {}
    digest = hashlib.sha256()
    for key, array in state.items():
        if key not in targets:
            continue
        wanted = tuple(targets[key].variable.shape)
        converted = _converted(array, targets[key].convert)
        if converted is None or converted.shape != wanted:
            became = "" if converted is None or converted.shape == array.shape else f" (for Keras {converted.shape})"
            misshaped.append(f"{key} has shape {array.shape}{became} where the network has {wanted}")
            continue
        with np.errstate(over="ignore"):  # too large becomes infinite, which is found below
            plain = np.asarray(array, "<f4", order="C")
        if not np.isfinite(plain).all():
            not_finite.append(key)
        digest.update(f"{key}|{','.join(map(str, plain.shape))}|".encode())
        digest.update(plain)
        values[key] = converted
    mistakes = {
        "missing": [key for key in targets if key not in state],
        "without a place": [key for key, reason in reasons.items() if reason is None],
        "of another shape": misshaped,
        "with values that are not finite": not_finite,
    }
    if any(mistakes.values()):
        found = "; ".join(f"{len(keys)} {kind}: {listed(keys, NAMED_KEYS)}" for kind, keys in mistakes.items() if keys)
        raise ValueError(f"the weights of the {name} do not fit, so nothing was loaded; keys {found}")
    for key, value in values.items():
        targets[key].variable.assign(value)
    count = sum(value.size for value in values.values())
    notes = state.notes if isinstance(state, StateDict) else ()
    return WeightTransfer(tuple(values), reasons, count, digest.hexdigest(), notes)


def layer_targets(
    layer: keras.layers.Layer,
    name: str,
    kernel: Callable[[np.ndarray], np.ndarray] = convolution_kernel,
    bias: Callable[[np.ndarray], np.ndarray] = unchanged,
) -> dict[str, Target]:
    """Where `name.weight` and, for a layer that has a bias, `name.bias` go."""
    targets = {f"{name}.weight": Target(layer.kernel, kernel)}
    if getattr(layer, "bias", None) is not None:
        targets[f"{name}.bias"] = Target(layer.bias, bias)
    return targets


def normalization_targets(name: str, layer: BatchNormalization) -> dict[str, Target]:
    """Where the arrays of a BatchNorm2d go."""
    variables = {
        "weight": layer.gamma,
        "bias": layer.beta,
        "running_mean": layer.moving_mean,
        "running_var": layer.moving_variance,
    }
    return {f"{name}.{part}": Target(variable) for part, variable in variables.items()}


def dimension(state: Mapping[str, np.ndarray], key: str, axis: int, default: int) -> int:
    """A width in a checkpoint; `default` where the key is absent, so that `transfer` lists it as missing."""
    array = state.get(key)
    return default if array is None or array.ndim <= axis else array.shape[axis] or default


def _reason(key: str, ignored: Mapping[str, str]) -> str | None:
    return next((reason for pattern, reason in ignored.items() if fnmatch.fnmatchcase(key, pattern)), None)


def _converted(array: np.ndarray, convert: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | None:
    try:
        return convert(array)
    except (ValueError, IndexError):  # of another rank
        return None
