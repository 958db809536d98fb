"""An exported model as cohorts are drawn from it: the SavedModel and its `model.json`, without the GAN's code."""

import os
import pathlib

import numpy as np
import tensorflow as tf

from tfcxr.data.schema import INFO_FILE
from tfcxr.serving.model_card import DESCRIPTION_FILE, PATIENTS_FILE, ModelDescription, read_description
from tfcxr.training.run_folder import CONFIG_FILE

OTHER_FOLDERS = {  # file -> what holds it and is no exported model
    "backbone.json": "a backbone, which reads images and draws none",
    CONFIG_FILE: "a run folder; python -m tfcxr.export --run_dir exports it",
    INFO_FILE: "a data folder",
    "saved_model.pb": "a SavedModel without model.json; python -m tfcxr.export and tfcxr.port write both",
}


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
        """Images of seeds int64 [batch] and labels float32 [batch, labels]: uint8 [batch, size, size, channels].

        Raises:
          ValueError: a model that draws nothing, such as super-resolution.
        """
        if self.description.kind == "super_resolution":
            raise ValueError(f"{self.path} enlarges images and draws none; give the export of a generator")
        labels = [tf.constant(label, tf.float32)] if self.description.label_names else []
        return self._functions.draw(tf.constant(seed, tf.int64), *labels, tf.constant(truncation, tf.float32))[
            "image"
        ].numpy()

    def enhance(self, image: np.ndarray) -> np.ndarray:
        """Super-resolved images of uint8 [batch, height, width, channels]: `description.scale` times as high and wide.

        Raises:
          ValueError: not a super-resolution model.
        """
        if self.description.kind != "super_resolution":
            raise ValueError(f"{self.path} is a {self.description.kind}, expected an exported super-resolution model")
        return self._functions.enhance(tf.constant(image, tf.uint8))["image"].numpy()

    def score(self, image: np.ndarray, label: np.ndarray) -> np.ndarray:
        """Realism in [0, 1], float32 [batch], of uint8 [batch, size, size, channels] with labels [batch, labels]."""
        images = tf.constant(image, tf.uint8)
        if self.discriminator_reads_label:
            return self._functions.score(images, tf.constant(label, tf.float32))["realism"].numpy()
        return self._functions.score(images)["realism"].numpy()

    @property
    def discriminator_reads_label(self) -> bool:
        """Whether `score` reads a label beside the image."""
        return "label" in self._functions.signatures["score"].structured_input_signature[1]

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
        for folder in (path, *(entry for entry in path.iterdir() if entry.name.isdigit())):
            for name, what in OTHER_FOLDERS.items():
                if (folder / name).is_file():
                    raise FileNotFoundError(f"{folder} is no exported model but {what}")
        raise FileNotFoundError(f"{path} holds no exported model; python -m tfcxr.export writes one")
    return max(versions, key=lambda entry: int(entry.name))
