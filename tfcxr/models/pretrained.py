"""A training that starts from the networks of another one of the same model, instead of random weights."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfcxr.config import typed_settings
from tfcxr.models.model_config import AdversarialConfig


@dataclasses.dataclass(frozen=True)
class StoredRun:
    """What a run folder holds of a training, for a model that starts from it.

    Attributes:
      name: of the folder.
      model: name of the GAN.
      config_class: of the model.
      settings: of its configuration.
      data: of its training, see `RunConfig`.
      patients: keys of all patients that the model was trained on, None where they are not known.
      weights: the last checkpoint, by the names of `checkpoint_variables`.
      sha256: of the checkpoint's file.
    """

    name: str
    model: str
    config_class: type[AdversarialConfig]
    settings: dict[str, Any]
    data: dict[str, str]
    patients: tuple[str, ...] | None
    weights: dict[str, np.ndarray]
    sha256: str


ReadRun = Callable[[str], StoredRun]  # reads a run folder; raises FileNotFoundError or ValueError


def settings_from(run: StoredRun, config_class: type[AdversarialConfig], settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a training that starts from a run: its networks' settings, and what it is called.

    The discriminator's own may be given otherwise: it starts anew then, see `changed_discriminator_settings`.

    Raises:
      ValueError: a run of another model, or a setting that its networks do not have.
    """
    if run.config_class is not config_class:
        raise ValueError(f"pretrained={run.name} is a run of {run.model}; give a run of the model that is trained now")
    names = [
        name
        for name in config_class.network_settings
        if name != "is_single_label" or run.settings["label_count"]  # without labels it means nothing
    ]
    found = {name: run.settings[name] for name in names}
    kept = typed_settings(config_class, found)
    for name, value in typed_settings(config_class, settings).items():
        if value != kept.get(name, value) and name not in config_class.discriminator_settings:
            raise ValueError(
                f"{name}={value} does not fit pretrained={run.name}, whose networks have "
                f"{name}={run.settings[name]}; leave it out, or start from another run"
            )
    chosen = {name: settings[name] for name in config_class.discriminator_settings if name in settings}
    return settings | found | chosen | {"pretrained": run.name, "pretrained_sha256": run.sha256}


def changed_discriminator_settings(run: StoredRun, config: AdversarialConfig) -> set[str]:
    """In what the discriminator of the configuration is another than that of the run."""
    names = config.discriminator_settings
    theirs = typed_settings(type(config), {name: run.settings[name] for name in names})
    return {name for name in names if theirs[name] != getattr(config, name)}


def load_networks(networks: dict[str, keras.Model | None], run: StoredRun) -> None:
    """Assigns the run's weights, with the statistics of batch normalization, to networks of the same names.

    An average that the run does not keep starts as its generator.

    Raises:
      ValueError: weights that do not fit; the first is named.
    """
    for owner, network in networks.items():
        if network is None:
            continue
        source = owner if f"{owner}/000" in run.weights else owner.removeprefix("ema_")
        variables = {f"{source}/{index:03d}": variable for index, variable in enumerate(network.variables)}
        shapes = {name: value.shape for name, value in run.weights.items() if name.startswith(f"{source}/")}
        own = {name: tuple(variable.shape) for name, variable in variables.items()}
        for name in sorted(own.keys() | shapes.keys()):
            if own.get(name) != shapes.get(name):
                raise ValueError(
                    f"the networks of pretrained={run.name} do not fit: {name} has shape {shapes.get(name)}, expected "
                    f"{own.get(name)}; train with the settings of its config.json"
                )
        for name, variable in variables.items():
            variable.assign(run.weights[name])
