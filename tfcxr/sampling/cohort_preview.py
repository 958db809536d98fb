"""Captioned pictures of a cohort: its first images by labels, and one of each label below a real one."""

import os
import pathlib

import cv2
import numpy as np

from tfcxr.data.atomic import write_atomically
from tfcxr.data.pipeline import evaluation_batches
from tfcxr.data.records import read_dataset_info
from tfcxr.data.sizes import stored_sizes
from tfcxr.training.sample_grid import draw_grid

PREVIEW_FILE = "preview.png"
COMPARISON_FILE = "real_and_synthetic.png"
COMPARED_TILE = 128  # pixels; smaller images are enlarged to about this
IMAGES_OF_ROW = 8
MAX_ROWS = 12
MAX_BATCHES = 20  # rare labels that do not occur in them are not shown


def write_cohort_preview(data_dir: str | os.PathLike, split: str = "train") -> pathlib.Path:
    """Writes `preview.png` beside the shards, of images that are 8 bits deep; reads a few batches only."""
    info = read_dataset_info(data_dir)
    rows: dict[str, list[np.ndarray]] = {}
    batches = evaluation_batches(data_dir, split, batch_size=128).take(MAX_BATCHES)
    for batch in batches.as_numpy_iterator():
        for image, label in zip(batch["image"], batch["label"], strict=True):
            names = [name for name, value in zip(info.label_names, label, strict=True) if value == 1]
            caption = " + ".join(names) or "no label"
            if len(rows.setdefault(caption, [])) < IMAGES_OF_ROW:
                rows[caption].append(image)
        if len(rows) >= MAX_ROWS and all(len(images) == IMAGES_OF_ROW for images in rows.values()):
            break
    shown = [(caption, np.stack(rows[caption])) for caption in sorted(rows)[:MAX_ROWS]]
    return _write(pathlib.Path(data_dir) / PREVIEW_FILE, draw_grid(shown))


def write_real_and_synthetic(
    data_dir: str | os.PathLike, real_dir: str | os.PathLike, real_split: str = "train"
) -> pathlib.Path | None:
    """Writes `real_and_synthetic.png`, a real image of each label above a synthetic one (Woloszyn 2025, figure 3).

    Args:
      data_dir: of the cohort.
      real_dir: a data folder, or one of builds, of which the cohort's size is taken, or else the largest and resized.
      real_split: its split.

    Returns:
      the picture's path, None where no label occurs on both sides.
    """
    info, builds = read_dataset_info(data_dir), stored_sizes(real_dir)
    synthetic = _first_of_each_label(data_dir, "train")
    real = _first_of_each_label(builds.get(info.image_size, builds[max(builds)]), real_split)
    names = [name for name in info.label_names if name in synthetic and name in real][:MAX_ROWS]
    if not names:
        return None
    rows = []
    for title, of_label in (("real", real), ("synthetic", synthetic)):
        images = [_resized(of_label[name], info.image_size) for name in names]
        rows.append((f"{title}: {', '.join(names)}", np.stack(images)))
    scale = max(1, COMPARED_TILE // info.image_size)
    return _write(pathlib.Path(data_dir) / COMPARISON_FILE, draw_grid(rows, scale))


def _first_of_each_label(data_dir: str | os.PathLike, split: str) -> dict[str, np.ndarray]:
    """Label -> the first image [size, size, 1] that has it, among those of a few batches."""
    names, found = read_dataset_info(data_dir).label_names, {}
    for batch in evaluation_batches(data_dir, split, batch_size=128).take(MAX_BATCHES).as_numpy_iterator():
        for image, label in zip(batch["image"], batch["label"], strict=True):
            for name in np.array(names)[label == 1]:
                found.setdefault(str(name), image)
        if len(found) == len(names):
            break
    return found


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    """uint8 [size, size, 1] of uint8 or uint16 [height, width, 1]."""
    grey = image if image.dtype == np.uint8 else np.rint(image / 257).astype(np.uint8)
    return cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA)[..., np.newaxis]


def _write(path: pathlib.Path, grid: np.ndarray) -> pathlib.Path:
    write_atomically(path, cv2.imencode(".png", grid[..., ::-1])[1].tobytes())
    return path
