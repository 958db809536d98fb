"""Real images of each label, which a training's pictures stand beside and are compared with."""

import os
from collections.abc import Sequence

import cv2
import numpy as np
import tensorflow as tf

from tfcxr.data.label_choice import choose_labels
from tfcxr.data.pipeline import evaluation_batches, from_pixels, to_pixels
from tfcxr.data.records import read_dataset_info

UNLABELLED = "images"  # stands for a label name where there is none
BATCH_SIZE = 64
LOOK_AT_MOST = 5000  # images


def read_real_images(
    data_dir: str | os.PathLike,
    splits: str,
    per_label: int,
    image_size: int,
    is_labelled: bool = True,
    labels: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """Up to `per_label` images of each label name, uint8 [images, image_size, image_size, 1], from the first records.

    Shards are random mixes, so the first records are a random sample; a label that is rare among the first
    `LOOK_AT_MOST` images has fewer, or is left out below two.

    Args:
      data_dir: a data folder.
      splits: one or more, with commas between.
      per_label: images.
      image_size: pixels, to which smaller records are enlarged.
      is_labelled: otherwise all images are of one label named `UNLABELLED`.
      labels: chosen among those of the data set; all where none is named.
    """
    choice = choose_labels(read_dataset_info(data_dir), labels)
    names = choice.names if is_labelled and choice.names else (UNLABELLED,)
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    looked_at = 0
    for batch in evaluation_batches(data_dir, splits, BATCH_SIZE).as_numpy_iterator():
        chosen = choice.of(batch["label"])
        for index, images in enumerate(found.values()):
            is_wanted = choice.keeps(batch["label"]) if UNLABELLED in found else chosen[:, index] == 1
            images.extend(batch["image"][is_wanted][: per_label - len(images)])
        looked_at += len(batch["key"])
        if looked_at >= LOOK_AT_MOST or all(len(images) == per_label for images in found.values()):
            break
    stacked = {name: np.stack(images) for name, images in found.items() if len(images) >= 2}
    pixels = {name: to_pixels(from_pixels(tf.constant(images))).numpy() for name, images in stacked.items()}
    return {name: _enlarged(images, image_size) for name, images in pixels.items()}


def _enlarged(images: np.ndarray, size: int) -> np.ndarray:
    if images.shape[1] == size:
        return images
    return np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)[..., None] for image in images])
