"""The package in Python: images of a data folder as arrays, and an exported model that generates.

import tfcxr

images, labels, patients = tfcxr.read("cohorts/cgan/64")
effusions = tfcxr.load("saved_models/cgan").generate(labels=["Effusion"], count=8, seed=1)
effusions.images, effusions.facts["weights_sha256"]
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfcxr.startup import tensorflow_started

with tensorflow_started():
    from tfcxr.data.pipeline import load_images
    from tfcxr.data.records import read_dataset_info
    from tfcxr.data.seeds import SEEDS_PER_COHORT
    from tfcxr.sampling.cohort_labels import counted_labels, no_labels
    from tfcxr.serving.loaded_model import LoadedModel, load_generating_model
    from tfcxr.serving.model_card import CARD_FILE

BATCH_SIZE = 64
Labels = Sequence[str] | str | np.ndarray


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


@dataclasses.dataclass(frozen=True)
class GeneratedImages:
    """Synthetic images and where they come from; NumPy takes it for the array of its images.

    Attributes:
      images: uint8 [images, image_size, image_size, channels].
      seeds: int64 [images]; with its label a seed gives the image again, in a cohort and from a server too.
      labels: float32 [images, labels] that were asked for, 1 or 0, in the order of `label_names`; conditions, from 0
        to 1, stand behind them.
      facts: plain JSON: `synthetic`, which is true, `saved_model`, `model`, `label_names`, `truncation`,
        `weights_sha256`, `training_data`, `licence` and `tfcxr_version`.
    """

    images: np.ndarray
    seeds: np.ndarray
    labels: np.ndarray
    facts: dict[str, Any]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.images, dtype, copy=copy)

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.images)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.images[index]


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

    @property
    def card(self) -> str:
        """The model card: what the model is, of which data, its limits, and what an evaluation found.

        Raises:
          FileNotFoundError: it was taken out of the model's folder.
        """
        path = self.model.path / CARD_FILE
        if not path.is_file():
            raise FileNotFoundError(f"{self.model.path} has no model card, {CARD_FILE}; export the model again")
        return path.read_text(encoding="utf-8")

    def generate(
        self, labels: Sequence[str] | str = (), count: int = 1, seed: int = 0, truncation: float = 1.0
    ) -> GeneratedImages:
        """Images of which each has all of `labels` and no other.

        Args:
          labels: such as ["Effusion", "Cardiomegaly"]; a model of exclusive labels takes one. Conditions that the model
            reads may be among them, such as "sex=F" and "age=60".
          count: of images.
          seed: equal seeds give equal images.
          truncation: below 1 images vary less.

        Raises:
          ValueError: labels that the model cannot give, count below 1, or images that do not pass the model's gate.
        """
        label = self._label_rows(labels, count)
        seeds = seed * SEEDS_PER_COHORT + np.arange(count, dtype=np.int64)
        made = self._called("generate", count, seed=seeds, label=label, truncation=truncation)
        if refused := int((~made["is_accepted"]).sum()) if "is_accepted" in made else 0:
            raise ValueError(
                f"{refused} of {count} images did not pass the gate of {self.model.path} in "
                f"{self.model.description.settings['max_tries']} tries; give another seed, or export it with a higher "
                "--max_tries"
            )
        return GeneratedImages(made["image"], made.get("seed", seeds), label, self._facts(truncation))

    def latent(self, z: np.ndarray, labels: Labels = ()) -> np.ndarray:
        """Images of latent vectors of one's own, such as those between two others.

        Args:
          z: float32 [images, latent_size], normal with mean 0 and deviation 1 as in training.
          labels: of all images, as for `generate`; or float32 [images, labels].

        Returns:
          float32 [images, image_size, image_size, channels] in [-1, 1].

        Raises:
          ValueError: the model takes no z (a cascade), z of another length, or labels that it does not have.
        """
        self.model.input_specs("generate_from_latent")
        z, size = np.asarray(z, np.float32), self.model.description.latent_size
        if z.ndim != 2 or z.shape[1] != size or not len(z):
            raise ValueError(f"{self.model.path} takes z of the shape [images, {size}], got {list(z.shape)}")
        return self._called("generate_from_latent", len(z), z=z, label=self._label_rows(labels, len(z)))["image"]

    def score(self, images: np.ndarray | GeneratedImages, labels: Labels = ()) -> dict[str, np.ndarray]:
        """What the discriminator says of images.

        Args:
          images: uint8 [images, image_size, image_size] or [images, image_size, image_size, channels].
          labels: of all images, as for `generate`; or float32 [images, labels]. Only a discriminator that reads labels
            needs them.

        Returns:
          `realism` float32 [images] in [0, 1]; and `label_probability` float32 [images, labels] of a discriminator that
          predicts labels. Training signals, not calibrated probabilities.

        Raises:
          ValueError: the model has no discriminator (a cascade), images of another size, or labels that it lacks.
        """
        specs, pixels = self.model.input_specs("score"), np.asarray(images)
        pixels = pixels[..., np.newaxis] if pixels.ndim == 3 else pixels
        size, _, channels = specs["image"].shape[1:]
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (size, size, channels) or not len(pixels):
            raise ValueError(
                f"{self.model.path} scores uint8 images of {size} x {size} pixels and {channels} channel(s), got "
                f"{pixels.dtype} of the shape {list(pixels.shape)}"
            )
        given = {"label": self._label_rows(labels, len(pixels))} if "label" in specs else {}
        return self._called("score", len(pixels), image=pixels, **given)

    def _label_rows(self, labels: Labels, count: int) -> np.ndarray:
        """float32 [count, labels and conditions]."""
        if isinstance(labels, np.ndarray) and labels.dtype.kind in "fiub":
            if labels.ndim != 2 or len(labels) != count:
                raise ValueError(f"labels need a row for each of {count} images, got the shape {list(labels.shape)}")
            return labels.astype(np.float32)
        names = (labels,) if isinstance(labels, str) else tuple(labels)
        if self.label_names:
            if not names:
                raise ValueError(f"{self.model.path} needs labels, one or more of {', '.join(self.label_names)}")
            description = self.model.description
            facts = description.is_single_label, 0, description.condition_names
            return counted_labels({"+".join(names): count}, self.label_names, *facts).part(0, count)
        if names:
            raise ValueError(f"{self.model.path} makes images without labels, got {', '.join(names)}")
        return no_labels(count).part(0, count)

    def _called(self, name: str, count: int, **inputs: np.ndarray | float) -> dict[str, np.ndarray]:
        """The outputs of a function, in batches; an input is an array of rows, or one number for all."""
        made = []
        for start in range(0, count, BATCH_SIZE):
            batch = slice(start, start + BATCH_SIZE)
            given = {key: value[batch] if isinstance(value, np.ndarray) else value for key, value in inputs.items()}
            made.append(self.model.call(name, **given))
        return {key: np.concatenate([outputs[key] for outputs in made]) for key in made[0]}

    def _facts(self, truncation: float) -> dict[str, Any]:
        description = self.model.description
        return {
            "synthetic": True,
            "saved_model": description.version_name,
            "model": description.model,
            "label_names": list(self.label_names),
            "truncation": truncation,
            "weights_sha256": description.weights_sha256,
            "training_data": description.data.get("name", "unknown"),
            "licence": description.data.get("licence", ""),
            "tfcxr_version": description.tfcxr_version,
        }


def load(saved_model: str | os.PathLike) -> Generator:
    """Loads an exported version, or the newest in the folder of its versions.

    Raises:
      FileNotFoundError: no exported model.
      ValueError: a damaged model, or one that enlarges images and generates none.
    """
    return Generator(load_generating_model(saved_model))
