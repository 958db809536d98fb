"""One training from its arguments to the trained model: data, networks, checkpoints, pictures, log."""

import functools
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from tfcxr import registry
from tfcxr.config import make_config, to_plain
from tfcxr.data.atomic import write_atomically
from tfcxr.data.schema import DatasetInfo
from tfcxr.models import MODELS
from tfcxr.models.base import AdversarialModel
from tfcxr.models.model_config import AdversarialConfig
from tfcxr.precision import has_bfloat16
from tfcxr.training import callbacks
from tfcxr.training.announcement import announce_training
from tfcxr.training.arguments import TrainArguments
from tfcxr.training.checkpoints import Checkpoints, restore
from tfcxr.training.exports import Export, ExportAtSteps, check_export_steps, parse_export_steps
from tfcxr.training.loop import train_stages
from tfcxr.training.pretrained_start import earlier_data, patients_seen, settings_to_resume
from tfcxr.training.run_folder import (
    CONFIG_FILE,
    TRAINING_PATIENTS_FILE,
    RunConfig,
    make_model,
    read_run,
    read_stored_run,
    settings_of_earlier_version,
    start_run,
)
from tfcxr.training.samples import SAMPLE_WATCHERS, SampleWatcher
from tfcxr.training.samples.real_images import read_real_images
from tfcxr.training.strategy import make_strategy
from tfcxr.training.training_data import find_training_data, labels_to_resume


def train_model(
    arguments: TrainArguments, settings: dict[str, Any], resume_command: str, export: Export
) -> tuple[AdversarialModel, RunConfig, pathlib.Path] | None:
    """Trains from the start, or from the last checkpoint with `resume`.

    Args:
      arguments: of the command, with model, batch size and intervals.
      settings: of the model, where they differ from its defaults.
      resume_command: the line that a user types to continue after an interruption.
      export: writes a version at `export_steps`.

    Returns:
      the trained model, its run and the run folder; None where training was interrupted.

    Raises:
      FileNotFoundError: no such data folder or checkpoint.
      ValueError: an unknown model or setting, data that do not fit it, a run folder of another run, steps at which
        nothing can be exported, or a loss that is not finite.
    """
    assert arguments.model and arguments.batch_size  # filled in
    name, gan_class = registry.find(MODELS, arguments.model, "model")
    config_class, watcher_class = gan_class.config_class, SAMPLE_WATCHERS[gan_class.kind]
    if arguments.deterministic:
        tf.config.experimental.enable_op_determinism()
    run_dir = pathlib.Path(arguments.run_dir or pathlib.Path("runs") / name)
    begun = read_run(run_dir) if arguments.resume and (run_dir / CONFIG_FILE).is_file() else None
    labels = arguments.labels
    if settings.get("precision") == "auto":
        settings = settings | {"precision": _automatic_precision(config_class, arguments.devices, begun)}
    if arguments.conditions:
        if not config_class.reads_conditions():
            readers = ", ".join(other for other, found in MODELS.items() if found.config_class.reads_conditions())
            raise ValueError(
                f"{name} is told labels alone, so --conditions={','.join(arguments.conditions)} cannot be; choose a "
                f"model that reads them ({readers}), or leave them out"
            )
        settings = settings | {"conditions": arguments.conditions}
    checkpoints, pretrained = Checkpoints(run_dir, arguments.keep_checkpoints), settings.get("pretrained")
    is_resumed, read_run_once = begun is not None and checkpoints.find() is not None, functools.cache(read_stored_run)
    if begun is not None and is_resumed and begun.settings.get("pretrained_sha256"):
        settings = settings_to_resume(settings, begun)
    else:
        settings = gan_class.prepare_settings(settings, read_run_once)
    if begun is not None:
        labels = labels_to_resume(run_dir, begun, labels)
        settings = settings_of_earlier_version(run_dir, name) | settings
    data = find_training_data(
        arguments.data_dir,
        settings.get(config_class.records_size),
        arguments.splits,
        labels,
        arguments.verify_checksums,
    )
    config = make_config(config_class, _fit_to_data(settings, data.info, len(data.choice.names), gan_class))
    watched_splits = _watched_splits(arguments, data.info, name, watcher_class)
    stages = config.stages(arguments.batch_size, arguments.steps)
    start = read_run_once(pretrained) if pretrained and not is_resumed else None
    run = RunConfig(
        model=name,
        settings=to_plain(config),
        label_names=data.choice.names if config.label_count else (),
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        steps=stages[-1].end_step,
        data=data.description() | earlier_data(start, begun),
    )
    export_dir, export_steps = find_export_dir(arguments, run_dir), parse_export_steps(arguments.export_steps)
    check_export_steps(export_steps, run.steps, export_dir, begun is not None)
    strategy = make_strategy(list(arguments.devices))
    open_batches = data.open_batches(arguments.seed, stages, config, strategy.num_replicas_in_sync)
    patients = data.patients()
    start_run(run_dir, run, arguments.resume)  # from here on there is a run; what can be wrong was checked before
    checkpoints.remove_leftovers()
    if not (is_resumed and config.pretrained):  # then it stands there, with those of the run that it started from
        seen = patients_seen(patients, data.info.salt_fingerprint, start)
        if seen is not None:
            write_atomically(run_dir / TRAINING_PATIENTS_FILE, "".join(f"{patient}\n" for patient in seen))

    with strategy.scope():
        model = make_model(run)
    last = checkpoints.find()
    state = {"step": 0, "metrics_size": 0} if last is None else restore(last, model.checkpoint_variables())
    if start is not None:
        model.load_initial_weights(start)
        logging.info("starting from the networks of %s, checkpoint %s", start.name, start.sha256[:12])
    del start, read_run_once  # or its weights would stay in memory
    real_images = read_real_images(
        data.folder, watched_splits, watcher_class.images_per_label, config.image_size, bool(run.label_names), labels
    )
    metrics_log = callbacks.MetricsLog(run_dir, arguments.log_every, state["metrics_size"])
    samples = watcher_class(
        model,
        run_dir,
        run.label_names,
        real_images,
        arguments.sample_every,
        metrics_log,
        state.get("best_distance", math.inf),
        state.get("best_size"),
    )
    saving = callbacks.SaveCheckpoints(
        checkpoints, arguments.checkpoint_every, run.steps, metrics_log, samples, resume_command
    )
    announce_training(model, run, run_dir, data, len(patients), stages, samples)
    if state["step"]:
        logging.info("resuming at step %d of %d", state["step"], run.steps)
    progress = callbacks.ProgressBar(stages, state["step"])
    exports = ExportAtSteps(export, run, run_dir, export_dir, export_steps)
    watchers = [callbacks.StopOnNonFinite(), progress, metrics_log, samples, exports, saving]
    train_stages(model, stages, open_batches, state["step"], watchers, strategy)
    return None if model.stop_training else (model, run, run_dir)


