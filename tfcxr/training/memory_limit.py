"""Says in one sentence that a training step does not fit in memory, and what needs less."""

import contextlib
import dataclasses
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
        stage, settings = model.stage, dataclasses.asdict(model.config)
        where = "--set=batch_sizes" if settings.get("batch_sizes") else "--batch_size"
        ways = [f"a smaller {where}"]
        if settings.get("recomputes_blocks") is False:
            ways.append("--set=recomputes_blocks=True, which takes longer and may need less")
        raise ValueError(
            f"a training step with a batch of {stage.batch_size} at {stage.image_size} px ({settings['precision']}) "
            f"does not fit in memory; give {' or '.join(ways)}"
        ) from error
