"""The training loop: one step a batch, callbacks after each, from any step on."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfcxr.models.base import GAN


def train(
    model: GAN,
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
    """
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    iterator = iter(strategy.experimental_distribute_dataset(batches.with_options(options)))

    @tf.function
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
