"""Base of what watches a training's pictures: when they are made, where they go, and which step is the best."""

import abc
import dataclasses
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any, ClassVar

import cv2
import keras
import numpy as np
from absl import logging

from tfcxr.data.atomic import atomic_path
from tfcxr.evaluation.metrics.metric import Metric
from tfcxr.models.base import AdversarialModel
from tfcxr.training.callbacks import MetricsLog
from tfcxr.training.sample_grid import draw_grid
from tfcxr.training.samples.quality import Quality
from tfcxr.training.step_logs import require_finite

EARLY_STEPS, DEFAULT_EVERY = (50, 100, 200), 500  # where nothing is said


@dataclasses.dataclass(frozen=True)
class Sample:
    """What a watcher saw at one step.

    Attributes:
      rows: caption and pictures of each row of the grid, as `draw_grid` takes them.
      values: for metrics.jsonl.
      text: the values that a user looks at, beside those of real images, for the terminal.
      distance: how far the pictures are from real ones; the checkpoint with the smallest is the best.
    """

    rows: list[tuple[str, np.ndarray]]
    values: dict[str, float]
    text: str
    distance: float


class SampleWatcher(keras.callbacks.Callback, abc.ABC):
    """At some steps: a grid in `samples/`, values in the log, and whether this step is the best.

    Attributes:
      best_distance: the smallest so far at the model's current size.
      is_best: whether the step that has just ended has it.
      folder: where the grids are.
      quality: judges the images by a frozen network; None without one.
    """

    can_be_judged: ClassVar[bool] = True  # by a `quality`
    needs_held_out_images: ClassVar[bool] = False  # real images of the validation splits, not of the training splits
    images_per_label: ClassVar[int] = 64
    metrics: ClassVar[tuple[Metric, ...]] = ()  # that are logged

    def __init__(
        self,
        model: AdversarialModel,
        run_dir: str | os.PathLike,
        label_names: tuple[str, ...],
        real_images: dict[str, np.ndarray],
        sample_every: int | None,
        metrics_log: MetricsLog,
        best_distance: float = math.inf,
        best_size: int | None = None,
        quality: Quality | None = None,
        stop_when_flat: bool = False,
    ) -> None:
        """Keeps what the pictures are compared with.

        Args:
          model: that is trained.
          run_dir: its run folder.
          label_names: of the model, empty for one without labels.
          real_images: label name -> uint8 [images, size, size, 1], see `samples.real_images`.
          sample_every: steps between samples; None is `DEFAULT_EVERY`, and at `EARLY_STEPS`.
          metrics_log: takes the values and the grid.
          best_distance: that of a resumed run.
          best_size: pixels of the images that `best_distance` was measured on; the model's `image_size` where None.
          quality: chooses the best checkpoint by KID; by the watcher's own distance where None.
          stop_when_flat: ends training when KID has stopped falling.
        """
        super().__init__()
        self.best_distance = best_distance
        self.is_best = False
        self.quality, self._stop_when_flat = quality, stop_when_flat
        self._best_size = best_size or model.config.image_size
        self.folder = pathlib.Path(run_dir) / "samples"
        self._sample_every = sample_every
        self._metrics_log = metrics_log
        self.prepare(model, label_names, real_images)

    @abc.abstractmethod
    def prepare(
        self, model: AdversarialModel, label_names: tuple[str, ...], real_images: dict[str, np.ndarray]
    ) -> None:
        """Scores the real images once, before training."""

    @property
    @abc.abstractmethod
    def best_text(self) -> str:
        """Of which step the best checkpoint is: the measure, on which images, and its value for real ones."""

    @abc.abstractmethod
    def sample(self, step: int) -> Sample:
        """Makes pictures with the model as it is and compares them with the real images."""

    @property
    def should_stop(self) -> bool:
        """Whether training ends because its images no longer get better."""
        return self._stop_when_flat and self.quality is not None and self.quality.is_flat

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of the samples so far."""
        best = {"best_distance": self.best_distance, "best_size": self.model.current_size}
        return best | ({"quality": self.quality.state()} if self.quality else {})

    def is_due(self, step: int) -> bool:
        """Whether a step is sampled."""
        if self._sample_every is None:
            return step in EARLY_STEPS or step % DEFAULT_EVERY == 0
        return step % self._sample_every == 0

    def is_early(self, step: int) -> bool:
        """Whether a step is sampled for a first look alone, long before images can be judged."""
        return self._sample_every is None and step in EARLY_STEPS

    @property
    def schedule_text(self) -> str:
        """Which steps are sampled."""
        if self._sample_every is None:
            return f"at steps {', '.join(map(str, EARLY_STEPS))}, and every {DEFAULT_EVERY} steps"
        return f"every {self._sample_every} steps"

    def on_train_batch_end(self, step: int, logs: Mapping[str, float]) -> None:
        self.is_best = False
        if self._best_size != self.model.current_size:  # distances of smaller images say nothing of larger ones
            self._best_size, self.best_distance = self.model.current_size, math.inf
        if not self.is_due(step):
            return
        require_finite(logs)
        sample = self.sample(step)
        grid = draw_grid(sample.rows)
        with atomic_path(self.folder / f"step-{step:08d}.png") as temporary:
            temporary.write_bytes(cv2.imencode(".png", grid[..., ::-1])[1].tobytes())
        self._metrics_log.write_image(step, "samples", grid)
        self._metrics_log.write(step, sample.values)
        if sample.distance < self.best_distance:
            self.best_distance, self.is_best = sample.distance, True
        logging.info("step %d: %s%s", step, sample.text, "; the best so far" if self.is_best else "")
