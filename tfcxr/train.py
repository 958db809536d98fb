"""Trains a GAN and exports its generator.

    python -m tfcxr.train --model=acgan --data_dir=records/64 --run_dir=runs/acgan --steps=20000

Without --data_dir it trains on phantom radiographs. Killed at any moment, the same command with --resume goes on to
the same bits. --experiment=experiments/FILE.py --variant=NAME takes the model, its settings, steps, batch size and
intervals from an experiment; flags and --set override them.
"""

import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import tensorflow as tf
from absl import flags, logging

from tfcxr import command_line
from tfcxr.config import make_config, parse_settings, to_plain
from tfcxr.data.atomic import write_atomically
from tfcxr.data.pipeline import find_data_dir, read_patient_keys, read_samples, training_batches
from tfcxr.data.pyramid import smaller_records
from tfcxr.data.records import read_dataset_info, shard_paths
from tfcxr.data.schema import INFO_FILE, DatasetInfo
from tfcxr.experiment import read_training
from tfcxr.models.base import GAN, AdversarialModel
from tfcxr.models.model_config import Stage
from tfcxr.serving.saved_model import export_model
from tfcxr.training import callbacks
from tfcxr.training.checkpoints import Checkpoints, restore
from tfcxr.training.embedded_data import phantom_records
from tfcxr.training.loop import OpenBatches, train_stages
from tfcxr.training.run_folder import (
    RunConfig,
    describe_data,
    make_model,
    model_class,
    read_stored_run,
    settings_of_earlier_version,
    start_run,
)
from tfcxr.training.strategy import make_strategy
from tfcxr.training.super_resolution_samples import SuperResolutionSamples

PATIENTS_FILE = "training_patients.txt"
REAL_SAMPLES = 64  # images a label that diversity and distance are measured on
ENLARGED_SAMPLES = 32  # images that super-resolution is measured on

FLAGS = flags.FLAGS
flags.DEFINE_string("model", "acgan", "Name of the GAN.")
flags.DEFINE_string("data_dir", None, "Data folder of tfrecords_builder; without it phantom radiographs are used.")
flags.DEFINE_string("split", "train", "Split to train on; several with commas between, such as fold_1,fold_2.")
flags.DEFINE_string("validation_split", "validation", "Split that super-resolution is judged on while it trains.")
flags.DEFINE_string("run_dir", None, "Run folder; runs/MODEL by default.")
flags.DEFINE_string("export_dir", None, "Where the SavedModel goes; saved_models/NAME OF THE RUN by default.")
flags.DEFINE_bool("export", True, "Export the generator at the end.")
flags.DEFINE_string("experiment", None, "Experiment file to take the model, its settings and its training from.")
flags.DEFINE_string("variant", "corrected", "Variant of the experiment, such as corrected or corrected/cgan.")
flags.DEFINE_multi_string("set", [], "Setting of the model, name=value; may be repeated.")
flags.DEFINE_integer(
    "steps", None, "Training steps in all; 1000 by default, for a growing model all of its schedule.", lower_bound=1
)
flags.DEFINE_integer(
    "batch_size", 32, "Images a step over all replicas; with several critic steps, of each of them.", lower_bound=1
)
flags.DEFINE_integer("seed", 0, "Of weights, noise and data order.")
flags.DEFINE_list("devices", [], "Devices to train on, such as GPU:0,GPU:1; all GPUs by default.")
flags.DEFINE_integer("log_every", 50, "Steps between lines of metrics.jsonl.", lower_bound=1)
flags.DEFINE_integer("sample_every", 500, "Steps between sample pictures.", lower_bound=1)
flags.DEFINE_integer("checkpoint_every", 500, "Steps between checkpoints.", lower_bound=1)
flags.DEFINE_integer("keep_checkpoints", 3, "How many of the newest checkpoints are kept.", lower_bound=1)
flags.DEFINE_bool("resume", False, "Go on with the run in --run_dir.")
flags.DEFINE_bool("deterministic", True, "Same bits in every run; on GPUs it costs speed.")
flags.DEFINE_bool("verify_checksums", False, "Check every shard's SHA-256 first.")


