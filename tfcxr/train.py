"""Trains a GAN and exports its generator.

    python -m tfcxr.train --model=acgan --data_dir=records/64 --run_dir=runs/acgan --steps=20000

Without --data_dir it trains on phantom radiographs, in minutes. Killed at any moment, the same command with
--resume continues to the same bits. --experiment=experiments/FILE.py --variant=NAME takes the model, its settings,
steps, batch size and intervals from an experiment; flags and --set override them.
"""

import dataclasses
import pathlib
import shlex
from typing import Any

from absl import logging

from tfcxr import command_line
from tfcxr.config import parse_settings
from tfcxr.data.sizes import check_data_dirs
from tfcxr.startup import tensorflow_started
from tfcxr.studies.declaration import read_training
from tfcxr.training.arguments import TrainArguments
from tfcxr.training.local_workers import run_local_workers

DEFAULTS = {"model": "acgan", "variant": "corrected"}


def train(arguments: TrainArguments) -> pathlib.Path | None:
    """Trains from the start, or from the last checkpoint with `resume`, and exports at the end.

    Returns:
      the exported version's folder, None where nothing was exported or training was interrupted.

    Raises:
      FileNotFoundError: no such experiment, or see `train_model`.
      ValueError: a variant that does not fit, or see `train_model`.
      ConnectionError: another worker ended or cannot be reached.
      SystemExit: one of `local_workers` failed, with its status.
    """
    check_data_dirs(arguments.data_dir)
    if arguments.local_workers > 1:
        words = shlex.split(command_line.command_text(train, dataclasses.replace(arguments, local_workers=1)))
        words += [f"--plugin={path}" for path in command_line.GIVEN_PLUGINS]
        if status := run_local_workers(words[1:], arguments.local_workers):
            raise SystemExit(status)
        return None
    with tensorflow_started():
        from tfcxr.serving.saved_model import export_model
        from tfcxr.training.announcement import announce_results
        from tfcxr.training.exports import export_step
        from tfcxr.training.plan import find_export_dir
        from tfcxr.training.session import train_model

    if not arguments.export:
        command_line.refuse_flags(arguments, ["export_steps"], "--noexport exports nothing")
    resume_command = command_line.command_text(train, dataclasses.replace(arguments, resume=True))
    arguments, settings = with_defaults(arguments)
    trained = train_model(arguments, settings, resume_command, export_model)
    if trained is None:
        return None
    (model, run, run_dir), version = trained, None
    export_dir = find_export_dir(arguments, run_dir)
    if arguments.export_steps:
        version = export_step(export_model, model, run, run_dir, export_dir, run.steps)
    elif arguments.export:
        version = export_model(model, run, export_dir, {"step": run.steps}, run_dir=run_dir)
    announce_results(run, run_dir, model.kind, version)
    return version


def with_defaults(arguments: TrainArguments) -> tuple[TrainArguments, dict[str, Any]]:
    """The arguments with what an experiment or the defaults say where they say nothing, and the model's settings.

    Raises:
      ValueError: --variant without --experiment, a variant that describes no training or several, or --model names
        another model.
    """
    given = parse_settings(arguments.settings)
    if not arguments.experiment:
        if arguments.variant:
            raise ValueError(f"--variant={arguments.variant} needs the file it is in: --experiment=experiments/FILE.py")
        return _filled(arguments, DEFAULTS), {"precision": "auto"} | given
    variant = arguments.variant or DEFAULTS["variant"]
    training = read_training(arguments.experiment, variant)
    if arguments.model not in (None, training.model):
        raise ValueError(
            f"variant {variant!r} of {arguments.experiment} is of the model {training.model}, got "
            f"--model={arguments.model}; leave out --model"
        )
    arguments = _filled(arguments, DEFAULTS | training.flags)
    logging.info(
        "%s, variant %s: %s%s",
        arguments.experiment,
        variant,
        ", ".join(f"{name} {vars(arguments)[name]}" for name in training.flags),
        f"; not of training and left out: {', '.join(training.others)}" if training.others else "",
    )
    return arguments, training.settings | given


def _filled(arguments: TrainArguments, values: dict[str, Any]) -> TrainArguments:
    missing = {name: value for name, value in values.items() if vars(arguments)[name] is None}
    return dataclasses.replace(arguments, **missing)


if __name__ == "__main__":
    command_line.run(train)
