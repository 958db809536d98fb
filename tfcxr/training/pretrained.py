"""What fine-tuning starts from: a PGGAN's run folder and a feature network that `tfcxr.port` wrote."""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np
from absl import logging

from tfcxr.backbones.stored_backbone import load_backbone, read_backbone
from tfcxr.models.pggan_networks import Architecture
from tfcxr.models.transfer_pggan import TransferPGGAN
from tfcxr.training.checkpoints import Checkpoints, read_arrays
from tfcxr.training.run_folder import read_run

INHERITED = {field.name for field in dataclasses.fields(Architecture)} - {
    "recomputes_blocks",
    "minibatch_stddev",
}
INHERITED |= {"image_size", "value_range", "channel_base", "channel_max"}
CRITIC = {"growth_rate": "critic_growth_rate", "block_config": "critic_blocks", "initial_filters": "critic_filters"}


def inherited_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with those of the pretrained generator and critic filled in.

    Raises:
      FileNotFoundError: no such run folder, or no checkpoint or feature network in it.
      ValueError: no `pretrained` given, a run of another model, one that is not grown, or a setting that contradicts.
    """
    if not settings.get("pretrained"):
        raise ValueError(
            "transfer_pggan fine-tunes a trained PGGAN: give its run folder as --set=pretrained=runs/NAME "
            "(of tfcxr.train --model=pggan, or of tfcxr.port)"
        )
    run_dir = settings["pretrained"]
    run = read_run(run_dir)
    if run.model not in ("pggan", "transfer_pggan"):
        raise ValueError(f"pretrained={run_dir} is a run of {run.model}; a run of pggan was expected")
    size = int(_arrays(run_dir)["state/size"])
    if size != run.settings["image_size"]:
        raise ValueError(
            f"{run_dir} has grown to {size} of {run.settings['image_size']} px only; train it to its end first"
        )
    found = {name: value for name, value in run.settings.items() if name in INHERITED}
    if settings.get("critic_weights"):
        description = read_backbone(settings["critic_weights"])["settings"]
        found |= {name: description[theirs] for theirs, name in CRITIC.items()}
    for name, value in found.items():
        given = settings.get(name, value)
        if (list(given) if isinstance(given, tuple) else given) != value:
            raise ValueError(f"{name}={given} does not fit what is pretrained, which has {name}={value}")
    return settings | found


def load_pretrained(model: TransferPGGAN) -> None:
    """Puts the pretrained weights into a fresh model, and says what of it learns.

    Raises:
      FileNotFoundError, ValueError: as `inherited_settings`, and weights that do not fit.
    """
    config = model.config
    arrays = _arrays(config.pretrained)
    source = config.starts_from
    if f"{source}/000" not in arrays:
        raise ValueError(f"{config.pretrained} keeps no averaged generator; set starts_from=generator")
    for network in filter(None, (model.generator, model.ema_generator)):
        for index, variable in enumerate(network.variables):
            variable.assign(arrays[f"{source}/{index:03d}"])
    if config.critic_weights:
        backbone, own = load_backbone(config.critic_weights), model.discriminator.backbone.variables
        stored = backbone.variables[: len(own)]  # its classifier comes last and is left out
        shapes = [[tuple(variable.shape) for variable in variables] for variables in (stored, own)]
        if backbone.value_range != "xrv" or shapes[0] != shapes[1]:
            raise ValueError(
                f"{config.critic_weights} is no grey DenseNet of [-1024, 1024] with the critic's widths (growth rate "
                f"{config.critic_growth_rate}, blocks {config.critic_blocks}), such as TorchXRayVision's"
            )
        for variable, value in zip(own, stored, strict=True):
            variable.assign(np.asarray(value))
    else:
        logging.warning("no critic_weights given: the frozen critic has random weights, which know no radiographs")
    logging.info("%s", model.learning_text())


def _arrays(run_dir: str | os.PathLike) -> dict[str, np.ndarray]:
    path = Checkpoints(run_dir).find()
    if path is None:
        raise FileNotFoundError(f"{pathlib.Path(run_dir)} has no checkpoint yet; train it first")
    return read_arrays(path)
