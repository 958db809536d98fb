"""What a training step says of itself, kept on the device until somebody reads it.

Reading a value waits for the device. A line of metrics, an update of the bar, a picture or a checkpoint needs values;
most steps need none, and the loop goes on to the next step at once. A value that is not finite is noticed on the device
at the step where it occurs, and ends training when values are read next, before anything is kept.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf


class NonFiniteLossError(ValueError):
    """A loss became infinite or NaN."""


class FirstFault:
    """The first step with a value that is not finite, and the values of that step; on the device."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._step = tf.Variable(-1, dtype=tf.int64, trainable=False)
        self._values = tf.Variable(tf.zeros([len(self._names)]), trainable=False)

    def observe(self, step: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """Inside the step's graph: remembers a first fault.

        Args:
          step: int64 [].
          values: float32 [names].

        Returns:
          the values and the step of the first fault (-1 for none), float64 [names + 1]: one copy to the host.
        """
        is_first = (self._step < 0) & ~tf.reduce_all(tf.math.is_finite(values))
        kept = self._values.assign(tf.where(is_first, values, self._values))
        with tf.control_dependencies([kept]):
            fault = self._step.assign(tf.where(is_first, step, self._step))
        return tf.concat([tf.cast(values, tf.float64), tf.cast(fault, tf.float64)[None]], axis=0)

    def error(self) -> NonFiniteLossError:
        """Names the step and the first term of it that is not finite."""
        values = dict(zip(self._names, self._values.numpy().tolist(), strict=True))
        name = next(name for name, value in values.items() if not np.isfinite(value))
        return NonFiniteLossError(
            f"training stopped at step {int(self._step.numpy())}: {name} is {values[name]}; resume from the last "
            "checkpoint with a lower learning rate in a new run, or with precision=float32"
        )


def require_finite(logs: Mapping[str, float]) -> None:
    """Reads the values; call it before anything of a step is kept.

    Raises:
      NonFiniteLossError: a value of this step, or of one before it, is not finite.
    """
    tuple(logs.values())


class StepLogs(Mapping[str, float]):
    """Name -> running mean after a step; reading any of them waits for the device, once.

    Raises:
      NonFiniteLossError: on reading, where a value of this step or of one before it is not finite.
    """

    def __init__(
        self, names: Sequence[str], observed: tf.Tensor, fault: FirstFault, rates: Mapping[str, float]
    ) -> None:
        """`observed`: what `FirstFault.observe` returned in this step; `rates`: further values, of the host."""
        self._names, self._observed, self._fault, self._rates = (*names, *rates), observed, fault, rates
        self._read: dict[str, float] | None = None

    def __getitem__(self, name: str) -> float:
        return self._values()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _values(self) -> dict[str, float]:
        if self._read is None:
            *values, fault_step = self._observed.numpy().tolist()
            if fault_step >= 0:
                raise self._fault.error()
            self._read = dict(zip(self._names, [*values, *self._rates.values()], strict=True))
        return self._read
