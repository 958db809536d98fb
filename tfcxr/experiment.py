"""Experiment files: their settings, read as data without running the file, and the commands they consist of."""

import ast
import dataclasses
import json
import os
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from absl import logging

from tfcxr.command_line import nearest_name
from tfcxr.data.atomic import write_atomically

VARIANTS_NAME = "VARIANTS"
SETTINGS_FILE = "experiment.json"
TRAINING_FLAGS = ("batch_size", "steps", "sample_every")  # flags of `tfcxr.train` that a variant may give values for


def read_variant(path: str | os.PathLike, variant: str) -> dict[str, Any]:
    """The settings of one variant, from the literal dictionary `VARIANTS = {name: {...}}` in an experiment file.

    A variant of several models holds a dictionary for each; `variant` is then such as "as_published/srgan".

    Raises:
      FileNotFoundError: no such file.
      ValueError: not Python, without such a dictionary of literals, or without that variant.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        others = sorted(str(other) for other in path.parent.glob("*.py"))
        raise FileNotFoundError(f"experiment {path} does not exist; {nearest_name(str(path), others)}")
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        variants = next(ast.literal_eval(node.value) for node in tree.body if _assigns(node, VARIANTS_NAME))
    except (SyntaxError, ValueError, StopIteration) as error:
        raise ValueError(f"{path} has no literal dictionary {VARIANTS_NAME} = {{name: settings}}") from error
    settings = variants
    for name in variant.split("/"):
        if not isinstance(settings, dict) or name not in settings:
            raise ValueError(f"{path} has no variant {variant!r}; {nearest_name(name, settings)}")
        settings = settings[name]
    return settings


@dataclasses.dataclass(frozen=True)
class Training:
    """What a variant says of one training.

    Attributes:
      model: name of the GAN.
      settings: of its configuration.
      flags: values of `tfcxr.train`'s flags of these names, the model's among them.
      others: names of what the variant says of other commands.
    """

    model: str
    settings: dict[str, Any]
    flags: dict[str, Any]
    others: tuple[str, ...]


def read_training(path: str | os.PathLike, variant: str) -> Training:
    """The training that a variant describes; raises as `read_variant` does.

    Raises:
      ValueError: it describes several trainings, or none.
    """
    settings = read_variant(path, variant)
    if "model_name" not in settings:
        parts = [name for name, value in settings.items() if isinstance(value, dict) and "model_name" in value]
        advice = f"choose one: {', '.join(f'--variant={variant}/{name}' for name in parts)}" if parts else "and no part"
        raise ValueError(f"variant {variant!r} of {path} describes no single model; {advice}")
    taken = {"model": settings["model_name"]} | {name: settings[name] for name in TRAINING_FLAGS if name in settings}
    others = tuple(name for name in settings if name not in ("model_name", "model", *TRAINING_FLAGS))
    return Training(settings["model_name"], settings.get("model", {}), taken, others)


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command of an experiment; it is skipped when `result` is there, so that a stopped experiment goes on."""

    command: tuple[str, ...]
    result: pathlib.Path


def claim_folder(work_dir: str | os.PathLike, settings: dict[str, Any]) -> None:
    """Writes what an experiment is into its folder, or checks that the folder is of the same one.

    Stages that are done are skipped, so results of other settings must not be taken for these.

    Raises:
      ValueError: the folder holds results of other settings; the first difference is named.
    """
    path, text = pathlib.Path(work_dir) / SETTINGS_FILE, json.dumps(settings, indent=2) + "\n"
    if not path.is_file():
        write_atomically(path, text)
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}); choose another --work_dir") from error
    now = json.loads(text)
    if differences := sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name)):
        name = differences[0]
        raise ValueError(
            f"{work_dir} holds results of other settings: {name} was {before.get(name)!r}, now {now.get(name)!r}; "
            "choose another --work_dir"
        )


def run_stages(stages: Sequence[Stage]) -> None:
    """Runs the commands of an experiment one after the other, each as its user would, and ends at the first failure.

    Raises:
      SystemExit: a command failed; with its exit status.
    """
    for number, stage in enumerate(stages, start=1):
        line = shlex.join(["python", *stage.command])
        if stage.result.exists():
            logging.info("%d of %d, done before: %s", number, len(stages), line)
            continue
        logging.info("%d of %d: %s", number, len(stages), line)
        status = subprocess.run([sys.executable, *stage.command]).returncode
        if status:
            raise SystemExit(status)
        if not stage.result.exists():
            raise SystemExit(f"stopped: {stage.result} is not finished; run the experiment again to go on")


def _assigns(node: ast.stmt, name: str) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)
