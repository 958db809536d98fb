"""Base of what watches a training's pictures: when they are made, where they go, and which step is the best."""

import abc
import dataclasses
import math
import os
import pathlib
from typing import Any, ClassVar

import cv2
import keras
import numpy as np

from tfcxr.data.atomic import atomic_path
from tfcxr.data.pipeline import read_samples
from tfcxr.models.base import AdversarialModel
from tfcxr.training.callbacks import MetricsLog
from tfcxr.training.sample_grid import draw_grid


@dataclasses.dataclass(frozen=True)
class Sample:
    """What a watcher saw at one step.

    Attributes:
      rows: caption and pictures of each row of the grid, as `draw_grid` takes them.
      values: for the log.
      distance: how far the pictures are from real ones; the checkpoint with the smallest is the best.
    """

    rows: list[tuple[str, np.ndarray]]
    values: dict[str, float]
    distance: float


class SampleWatcher(keras.callbacks.Callback, abc.ABC):
    """Every `sample_every` steps: a grid in `samples/`, values in the log, and whether this step is the best.

    Attributes:
      best_distance: the smallest so far at the model's current size.
      is_best: whether the step that has just ended has it.
    """

    needs_held_out_images: ClassVar[bool] = False  # real images of the validation splits, not of the training splits
    images_per_label: ClassVar[int] = 64

    def __init__(
        self,
        model: AdversarialModel,
        run_dir: str | os.PathLike,
        label_names: tuple[str, ...],
        real_images: dict[str, np.ndarray],
        sample_every: int,
        metrics_log: MetricsLog,
        best_distance: float = math.inf,
        best_size: int | None = None,
    ) -> None:
        """Keeps what the pictures are compared with.

        Args:
          model: that is trained.
          run_dir: its run folder.
          label_names: of the model, empty for one without labels.
          real_images: label name -> uint8 [images, size, size, 1], as `read_real_images` gives them.
          sample_every: steps between samples.
          metrics_log: takes the values and the grid.
          best_distance: that of a resumed run.
          best_size: pixels of the images that `best_distance` was measured on; the model's `image_size` where None.
        """
        super().__init__()
        self.best_distance = best_distance
        self.is_best = False
        self._best_size = best_size or model.config.image_size
        self._folder = pathlib.Path(run_dir) / "samples"
        self._sample_every = sample_every
        self._metrics_log = metrics_log
        self.prepare(model, label_names, real_images)

    @abc.abstractmethod
    def prepare(
        self, model: AdversarialModel, label_names: tuple[str, ...], real_images: dict[str, np.ndarray]
    ) -> None:
        """Scores the real images once, before training."""

    @classmethod
    def read_real_images(
        cls, data_dir: str | os.PathLike, splits: str, label_names: tuple[str, ...], image_size: int
    ) -> dict[str, np.ndarray]:
        """Real images per label, enlarged to `image_size` pixels where the records are smaller."""
        images = read_samples(data_dir, splits, cls.images_per_label, is_labelled=bool(label_names))
        return {name: _enlarged(stack, image_size) for name, stack in images.items()}

    @abc.abstractmethod
    def sample(self, step: int) -> Sample:
        """Makes pictures with the model as it is and compares them with the real images."""

    def is_due(self, step: int) -> bool:
        """Whether a step is sampled."""
        return step % self._sample_every == 0

    def on_train_batch_end(self, step: int, logs: dict[str, Any]) -> None:
        self.is_best = False
        if self._best_size != self.model.current_size:  # distances of smaller images say nothing of larger ones
            self._best_size, self.best_distance = self.model.current_size, math.inf
        if not self.is_due(step):
            return
        sample = self.sample(step)
        grid = draw_grid(sample.rows)
        with atomic_path(self._folder / f"step-{step:08d}.png") as temporary:
            temporary.write_bytes(cv2.imencode(".png", grid[..., ::-1])[1].tobytes())
        self._metrics_log.write_image(step, "samples", grid)
        self._metrics_log.write(step, sample.values)
        if sample.distance < self.best_distance:
            self.best_distance, self.is_best = sample.distance, True


def _enlarged(images: np.ndarray, size: int) -> np.ndarray:
    if images.shape[1] == size:
        return images
    return np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)[..., None] for image in images])
