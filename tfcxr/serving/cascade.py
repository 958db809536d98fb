"""A generator, a gate and, where given, a super-resolution model -> one SavedModel that loads without tfcxr.

    seed, label -> candidates -> the first that passes the gate -> enlarged

`seed` comes back as that of the candidate in the picture. Where none of `max_tries` candidates passes, `is_accepted`
is false and the picture is the most real of them, black where all are copies of training images. Pictures, tries and
seeds are those that `tfcxr.generate` makes with the models and the same flags of the gate (Woloszyn et al. 2025 have a
threshold of .9).
"""

import dataclasses
import hashlib
import os
import pathlib
from typing import Any

import tensorflow as tf

import tfcxr
from tfcxr.serving.gate import Gate, GatedGenerator
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.model_card import ModelDescription
from tfcxr.serving.saved_model import free_version, write_version
from tfcxr.serving.served import Served

LUMA = (0.2989, 0.5870, 0.1140)  # red, green, blue, as real colour files become grey


class CascadeParts:
    """A generator and perhaps a super-resolution model for its images; `image_size` is that of the images it makes."""

    def __init__(self, generator: LoadedModel, super_resolution: LoadedModel | None) -> None:
        """Checks that they fit.

        Raises:
          ValueError: either is a model of another kind, or the second enlarges no grey images.
        """
        small = generator.description
        self.generator, self.super_resolution = generator, super_resolution
        self.image_size = small.image_size
        if small.kind != "generator":
            raise ValueError(f"{generator.path} is a {small.kind}, expected the export of a generator")
        if super_resolution is None:
            return
        large = super_resolution.description
        if large.kind != "super_resolution":
            raise ValueError(f"{super_resolution.path} is a {large.kind}, expected an exported super-resolution model")
        if large.channels != 1:
            raise ValueError(
                f"{super_resolution.path} enlarges images of {large.channels} channels, expected grey; "
                "train it with channels=1"
            )
        self.image_size *= large.scale

    @property
    def models(self) -> list[LoadedModel]:
        """One or both."""
        return [self.generator, *([self.super_resolution] if self.super_resolution else [])]

    @property
    def name(self) -> str:
        """Of a pair that was not exported as one model."""
        return "_".join(model.description.name for model in self.models)

    def describe(self, name: str, version: int, settings: dict[str, Any]) -> ModelDescription:
        """The description of both as one model; `settings` are those of the cascade itself."""
        small = self.generator.description
        gated = dataclasses.replace(
            small,
            name=name,
            version=version,
            settings=settings | {"generator": _facts(small)},
            tfcxr_version=tfcxr.__version__,
            kind="cascade",
            golden=(),
        )
        if self.super_resolution is None:
            return gated
        large = self.super_resolution.description
        return dataclasses.replace(
            gated,
            model="cascade",
            image_size=self.image_size,
            channels=1,
            settings=gated.settings | {"super_resolution": _facts(large)},
            data=self._data(),
            weights_sha256=hashlib.sha256((small.weights_sha256 + large.weights_sha256).encode()).hexdigest(),
            scale=large.scale,
        )

    def training_patients(self) -> str | None:
        """Salted keys of the patients that either model was trained on, one per line; None where they are not known."""
        if self._missing_patients():
            return None
        texts = [model.training_patients() or "" for model in self.models]
        return "".join(f"{key}\n" for key in sorted({key for text in texts for key in text.split()}))

    def _missing_patients(self) -> str:
        """Why the patients are not known, "" where they are."""
        if silent := [model.description.version_name for model in self.models if model.training_patients() is None]:
            records = "a record" if len(silent) == 1 else "records"
            return f"{' and '.join(silent)} without {records} of training patients"
        salts = {model.description.data.get("salt_fingerprint", "") for model in self.models}
        return "the two models were trained on data of different salts" if len(salts) > 1 else ""

    def _data(self) -> dict[str, str]:
        """The training data of both."""
        sides = [model.description.data for model in self.models]
        joined = {
            name: (" " if name == "notice" else " + ").join(
                dict.fromkeys(str(side[name]) for side in sides if side.get(name))
            )
            for name in dict.fromkeys(name for side in sides for name in side)
        }
        missing = self._missing_patients()
        return joined | ({"patient_keys_missing": missing} if missing else {})


