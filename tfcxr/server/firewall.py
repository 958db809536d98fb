"""Refuses pictures that are too near to a training image, whichever signature and protocol they leave by.

The check is that of `tfcxr.serving.copy_check`, by a file that `python -m tfcxr.export --training_features` writes.
A model with such a file is served with it or not at all.
"""

import pathlib
from collections.abc import Mapping

import grpc
import numpy as np
import tensorflow as tf
from absl import logging

from tfcxr.data.pipeline import to_pixels
from tfcxr.server.servable import Servable
from tfcxr.server.serving_error import ServingError
from tfcxr.serving.copy_check import CopyCheck

IMAGE, PNG, SEED = "image", "png_bytes", "seed"  # outputs and inputs of our signatures
MAX_NAMED = 8  # pictures in a message


class CopyError(ServingError):
    """FAILED_PRECONDITION, a request with copies of training images.

    Attributes:
      copies: how many of its pictures.
    """

    def __init__(self, message: str, copies: int) -> None:
        super().__init__(grpc.StatusCode.FAILED_PRECONDITION, message)
        self.copies = copies


class Firewall:
    """The training features of models by name."""

    def __init__(self, features: Mapping[str, str]) -> None:
        """Reads nothing yet.

        Args:
          features: model -> file of its training features.

        Raises:
          FileNotFoundError: no such file.
        """
        self._features = {name: pathlib.Path(path) for name, path in features.items()}
        for name, path in self._features.items():
            if not path.is_file():
                raise FileNotFoundError(
                    f"--training_features={name}={path} does not exist; python -m tfcxr.export --training_features "
                    "writes such a file"
                )

    def guard(self, servable: Servable) -> None:
        """Gives a version its check, where its model has one.

        Raises:
          ServingError: FAILED_PRECONDITION, a damaged file or one of other training images; the log says more.
        """
        if servable.name not in self._features:
            return
        try:
            if servable.description is None:
                raise ValueError(f"{servable.path} was not exported by tfcxr, so nothing says what it was trained on")
            servable.copy_check = CopyCheck.load(self._features[servable.name], servable.description)
        except (OSError, ValueError) as error:
            logging.error("--training_features: %s", error)
            message = f"version {servable.version} of {servable.name} is not served without its check for copies"
            raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, message) from error

    def require(self, served: list[str]) -> None:
        """Raises ValueError where a model with training features is not served: its name may be misspelt."""
        if missing := sorted(set(self._features) - set(served)):
            raise ValueError(
                f"--training_features names {', '.join(missing)}, which is not served; served: {', '.join(served)}"
            )


def copy_ratios(servable: Servable, outputs: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Float32 [rows]: how near the pictures among a version's outputs are to its training images.

    None where it has no check, or there is no picture.
    """
    if servable.copy_check is None:
        return None
    images = outputs.get(IMAGE)
    if images is None and PNG in outputs:
        images = np.stack([tf.io.decode_png(file).numpy() for file in outputs[PNG]])
    if images is None:
        return None
    pixels = tf.constant(images) if images.dtype == np.uint8 else to_pixels(images)
    return servable.copy_check.copy_ratio(pixels).numpy()


def refusal(ratios: np.ndarray, check: CopyCheck, inputs: Mapping[str, np.ndarray]) -> CopyError | None:
    """What a request is refused with, None where none of its pictures is a copy.

    Args:
      ratios: float [rows], of its pictures.
      check: that says which ratio is a copy's.
      inputs: of the request; seeds are named where it has any.
    """
    limit = check.max_copy_ratio
    rows = np.flatnonzero(~(ratios <= limit))  # so NaN is refused
    if not len(rows):
        return None
    what, numbers = ("seed", inputs[SEED][rows]) if SEED in inputs else ("row", rows)
    named = ", ".join(map(str, numbers[:MAX_NAMED])) + (" and others" if len(rows) > MAX_NAMED else "")
    largest = f"{ratios[rows].max():.1f}"
    other = "seed" if SEED in inputs else "input"
    if len(rows) == 1:
        message = (
            f"the picture of {what} {named} is nearer to a training image (copy ratio {largest}) than the limit "
            f"{limit:g} allows; choose another {other}"
        )
    else:
        message = (
            f"the pictures of {what}s {named} are nearer to training images (copy ratio up to {largest}) than the "
            f"limit {limit:g} allows; choose other {other}s"
        )
    return CopyError(message, len(rows))
