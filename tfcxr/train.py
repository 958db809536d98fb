"""Trains a GAN and exports its generator.

    python -m tfcxr.train --model=acgan --data_dir=records/64 --run_dir=runs/acgan --steps=20000

Without --data_dir it trains on phantom radiographs. Killed at any moment, the same command with --resume continues to
the same bits. --experiment=experiments/FILE.py --variant=NAME takes the model, its settings, steps, batch size and
intervals from an experiment; flags and --set override them.
"""

import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from tfcxr import command_line, registry
from tfcxr.command_line import Arguments, flag
from tfcxr.config import make_config, parse_settings, to_plain
from tfcxr.data.atomic import write_atomically
from tfcxr.data.pipeline import find_data_dir, read_patient_keys, training_batches
from tfcxr.data.pyramid import smaller_records
from tfcxr.data.records import read_dataset_info, shard_paths
from tfcxr.data.schema import INFO_FILE, DatasetInfo
from tfcxr.experiment import read_training
from tfcxr.models import MODELS
from tfcxr.models.base import AdversarialModel
from tfcxr.models.model_config import Stage
from tfcxr.serving.saved_model import export_model
from tfcxr.training import callbacks
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

DEFAULTS: dict[str, Any] = {"model": "acgan", "batch_size": 32, "sample_every": 500, "variant": "corrected"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainArguments(Arguments):
    """What is trained, on which data, and where it goes.

    Attributes:
      model: Name of the GAN, or the file of your own; acgan by default.
      data_dir: Data folder of tfrecords_builder; without it phantom radiographs are used.
      splits: Splits to train on, such as fold_1,fold_2.
      validation_splits: Splits that super-resolution is measured on while it trains.
      run_dir: Run folder; runs/MODEL by default.
      export_dir: Where the SavedModel goes; saved_models/NAME OF THE RUN by default.
      export: Export the generator at the end.
      experiment: Experiment file to take the model, its settings and its training from.
      variant: Variant of the experiment, such as corrected (the default) or corrected/cgan.
      settings: Setting of the model, name=value; repeatable.
      steps: Training steps in all; by default 1000, or the whole schedule of a growing model.
      batch_size: Images per step over all replicas, with several critic steps per critic step; 32 by default.
      seed: Of weights, noise and data order.
      devices: Devices to train on, such as GPU:0,GPU:1; all GPUs by default.
      log_every: Steps between lines of metrics.jsonl.
      sample_every: Steps between sample pictures; 500 by default.
      checkpoint_every: Steps between checkpoints.
      keep_checkpoints: How many of the newest checkpoints are kept.
      resume: Continue the run in --run_dir.
      deterministic: Same bits in every run; on GPUs it costs speed.
      verify_checksums: Check the SHA-256 of every shard first.
    """

    model: str | None = None
    data_dir: str | None = None
    splits: tuple[str, ...] = ("train",)
    validation_splits: tuple[str, ...] = ("validation",)
    run_dir: str | None = None
    export_dir: str | None = None
    export: bool = True
    experiment: str | None = None
    variant: str | None = None
    settings: tuple[str, ...] = flag((), name="set", is_repeated=True)
    steps: int | None = flag(None, minimum=1)
    batch_size: int | None = flag(None, minimum=1)
    seed: int = 0
    devices: tuple[str, ...] = ()
    log_every: int = flag(50, minimum=1)
    sample_every: int | None = flag(None, minimum=1)
    checkpoint_every: int = flag(500, minimum=1)
    keep_checkpoints: int = flag(3, minimum=1)
    resume: bool = False
    deterministic: bool = True
    verify_checksums: bool = False


def train(arguments: TrainArguments) -> pathlib.Path | None:
    """Trains from the start, or from the last checkpoint with `resume`, and exports at the end.

    Returns:
      the exported version's folder, None where nothing was exported or training was interrupted.

    Raises:
      FileNotFoundError: no such data folder, experiment or checkpoint.
      ValueError: an unknown model or setting, data that do not fit it, a run folder of another run, or a loss that is
        not finite.
    """
    resume_command = command_line.command_text(train, dataclasses.replace(arguments, resume=True))
    arguments, settings = _with_experiment(arguments)
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
    if model.stop_training or not arguments.export:
        return None
    export_dir = pathlib.Path(arguments.export_dir or pathlib.Path("saved_models") / run_dir.name)
    version = export_model(model, run, export_dir, {"step": run.steps}, run_dir=run_dir)
    logging.info("exported to %s", version)
    return version


def _with_experiment(arguments: TrainArguments) -> tuple[TrainArguments, dict[str, Any]]:
    """The arguments with what an experiment or `DEFAULTS` say where they say nothing, and the model's settings.

    Raises:
      ValueError: --variant without --experiment, a variant that describes no training or several, or --model names
        another model.
    """
    given = parse_settings(arguments.settings)
    if not arguments.experiment:
        if arguments.variant:
            raise ValueError(f"--variant={arguments.variant} needs the file it is in: --experiment=experiments/FILE.py")
        return _filled(arguments, DEFAULTS), given
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


if __name__ == "__main__":
    command_line.run(train)
