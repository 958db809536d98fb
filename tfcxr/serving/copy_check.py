"""How near an image is to its generator's training images, in TensorFlow operations, without pictures of patients.

    check = open_copy_check("records/64", generator.description, max_copy_ratio=2.0)
    check.copy_ratio(images)   # float32 [images], above 2 where an image counts as a copy
    check.save("acgan.npz")    # CopyCheck.load needs no records

An image becomes 32 numbers: its grey values averaged to 16 x 16 places, less their mean and scaled to length 1, so that
brightness and contrast do not count, times a fixed random matrix, which nearly keeps distances (Johnson, Lindenstrauss
1984). Its distance is that to the nearest training image, of the image or of its mirror image, whichever is nearer.
The copy ratio is the median distance of held-out patients' images over it: 1 is typical, 1000 an exact copy.

Measured on children's chests of 64 px (2,559 training images) at the ratio that 1 % of held-out images exceed, 1.7:
planted copies that are exact, mirrored, 10 % brighter, noisy (5 grey levels) or JPEG files of quality 60 are all found,
and none of those that are cropped to 90 %.
"""

import hashlib
import json
import os
import pathlib
import types
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tfcxr.data.atomic import atomic_path
from tfcxr.data.records import read_dataset_info
from tfcxr.data.sizes import find_size
from tfcxr.data.stored_images import StoredImages, open_images, read_batches
from tfcxr.serving.model_card import ModelDescription
from tfcxr.training.run_folder import describe_data

PLACES = 16  # to each side
NUMBERS = 32  # per image: enough to find copies, few enough to show no more than a blurred chest
MAX_RATIO = 1000.0  # of an exact copy, whose distance is 0
BATCH = 256
Images = np.ndarray | StoredImages
PROJECTION = (np.random.default_rng(0).standard_normal([PLACES**2, NUMBERS]) / np.sqrt(NUMBERS)).astype(np.float32)
FORMAT = f"tfcxr training features {hashlib.sha256(PROJECTION.tobytes()).hexdigest()[:16]}"
DAMAGED = (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error)
WRITE_IT = (
    "write it with python -m tfcxr.export --training_features=FILE.npz --saved_model=MODEL --copies_of=RECORDS "
    "--max_copy_ratio=2"
)


