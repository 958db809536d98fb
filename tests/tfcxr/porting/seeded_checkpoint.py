"""Rebuilds checkpoints and inputs from a few numbers, so that reference outputs need no stored weights and no PyTorch.

A specification is a dictionary:

- `seed`: text. `tensors`, `inputs`: lists of {"key", "shape", "dtype", "fill"}, the arrays in C order.
- `layout`: what the checkpoint looks like; {"state": PREFIX} in it stands for the dictionary of all tensors whose keys
  begin so, without the prefix, and {"tensor": KEY or an entry of its own} for one array.
- `digest`, `inputs_digest`: SHA-256 over the arrays, checked whenever they are made.

`fill` is ["const", VALUE], ["values", [..]], ["bell", MEAN, DEVIATION], ["uniform", LOW, HIGH] or
["octaves", LOW, HIGH]. The last three come from 64-bit words: splitmix64 started at the first eight bytes of SHA-256 of
"SEED|KEY". A bell is the sum of a word's four 16-bit parts, centred and divided by its deviation, and a uniform value
its upper 53 bits. Octaves are images: the mean of uniform grids of every fourth coarseness, each image with a contrast
and a level of its own. All is computed in float64 and rounded once.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

BELL_DEVIATION = np.sqrt((2.0**32 - 1.0) / 3.0)  # of the sum of four uniform 16-bit numbers
SMALLEST_GRID = 4  # pixels of the coarsest grid of octaves


def make_checkpoint(spec: dict[str, Any], convert: Callable[[np.ndarray], Any] = lambda array: array) -> Any:
    """The object that the checkpoint file holds, each array passed through `convert`."""
    arrays = _all_arrays(spec, "tensors", "digest")

    def build(node: Any) -> Any:
        match node:
            case {"state": prefix, **rest} if not rest:
                return {
                    key.removeprefix(prefix): convert(array) for key, array in arrays.items() if key.startswith(prefix)
                }
            case {"tensor": str(key), **rest} if not rest:
                return convert(arrays[key])
            case {"tensor": dict(entry), **rest} if not rest:
                return convert(make_array(spec["seed"], **entry))
            case dict():
                return {key: build(value) for key, value in node.items()}
            case list():
                return [build(value) for value in node]
        return node

    return build(spec.get("layout", {"state": ""}))


def make_inputs(spec: dict[str, Any]) -> dict[str, np.ndarray]:
    """Name -> array of what the networks were given."""
    return _all_arrays(spec, "inputs", "inputs_digest")


def make_array(seed: str, key: str, shape: Iterable[int], dtype: str, fill: list[Any]) -> np.ndarray:
    """One array of a specification."""
    shape = tuple(shape)
    match fill:
        case ["const", value]:
            values = np.full(shape, value)
        case ["values", values]:
            values = np.array(values)
        case ["bell", mean, deviation]:
            words = _words(seed, key, shape)
            parts = sum((words >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48))
            values = mean + deviation * ((parts.astype(np.float64) - 131070.0) / BELL_DEVIATION)
        case ["uniform", low, high]:
            values = low + (high - low) * _uniform(seed, key, shape)
        case ["octaves", low, high]:
            values = low + (high - low) * _octaves(seed, key, shape)
        case _:
            raise ValueError(f"unknown fill {fill!r:.80} of {key}")
    return np.array(values, dtype).reshape(shape)


def digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over key, dtype, shape and little-endian bytes of all arrays, in their order."""
    sha256 = hashlib.sha256()
    for key, array in arrays.items():
        sha256.update(f"{key}|{array.dtype.name}|{','.join(map(str, array.shape))}|".encode())
        sha256.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return sha256.hexdigest()


def _all_arrays(spec: dict[str, Any], part: str, expected: str) -> dict[str, np.ndarray]:
    arrays = {entry["key"]: make_array(spec["seed"], **entry) for entry in spec[part]}
    if (found := digest(arrays)) != spec[expected]:
        raise ValueError(f"the {part} of {spec['name']} have SHA-256 {found}, expected {spec[expected]}")
    return arrays


def _words(seed: str, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """splitmix64, uint64 of the shape."""
    start = np.uint64(int.from_bytes(hashlib.sha256(f"{seed}|{key}".encode()).digest()[:8], "big"))
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        words = start + np.uint64(0x9E3779B97F4A7C15) * np.arange(1, count + 1, dtype=np.uint64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            words = (words ^ (words >> np.uint64(shift))) * np.uint64(factor)
    return (words ^ (words >> np.uint64(31))).reshape(shape)


def _uniform(seed: str, key: str, shape: tuple[int, ...]) -> np.ndarray:
    return (_words(seed, key, shape) >> np.uint64(11)).astype(np.float64) / 2.0**53


def _octaves(seed: str, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """float64 in [0, 1], shape [.., height, width]."""
    images, (height, width) = shape[:-2], shape[-2:]
    grids, step = [], 1
    while step == 1 or (height % step == 0 == width % step and min(height, width) >= SMALLEST_GRID * step):
        grid = _uniform(seed, f"{key}|{step}", (*images, height // step, width // step))
        grids.append(np.kron(grid, np.ones((step, step))))
        step *= 4
    contrast = 0.3 + 0.7 * _uniform(seed, f"{key}|gain", (*images, 1, 1))
    level = _uniform(seed, f"{key}|shift", (*images, 1, 1))
    return sum(grids) / len(grids) * contrast + (1.0 - contrast) * level
