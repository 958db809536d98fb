"""What happens beside the steps: progress, metrics, sample pictures, collapse watch, checkpoints, orderly stops."""

import json
import math
import os
import pathlib
import signal
import time
from collections.abc import Sequence
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf
from absl import logging
from tqdm import tqdm

from tfcxr.data.atomic import atomic_path
from tfcxr.data.pipeline import UNLABELLED, to_pixels
from tfcxr.evaluation.metrics.image_diversity import mean_pairwise_ms_ssim
from tfcxr.evaluation.metrics.sliced_wasserstein import sliced_wasserstein_distance
from tfcxr.models.base import GAN
from tfcxr.models.model_config import Stage
from tfcxr.training.checkpoints import Checkpoints
from tfcxr.training.sample_grid import draw_grid

METRICS_FILE = "metrics.jsonl"
COLLAPSE_RATIO = 0.5  # of the real images' diversity, below which a warning is given


class NonFiniteLossError(ValueError):
    """A loss became infinite or NaN."""


class StopOnNonFinite(keras.callbacks.Callback):
    """Ends training with the step and the term as soon as one is not finite; checkpoints before it stay."""

    def on_train_batch_end(self, step: int, logs: dict[str, float]) -> None:
        for name, value in logs.items():
            if not math.isfinite(value):
                raise NonFiniteLossError(
                    f"training stopped at step {step}: {name} is {value}; resume from the last checkpoint with a lower "
                    "learning rate in a new run, or with precision=float32"
                )


class ProgressBar(keras.callbacks.Callback):
    """Losses, images a second and the time left, on the terminal."""

    def __init__(self, stages: Sequence[Stage], start_step: int, batches_per_step: int) -> None:
        super().__init__()
        self._batches_per_step = batches_per_step
        total, initial = (images_until(stages, step) * batches_per_step for step in (stages[-1].end_step, start_step))
        self._bar = tqdm(total=total, initial=initial, unit=" images", unit_scale=True, desc="training")

    def on_train_batch_end(self, step: int, logs: dict[str, float]) -> None:
        short = {_initials(name): f"{value:.3f}" for name, value in logs.items()}
        self._bar.set_description(self.model.progress_text(), refresh=False)
        self._bar.set_postfix(short, refresh=False)
        self._bar.update(self.model.stage.batch_size * self._batches_per_step)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._bar.close()


