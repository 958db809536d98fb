"""A generator, its discriminator as a gate and a super-resolution model -> one SavedModel that loads without tfcxr.

    seed, label -> candidates -> the first that the discriminator rates at min_realism -> enlarged

`seed` comes back as that of the candidate in the picture. Where none of `max_tries` candidates passes, `is_accepted`
is false and the picture is the best of them. Pictures, tries and seeds are those that `tfcxr.generate` makes with the
two models and the same `--min_realism` and `--max_tries` (Woloszyn et al. 2025 have a threshold of .9).
"""

import dataclasses
import os
import pathlib

import tensorflow as tf

from tfcxr.serving.cascade_parts import CascadeParts
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.realism_gate import GatedGenerator, RealismGate
from tfcxr.serving.served import Served
from tfcxr.serving.version_folder import free_version, write_version

LUMA = (0.2989, 0.5870, 0.1140)  # red, green, blue, as real colour files become grey


class ServedCascade(Served):
    """The cascade's functions."""

    kind = "cascade"

    def __init__(self, parts: CascadeParts, gate: RealismGate) -> None:
        """Raises ValueError for a discriminator that cannot score a single image."""
        self.label_names = list(parts.generator.description.label_names)
        self._gated = GatedGenerator(parts.generator, gate)
        self._parts = parts
        self._super_resolution = parts.super_resolution.saved_model  # tracked: its weights are exported
        super().__init__()

    def images(self, seed: tf.Tensor, label: tf.Tensor, truncation: tf.Tensor) -> dict[str, tf.Tensor]:
        """`image` uint8 [B,H,W,1] and `realism`, `is_accepted`, `tries`, `seed` of its candidate."""
        found = self._gated(seed, label, truncation)
        large = self._parts.super_resolution.outputs("super_resolve", image=_to_grey(found["image"]))["image"]
        large = tf.ensure_shape(large, [None, self._parts.image_size, self._parts.image_size, 1])
        return {"image": large} | {name: found[name] for name in ("realism", "tries", "seed", "is_accepted")}


def export_cascade(
    generator_path: str | os.PathLike,
    super_resolution_path: str | os.PathLike,
    out_dir: str | os.PathLike,
    gate: RealismGate | None = None,
    version: int | None = None,
) -> pathlib.Path:
    """Writes a generator, its gate and a super-resolution model as one SavedModel with its model card.

    Args:
      generator_path: an exported version, or the folder of its versions for the newest.
      super_resolution_path: likewise.
      out_dir: `saved_models/<name>`.
      gate: the default one where None.
      version: a number from 1; the next free one where None.

    Raises:
      FileNotFoundError: a path without an exported model.
      ValueError: models that do not fit each other, a discriminator that cannot score a single image, or a version
        that exists.
      OSError: no space or permission.
    """
    gate, out_dir = gate or RealismGate(), pathlib.Path(out_dir)
    version = free_version(out_dir, version)
    parts = CascadeParts(LoadedModel(generator_path), LoadedModel(super_resolution_path))
    served = ServedCascade(parts, gate)
    description = parts.describe(out_dir.resolve().name, version, dataclasses.asdict(gate))
    return write_version(out_dir, served, description, parts.training_patients())


def _to_grey(images: tf.Tensor) -> tf.Tensor:
    """uint8 [B,H,W,1] of uint8 [B,H,W,1|3], as cohorts become grey."""
    if images.shape[-1] == 1:
        return images
    grey = tf.tensordot(tf.cast(images, tf.float32), tf.constant(LUMA, tf.float32), 1)[..., tf.newaxis]
    return tf.saturate_cast(tf.round(grey), tf.uint8)
