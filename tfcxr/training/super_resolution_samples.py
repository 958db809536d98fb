"""What super-resolution makes of real images that it is not trained on: fidelity beside bicubic, diversity, a grid."""

import math
import os
import pathlib

import cv2
import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tfcxr.data.atomic import atomic_path
from tfcxr.data.pipeline import from_pixels, to_pixels
from tfcxr.evaluation.metrics import metrics_of
from tfcxr.evaluation.metrics.image_diversity import mean_pairwise_ms_ssim
from tfcxr.evaluation.metrics.metric import PairedImages
from tfcxr.models.srgan import SRGAN, average_down
from tfcxr.models.srgan_networks import enlarge_bicubic
from tfcxr.training.callbacks import MetricsLog
from tfcxr.training.sample_grid import draw_grid

GRID_PIXELS = 1536  # width of the grid, about
MAX_GRID_IMAGES = 8


class SuperResolutionSamples(keras.callbacks.Callback):
    """Every so often, and after the first step, enlarges held-out real images that were made smaller by averaging.

    Logs means over whole images: `psnr` and `ssim` beside those of the bicubic enlargement, and the mean pairwise
    MS-SSIM of the outputs beside the real images'. Writes a grid of the small image, bicubic, ours and real.

    The best checkpoint is that of the highest SSIM. PSNR would choose the end of the warm-up, where uncertain detail
    is blurred (Ledig et al. 2017, section 3.5); SSIM counts lost contrast too. A measure that only looks for sharp
    pictures would choose invented detail, which a radiograph must not have.

    Attributes:
      best_distance: 1 - SSIM of the best step so far. is_best: whether the step that has just ended is it.
    """

    def __init__(
        self,
        model: SRGAN,
        run_dir: str | os.PathLike,
        real_images: np.ndarray,
        sample_every: int,
        metrics_log: MetricsLog,
        best_distance: float = math.inf,
    ) -> None:
        """Makes the small images and scores their bicubic enlargements once.

        `real_images`: uint8 [images, size, size, 1], at least two, held out of training.

        Raises:
          ValueError: other images.
        """
        super().__init__()
        size = model.config.image_size
        if real_images.dtype != np.uint8 or real_images.shape[1:] != (size, size, 1) or len(real_images) < 2:
            raise ValueError(
                f"expected at least two uint8 images [images, {size}, {size}, 1], "
                f"got {real_images.dtype} {real_images.shape}"
            )
        self._folder = pathlib.Path(run_dir) / "samples"
        self._warmup_steps = model.config.warmup_steps
        self._scale = model.config.scale
        self._real_images = real_images
        self._sample_every = sample_every
        self._metrics_log = metrics_log
        self._enhance = tf.function(lambda image: to_pixels(model.enhance(from_pixels(image))))
        self._channels = model.config.channels
        self._small = np.stack([self._reduce(image) for image in real_images])
        self._bicubic = np.stack([self._enlarge_bicubic(image) for image in self._small])
        self._constants = self._fidelity(self._bicubic, "_bicubic") | {"ms_ssim_real": _similarity(real_images)}
        self._is_warned = False
        self.best_distance = best_distance
        self.is_best = False

    def on_train_batch_end(self, step: int, logs: dict[str, float]) -> None:
        self.is_best = False
        if step != 1 and step % self._sample_every:
            return
        enlarged = np.stack([self._enlarge(image) for image in self._small])
        values = self._fidelity(enlarged) | {"ms_ssim": _similarity(enlarged)} | self._constants
        self._metrics_log.write(step, values)
        self._draw(step, enlarged)
        self._warn(step, values)
        if 1.0 - values["ssim"] < self.best_distance:
            self.best_distance, self.is_best = 1.0 - values["ssim"], True

    def _fidelity(self, images: np.ndarray, suffix: str = "") -> dict[str, float]:
        means = {}
        for metric in metrics_of(PairedImages):
            values = np.minimum(metric.score(images, self._real_images), metric.largest)
            means[f"{metric.name}{suffix}"] = float(values.mean())
        return means

    def _reduce(self, image: np.ndarray) -> np.ndarray:
        """uint8 [size, size, 1] -> uint8 [size / scale, size / scale, 1]."""
        return to_pixels(average_down(from_pixels(tf.constant(image[None])), self._scale))[0].numpy()

    def _enlarge_bicubic(self, image: np.ndarray) -> np.ndarray:
        return to_pixels(enlarge_bicubic(from_pixels(tf.constant(image[None])), self._scale))[0].numpy()

    def _enlarge(self, image: np.ndarray) -> np.ndarray:
        """One image at a time, so that memory stays that of one; three equal channels are one."""
        output = self._enhance(tf.constant(image[None].repeat(self._channels, axis=-1)))[0].numpy()
        return np.round(output.mean(axis=-1, keepdims=True)).astype(np.uint8)

    def _draw(self, step: int, enlarged: np.ndarray) -> None:
        count = min(MAX_GRID_IMAGES, max(2, GRID_PIXELS // self._real_images.shape[1]))
        nearest = self._small[:count].repeat(self._scale, axis=1).repeat(self._scale, axis=2)
        grid = draw_grid(
            [
                (f"{self._small.shape[1]} px", nearest),
                ("bicubic", self._bicubic[:count]),
                (f"x{self._scale}, step {step}", enlarged[:count]),
                ("real", self._real_images[:count]),
            ]
        )
        with atomic_path(self._folder / f"step-{step:08d}.png") as temporary:
            temporary.write_bytes(cv2.imencode(".png", grid[..., ::-1])[1].tobytes())
        self._metrics_log.write_image(step, "samples", grid)

    def _warn(self, step: int, values: dict[str, float]) -> None:
        if self._is_warned or step <= self._warmup_steps or values["psnr"] >= values["psnr_bicubic"]:
            return
        self._is_warned = True
        logging.warning(
            "step %d: images come out worse than bicubic, %.2f dB against %.2f; a lower adversarial_weight keeps them "
            "closer to the real ones",
            step,
            values["psnr"],
            values["psnr_bicubic"],
        )


def _similarity(images: np.ndarray) -> float:
    return mean_pairwise_ms_ssim(images, pairs=len(images), resamples=1).mean