class MetricsLog(keras.callbacks.Callback):
    """Writes `metrics.jsonl`, the same bytes in every run of the same settings, and TensorBoard files with speed too.

    Losses are means since the last line. `size` in bytes goes into each checkpoint; a resumed run cuts the file there.
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

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Appends one line and flushes it to the disk."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step} | values) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._summarise(step, values)

    def write_image(self, step: int, name: str, image: np.ndarray) -> None:
        """A picture, uint8 [height, width, 3], for TensorBoard alone."""
        with self._tensorboard.as_default(step=step):
            tf.summary.image(name, image[None])

    def on_train_batch_end(self, step: int, logs: dict[str, float]) -> None:
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

    def _summarise(self, step: int, values: dict[str, float]) -> None:
        with self._tensorboard.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)


class Samples(keras.callbacks.Callback):
    """Every so often a labelled grid from fixed seeds, diversity within each class, and distance to real images.

    Logs for each label the mean pairwise MS-SSIM of a fixed batch beside the real images', and warns when the
    generator has collapsed; logs the sliced Wasserstein distance to the real images, by which the best checkpoint
    is chosen, among those of one size where a model grows.

    Attributes:
      best_distance: the smallest so far at the model's current size.
      is_best: whether the step that has just ended has it.
    """

    def __init__(
        self,
        model: GAN,
        run_dir: str | os.PathLike,
        label_names: tuple[str, ...],
        real_images: dict[str, np.ndarray],
        sample_every: int,
        metrics_log: MetricsLog,
        best_distance: float = math.inf,
        best_size: int | None = None,
    ) -> None:
        """Keeps what the pictures are compared with.

        `best_distance` is that of a resumed run, among images of `best_size` pixels; `image_size` where None.

        `real_images`: uint8 [images, size, size, 1] of each label, at least two; labels without are not scored. A model
        without labels has all its images under the name `UNLABELLED`.
        """
        super().__init__()
        self._folder = pathlib.Path(run_dir) / "samples"
        self._label_names = label_names or (UNLABELLED,)
        self._label_count = len(label_names)
        self._sample_every = sample_every
        self._metrics_log = metrics_log
        self._own_images = real_images
        self._size = 0
        self._look_at_size(model)
        self._best_size = best_size or model.config.image_size
        self.best_distance = best_distance
        self.is_best = False

    def on_train_batch_end(self, step: int, logs: dict[str, float]) -> None:
        self.is_best = False
        if self._best_size != self.model.current_size:  # distances of smaller images say nothing of larger ones
            self._best_size, self.best_distance = self.model.current_size, math.inf
        if step % self._sample_every:
            return
        self._look_at_size(self.model)
        images = {name: self._draw_label(index) for index, name in enumerate(self._label_names)}
        grid = draw_grid([(f"{name}, step {step}", drawn[:12]) for name, drawn in images.items()])
        with atomic_path(self._folder / f"step-{step:08d}.png") as temporary:
            temporary.write_bytes(cv2.imencode(".png", grid[..., ::-1])[1].tobytes())
        self._metrics_log.write_image(step, "samples", grid)
        values = self._diversity(step, images) | {"sliced_wasserstein": self._distance(images)}
        self._metrics_log.write(step, values)
        if values["sliced_wasserstein"] < self.best_distance:
            self.best_distance, self.is_best = values["sliced_wasserstein"], True

    def _look_at_size(self, model: GAN) -> None:
        """While a model grows, its images are of a lower resolution: so are the real ones they are compared with."""
        if self._size == model.current_size and not model.stage.is_fading:
            return
        self._draw = tf.function(lambda seed, label: to_pixels(model.generate(seed, label)))
        if self._size != model.current_size:
            self._size = model.current_size
            self._real_images = {name: _at_resolution(images, self._size) for name, images in self._own_images.items()}
            self._real_similarity = {
                name: mean_pairwise_ms_ssim(images, pairs=len(images), resamples=1).mean
                for name, images in self._real_images.items()
            }

    def _draw_label(self, index: int) -> np.ndarray:
        count = max([2, *(len(images) for images in self._real_images.values())])
        label = tf.one_hot(tf.fill([count], index), len(self._label_names))[:, : self._label_count]
        seed = tf.range(count, dtype=tf.int64) + index * 1_000_000
        drawn = self._draw(seed, label).numpy()
        return np.round(drawn.mean(axis=-1, keepdims=True)).astype(np.uint8)  # three equal channels are one

    def _diversity(self, step: int, images: dict[str, np.ndarray]) -> dict[str, float]:
        values = {}
        collapsed = []
        for name, real_similarity in self._real_similarity.items():
            drawn = images[name]
            similarity = mean_pairwise_ms_ssim(drawn, pairs=len(drawn), resamples=1).mean
            values |= {f"ms_ssim/{name}": similarity, f"ms_ssim_real/{name}": real_similarity}
            if 1.0 - similarity < COLLAPSE_RATIO * (1.0 - real_similarity):
                collapsed.append(f"{name} ({similarity:.3f}, real {real_similarity:.3f})")
        if collapsed:
            logging.warning(
                "step %d: nearly one picture a class, by mean pairwise MS-SSIM, for %s", step, ", ".join(collapsed)
            )
        return values

    def _distance(self, images: dict[str, np.ndarray]) -> float:
        scored = [name for name in self._label_names if name in self._real_images]
        counts = {name: min(len(images[name]), len(self._real_images[name])) for name in scored}
        drawn = np.concatenate([images[name][: counts[name]] for name in scored])
        real = np.concatenate([self._real_images[name][: counts[name]] for name in scored])
        return sliced_wasserstein_distance(drawn, real)


class SaveCheckpoints(keras.callbacks.Callback):
    """Saves every so often, at the end, and on Ctrl-C or SIGTERM; must come last of the callbacks."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        save_every: int,
        steps: int,
        metrics_log: MetricsLog,
        samples: Samples,
        resume_command: str,
    ) -> None:
        super().__init__()
        self._checkpoints = checkpoints
        self._save_every = save_every
        self._steps = steps
        self._metrics_log = metrics_log
        self._samples = samples
        self._resume_command = resume_command
        self._stop_signal: int | None = None
        self._previous_handlers: dict[int, Any] = {}

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous_handlers[number] = signal.signal(number, self._ask_to_stop)

    def on_train_batch_end(self, step: int, logs: dict[str, float]) -> None:
        is_stopping = self._stop_signal is not None
        is_due = step % self._save_every == 0 or step == self._steps
        if is_due or is_stopping or self._samples.is_best:
            state = {
                "metrics_size": self._metrics_log.size,
                "best_distance": self._samples.best_distance,
                "best_size": self.model.current_size,
            }
            variables = self.model.checkpoint_variables()
            self._checkpoints.save(step, variables, state, is_due or is_stopping, self._samples.is_best)
        if is_stopping and step < self._steps:
            self.model.stop_training = True
            logging.info("stopped and saved at step %d; go on with: %s", step, self._resume_command)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def _ask_to_stop(self, number: int, frame: Any) -> None:
        if self._stop_signal is not None:  # asked twice: stop at once, without saving
            signal.signal(number, self._previous_handlers[number])
            os.kill(os.getpid(), number)
        self._stop_signal = number


def _at_resolution(images: np.ndarray, size: int) -> np.ndarray:
    """uint8 [images, height, width, 1] shrunk to `size` px by means and enlarged again by repeated pixels."""
    if images.shape[1] == size:
        return images
    count, factor = len(images), images.shape[1] // size
    means = images.reshape(count, size, factor, size, factor, 1).mean(axis=(2, 4))
    return np.round(means).astype(np.uint8).repeat(factor, axis=1).repeat(factor, axis=2)


def images_until(stages: Sequence[Stage], step: int) -> int:
    """Images of all batches until a step."""
    steps = [(stage.batch_size, min(step, stage.end_step) - stage.first_step) for stage in stages]
    return sum(batch_size * count for batch_size, count in steps if count > 0)


def _initials(name: str) -> str:
    return "_".join(part[:4] for part in name.split("_"))
