"""A run folder `runs/<name>/`: `config.json`, checkpoints, `metrics.jsonl`, TensorBoard files and sample pictures."""

import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any

from tfcxr.config import make_config, nearest_name, to_plain
from tfcxr.data.atomic import write_atomically
from tfcxr.data.records import split_info
from tfcxr.data.schema import DatasetInfo
from tfcxr.data.training_patients import TRAINING_PATIENTS_FILE
from tfcxr.models import MODELS
from tfcxr.models.base import AdversarialModel
from tfcxr.models.pretrained import StoredRun
from tfcxr.training.checkpoints import Checkpoints, read_arrays, restore

CONFIG_FILE = "config.json"


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What a run is; a resumed run must agree in everything but `steps`.

    Attributes:
      model: name in `MODELS`.
      settings: every field of the model's configuration.
      label_names: of the training data.
      seed: of weights, noise and data order.
      batch_size: images per step over all replicas.
      steps: where the run ends.
      data: name, split, notice and fingerprint of the training data; `pretrained_on` names those of runs before.
    """

    model: str
    settings: dict[str, Any]
    label_names: tuple[str, ...]
    seed: int
    batch_size: int
    steps: int
    data: dict[str, str]


def model_class(name: str) -> type[AdversarialModel]:
    """The model class of a name.

    Raises:
      ValueError: no such model; the nearest name is offered.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; {nearest_name(name, MODELS)}; --plugin=FILE.py loads your own")
    return MODELS[name]


def make_model(run: RunConfig) -> AdversarialModel:
    """The run's model with fresh weights; call it inside the strategy's scope."""
    gan_class = model_class(run.model)
    return gan_class(make_config(gan_class.config_class, run.settings), seed=run.seed)


def start_run(run_dir: str | os.PathLike, run: RunConfig, resume: bool) -> None:
    """Makes the run folder, or checks that it holds the same run when resuming.

    Raises:
      ValueError: the folder holds a run already, or the run to resume has other settings, which are named, or another
        end where the learning rate falls towards it.
    """
    path = pathlib.Path(run_dir) / CONFIG_FILE
    if not path.is_file():
        write_atomically(path, json.dumps(dataclasses.asdict(run), indent=2) + "\n")
        return
    if not resume:
        raise ValueError(f"{run_dir} holds a run already; continue it with --resume or choose another --run_dir")
    before, now = _plain(read_run(run_dir)), _plain(run)
    if now["settings.decay_last"] and before["steps"] != now["steps"]:
        raise ValueError(
            f"the learning rate of {run_dir} falls towards step {before['steps']} (decay_last="
            f"{now['settings.decay_last']:g}), so the run cannot end at step {now['steps']}; give "
            f"--steps={before['steps']} or choose another --run_dir"
        )
    before["steps"] = now["steps"]
    if differences := [
        f"{name} was {before.get(name)!r}, now {now.get(name)!r}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]:
        raise ValueError(f"{run_dir} holds a run of other settings: {'; '.join(differences)}; choose another --run_dir")
    write_atomically(path, json.dumps(dataclasses.asdict(run), indent=2) + "\n")


def ended_run(run_dir: str | os.PathLike, run: RunConfig, step: int) -> RunConfig:
    """The run with the step at which it ended before its last one, which config.json then has too."""
    ended = dataclasses.replace(run, steps=step)
    write_atomically(pathlib.Path(run_dir) / CONFIG_FILE, json.dumps(dataclasses.asdict(ended), indent=2) + "\n")
    return ended


def read_run(run_dir: str | os.PathLike) -> RunConfig:
    """The configuration of a run folder; settings that an earlier version did not store are those it trained with.

    Raises:
      FileNotFoundError: not a run folder.
      ValueError: a damaged config.json.
    """
    path = pathlib.Path(run_dir) / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{run_dir} is not a run folder: it has no {CONFIG_FILE}; python -m tfcxr.train makes one"
        )
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        run = RunConfig(**(fields | {"label_names": tuple(fields["label_names"])}))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the configuration of a run: {error}") from error
    if run.model not in MODELS:
        return run
    config_class = MODELS[run.model].config_class
    config = make_config(config_class, config_class.current_settings(run.settings))
    return dataclasses.replace(run, settings=to_plain(config))


def load_model(
    run_dir: str | os.PathLike, checkpoint: str = "last"
) -> tuple[AdversarialModel, RunConfig, dict[str, Any]]:
    """The trained model of a run folder in float32, its configuration and the checkpoint's state.

    Args:
      checkpoint: "last", "best" or the number of a step.

    Raises:
      FileNotFoundError: not a run folder, or one without such a checkpoint.
      ValueError: no such word for a checkpoint, a damaged one or one of other settings.
    """
    run, checkpoints = read_run(run_dir), Checkpoints(run_dir)
    path = checkpoints.find(checkpoint)
    if path is None and (steps := checkpoints.steps()):
        raise FileNotFoundError(
            f"{run_dir} has no checkpoint {checkpoint}; it keeps those of the steps {', '.join(map(str, steps))}"
        )
    if path is None:
        raise FileNotFoundError(f"{run_dir} has no checkpoint yet; train it first")
    gan_class = model_class(run.model)
    model = gan_class(make_config(gan_class.config_class, run.settings).for_inference(), seed=run.seed)
    return model, run, restore(path, model.checkpoint_variables())


def read_stored_run(run_dir: str | os.PathLike) -> StoredRun:
    """A run folder's model, settings, patients and last checkpoint, for a model that starts from it.

    Raises:
      FileNotFoundError: not a run folder, or one without a checkpoint.
      ValueError: a damaged file.
    """
    run, path = read_run(run_dir), Checkpoints(run_dir).find()
    if path is None:
        raise FileNotFoundError(f"{run_dir} has no checkpoint yet; train it first")
    patients = pathlib.Path(run_dir) / TRAINING_PATIENTS_FILE
    return StoredRun(
        name=pathlib.Path(run_dir).resolve().name,
        model=run.model,
        config_class=model_class(run.model).config_class,
        settings=run.settings,
        data=run.data,
        patients=tuple(patients.read_text(encoding="utf-8").split()) if patients.is_file() else None,
        weights=read_arrays(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def describe_data(info: DatasetInfo, split: str) -> dict[str, str]:
    """Name, split, notice and fingerprint (SHA-256 over those of the shards) of the data that a run trains on."""
    digests = "".join(shard.sha256 for shard in split_info(info, split).shards)
    return {
        "name": info.name,
        "split": split,
        "notice": info.notice,
        "licence": info.source.get("licence", ""),
        "salt_fingerprint": info.salt_fingerprint,
        "fingerprint": hashlib.sha256(digests.encode()).hexdigest(),
    }


def _plain(run: RunConfig) -> dict[str, Any]:
    plain = to_plain(run)
    return plain | {f"settings.{name}": value for name, value in plain.pop("settings").items()}
