"""The training loop: one step a batch, callbacks after each, from any step on."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfcxr.models.base import AdversarialConfig, AdversarialModel


def train(
    model: AdversarialModel,
    batches: tf.data.Dataset,
    start_step: int,
    steps: int,
    callbacks: Sequence[keras.callbacks.Callback],
    strategy: tf.distribute.Strategy,
) -> None:
    """Trains from `start_step` to `steps`; a callback ends it early by `model.stop_training = True`.

    Differs from `model.fit` in that running means go on across a resume, are summed over all replicas, and several
    machines work (FACTS of Keras 3: `fit` fails under MultiWorkerMirroredStrategy). `on_train_batch_end(step, logs)`
    gets the number of finished steps and the running means as floats.

    Raises:
      ValueError: images of another size than the model's, or neither grey nor of its channels.
    """
    _check_images(batches.element_spec["image"].shape, model.config)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    iterator = iter(strategy.experimental_distribute_dataset(batches.with_options(options)))

    @tf.function(autograph=False)  # steps hold no Python that needs rewriting, and tracing is faster
    def step_function(iterator: tf.data.Iterator) -> dict[str, tf.Tensor]:
        strategy.run(model.train_step, args=(next(iterator),))
        return {mean.name: mean.result() for mean in model.metrics}

    model.stop_training = False
    callback_list = keras.callbacks.CallbackList(callbacks, model=model)
    callback_list.on_train_begin()
    try:
        for step in range(start_step + 1, steps + 1):
            logs = {name: float(value) for name, value in step_function(iterator).items()}
            callback_list.on_train_batch_end(step, logs)
            if model.stop_training:
                break
    finally:
        callback_list.on_train_end()


def _check_images(shape: tf.TensorShape, config: AdversarialConfig) -> None:
    size = config.image_size
    if shape[1:3] != (size, size) or shape[3] not in (1, config.channels):
        raise ValueError(
            f"the model takes images of {size}x{size} pixels with {config.channels} channels (or grey), but the data "
            f"hold {shape[1]}x{shape[2]} pixels with {shape[3]}; build records of that size, or set image_size"
        )
    if shape[0] is None or shape[0] % config.batches_per_step:
        raise ValueError(
            f"a training step takes {config.batches_per_step} batches of one size at once, but the data come by "
            f"{shape[0]} images"
        )
