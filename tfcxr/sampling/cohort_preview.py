"""A captioned picture of a cohort's first images, a row for each combination of labels."""

import os
import pathlib

import cv2
import numpy as np

from tfcxr.data.atomic import write_atomically
from tfcxr.data.pipeline import evaluation_batches
from tfcxr.data.records import read_dataset_info
from tfcxr.training.sample_grid import draw_grid

PREVIEW_FILE = "preview.png"
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
    png = cv2.imencode(".png", draw_grid(shown)[..., ::-1])[1].tobytes()
    path = pathlib.Path(data_dir) / PREVIEW_FILE
    write_atomically(path, png)
    return path
