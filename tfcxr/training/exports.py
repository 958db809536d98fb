"""Models that a training exports before its end, so that a score over steps can be drawn afterwards."""

import pathlib
from collections.abc import Callable, Mapping, Sequence

import keras
from absl import logging

from tfcxr.models.base import AdversarialModel
from tfcxr.training.run_folder import RunConfig
from tfcxr.training.step_logs import require_finite

Export = Callable[..., pathlib.Path]  # `tfcxr.serving.saved_model.export_model`, which this package may not import


class ExportAtSteps(keras.callbacks.Callback):
    """Exports the model after some steps; a version that is there already, of the run before it was resumed, stays."""

    def __init__(
        self, export: Export, run: RunConfig, run_dir: pathlib.Path, export_dir: pathlib.Path, steps: Sequence[int]
    ) -> None:
        super().__init__()
        self._export, self._run, self._run_dir = export, run, run_dir
        self._export_dir, self._steps = export_dir, frozenset(steps)

    def on_train_batch_end(self, step: int, logs: Mapping[str, float]) -> None:
        if step in self._steps:
            require_finite(logs)
            version = export_step(self._export, self.model, self._run, self._run_dir, self._export_dir, step)
            logging.info("step %d: exported to %s", step, version)


def export_step(
    export: Export,
    model: AdversarialModel,
    run: RunConfig,
    run_dir: pathlib.Path,
    export_dir: pathlib.Path,
    step: int,
) -> pathlib.Path:
    """Exports the model as it is after a step, as the version of that number, unless it is there already."""
    version = export_dir / str(step)
    return version if version.exists() else export(model, run, export_dir, {"step": step}, step, run_dir)


def parse_export_steps(texts: Sequence[str]) -> tuple[int, ...]:
    """The steps of --export_steps, ascending; raises ValueError for other texts, and for a step below 1 or twice."""
    if wrong := [text for text in texts if not text.isdecimal() or int(text) < 1 or texts.count(text) > 1]:
        raise ValueError(f"--export_steps expects different steps from 1 such as 1000,2000,4000, got {wrong[0]!r}")
    return tuple(sorted(map(int, texts)))


def check_export_steps(steps: Sequence[int], last_step: int, export_dir: pathlib.Path, is_resumed: bool) -> None:
    """Refuses what would fail in the middle of a training.

    Raises:
      ValueError: a step behind the last, or a version of another run in the place of one to come.
    """
    if steps and steps[-1] > last_step:
        raise ValueError(f"--export_steps={steps[-1]} is never reached: training ends at step {last_step}")
    there = [step for step in sorted({*steps, last_step}) if (export_dir / str(step)).exists()]
    if steps and there and not is_resumed:
        raise ValueError(f"{export_dir} holds version {there[0]} of another run; choose another --export_dir")
