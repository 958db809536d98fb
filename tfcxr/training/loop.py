"""The training loop: one step per batch, callbacks after each step, from any step on and through all stages."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcxr.models.base import AdversarialModel
from tfcxr.models.model_config import AdversarialConfig, Stage
from tfcxr.training.step_logs import FirstFault, StepLogs, require_finite

# (stage, k, rows) -> its batches from its k-th step on; of each only those rows, which are one worker's
OpenBatches = Callable[[Stage, int, slice], tf.data.Dataset]


def train(
    model: AdversarialModel,
    batches: tf.data.Dataset,
    start_step: int,
    steps: int,
    callbacks: Sequence[keras.callbacks.Callback],
    strategy: tf.distribute.Strategy,
) -> None:
    """`train_stages` with the last stage alone: from `start_step` to `steps`, on batches that begin there."""
    batch_size = (batches.element_spec["image"].shape[0] or 0) // model.config.batches_per_step
    last = model.config.stages(max(batch_size, 1))[-1]
    stage = dataclasses.replace(last, first_step=0, end_step=steps, is_fading=False)

    def open_batches(stage: Stage, skipped: int, rows: slice) -> tf.data.Dataset:
        return batches if rows == slice(None) else batches.map(lambda batch: {k: v[rows] for k, v in batch.items()})

    train_stages(model, [stage], open_batches, start_step, callbacks, strategy)


def train_stages(
    model: AdversarialModel,
    stages: Sequence[Stage],
    open_batches: OpenBatches,
    start_step: int,
    callbacks: Sequence[keras.callbacks.Callback],
    strategy: tf.distribute.Strategy,
) -> None:
    """Trains from `start_step` to the last stage's end; a callback ends it early by `model.stop_training = True`.

    Differs from `model.fit` in that running means continue across a resume and are summed over all replicas.
    `on_train_batch_end(step, logs)` gets the number of finished steps and the running means, which stay on the device
    until a callback reads them. Each stage is traced anew, since its step may compute something else.

    Raises:
      NonFiniteLossError: a mean that is not finite, with the step and the term.
      ValueError: images of another size than the stage's, or neither grey nor of the model's channels.
    """
    model.stop_training = False
    names = [mean.name for mean in model.metrics]
    fault, logs = FirstFault(names), None
    callback_list = keras.callbacks.CallbackList(callbacks, model=model)
    callback_list.on_train_begin()
    try:
        for stage in stages:
            if stage.end_step <= start_step:
                continue
            of_rows = functools.partial(open_batches, stage, max(start_step - stage.first_step, 0))
            shape = of_rows(slice(None)).element_spec["image"].shape
            _check_images(shape, model.config, stage)
            iterator = iter(_distributed(strategy, of_rows, shape[0]))
            model.begin_stage(stage, is_new=start_step <= stage.first_step)
            # no autograph: steps hold no Python control flow on tensors, and tracing is faster; a partial function,
            # because TensorFlow warns of a function that is traced again, here once per stage
            step_function = tf.function(functools.partial(_run_step, model, strategy, fault), autograph=False)
            for step in range(max(start_step, stage.first_step) + 1, stage.end_step + 1):
                rates = model.decay_learning_rates(step - 1, stages[-1].end_step)
                observed = step_function(iterator, tf.constant(step, tf.int64))
                logs = StepLogs(names, observed, fault, rates)
                for callback in callbacks:  # Keras's list would read all values for each
                    callback.on_train_batch_end(step, logs)
                if model.stop_training:
                    return
        if logs is not None:
            require_finite(logs)
    finally:
        callback_list.on_train_end()


def _run_step(
    model: AdversarialModel,
    strategy: tf.distribute.Strategy,
    fault: FirstFault,
    iterator: tf.data.Iterator,
    step: tf.Tensor,
) -> tf.Tensor:
    strategy.run(model.train_step, args=(next(iterator),))
    return fault.observe(step, tf.stack([mean.result() for mean in model.metrics]))


def _distributed(strategy: tf.distribute.Strategy, of_rows: Callable[[slice], tf.data.Dataset], rows: int) -> Any:
    """The dataset of batches of `rows`, whose rows each replica gets in the order of the replicas."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        return strategy.experimental_distribute_dataset(of_rows(slice(None)).with_options(options))

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        of_replica, share = rows // context.num_replicas_in_sync, rows // context.num_input_pipelines
        first = share * context.input_pipeline_id
        batches = of_rows(slice(first, first + share)).rebatch(of_replica, drop_remainder=True)
        return batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

    return strategy.distribute_datasets_from_function(of_worker)


def _check_images(shape: tf.TensorShape, config: AdversarialConfig, stage: Stage) -> None:
    size = stage.image_size
    if shape[1:3] != (size, size) or shape[3] not in (1, config.channels):
        raise ValueError(
            f"the model takes images of {size}x{size} pixels with {config.channels} channels (or grey), but the data "
            f"hold {shape[1]}x{shape[2]} pixels with {shape[3]}; build records of that size, or set image_size"
        )
    if shape[0] is None or shape[0] % config.batches_per_step:
        raise ValueError(
            f"a training step takes {config.batches_per_step} batches of one size at once, but the data come in "
            f"batches of {shape[0]} images"
        )
