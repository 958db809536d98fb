"""Keras's dtype policy for a stretch of code, without changing the process's own."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def precision_scope(precision: str) -> Iterator[None]:
    """Layers made inside compute in this precision, "float32" or "mixed_bfloat16"; weights stay float32."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)