def find_export_dir(arguments: TrainArguments, run_dir: pathlib.Path) -> pathlib.Path:
    """Where the SavedModels of a run go."""
    return pathlib.Path(arguments.export_dir or pathlib.Path("saved_models") / run_dir.name)


def _automatic_precision(config_class: type[AdversarialConfig], devices: Sequence[str], begun: RunConfig | None) -> str:
    """The precision that "auto" stands for: that of a run that was begun, or bfloat16 where model and hardware have it.

    A run of bfloat16 is continued in it wherever it resumes, so that it ends with the same bits.
    """
    is_fast = has_bfloat16(devices)
    if begun is None:
        return "mixed_bfloat16" if config_class.trains_in_bfloat16 and is_fast else "float32"
    precision = begun.settings.get("precision", "float32")
    if precision == "mixed_bfloat16" and not is_fast:
        logging.warning("the run was begun in %s, which this machine emulates: it continues so, slowly", precision)
    return precision


def _fit_to_data(settings: dict, info: DatasetInfo, label_count: int, gan_class: type[AdversarialModel]) -> dict:
    """Adds what the data decide: size and labels; a model that reads no labels has none.

    Raises:
      ValueError: a setting that contradicts them.
    """
    config_class = gan_class.config_class
    facts = {
        config_class.records_size: info.image_size,
        "label_count": label_count if config_class.reads_labels(settings) else 0,
        "is_single_label": info.is_single_label,
    }
    for name, value in facts.items():
        if settings.get(name, value) != value:
            of_run = f" of pretrained={settings['pretrained']}" if settings.get("pretrained_sha256") else ""
            raise ValueError(
                f"{name}={settings[name]}{of_run} does not fit data set {info.name}, which has {name}={value}"
            )
    return settings | facts


def _watched_splits(
    arguments: TrainArguments, info: DatasetInfo, model: str, watcher_class: type[SampleWatcher]
) -> str:
    """Where the real images come from that samples are compared with.

    Raises:
      ValueError: the model is measured on held-out images, and there are none.
    """
    if not watcher_class.needs_held_out_images:
        return ",".join(arguments.splits)
    if missing := [split for split in arguments.validation_splits if split not in info.splits]:
        raise ValueError(
            f"{model} is measured on images that it is not trained on, but {info.name} has no split {missing[0]!r}; "
            f"choose one of {', '.join(info.splits)} as --validation_splits"
        )
    return ",".join(arguments.validation_splits)
