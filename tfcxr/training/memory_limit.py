"""Says in one sentence that a training step does not fit in memory, and what needs less."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from tfcxr.models.base import AdversarialModel


@contextlib.contextmanager
def memory_limit_named(model: AdversarialModel) -> Iterator[None]:
    """Watches training steps of a model.

    Raises:
      ValueError: TensorFlow ran out of memory in one of them.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        stage, config = model.stage, model.config
        raise ValueError(
            f"a training step with a batch of {stage.batch_size} at {stage.image_size} px ({config.precision}) does "
            f"not fit in memory; give {' or '.join(config.memory_advice)}"
        ) from error
