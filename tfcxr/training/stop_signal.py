"""Ctrl-C and SIGTERM end a training in order: after the step that runs, with a checkpoint."""

import os
import signal
from typing import Any


class StopSignal:
    """Remembers the first signal; a second one ends the process at once, without saving."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._previous_handlers: dict[int, Any] = {}

    @property
    def is_set(self) -> bool:
        """Whether a signal came."""
        return self._number is not None

    def listen(self) -> None:
        """Takes the place of the process's handlers."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous_handlers[number] = signal.signal(number, self._remember)

    def end(self) -> None:
        """Puts the handlers back."""
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: Any) -> None:
        if self.is_set:
            signal.signal(number, self._previous_handlers[number])
            os.kill(os.getpid(), number)
        self._number = number