def main(argv: list[str]) -> None:
    """Reads the flags, makes the run and trains it."""
    settings = _experiment_settings() | parse_settings(FLAGS.set)
    gan_class = model_class(FLAGS.model)
    if FLAGS.deterministic:
        tf.config.experimental.enable_op_determinism()
    settings = gan_class.prepare_settings(settings, read_stored_run)
    data_dir = _data_dir(settings.get(gan_class.config_class.records_size))
    info = read_dataset_info(data_dir)
    run_dir = pathlib.Path(FLAGS.run_dir or pathlib.Path("runs") / FLAGS.model)
    if FLAGS.resume:
        settings = settings_of_earlier_version(run_dir, FLAGS.model) | settings
    settings = _fit_to_data(settings, info, gan_class)
    config = make_config(gan_class.config_class, settings)
    shard_paths(data_dir, info, FLAGS.split, FLAGS.verify_checksums)
    sample_split = _sample_split(info, gan_class)
    stages = config.stages(FLAGS.batch_size, FLAGS.steps)
    run = RunConfig(
        model=FLAGS.model,
        settings=to_plain(config),
        label_names=info.label_names if config.label_count else (),
        seed=FLAGS.seed,
        batch_size=FLAGS.batch_size,
        steps=stages[-1].end_step,
        data=describe_data(info, FLAGS.split),
    )
    strategy = make_strategy(FLAGS.devices)
    for batch_size in sorted({stage.batch_size for stage in stages}):
        if batch_size % strategy.num_replicas_in_sync:
            raise ValueError(
                f"batch_size {batch_size} cannot be shared equally by {strategy.num_replicas_in_sync} replicas"
            )
    checkpoints = Checkpoints(run_dir, FLAGS.keep_checkpoints)
    open_batches = _batch_opener(data_dir, stages, config.batches_per_step)
    patients = read_patient_keys(data_dir, FLAGS.split)
    start_run(run_dir, run, FLAGS.resume)  # from here on there is a run; what can be wrong was checked before
    checkpoints.remove_leftovers()
    write_atomically(run_dir / PATIENTS_FILE, "".join(f"{patient}\n" for patient in patients))

    with strategy.scope():
        model = make_model(run)
    last = checkpoints.find()
    state = {"step": 0, "metrics_size": 0} if last is None else restore(last, model.checkpoint_variables())
    if not state["step"]:
        model.load_initial_weights(read_stored_run)
    if state["step"]:
        logging.info("resuming at step %d of %d", state["step"], run.steps)
    is_labelled = bool(run.label_names) and issubclass(gan_class, GAN)
    real_images = read_samples(data_dir, sample_split, REAL_SAMPLES, is_labelled=is_labelled)
    if info.image_size != config.image_size:  # fine-tuning on smaller records than the generator draws
        size = (config.image_size, config.image_size)
        enlarged = lambda image: cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)[..., None]  # noqa: E731
        real_images = {name: np.stack([enlarged(image) for image in images]) for name, images in real_images.items()}
    watchers = _make_callbacks(model, run, stages, run_dir, real_images, checkpoints, state)
    train_stages(model, stages, open_batches, state["step"], watchers, strategy)
    if model.stop_training:
        return
    if FLAGS.export:
        export_dir = pathlib.Path(FLAGS.export_dir or pathlib.Path("saved_models") / run_dir.name)
        version = export_model(model, run, export_dir, {"step": run.steps}, run_dir=run_dir)
        logging.info("exported to %s", version)


def _experiment_settings() -> dict[str, Any]:
    """Settings of the model by the experiment's variant, whose other values become the defaults of the flags.

    Raises:
      ValueError: --variant without --experiment, a variant that describes no training or several, or --model names
        another model.
    """
    if not FLAGS.experiment:
        if FLAGS["variant"].present:
            raise ValueError(f"--variant={FLAGS.variant} needs the file it is in: --experiment=experiments/FILE.py")
        return {}
    training = read_training(FLAGS.experiment, FLAGS.variant)
    if FLAGS["model"].present and FLAGS.model != training.model:
        raise ValueError(
            f"variant {FLAGS.variant!r} of {FLAGS.experiment} is of the model {training.model}, got "
            f"--model={FLAGS.model}; leave out --model"
        )
    for name, value in training.flags.items():
        FLAGS.set_default(name, value)
    logging.info(
        "%s, variant %s: %s%s",
        FLAGS.experiment,
        FLAGS.variant,
        ", ".join(f"{name} {getattr(FLAGS, name)}" for name in training.flags),
        f"; not of training and left out: {', '.join(training.others)}" if training.others else "",
    )
    return training.settings


