"""What every signature of an exported model says of itself."""

import abc
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf


class Signature(abc.ABC):
    """A function that exported models offer, in Python and on servers.

    `served` in its methods is what is exported, a `tfcxr.serving.served.Served` of one of `kinds`.

    Attributes:
      name: of the signature on a server.
      kinds: of models that have it: "generator", "super_resolution", "cascade".
      meaning: what it returns, for the model card.
      values: name of an input or output -> its range, for the model card.
      defaults: values of the inputs that may be left out.
      rows_are_independent: whether a row of the outputs depends on the same row of the inputs alone. Then a server may
        join the requests of several users to one batch.
    """

    name: str
    kinds: tuple[str, ...]
    meaning: str
    values: Mapping[str, str] = {}
    defaults: Mapping[str, float] = {}
    rows_are_independent: bool = True

    @abc.abstractmethod
    def inputs(self, served: Any) -> list[tf.TensorSpec]:
        """Names, dtypes and shapes of the inputs, in their order in Python."""

    @abc.abstractmethod
    def outputs(self, served: Any, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Computes the outputs by name, in graph mode."""

    def function(self, served: Any) -> Callable:
        """The `tf.function` that is exported; its parameters are the inputs."""
        specs = self.inputs(served)

        def call(*values: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.outputs(served, {spec.name: value for spec, value in zip(specs, values, strict=True)})

        call.__signature__ = inspect.Signature([self._parameter(spec.name) for spec in specs])  # type: ignore[attr-defined]
        return tf.function(call, input_signature=specs, autograph=False)

    def _parameter(self, name: str) -> inspect.Parameter:
        default = tf.constant(self.defaults[name]) if name in self.defaults else inspect.Parameter.empty
        return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)
