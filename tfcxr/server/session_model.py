"""A SavedModel of TensorFlow 1: its graph in a session, as TensorFlow Serving runs it."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf


class SessionModel:
    """Runs the signatures of a graph that has no functions, whatever shapes they claim."""

    def __init__(self, path: str | os.PathLike) -> None:
        """Loads the graph that is tagged "serve".

        Raises:
          OSError, ValueError, RuntimeError, tf.errors.OpError: a damaged SavedModel.
        """
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        try:
            with self._session.graph.as_default():
                tf.compat.v1.saved_model.load(self._session, [tf.saved_model.SERVING], str(path))
        except BaseException:
            self.close()
            raise

    def run(self, signature: Any, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """The named outputs of a `SignatureDef`; strings are bytes in an object array.

        Raises:
          ValueError, TypeError, tf.errors.OpError: inputs that the graph does not take.
        """
        fed = {signature.inputs[name].name: value for name, value in inputs.items()}
        return self._session.run({name: signature.outputs[name].name for name in outputs}, fed)

    def close(self) -> None:
        """Gives the memory back."""
        self._session.close()
