"""An exported model as cohorts are drawn from it: the SavedModel and its `model.json`, without the GAN's code."""

import os
import pathlib

import numpy as np
import tensorflow as tf

from tfcxr.serving.model_card import DESCRIPTION_FILE, PATIENTS_FILE, ModelDescription, read_description


class LoadedModel:
    """A SavedModel that `tfcxr.serving.saved_model.export_model` wrote.

    Attributes:
      path: the version's folder. description: what its `model.json` says.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        """`path` is a version's folder, or the folder of versions for the newest.

        Raises:
          FileNotFoundError: neither. ValueError: a damaged model or description.
        """
        self.path = find_version(path)
        self.description: ModelDescription = read_description(self.path)
        try:
            self._functions = tf.saved_model.load(str(self.path))
        except (OSError, tf.errors.OpError, UnicodeDecodeError) as error:
            raise ValueError(f"{self.path} is a damaged SavedModel ({error}); export it again") from error

    def draw(self, seed: np.ndarray, label: np.ndarray, truncation: float = 1.0) -> np.ndarray:
        """Images of seeds int64 [batch] and labels float32 [batch, labels]: uint8 [batch, size, size, channels]."""
        labels = [tf.constant(label, tf.float32)] if self.description.label_names else []
        return self._functions.draw(tf.constant(seed, tf.int64), *labels, tf.constant(truncation, tf.float32))[
            "image"
        ].numpy()

    def training_patients(self) -> str | None:
        """The text of `training_patients.txt`, None where the model has none."""
        path = self.path / PATIENTS_FILE
        return path.read_text(encoding="utf-8") if path.is_file() else None


def find_version(path: str | os.PathLike) -> pathlib.Path:
    """The version's folder that `path` names: itself, or its newest version.

    Raises:
      FileNotFoundError: no such folder, or no exported model in it.
    """
    path = pathlib.Path(path)
    if (path / DESCRIPTION_FILE).is_file():
        return path
    if not path.is_dir():
        raise FileNotFoundError(f"{path} does not exist; python -m tfcxr.export writes a SavedModel")
    versions = [entry for entry in path.iterdir() if entry.name.isdigit() and (entry / DESCRIPTION_FILE).is_file()]
    if not versions:
        raise FileNotFoundError(f"{path} holds no exported model; python -m tfcxr.export writes one")
    return max(versions, key=lambda entry: int(entry.name))