class ServedCascade(Served):
    """The cascade's functions."""

    kind = "cascade"

    def __init__(self, parts: CascadeParts, gate: Gate) -> None:
        """Raises ValueError for a discriminator that cannot score a single image."""
        self.label_names = list(parts.generator.description.label_names)
        self.condition_names = parts.generator.description.condition_names
        self._gated = GatedGenerator(parts.generator, gate)
        self._parts = parts
        if parts.super_resolution:
            self._super_resolution = parts.super_resolution.saved_model  # tracked: its weights are exported
        super().__init__()

    @property
    def truncation_shape(self) -> tf.TensorShape:
        """Of the generator's own input: exports once took one number for all images alone."""
        return self._parts.generator.input_specs("generate")["truncation"].shape

    def images(self, seed: tf.Tensor, label: tf.Tensor, truncation: tf.Tensor) -> dict[str, tf.Tensor]:
        """`image` uint8 [B,H,W,1], and of its candidate `tries`, `seed`, `is_accepted` and what the gate goes by."""
        found = self._gated(seed, label, truncation)
        gate = self._gated.gate
        names = [] if gate.min_realism is None else ["realism"]
        names += ["tries", "seed", "is_accepted"]
        names += [] if gate.copies is None else ["copy_ratio", "copies_refused"]
        facts = {name: found[name] for name in names}
        if not self._parts.super_resolution:
            return {"image": found["image"]} | facts
        large = self._parts.super_resolution.outputs("super_resolve", image=_to_grey(found["image"]))["image"]
        large = tf.ensure_shape(large, [None, self._parts.image_size, self._parts.image_size, 1])
        return {"image": large} | facts


def export_cascade(
    generator_path: str | os.PathLike,
    super_resolution_path: str | os.PathLike | None,
    out_dir: str | os.PathLike,
    gate: Gate | None = None,
    version: int | None = None,
) -> pathlib.Path:
    """Writes a generator, its gate and perhaps a super-resolution model as one SavedModel with its model card.

    Args:
      generator_path: an exported version, or the folder of its versions for the newest.
      super_resolution_path: likewise; None leaves the images as small as they are.
      out_dir: `saved_models/<name>`.
      gate: the default one where None.
      version: a number from 1; the next free one where None.

    Raises:
      FileNotFoundError: a path without an exported model.
      ValueError: models that do not fit each other, a discriminator that cannot score a single image, or a version
        that exists.
      OSError: no space or permission.
    """
    gate, out_dir = gate or Gate(), pathlib.Path(out_dir)
    version = free_version(out_dir, version)
    super_resolution = LoadedModel(super_resolution_path) if super_resolution_path is not None else None
    parts = CascadeParts(LoadedModel(generator_path), super_resolution)
    served = ServedCascade(parts, gate)
    description = parts.describe(out_dir.resolve().name, version, gate.settings)
    return write_version(out_dir, served, description, parts.training_patients())


def _to_grey(images: tf.Tensor) -> tf.Tensor:
    """uint8 [B,H,W,1] of uint8 [B,H,W,1|3], as cohorts become grey."""
    if images.shape[-1] == 1:
        return images
    grey = tf.tensordot(tf.cast(images, tf.float32), tf.constant(LUMA, tf.float32), 1)[..., tf.newaxis]
    return tf.saturate_cast(tf.round(grey), tf.uint8)


def _facts(description: ModelDescription) -> dict[str, Any]:
    facts = dataclasses.asdict(description)
    kept = {name: facts[name] for name in ("model", "weights_sha256", "steps", "scale", "image_size", "settings")}
    return {"saved_model": description.version_name, **kept, "training_data": description.data}