def _data_dir(image_size: int | None) -> pathlib.Path:
    if FLAGS.data_dir is None:
        return phantom_records(image_size or 64)
    if image_size is None:
        folder = pathlib.Path(FLAGS.data_dir)
        sizes = [path.parent.name for path in folder.glob(f"*/{INFO_FILE}") if path.parent.name.isdigit()]
        image_size = int(sizes[0]) if len(sizes) == 1 else read_dataset_info(folder).image_size
    return find_data_dir(FLAGS.data_dir, image_size)


def _fit_to_data(settings: dict, info: DatasetInfo, gan_class: type[AdversarialModel]) -> dict:
    """Adds what the data decide: size and labels; a model that reads no labels has none.

    Raises:
      ValueError: a setting that contradicts them.
    """
    reads_labels = gan_class.config_class.reads_labels(settings)
    facts = {
        gan_class.config_class.records_size: info.image_size,
        "label_count": len(info.label_names) if reads_labels else 0,
        "is_single_label": info.is_single_label,
    }
    for name, value in facts.items():
        if settings.get(name, value) != value:
            raise ValueError(f"{name}={settings[name]} does not fit data set {info.name}, which has {name}={value}")
    return settings | facts


def _sample_split(info: DatasetInfo, gan_class: type[AdversarialModel]) -> str:
    """Where the real images come from that samples are compared with: super-resolution is judged on images held out.

    Raises:
      ValueError: such a model and no split to hold out.
    """
    if issubclass(gan_class, GAN):
        return FLAGS.split
    if FLAGS.validation_split in info.splits:
        return FLAGS.validation_split
    raise ValueError(
        f"{FLAGS.model} is judged on images that it is not trained on, but {info.name} has no split "
        f"{FLAGS.validation_split!r}; choose one of {', '.join(info.splits)} as --validation_split"
    )


def _batch_opener(data_dir: pathlib.Path, stages: Sequence[Stage], batches_per_step: int) -> OpenBatches:
    """Opens the records of each stage's size, all of them once here, so that none is found missing later."""
    sources = {size: smaller_records(data_dir, size) for size in sorted({stage.image_size for stage in stages})}

    def open_batches(stage: Stage, skipped_steps: int) -> tf.data.Dataset:
        folder, shrink = sources[stage.image_size]
        rows = stage.batch_size * batches_per_step
        seed = FLAGS.seed + stage.first_step  # a stage of its own order
        return training_batches(folder, FLAGS.split, rows, seed, skipped_steps, shrink=shrink)

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


def _make_callbacks(
    model: AdversarialModel,
    run: RunConfig,
    stages: Sequence[Stage],
    run_dir: pathlib.Path,
    real_images: dict[str, np.ndarray],
    checkpoints: Checkpoints,
    state: dict,
) -> list:
    metrics_log = callbacks.MetricsLog(run_dir, FLAGS.log_every, state["metrics_size"])
    best_distance = state.get("best_distance", float("inf"))
    if isinstance(model, GAN):
        samples = callbacks.Samples(
            model,
            run_dir,
            run.label_names,
            real_images,
            FLAGS.sample_every,
            metrics_log,
            best_distance,
            state.get("best_size"),
        )
    else:
        (images,) = real_images.values()
        images = images[:ENLARGED_SAMPLES]
        samples = SuperResolutionSamples(model, run_dir, images, FLAGS.sample_every, metrics_log, best_distance)
    command = [word for word in sys.argv[1:] if word not in ("--resume", "--resume=true", "--resume=True")]
    resume_command = shlex.join(["python", "-m", "tfcxr.train", *command, "--resume"])
    return [
        callbacks.StopOnNonFinite(),
        callbacks.ProgressBar(stages, state["step"], model.config.batches_per_step),
        metrics_log,
        samples,
        callbacks.SaveCheckpoints(checkpoints, FLAGS.checkpoint_every, run.steps, metrics_log, samples, resume_command),
    ]


if __name__ == "__main__":
    command_line.run_main(main)
