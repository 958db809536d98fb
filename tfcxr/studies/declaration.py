"""What a study's file says, read as data without running the file: its variants, and the trainings in them.

`VARIANTS = {name: {setting: value}}` holds literals only. A training is a dictionary with "model_name" (of the GAN),
"model" (settings of its configuration) and `TRAINING_FLAGS`; a variant of several trainings holds one for each. A
variant with "extends" has the settings of that other one, and its own in their place: dictionaries are joined, all else
is replaced.
"""

import ast
import copy
import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from tfcxr.config import describe_type, parse_settings
from tfcxr.registry import nearest_name

FOLDER = "experiments"
VARIANTS_NAME = "VARIANTS"
EXTENDS = "extends"
TRAINING_FLAGS = ("batch_size", "steps", "sample_every")  # flags of `tfcxr.train` that a variant may give values for


def study_files() -> dict[str, pathlib.Path]:
    """Name of a study -> its file, in `experiments/` of the checkout or of the current folder."""
    folders = (pathlib.Path(__file__).parents[2] / FOLDER, pathlib.Path(FOLDER))
    return {path.stem: path for folder in reversed(folders) for path in sorted(folder.glob("*.py"))}


def find_study(name: str) -> pathlib.Path:
    """The file of a study by its name, or by its path.

    Raises:
      FileNotFoundError: no such file.
      ValueError: an unknown name (the nearest is offered).
    """
    files = study_files()
    if name in files:
        return files[name]
    path = pathlib.Path(name)
    if path.suffix != ".py":
        raise ValueError(
            f"unknown study {name!r}; {nearest_name(name, files)}. Studies are the files in {FOLDER}/ of the "
            "repository; one of your own is given by its path, such as my_study.py"
        )
    if not path.is_file():
        raise FileNotFoundError(f"study {path} does not exist; {nearest_name(path.stem, files)}")
    return path


def read_variant(path: str | os.PathLike, variant: str) -> dict[str, Any]:
    """The settings of one variant, from the literal dictionary `VARIANTS = {name: {...}}` in a study's file.

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
    settings = {name: _extended(settings, name) for name in settings} if isinstance(settings, dict) else settings
    for name in variant.split("/"):
        names = settings if isinstance(settings, dict) else {}
        if name not in names:
            raise ValueError(f"{path} has no variant {variant!r}; {nearest_name(name, names)}")
        settings = names[name]
    return settings


def with_given(settings: Mapping[str, Any], given: tuple[str, ...]) -> dict[str, Any]:
    """The settings of a variant with those that a user gave as NAME=VALUE, such as cgan.steps=500.

    Raises:
      ValueError: a name that the variant does not have (the nearest is offered), or a value of another type. What a
        model's or a classifier's settings may be is checked by the command that takes them.
    """
    changed = copy.deepcopy(dict(settings))
    for name, value in parse_settings(given).items():
        *parents, last = name.split(".")
        holder: Any = changed
        for part in parents:
            _check_has(holder, part, name)
            holder = holder[part]
        is_free = parents[-1:] in (["model"], ["classifier"]) or (last in TRAINING_FLAGS and "model_name" in holder)
        if not is_free or last in holder:
            _check_has(holder, last, name)
            value = _like(holder[last], value, name)
        holder[last] = value
    return changed


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


def training_of(settings: Mapping[str, Any]) -> Training:
    """The training that a dictionary with "model_name" describes."""
    taken = {"model": settings["model_name"]} | {name: settings[name] for name in TRAINING_FLAGS if name in settings}
    others = tuple(name for name in settings if name not in ("model_name", "model", *TRAINING_FLAGS))
    return Training(settings["model_name"], settings.get("model", {}), taken, others)


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
    return training_of(settings)


def _extended(variants: dict[str, Any], name: str) -> Any:
    """A variant with what it takes over from another."""
    own = variants[name]
    if not isinstance(own, dict) or EXTENDS not in own:
        return own
    if own[EXTENDS] not in variants:
        raise ValueError(f"variant {name!r} extends {own[EXTENDS]!r}; {nearest_name(own[EXTENDS], variants)}")
    return _joined(_extended(variants, own[EXTENDS]), {key: own[key] for key in own if key != EXTENDS})


def _joined(base: Any, own: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(own, dict):
        return copy.deepcopy(own)
    both = {
        key: _joined(base[key], own[key]) if key in base and key in own else own.get(key, base.get(key))
        for key in base | own
    }
    return copy.deepcopy(both)


def _check_has(settings: Any, part: str, name: str) -> None:
    names = settings if isinstance(settings, dict) else ()
    if part not in names:
        raise ValueError(f"--set={name} is no setting of the variant; {nearest_name(part, names)}")


def _like(before: Any, value: Any, name: str) -> Any:
    """A value of the type that the variant has."""
    if isinstance(before, float) and type(value) is int:
        return float(value)
    if isinstance(before, bool) and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if isinstance(before, list) and not isinstance(value, dict):
        return list(value) if isinstance(value, list | tuple) else [part for part in str(value).split(",") if part]
    if before is not None and type(value) is not type(before):
        raise ValueError(f"--set={name} expects {describe_type(type(before))} such as {before!r}, got {value!r}")
    return value


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
