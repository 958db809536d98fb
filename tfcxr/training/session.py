"""One training from its plan to the trained model: networks, checkpoints, pictures, log."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from absl import logging

import tfcxr
from tfcxr.data.atomic import write_atomically
from tfcxr.data.record_reader import reading_errors
from tfcxr.data.training_patients import TRAINING_PATIENTS_FILE
from tfcxr.models.base import AdversarialModel
from tfcxr.training import callbacks
from tfcxr.training.announcement import announce_training
from tfcxr.training.arguments import TrainArguments
from tfcxr.training.checkpoints import read_state, restore
from tfcxr.training.exports import Export, ExportAtSteps
from tfcxr.training.follower import FollowChief
from tfcxr.training.judge import open_judge, resume_judged
from tfcxr.training.loop import train_stages
from tfcxr.training.memory_limit import memory_limit_named
from tfcxr.training.plan import TrainingPlan, plan_training
from tfcxr.training.pretrained_start import patients_seen
from tfcxr.training.run_folder import (
    RunConfig,
    ended_run,
    make_model,
    start_run,
)
from tfcxr.training.samples.real_images import read_real_images
from tfcxr.training.strategy import make_strategy
from tfcxr.training.time_limit import TimeLimit
from tfcxr.training.workers import Agreement, Workers, read_workers


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
      the trained model, its run and the run folder; None where training was interrupted, and on all workers but the
      chief, which write nothing.

    Raises:
      FileNotFoundError: see `plan_training`.
      ValueError: see `plan_training` and `open_judge`; a run folder of another run; a loss that is not finite; or a
        step that does not fit in memory.
      ConnectionError: another worker ended or cannot be reached.
    """
    if arguments.deterministic:
        tf.config.experimental.enable_op_determinism()
    workers = read_workers()
    if workers.count > 1:
        logging.info("worker %d of %d: waiting for the others", workers.index, workers.count)
    strategy = make_strategy(list(arguments.devices), workers)
    agreement = Agreement(strategy, workers)
    plan = plan_training(arguments, settings)
    with _other_workers_watched(workers):
        agreement.require_equal(f"{plan.run} tfcxr {tfcxr.__version__}, tensorflow {tf.__version__}")
    run, run_dir, data, checkpoints = plan.run, plan.run_dir, plan.data, plan.checkpoints
    open_batches = data.open_batches(
        arguments.seed, plan.stages, plan.config, strategy.num_replicas_in_sync, arguments.cache
    )
    if not workers.is_chief:
        model, state = _model_at_its_step(plan, strategy)
        logging.info("following worker 0, which writes %s", run_dir)
        with _other_workers_watched(workers), memory_limit_named(model), reading_errors():
            is_ended, _ = agreement(stops=False, saves=False)
            follow = [FollowChief(agreement, arguments.log_every)]
            train_stages(model, [] if is_ended else plan.stages, open_batches, state["step"], follow, strategy)
        return None
    quality = open_judge(arguments, data, run, plan.watcher_class)
    is_resumed = arguments.resume and plan.last is not None
    best_distance = resume_judged(run_dir, read_state(plan.last) if is_resumed and plan.last else {}, quality)
    patients = data.patients()
    start_run(run_dir, run, arguments.resume)  # from here on there is a run; what can be wrong was checked before
    checkpoints.remove_leftovers()
    if not (is_resumed and plan.config.pretrained):  # then it stands there, with those of the run that it started from
        seen = patients_seen(patients, data.info.salt_fingerprint, plan.start)
        if seen is not None:
            write_atomically(run_dir / TRAINING_PATIENTS_FILE, "".join(f"{patient}\n" for patient in seen))

    model, state = _model_at_its_step(plan, strategy)
    plan = dataclasses.replace(plan, start=None)  # or its weights would stay in memory
    real_images = read_real_images(
        data.folder,
        plan.watched_splits,
        plan.watcher_class.images_per_label,
        plan.config.image_size,
        bool(run.label_names),
        plan.labels,
    )
    metrics_log = callbacks.MetricsLog(run_dir, arguments.log_every, state["metrics_size"])
    samples = plan.watcher_class(
        model,
        run_dir,
        run.label_names,
        real_images,
        arguments.sample_every,
        metrics_log,
        best_distance,
        state.get("best_size"),
        quality,
        arguments.stop_when_flat,
    )
    time_limit = TimeLimit(arguments.minutes, state.get("training_seconds", 0.0)) if arguments.minutes else None
    saving = callbacks.SaveCheckpoints(
        checkpoints, arguments.checkpoint_every, run.steps, metrics_log, samples, time_limit, resume_command, agreement
    )
    length = f"{arguments.minutes:g} minutes in steps" if plan.is_timed else f"{run.steps} steps"
    announce_training(model, run, run_dir, data, len(patients), plan.stages, samples, length)
    if state["step"]:
        logging.info("resuming at step %d%s", state["step"], "" if plan.is_timed else f" of {run.steps}")
    progress = callbacks.ProgressBar(plan.stages, state["step"], time_limit)
    exports = ExportAtSteps(export, run, run_dir, plan.export_dir, plan.export_steps)
    limits = [time_limit] if time_limit else []
    watchers = [*limits, progress, metrics_log, samples, exports, saving]
    with _other_workers_watched(workers), memory_limit_named(model), reading_errors():
        is_ended, _ = agreement(samples.should_stop or bool(time_limit and time_limit.end_reason), saves=False)
        train_stages(model, [] if is_ended else plan.stages, open_batches, state["step"], watchers, strategy)
    if saving.is_interrupted:
        return None
    step = checkpoints.last_step()
    if samples.should_stop:
        of_all, how = ("", "") if plan.is_timed else (f" of {run.steps}", f" --steps={run.steps}")
        logging.info(
            "ended at step %d%s, since kid no longer falls; to train on, the same command with --resume%s and without "
            "--stop_when_flat",
            *(step, of_all, how),
        )
    if step < run.steps:
        run = ended_run(run_dir, run, step)
    return model, run, run_dir


def _model_at_its_step(plan: TrainingPlan, strategy: tf.distribute.Strategy) -> tuple[AdversarialModel, dict[str, Any]]:
    """The model where training begins or continues, and the checkpoint's state, with "step"."""
    with strategy.scope():
        model = make_model(plan.run)
    state = {"step": 0, "metrics_size": 0}
    if plan.last is not None:
        state = restore(plan.last, model.checkpoint_variables())
    if plan.start is not None:
        model.load_initial_weights(plan.start)
        logging.info("starting from the networks of %s, checkpoint %s", plan.start.name, plan.start.sha256[:12])
    return model, state


@contextlib.contextmanager
def _other_workers_watched(workers: Workers) -> Iterator[None]:
    """Says in one sentence that another worker is gone."""
    try:
        yield
    except tf.errors.OpError as error:
        if workers.count == 1:
            raise
        raise ConnectionError(
            f"worker {workers.index} of {workers.count} lost another one ({type(error).__name__}); start all of them "
            "again with --resume to go on from the last checkpoint"
        ) from error
