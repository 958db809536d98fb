"""Which models are served: those of a folder, of a base path, or of a configuration file."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from tfcxr.server.servable import MODEL_FILE
from tfcxr.server.text_messages import read_text_message

PLATFORMS = ("", "tensorflow")


@dataclasses.dataclass(frozen=True)
class VersionPolicy:
    """Which versions of a model are served at once.

    Attributes:
      latest: so many of the highest numbers; 0 for all.
      specific: these numbers instead, where there are any.
    """

    latest: int = 1
    specific: tuple[int, ...] = ()

    def choose(self, present: Sequence[int]) -> list[int]:
        """The versions to serve, of those that there are, highest first."""
        if self.specific:
            return sorted((version for version in present if version in self.specific), reverse=True)
        return sorted(present, reverse=True)[: self.latest or None]


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """A model to serve.

    Attributes:
      name: that requests give.
      base_path: folder of its numbered versions.
      policy: which of them are served.
      labels: label -> version, for requests that name a version by its label.
    """

    name: str
    base_path: pathlib.Path
    policy: VersionPolicy = VersionPolicy()
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def versions(self) -> dict[int, pathlib.Path]:
        """Number -> folder of every version that is there."""
        if not self.base_path.is_dir():
            return {}
        return {int(path.name): path for path in self.base_path.iterdir() if path.name.isdecimal() and path.is_dir()}


def models_in(folder: str | os.PathLike, policy: VersionPolicy = VersionPolicy()) -> list[ServedModel]:
    """The models of a folder: of each folder in it that has numbered versions, or of the folder itself if it has.

    Raises:
      FileNotFoundError: no such folder.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} does not exist; expected the folder of exported models, such as saved_models"
        )
    own = ServedModel(folder.resolve().name, folder, policy)
    if _is_exported(own):
        return [own]
    models = [ServedModel(path.name, path, policy) for path in sorted(folder.iterdir()) if path.is_dir()]
    return [model for model in models if _is_exported(model)]


def models_of_file(path: str | os.PathLike) -> list[ServedModel]:
    """The models of a `ModelServerConfig` file, see `models_of_message`."""
    return models_of_message(read_text_message(path, "ModelServerConfig"))


def models_of_message(config: Any) -> list[ServedModel]:
    """The models of a `ModelServerConfig`.

    Raises:
      ValueError: a model without a name or an absolute path, a name twice, another platform than TensorFlow, or a
        configuration that is no list of models.
    """
    if config.WhichOneof("config") == "custom_model_config":
        raise ValueError("custom_model_config is not supported; expected a model_config_list")
    models = [_model_of(entry) for entry in config.model_config_list.config]
    names = [model.name for model in models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"the model {twice[0]} is listed twice; every model needs a name of its own")
    return models


def _model_of(entry: Any) -> ServedModel:
    if not entry.name or not entry.base_path:
        raise ValueError("a model of model_config_list needs a name and a base_path")
    if not pathlib.Path(entry.base_path).is_absolute():
        raise ValueError(f"the base_path of {entry.name} must be absolute, got {entry.base_path}")
    if entry.model_platform not in PLATFORMS:
        raise ValueError(f"{entry.name} is of the platform {entry.model_platform!r}; only 'tensorflow' is served")
    choice = entry.model_version_policy
    policy = {
        None: VersionPolicy(),
        "latest": VersionPolicy(latest=choice.latest.num_versions or 1),
        "all": VersionPolicy(latest=0),
        "specific": VersionPolicy(specific=tuple(choice.specific.versions)),
    }[choice.WhichOneof("policy_choice")]
    if entry.HasField("logging_config"):
        logging.warning("%s: logging_config is left out; requests are never written to a file", entry.name)
    return ServedModel(entry.name, pathlib.Path(entry.base_path), policy, dict(entry.version_labels))


def _is_exported(model: ServedModel) -> bool:
    return any((path / MODEL_FILE).is_file() for path in model.versions().values())
