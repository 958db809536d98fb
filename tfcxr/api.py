"""The package in Python: images of a data folder as arrays, and an exported model that generates.

import tfcxr

images, labels, patients = tfcxr.read("cohorts/cgan/64")
effusions = tfcxr.load("saved_models/cgan").generate(labels=["Effusion"], count=8, seed=1)
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence

import numpy as np

from tfcxr.startup import tensorflow_started

with tensorflow_started():
    from tfcxr.data.pipeline import load_images
    from tfcxr.data.records import read_dataset_info
    from tfcxr.sampling.cohort import SEEDS_PER_COHORT
    from tfcxr.sampling.cohort_labels import counted_labels, no_labels
    from tfcxr.serving.loaded_model import LoadedModel, load_generating_model

BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Radiographs:
    """Images in memory; `images, labels, patients = ...` takes it apart.

    Attributes:
      images: uint8 or uint16 [images, size, size].
      labels: float32 [images, labels]: 1 present, 0 absent, NaN unknown.
      patients: string [images], a salted hash, equal for the images of one patient; in a cohort one per image.
      label_names: of the columns of `labels`.
      is_synthetic: whether a generator made the images.
    """

    images: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    label_names: tuple[str, ...]
    is_synthetic: bool

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter((self.images, self.labels, self.patients))


def read(data_dir: str | os.PathLike, splits: Sequence[str] | str = ()) -> Radiographs:
    """Reads the images of a data folder or a cohort into memory.

    Args:
      data_dir: of one size, such as records/64.
      splits: such as "train" or ["validation", "test"]; all by default.

    Raises:
      FileNotFoundError: no data folder.
      ValueError: no such split, or a damaged record.
    """
    info = read_dataset_info(data_dir)
    chosen = (splits,) if isinstance(splits, str) else tuple(splits)
    found = load_images(data_dir, chosen or tuple(name for name, split in info.splits.items() if split.images))
    return Radiographs(found.images[..., 0], found.labels, found.patient_keys, info.label_names, info.is_synthetic)


class Generator:
    """An exported model.

    Attributes:
      model: the SavedModel and its signatures.
      label_names: that it can be asked for; () where it has none.
      image_size: of its images, in pixels.
    """

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.label_names = tuple(model.description.label_names)
        self.image_size = model.description.image_size

    def generate(
        self, labels: Sequence[str] | str = (), count: int = 1, seed: int = 0, truncation: float = 1.0
    ) -> np.ndarray:
        """Images of which each has all of `labels` and no other.

        Args:
          labels: such as ["Effusion", "Cardiomegaly"]; a model of exclusive labels takes one. Conditions that the model
            reads may be among them, such as "sex=F" and "age=60".
          count: of images.
          seed: equal seeds give equal images.
          truncation: below 1 images vary less.

        Returns:
          uint8 [count, image_size, image_size, channels].

        Raises:
          ValueError: labels that the model cannot give, or count below 1.
        """
        names = (labels,) if isinstance(labels, str) else tuple(labels)
        if self.label_names:
            is_single_label = self.model.description.is_single_label
            conditions = self.model.description.condition_names
            plan = counted_labels({"+".join(names): count}, self.label_names, is_single_label, seed, conditions)
        elif names:
            raise ValueError(f"{self.model.path} makes images without labels, got {', '.join(names)}")
        else:
            plan = no_labels(count)
        seeds = seed * SEEDS_PER_COHORT + np.arange(len(plan), dtype=np.int64)
        starts = range(0, len(plan), BATCH_SIZE)
        return np.concatenate(
            [
                self.model.generate(seeds[start : start + BATCH_SIZE], plan.part(start, start + BATCH_SIZE), truncation)
                for start in starts
            ]
        )


def load(saved_model: str | os.PathLike) -> Generator:
    """Loads an exported version, or the newest in the folder of its versions.

    Raises:
      FileNotFoundError: no exported model.
      ValueError: a damaged model, or one that enlarges images and generates none.
    """
    return Generator(load_generating_model(saved_model))
