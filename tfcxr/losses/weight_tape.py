"""A gradient tape that watches the trained weights alone."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf


@contextlib.contextmanager
def weight_tape(weights: Sequence[Any], persistent: bool = False) -> Iterator[tf.GradientTape]:
    """A tape that keeps nothing for what does not depend on these Keras variables.

    A plain tape watches frozen Keras variables too: `trainable = False` does not reach TensorFlow's variable.
    """
    with tf.GradientTape(persistent=persistent, watch_accessed_variables=False) as tape:
        tape.watch([weight.value for weight in weights])
        yield tape
