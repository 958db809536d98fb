"""What a worker that is not the chief does beside its steps: it keeps in step with the chief and writes nothing."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfcxr.training.stop_signal import StopSignal
from tfcxr.training.workers import Agreement


class FollowChief(keras.callbacks.Callback):
    """Begins means anew where the chief writes a line, helps it read what a checkpoint holds, and stops with it."""

    def __init__(self, agreement: Agreement, log_every: int) -> None:
        super().__init__()
        self._agreement, self._log_every = agreement, log_every
        self._stop = StopSignal()

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._stop.listen()

    def on_train_batch_end(self, step: int, logs: Mapping[str, float]) -> None:
        if step % self._log_every == 0:
            for mean in self.model.metrics:
                mean.reset_state()
        stops, saves = self._agreement(self._stop.is_set, saves=False)
        if stops or saves:
            for variable in self.model.checkpoint_variables().values():
                np.asarray(variable)  # a mean is a sum over workers, so that all of them have to read it
        self.model.stop_training = stops

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._stop.end()
