"""A request that every export can answer, of which golden pictures and warm-up requests are made."""

from typing import Any

import numpy as np

from tfcxr.serving.signatures.signature import Signature

SIDE = 16  # pixels of an image to each side, where the signature takes any size


def example_request(signature: Signature, served: Any, rows: int, first_seed: int = 1) -> dict[str, np.ndarray]:
    """Inputs of a signature by name, the same whenever it is called.

    Args:
      signature: one of `SIGNATURES`.
      served: what is exported, a `tfcxr.serving.served.Served`.
      rows: images that are asked for; each has the first label, where the model has labels.
      first_seed: of the first image, or of the noise that stands for images and latents.
    """
    random = np.random.default_rng(first_seed)
    request: dict[str, np.ndarray] = {}
    for spec in signature.inputs(served):
        if spec.name in signature.defaults:  # one value per row, as servers that join requests need it
            shape = [] if spec.shape.rank == 0 else [rows]
            request[spec.name] = np.full(shape, signature.defaults[spec.name], np.float32)
            continue
        shape = [rows, *(side or SIDE for side in spec.shape[1:])]
        if spec.name == "label":
            request["label"] = np.tile(np.eye(1, len(served.label_names), dtype=np.float32), [rows, 1])
        elif spec.dtype.name == "int64":
            request[spec.name] = first_seed + np.arange(rows, dtype=np.int64)
        elif spec.dtype.name == "uint8":
            request[spec.name] = random.integers(0, 256, shape, np.uint8)
        else:
            request[spec.name] = random.standard_normal(shape, np.float32)
    return request