class CopyCheck(tf.Module):
    """The training images' numbers, and what counts as a copy of one.

    Attributes:
      max_copy_ratio: an image above it is a copy.
    """

    def __init__(self, numbers: np.ndarray, typical_distance: float, facts: Mapping[str, Any]) -> None:
        """See `measured` and `load`.

        Args:
          numbers: float32 [training images, 32].
          typical_distance: median of held-out images to their nearest training image.
          facts: of the check, plain JSON; `max_copy_ratio` is among them.
        """
        super().__init__()
        self._training = tf.Variable(numbers, trainable=False, name="training_images")
        self.max_copy_ratio, self._typical = facts["max_copy_ratio"], typical_distance
        self._facts = types.MappingProxyType(dict(facts))  # a dictionary would become a part of the SavedModel

    @classmethod
    def measured(
        cls, max_copy_ratio: float, training: Images, held_out: Images, facts: Mapping[str, Any] | None = None
    ) -> "CopyCheck":
        """Measures how near held-out images usually are.

        Args:
          max_copy_ratio: 1 or more.
          training: uint8 [images, size, size, 1].
          held_out: likewise, of other patients.
          facts: more of them, plain JSON.

        Raises:
          ValueError: a ratio below 1, or held-out images that are themselves copies of training images.
        """
        if not max_copy_ratio >= 1:
            raise ValueError(f"max_copy_ratio must be 1 or more, got {max_copy_ratio}; 1 is a typical held-out image")
        numbers = np.concatenate([numbers_of(tf.constant(batch)) for batch in read_batches(training, BATCH)])
        known = tf.constant(numbers)
        distances = np.concatenate([_distance(tf.constant(batch), known) for batch in read_batches(held_out, BATCH)])
        typical = float(np.median(distances))
        if not typical > 0:
            raise ValueError("half of the held-out images are copies of training images; build the splits anew")
        measured = {
            **(facts or {}),
            "max_copy_ratio": max_copy_ratio,
            "training_images": len(training),
            "held_out_images": len(held_out),
            "held_out_ratio_99": float(_ratio(np.quantile(distances, 0.01), typical)),
        }
        return cls(numbers, typical, measured)

    @classmethod
    def load(cls, path: str | os.PathLike, description: ModelDescription) -> "CopyCheck":
        """Reads what `save` wrote.

        Args:
          path: the .npz file.
          description: of the model whose images will be checked.

        Raises:
          FileNotFoundError: no such file.
          ValueError: another program's file, a damaged one, or one of other data than the model was trained on.
        """
        path = pathlib.Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist; {WRITE_IT}")
        try:
            with np.load(path, allow_pickle=False) as stored:
                numbers, text = stored["numbers"], str(stored["description"])
            written = json.loads(text)
            facts, typical = written["facts"], float(written["typical_distance"])
            fits = numbers.shape == (facts["training_images"], NUMBERS) and numbers.dtype == np.float32
            is_whole = written["format"] == FORMAT and fits and np.isfinite(numbers).all() and typical > 0
            found, is_whole = facts["fingerprint"], is_whole and facts["max_copy_ratio"] >= 1
        except DAMAGED as error:
            raise ValueError(f"{path} holds no training features, or is damaged ({error}); {WRITE_IT}") from error
        if not is_whole:
            raise ValueError(f"{path} holds training features of another version, or is damaged; {WRITE_IT}")
        expected = _generator_data(description).get("fingerprint", found)
        if found != expected:
            raise ValueError(
                f"{path} is of other images than {description.version_name} was trained on: expected the fingerprint "
                f"{expected[:12]}, got {found[:12]} of {facts.get('data', 'unnamed data')}; {WRITE_IT}"
            )
        return cls(numbers, typical, facts)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles it: a process that generates with it need not read the records again."""
        return type(self), (self._training.numpy(), self._typical, self.facts)

    def save(self, path: str | os.PathLike) -> None:
        """Writes a .npz file without pickle: 32 numbers of each training image, no picture, and the facts as JSON.

        Raises:
          OSError: no space or permission.
        """
        written = {"format": FORMAT, "typical_distance": self._typical, "facts": self.facts}
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, numbers=self._training.numpy(), description=np.array(json.dumps(written)))

    @property
    def facts(self) -> dict[str, Any]:
        """Of the check, plain JSON."""
        return dict(self._facts)

    def copy_ratio(self, image: tf.Tensor) -> tf.Tensor:
        """Float32 [N] of uint8 images [N,H,W,C]."""
        return _ratio(_distance(image, self._training), self._typical)


def numbers_of(image: tf.Tensor) -> tf.Tensor:
    """What stands for images in the check: float32 [N,32] of uint8 [N,H,W,C]; it does not depend on their size."""
    grey = tf.reduce_mean(tf.cast(image, tf.float32), axis=-1)
    rows, columns = (tf.constant(_area_weights(side)) for side in image.shape[1:3])
    places = tf.reshape(tf.matmul(tf.matmul(rows, grey), columns, transpose_b=True), [-1, PLACES**2])
    places -= tf.reduce_mean(places, axis=1, keepdims=True)
    places /= tf.maximum(tf.norm(places, axis=1, keepdims=True), 1.0)  # an even image stays 0
    return tf.matmul(places, tf.constant(PROJECTION))


def open_copy_check(copies_of: str | os.PathLike, description: ModelDescription, max_copy_ratio: float) -> CopyCheck:
    """The check of a generator against the records that it was trained on.

    Args:
      copies_of: their data folder, or the folder of its builds; its other splits are the held-out patients.
      description: of the generator; it names the training split and its fingerprint.

    Raises:
      FileNotFoundError: no data folder.
      ValueError: synthetic images, other data than the generator was trained on, or no other split.
    """
    data_dir = find_size(copies_of, description.image_size)
    info, data = read_dataset_info(data_dir), description.data
    split = data.get("split", "train")
    if info.is_synthetic:
        raise ValueError(f"--copies_of={data_dir} holds synthetic images ({info.name}), expected training images")
    found = describe_data(info, split)["fingerprint"]
    if data.get("fingerprint", found) != found:
        raise ValueError(
            f"--copies_of={data_dir} holds other images than {description.version_name} was trained on: expected the "
            f"split {split} of {data.get('name', 'its data')} with fingerprint {data['fingerprint'][:12]}, got "
            f"{info.name} with {found[:12]}"
        )
    training_splits = [name.strip() for name in split.split(",")]
    others = [name for name, part in info.splits.items() if name not in training_splits and part.images]
    if not others:
        raise ValueError(
            f"--copies_of={data_dir} has no split beside {split}; a copy ratio needs images of held-out patients, "
            "build the records with another split, such as --splits=train=.8,test=.2"
        )
    training, held_out = (open_images(data_dir, splits) for splits in (training_splits, others))
    facts = {"data": info.name, "split": split, "fingerprint": found, "held_out_splits": sorted(others)}
    check = CopyCheck.measured(max_copy_ratio, training, held_out, facts)
    logging.info("1 %% of held-out images have a copy ratio above %.3g", check.facts["held_out_ratio_99"])
    return check


def _ratio(distance: Any, typical: float) -> tf.Tensor:
    return typical / tf.maximum(distance, typical / MAX_RATIO)


def _distance(image: tf.Tensor, training: Any) -> tf.Tensor:
    """Float32 [N]: to the nearest of `training` float32 [images, 32], of the image or of its mirror image."""
    sides = numbers_of(image), numbers_of(tf.reverse(image, [2]))
    return tf.minimum(*(_distance_of_numbers(side, training) for side in sides))


def _distance_of_numbers(numbers: tf.Tensor, training: Any) -> tf.Tensor:
    products = tf.matmul(numbers, training, transpose_b=True)
    nearest = tf.argmax(products - tf.reduce_sum(tf.square(training), axis=1) / 2, axis=1)
    return tf.norm(numbers - tf.gather(training, nearest), axis=1)


def _generator_data(description: ModelDescription) -> dict[str, str]:
    """What the generator was trained on; a cascade's own data are those of both its models."""
    is_cascade = description.kind == "cascade"
    return description.settings["generator"]["training_data"] if is_cascade else description.data


def _area_weights(pixels: int) -> np.ndarray:
    """Float32 [PLACES, pixels]: the share of each pixel in the mean of each place."""
    edges, pixel = np.linspace(0, pixels, PLACES + 1), np.arange(pixels)
    covered = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return (np.maximum(covered, 0) * PLACES / pixels).astype(np.float32)
