"""Ends a training after a given time, for trainings that are compared at equal time."""

import time
from typing import Any

import keras

UNLIMITED_STEPS = 10**9  # of a training that its time alone ends


class TimeLimit(keras.callbacks.Callback):
    """Counts the time of a training over all its runs, with compiling, pictures and checkpoints.

    The steps that fit in it depend on the machine, so two such trainings do not end with the same bits.
    """

    def __init__(self, minutes: float, seconds_before: float = 0.0) -> None:
        """`seconds_before`: of earlier runs, up to the checkpoint that this one resumes from."""
        super().__init__()
        self._minutes = minutes
        self._seconds_before = seconds_before
        self._begun: float | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """Of all runs so far."""
        return self._seconds_before + (0.0 if self._begun is None else time.monotonic() - self._begun)

    @property
    def share(self) -> float:
        """Of the time that is over; 1 or more at the end."""
        return self.seconds / (60.0 * self._minutes)

    @property
    def end_reason(self) -> str:
        """Why training ends, "" while it goes on."""
        return f"--minutes={self._minutes:g} are over" if self.share >= 1.0 else ""
