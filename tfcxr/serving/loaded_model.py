"""An exported model without the GAN's code: the SavedModel, its `model.json`, and its signatures by name."""

import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from tfcxr.data.schema import INFO_FILE
from tfcxr.data.training_patients import TRAINING_PATIENTS_FILE
from tfcxr.registry import nearest_name
from tfcxr.serving.model_card import DESCRIPTION_FILE, ModelDescription, read_description
from tfcxr.serving.signatures import SIGNATURES, signatures_of
from tfcxr.training.run_folder import CONFIG_FILE

OTHER_FOLDERS = {  # file -> what holds it and is no exported model
    "classifier.json": "a classifier, which reads images and generates none",
    "backbone.json": "a backbone, which reads images and generates none",
    CONFIG_FILE: "a run folder; python -m tfcxr.export --run_dir exports it",
    INFO_FILE: "a data folder",
    "saved_model.pb": "a SavedModel without model.json; python -m tfcxr.export and tfcxr.port write both",
}


class LoadedModel:
    """A SavedModel that `tfcxr.export` wrote.

    Attributes:
      path: the version's folder.
      description: what its `model.json` says.
      saved_model: what `tf.saved_model.load` returned.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        """Loads a version's folder, or the newest version in a folder.

        Raises:
          FileNotFoundError: neither.
          ValueError: a damaged model or description.
        """
        self.path = find_version(path)
        self.description: ModelDescription = read_description(self.path)
        try:
            self.saved_model = tf.saved_model.load(str(self.path))
        except (OSError, tf.errors.OpError, UnicodeDecodeError) as error:
            raise ValueError(f"{self.path} is a damaged SavedModel ({error}); export it again") from error

    def call(self, name: str, **inputs: Any) -> dict[str, np.ndarray]:
        """The outputs of a function of `SIGNATURES`, such as `model.call("score", image=images, label=labels)`."""
        return {key: output.numpy() for key, output in self.outputs(name, **inputs).items()}

    def outputs(self, name: str, **inputs: Any) -> dict[str, tf.Tensor]:
        """`call` for use inside a graph.

        A `label` is left out where the model reads none, and inputs that are not given have the signature's defaults.

        Raises:
          ValueError: the model has no such function, or not these inputs.
        """
        specs = self.input_specs(name)
        given = {**SIGNATURES[name].defaults, **inputs}
        if given.keys() - {"label"} != specs.keys() - {"label"} or not specs.keys() <= given.keys():
            raise ValueError(
                f"{name} of {self.path} has the inputs {', '.join(sorted(specs))}; got {', '.join(sorted(given))}"
            )
        tensors = {key: tf.convert_to_tensor(given[key], spec.dtype) for key, spec in specs.items()}
        return self.saved_model.signatures[SIGNATURES[name].name](**tensors)

    def has(self, name: str) -> bool:
        """Whether the model has a function of `SIGNATURES`."""
        kinds, signature = SIGNATURES[name].kinds, SIGNATURES[name].name
        return self.description.kind in kinds and signature in self.saved_model.signatures

    def generate(self, seed: np.ndarray, label: np.ndarray, truncation: float | np.ndarray = 1.0) -> np.ndarray:
        """Images uint8 [batch, size, size, channels].

        Args:
          seed: int64 [batch].
          label: float32 [batch, labels].
          truncation: one for all images, or [batch].
        """
        return self.call("generate", seed=seed, label=label, truncation=truncation)["image"]

    def super_resolve(self, image: np.ndarray) -> np.ndarray:
        """Images uint8 [batch, height, width, channels], `description.scale` times as high and wide."""
        return self.call("super_resolve", image=image)["image"]

    def score(self, image: np.ndarray, label: np.ndarray) -> np.ndarray:
        """Realism in [0, 1], float32 [batch], of uint8 [batch, size, size, channels] with labels [batch, labels]."""
        return self.call("score", image=image, label=label)["realism"]

    @property
    def discriminator_reads_label(self) -> bool:
        """Whether `score` reads a label beside the image."""
        return "label" in self.input_specs("score")

    def training_patients(self) -> str | None:
        """The text of `training_patients.txt`, None where the model has none."""
        path = self.path / TRAINING_PATIENTS_FILE
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def input_specs(self, name: str) -> dict[str, tf.TensorSpec]:
        """The inputs of a function of `SIGNATURES` by name; raises ValueError where the model lacks it."""
        if name not in SIGNATURES:
            raise ValueError(f"unknown function {name!r}; {nearest_name(name, SIGNATURES)}")
        if not self.has(name):
            kind, own = self.description.kind, [other for other in SIGNATURES if self.has(other)]
            raise ValueError(
                f"{self.path} is a {kind} with {', '.join(own) or 'no function'}, so it cannot {name}; give the export "
                f"of a {' or '.join(SIGNATURES[name].kinds)}"
            )
        return self.saved_model.signatures[SIGNATURES[name].name].structured_input_signature[1]


def load_generating_model(path: str | os.PathLike) -> LoadedModel:
    """A `LoadedModel` that is a generator or a cascade; raises ValueError for super-resolution."""
    version = find_version(path)
    description = read_description(version)
    if "generate" not in signatures_of(description.kind):
        raise ValueError(
            f"{version} is a super-resolution model ({description.model}): it enlarges images and generates none. Give "
            f"an exported generator as --saved_model and this one as --super_resolution={path}, or join both with "
            f"python -m tfcxr.export --saved_model=GENERATOR --super_resolution={path} --out_dir=CASCADE"
        )
    return LoadedModel(version)


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
