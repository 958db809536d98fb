"""What happens beside the training steps: progress, metrics, checkpoints, an orderly stop."""

import json
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging
from tqdm import tqdm

from tfcxr.models.model_config import Stage
from tfcxr.training.checkpoints import Checkpoints
from tfcxr.training.step_logs import require_finite
from tfcxr.training.stop_signal import StopSignal
from tfcxr.training.time_limit import TimeLimit
from tfcxr.training.workers import Agreement

METRICS_FILE = "metrics.jsonl"
COMPILING = "compiling the next step"
BAR_SECONDS = 0.1  # between two looks at the losses
BAR_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps, {remaining} left{postfix}"


class ProgressBar(keras.callbacks.Callback):
    """Steps, the time left, images per second and the losses by their `bar_names`, on the terminal.

    The first step of a stage compiles, which the bar says; it does not count in speed and time left, nor do earlier
    stages. All else does, so that a picture that takes a minute moves them by its share. Of a training that time ends,
    the number of all steps is estimated.
    """

    def __init__(self, stages: Sequence[Stage], start_step: int, time_limit: TimeLimit | None = None) -> None:
        super().__init__()
        self._time_limit = time_limit
        self._compiled_steps = {start_step + 1, *(stage.first_step + 1 for stage in stages)}
        steps = stages[-1].end_step if time_limit is None else start_step + 1  # estimated from the first one on
        self._bar = tqdm(
            total=steps,
            initial=start_step,
            desc=COMPILING,
            bar_format=BAR_FORMAT,
            mininterval=BAR_SECONDS,
            miniters=1,
            smoothing=0,
        )
        self._read_at = 0.0

    def on_train_batch_end(self, step: int, logs: Mapping[str, float]) -> None:
        if step in self._compiled_steps:
            self._bar.initial, self._bar.start_t = step, time.time()
        if self._time_limit is not None:
            self._bar.total = max(step, round(step / min(self._time_limit.share, 1.0)))
        if time.monotonic() - self._read_at >= BAR_SECONDS or step == self._bar.total:
            self._bar.set_postfix_str(", ".join(self._values(step, logs)), refresh=False)
            self._read_at = time.monotonic()
        is_compiled_next = step + 1 in self._compiled_steps and step < self._bar.total
        compiling = f", {COMPILING}" if is_compiled_next else ""
        self._bar.set_description_str(self.model.progress_text() + compiling, refresh=False)
        self._bar.update()
        if is_compiled_next:
            self._bar.refresh()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._bar.close()

    def _values(self, step: int, logs: Mapping[str, float]) -> list[str]:
        """Images per second, once it is known, and the losses."""
        images = (step - self._bar.initial) * self.model.stage.batch_size * self.model.config.batches_per_step
        seconds = time.time() - self._bar.start_t
        speed = [f"{images / seconds:.0f} images/s"] if images else []
        return speed + [f"{word} {logs[name]:.2f}" for name, word in self.model.bar_names.items() if name in logs]


class MetricsLog(keras.callbacks.Callback):
    """Writes `metrics.jsonl`, the same bytes in every run of the same settings, and TensorBoard files, with speed too.

    Losses are means since the last line. Each checkpoint holds the file's `size`, to which a resumed run cuts it.
    """

    def __init__(self, run_dir: str | os.PathLike, log_every: int, resumed_size: int = 0) -> None:
        super().__init__()
        self._path = pathlib.Path(run_dir) / METRICS_FILE
        self._log_every = log_every
        self._time: float | None = None
        self._images = 0
        self._path.touch()
        os.truncate(self._path, resumed_size)
        self._tensorboard = tf.summary.create_file_writer(str(pathlib.Path(run_dir) / "tensorboard"))

    @property
    def size(self) -> int:
        """Bytes of `metrics.jsonl` so far."""
        return self._path.stat().st_size

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Appends one line and flushes it to the disk."""
        line = json.dumps({"step": step, **values})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._summarise(step, values)

    def write_image(self, step: int, name: str, image: np.ndarray) -> None:
        """A picture, uint8 [height, width, 3], for TensorBoard alone."""
        with self._tensorboard.as_default(step=step):
            tf.summary.image(name, image[None])

    def on_train_batch_end(self, step: int, logs: Mapping[str, float]) -> None:
        self._images += self.model.stage.batch_size * self.model.config.batches_per_step
        if step % self._log_every:
            return
        self.write(step, logs)
        for mean in self.model.metrics:
            mean.reset_state()
        now = time.monotonic()
        if self._time is not None:
            self._summarise(step, {"images_per_second": self._images / (now - self._time)})
        self._time, self._images = now, 0

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._tensorboard.flush()

    def _summarise(self, step: int, values: Mapping[str, float]) -> None:
        with self._tensorboard.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)


class SaveCheckpoints(keras.callbacks.Callback):
    """Saves every `save_every` steps, at the end, and on Ctrl-C or SIGTERM; it must be the last callback.

    Attributes:
      is_interrupted: whether a signal stopped training before its end.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        save_every: int,
        steps: int,
        metrics_log: MetricsLog,
        samples: Any,
        time_limit: TimeLimit | None,
        resume_command: str,
        agreement: Agreement,
    ) -> None:
        super().__init__()
        self._time_limit = time_limit
        self._checkpoints = checkpoints
        self._save_every = save_every
        self._steps = steps
        self._metrics_log = metrics_log
        self._samples = samples
        self._resume_command = resume_command
        self._agreement = agreement
        self.is_interrupted = False
        self._stop = StopSignal()

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._stop.listen()

    def on_train_batch_end(self, step: int, logs: Mapping[str, float]) -> None:
        end_reason = self._time_limit.end_reason if self._time_limit else ""
        ends_early = bool(end_reason) or self._samples.should_stop
        is_end = step == self._steps or ends_early
        is_due = step % self._save_every == 0 or is_end
        stops, _ = self._agreement(self._stop.is_set or ends_early, is_due or self._samples.is_best)
        is_stopping = stops and not ends_early
        is_due = is_due or is_stopping
        if is_due or self._samples.is_best:
            require_finite(logs)
            state = {"metrics_size": self._metrics_log.size} | self._samples.state()
            if self._time_limit:
                state["training_seconds"] = self._time_limit.seconds
            variables = self.model.checkpoint_variables()
            self._checkpoints.save(step, variables, state, is_due, self._samples.is_best)
        if is_end or is_stopping:
            self.model.stop_training = True
        if end_reason:
            logging.info("ended at step %d: %s", step, end_reason)
        self.is_interrupted = is_stopping and not is_end
        if self.is_interrupted:
            logging.info("stopped and saved at step %d; continue with: %s", step, self._resume_command)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._stop.end()
