"""One training from its arguments to the trained model: data, networks, checkpoints, pictures, log."""

import math
import pathlib
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from tfcxr import registry
from tfcxr.config import make_config, to_plain
from tfcxr.data.atomic import write_atomically
from tfcxr.data.pipeline import find_data_dir, training_batches
from tfcxr.data.pyramid import smaller_records
from tfcxr.data.records import read_dataset_info, read_patient_keys, shard_paths
from tfcxr.data.schema import INFO_FILE, DatasetInfo
from tfcxr.models import MODELS
from tfcxr.models.base import AdversarialModel
from tfcxr.models.model_config import Stage
from tfcxr.training import callbacks
from tfcxr.training.arguments import TrainArguments
from tfcxr.training.checkpoints import Checkpoints, restore
from tfcxr.training.embedded_data import phantom_records
from tfcxr.training.loop import OpenBatches, train_stages
from tfcxr.training.run_folder import (
    TRAINING_PATIENTS_FILE,
    RunConfig,
    describe_data,
    make_model,
    read_stored_run,
    settings_of_earlier_version,
    start_run,
)
from tfcxr.training.samples import SAMPLE_WATCHERS, SampleWatcher
from tfcxr.training.strategy import make_strategy


def train_model(
    arguments: TrainArguments, settings: dict[str, Any], resume_command: str
) -> tuple[AdversarialModel, RunConfig, pathlib.Path] | None:
    """Trains from the start, or from the last checkpoint with `resume`.

    Args:
      arguments: of the command, with model, batch size and intervals.
      settings: of the model, where they differ from its defaults.
      resume_command: the line that a user types to continue after an interruption.

    Returns:
      the trained model, its run and the run folder; None where training was interrupted.

    Raises:
      FileNotFoundError: no such data folder or checkpoint.
      ValueError: an unknown model or setting, data that do not fit it, a run folder of another run, or a loss that is
        not finite.
    """
    assert arguments.model and arguments.batch_size and arguments.sample_every  # filled in
    name, gan_class = registry.find(MODELS, arguments.model, "model")
    if arguments.deterministic:
        tf.config.experimental.enable_op_determinism()
    settings = gan_class.prepare_settings(settings, read_stored_run)
    data_dir = _find_records(arguments.data_dir, settings.get(gan_class.config_class.records_size))
    info, splits = read_dataset_info(data_dir), ",".join(arguments.splits)
    run_dir = pathlib.Path(arguments.run_dir or pathlib.Path("runs") / name)
    if arguments.resume:
        settings = settings_of_earlier_version(run_dir, name) | settings
    config = make_config(gan_class.config_class, _fit_to_data(settings, info, gan_class))
    shard_paths(data_dir, info, splits, arguments.verify_checksums)
    watcher_class = SAMPLE_WATCHERS[gan_class.kind]
    watched_splits = _watched_splits(arguments, info, name, watcher_class)
    stages = config.stages(arguments.batch_size, arguments.steps)
    run = RunConfig(
        model=name,
        settings=to_plain(config),
        label_names=info.label_names if config.label_count else (),
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        steps=stages[-1].end_step,
        data=describe_data(info, splits),
    )
    strategy = make_strategy(list(arguments.devices))
    _check_replicas(stages, strategy.num_replicas_in_sync)
    checkpoints = Checkpoints(run_dir, arguments.keep_checkpoints)
    open_batches = _batch_opener(data_dir, splits, arguments.seed, stages, config.batches_per_step)
    patients = read_patient_keys(data_dir, splits)
    start_run(run_dir, run, arguments.resume)  # from here on there is a run; what can be wrong was checked before
    checkpoints.remove_leftovers()
    write_atomically(run_dir / TRAINING_PATIENTS_FILE, "".join(f"{patient}\n" for patient in patients))

    with strategy.scope():
        model = make_model(run)
    last = checkpoints.find()
    state = {"step": 0, "metrics_size": 0} if last is None else restore(last, model.checkpoint_variables())
    if state["step"]:
        logging.info("resuming at step %d of %d", state["step"], run.steps)
    else:
        model.load_initial_weights(read_stored_run)
    real_images = watcher_class.read_real_images(data_dir, watched_splits, run.label_names, config.image_size)
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
    progress = callbacks.ProgressBar(stages, state["step"], config.batches_per_step)
    watchers = [callbacks.StopOnNonFinite(), progress, metrics_log, samples, saving]
    train_stages(model, stages, open_batches, state["step"], watchers, strategy)
    return None if model.stop_training else (model, run, run_dir)


def _find_records(data_dir: str | None, image_size: int | None) -> pathlib.Path:
    """The folder of one size: of `image_size` pixels, or the only one there is."""
    if data_dir is None:
        return phantom_records(image_size or 64)
    if image_size is None:
        folder = pathlib.Path(data_dir)
        sizes = [path.parent.name for path in folder.glob(f"*/{INFO_FILE}") if path.parent.name.isdigit()]
        image_size = int(sizes[0]) if len(sizes) == 1 else read_dataset_info(folder).image_size
    return find_data_dir(data_dir, image_size)


def _fit_to_data(settings: dict, info: DatasetInfo, gan_class: type[AdversarialModel]) -> dict:
    """Adds what the data decide: size and labels; a model that reads no labels has none.

    Raises:
      ValueError: a setting that contradicts them.
    """
    config_class = gan_class.config_class
    facts = {
        config_class.records_size: info.image_size,
        "label_count": len(info.label_names) if config_class.reads_labels(settings) else 0,
        "is_single_label": info.is_single_label,
    }
    for name, value in facts.items():
        if settings.get(name, value) != value:
            raise ValueError(f"{name}={settings[name]} does not fit data set {info.name}, which has {name}={value}")
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


def _check_replicas(stages: Sequence[Stage], replicas: int) -> None:
    for batch_size in sorted({stage.batch_size for stage in stages}):
        if batch_size % replicas:
            raise ValueError(f"batch_size {batch_size} cannot be shared equally by {replicas} replicas")


def _batch_opener(
    data_dir: pathlib.Path, splits: str, seed: int, stages: Sequence[Stage], batches_per_step: int
) -> OpenBatches:
    """Opens the records of each stage's size, all of them once here, so that none is found missing later."""
    sources = {size: smaller_records(data_dir, size) for size in sorted({stage.image_size for stage in stages})}

    def open_batches(stage: Stage, skipped_steps: int) -> tf.data.Dataset:
        folder, shrink = sources[stage.image_size]
        rows = stage.batch_size * batches_per_step
        # each stage has an order of its own
        return training_batches(folder, splits, rows, seed + stage.first_step, skipped_steps, shrink=shrink)

    for stage in stages:
        open_batches(stage, 0)
    for size, (folder, shrink) in sources.items():
        if shrink > 1:
            logging.warning(
                "there are no records of %d px: those in %s are shrunk while they are read, which is slower; build "
                "them with --image_sizes=%d",
                size,
                folder,
                size,
            )
    return open_batches
