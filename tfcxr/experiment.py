"""Experiment files: their settings, read as data without running the file, and the commands that they run."""

import ast
import dataclasses
import json
import os
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from tfcxr.command_line import Arguments
from tfcxr.data.atomic import write_atomically
from tfcxr.registry import nearest_name

VARIANTS_NAME = "VARIANTS"
SETTINGS_FILE = "experiment.json"
TRAINING_FLAGS = ("batch_size", "steps", "sample_every")  # flags of `tfcxr.train` that a variant may give values for
RECORDS, EXPORT = "{size}/dataset_info.json", "1/saved_model.pb"
# command -> the flag of the folder that it writes to, and what it writes there last
RESULTS = {
    "tfrecords_builder": ("out_dir", RECORDS),
    "tfcxr.train": ("export_dir", EXPORT),
    "tfcxr.export": ("out_dir", EXPORT),
    "tfcxr.generate": ("out_dir", RECORDS),
    "tfcxr.embed": ("out_dir", RECORDS),
    "tfcxr.evaluate": ("out_dir", "report.json"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExperimentArguments(Arguments):
    """The flags of every experiment file.

    Attributes:
      variant: Name in the file's VARIANTS.
      raw_dir: Folder of the raw data set.
      work_dir: Folder for records, runs, models, cohorts and reports.
    """

    variant: str = "corrected"
    raw_dir: str
    work_dir: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if "/" in self.variant:
            raise ValueError(f"--variant expects a whole variant such as corrected, got {self.variant!r}")

    @property
    def folder(self) -> pathlib.Path:
        """Folder of the variant; the records beside it in `work_dir` serve all variants."""
        return pathlib.Path(self.work_dir) / self.variant


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
        settings = ast.literal_eval(next(filter(None, map(_variants_node, tree.body))))
    except (SyntaxError, ValueError, StopIteration) as error:
        raise ValueError(f"{path} has no literal dictionary {VARIANTS_NAME} = {{name: settings}}") from error
    for name in variant.split("/"):
        names = settings if isinstance(settings, dict) else {}
        if name not in names:
            raise ValueError(f"{path} has no variant {variant!r}; {nearest_name(name, names)}")
        settings = names[name]
    return settings


@dataclasses.dataclass(frozen=True)
class Training:
    """What a variant says about one training.

    Attributes:
      model: Name of the GAN.
      settings: Of its configuration.
      flags: Flags of `tfcxr.train` -> their values, the model's among them.
      others: Names of what the variant says about other commands.
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
class Command:
    """One command of an experiment.

    Attributes:
      words: What follows `python`.
      folder: Where it writes.
      result: Pattern of what it writes there last.
    """

    words: tuple[str, ...]
    folder: pathlib.Path
    result: str

    def is_finished(self) -> bool:
        """Whether the result is there, so that a stopped experiment skips the command when it is run again."""
        return any(self.folder.glob(self.result))


def command(module: str, *, settings: Mapping[str, Any] | None = None, **flags: Any) -> Command:
    """`python -m MODULE` with flags: None is left out, True is --name, values of a list are joined by commas.

    Args:
      module: One of `RESULTS`.
      settings: One --set=name=value each; a dictionary in it gives names such as classifier.learning_rate.
      **flags: Flag -> value.
    """
    words = [
        f"--{name}" if value is True else f"--{name}={_text(value)}"
        for name, value in flags.items()
        if value is not None
    ]
    for name, value in (settings or {}).items():
        parts = {f"{name}.{key}": part for key, part in value.items()} if isinstance(value, dict) else {name: value}
        words += [f"--set={key}={part}" for key, part in parts.items()]
    folder, result = RESULTS[module]
    size = flags.get("image_sizes", ["*"])[-1]  # the largest is written last
    return Command(("-m", module, *words), pathlib.Path(flags[folder]), result.format(size=size))


def training(path: str, arguments: ExperimentArguments, name: str, part: str = "", **flags: Any) -> Command:
    """Trains and exports what the variant, or a part of it, describes; `flags` win over what it says.

    Args:
      path: The experiment file.
      name: Of the run folder, and of the exported model's folder in `saved_models`.
      part: Such as "srgan" where the variant holds several models.
    """
    variant, folder = f"{arguments.variant}/{part}" if part else arguments.variant, arguments.folder
    flags = {"run_dir": folder / name, "export_dir": folder / "saved_models" / name} | flags
    flags = {"experiment": path, "variant": variant} | read_training(path, variant).flags | flags
    return command("tfcxr.train", **flags, resume=True)


def ranking(arguments: ExperimentArguments, cohorts: dict[str, pathlib.Path], **flags: Any) -> Command:
    """Ranks cohorts by their distance from held-out patients, by the features of a small classifier."""
    return command(
        "tfcxr.evaluate",
        protocols="ranking",
        synthetic_dir=[f"{name}={path}" for name, path in cohorts.items()],
        test_splits="held_out",
        out_dir=arguments.folder / "ranking",
        extractor_dir=pathlib.Path(arguments.work_dir) / "extractor",
        classifier="small_cnn",
        classifier_seeds=[0],
        **flags,
    )


def sizes_to(image_size: int) -> list[int]:
    """4, 8, 16 and so on to `image_size`, which a growing model is trained on."""
    return [4 << power for power in range(image_size.bit_length() - 2)]


def run(path: str, arguments: ExperimentArguments, facts: dict[str, Any], commands: Sequence[Command]) -> None:
    """Writes what the experiment is into its folder, or checks that it is the same one, then runs its commands.

    Commands whose results exist are skipped, so results of other settings must not be taken for these.

    Args:
      path: The experiment file.
      facts: What decides the results beside the flags and the variant's settings, such as the splits.

    Raises:
      ValueError: the folder holds results of other settings; the first difference is named.
      SystemExit: a command failed.
    """
    places = ("variant", "raw_dir", "work_dir", "pretraining_raw_dir")
    given = {name: value for name, value in vars(arguments).items() if name not in places}
    text = json.dumps(given | facts | read_variant(path, arguments.variant), indent=2) + "\n"
    settings_path = arguments.folder / SETTINGS_FILE
    if not settings_path.is_file():
        write_atomically(settings_path, text)
    try:
        before, now = json.loads(settings_path.read_text(encoding="utf-8")), json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{settings_path} is damaged ({error}); choose another --work_dir") from error
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise ValueError(
                f"{arguments.folder} holds results of other settings: {name} was {before.get(name)!r}, "
                f"now {now.get(name)!r}; choose another --work_dir"
            )
    run_commands(commands)


def run_commands(commands: Sequence[Command]) -> None:
    """Runs what is not finished, one after the other, each command as its user would, and ends at the first failure.

    Raises:
      SystemExit: a command failed (with its exit status) or did not write its result.
    """
    for number, each in enumerate(commands, start=1):
        line = shlex.join(["python", *each.words])
        if each.is_finished():
            logging.info("%d of %d, done before: %s", number, len(commands), line)
            continue
        logging.info("%d of %d: %s", number, len(commands), line)
        status = subprocess.run([sys.executable, *each.words]).returncode
        if status:
            raise SystemExit(status)
        if not each.is_finished():
            raise SystemExit(
                f"stopped: {each.folder / each.result} is not finished; run the experiment again to resume"
            )


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _variants_node(node: ast.stmt) -> ast.expr | None:
    """What a statement assigns to `VARIANTS`, None where it is another statement."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    else:
        return None
    return node.value if any(isinstance(t, ast.Name) and t.id == VARIANTS_NAME for t in targets) else None
