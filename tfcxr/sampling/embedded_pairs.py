"""Compares real images with what the generator made of their z: a picture, and distances to own and other images."""

import dataclasses
import os
import pathlib

import cv2
import numpy as np
import tensorflow as tf

from tfcxr.data.atomic import write_atomically
from tfcxr.data.pipeline import evaluation_batches, from_pixels, to_pixels
from tfcxr.training.sample_grid import draw_grid

PAIRS_FILE = "pairs.png"
PAIRS_OF_ROW = 8
ROWS = 4


@dataclasses.dataclass(frozen=True)
class PairDistances:
    """Mean squared differences of pixels in [0, 1], each a mean over the images.

    Attributes:
      own: between an embedded image and the real one it was made of.
      other: between it and another real image, half a batch further on.
      mean_image: between each real image and the mean of all; an embedding whose `own` is not below this tells little
        more than that one picture.
    """

    own: float
    other: float
    mean_image: float


def compare_pairs(data_dir: str | os.PathLike, cohort_dir: str | os.PathLike, split: str) -> PairDistances:
    """Compares a split of real records with its embedding.

    Raises:
      ValueError: the folders do not hold the same images in the same order, or fewer than two.
    """
    own, other = [], []
    images, sums, squares = 0, 0.0, 0.0
    for real, embedded, _ in _paired_batches(data_dir, cohort_dir, split, batch_size=256):
        images, sums, squares = images + len(real), sums + real.sum(axis=0), squares + np.square(real).sum(axis=0)
        if len(real) > 1:
            own.append(np.mean(np.square(real - embedded), axis=(1, 2, 3)))
            other.append(np.mean(np.square(np.roll(real, len(real) // 2, axis=0) - embedded), axis=(1, 2, 3)))
    if not own:
        raise ValueError(f"split {split!r} of {data_dir} holds a single image, and so no other to compare with")
    mean_image = float(np.mean(squares / images - np.square(sums / images)))
    return PairDistances(float(np.concatenate(own).mean()), float(np.concatenate(other).mean()), mean_image)


def write_pairs(data_dir: str | os.PathLike, cohort_dir: str | os.PathLike, split: str) -> pathlib.Path:
    """Writes `pairs.png` beside the cohort's shards: rows of real images, each over its embedding."""
    real, embedded, keys = next(_paired_batches(data_dir, cohort_dir, split, batch_size=PAIRS_OF_ROW * ROWS))
    rows = []
    for start in range(0, len(keys), PAIRS_OF_ROW):
        for caption, images in (("real", real), ("embedded", embedded)):
            shown = tf.constant(images[start : start + PAIRS_OF_ROW] * 2.0 - 1.0)
            rows.append((f"{caption}, {split}", to_pixels(shown).numpy()))
    path = pathlib.Path(cohort_dir) / PAIRS_FILE
    write_atomically(path, cv2.imencode(".png", draw_grid(rows)[..., ::-1])[1].tobytes())
    return path


def _paired_batches(data_dir: str | os.PathLike, cohort_dir: str | os.PathLike, split: str, batch_size: int):
    """(real, embedded) float32 [batch, size, size, 1] in [0, 1], and their keys."""
    sides = [evaluation_batches(folder, split, batch_size).as_numpy_iterator() for folder in (data_dir, cohort_dir)]
    for real, embedded in zip(*sides, strict=True):
        if not np.array_equal(real["key"], embedded["key"]):
            raise ValueError(f"{cohort_dir} is not an embedding of split {split!r} of {data_dir}: other image keys")
        images = [(from_pixels(tf.constant(side["image"])).numpy() + 1.0) / 2.0 for side in (real, embedded)]
        yield *images, real["key"]
