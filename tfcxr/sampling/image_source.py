"""Where a cohort's images come from: a generator, then a gate and a super-resolution model where they are given.

    source = ImageSource(LoadedModel("saved_models/cgan"), Gate(0.9), LoadedModel("saved_models/srgan"))
    for image in source.images(labels, range(len(labels)), first_seed=0, truncation=1.0, batch_size=64):
        image.pixels  # uint8 [512, 512]

An exported cascade, which holds all three, makes the same images (see `tfcxr.serving.cascade`).
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfcxr.sampling.cohort_labels import CohortLabels
from tfcxr.serving.cascade import LUMA, CascadeParts
from tfcxr.serving.gate import TRY_STRIDE, Gate, GatedGenerator
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.min_realism import realism_text

GATED_BATCHES = 4  # searched at once: the last rows of a search, which wait for the slowest, then cost less


@dataclasses.dataclass(frozen=True)
class SourceImage:
    """An image of a cohort.

    Attributes:
      pixels: uint8 [height, width].
      seed: that it was generated from.
      tries: candidates that were generated for it.
      realism: the discriminator's score, NaN where it is not asked.
      copies_refused: of the tries.
      copy_ratio: see `tfcxr.serving.copy_check`, NaN without a check.
    """

    pixels: np.ndarray
    seed: int
    tries: int
    realism: float
    copies_refused: int = 0
    copy_ratio: float = float("nan")


class ImageSource:
    """Makes the images of a cohort.

    Attributes:
      gate: settings of the gate that images pass (`Gate.settings`), None where all are kept.
      description: of what makes the images; two models are described as one cascade.
      saved_model: "name/version", of both where there are two.
      grey: how images become grey.
    """

    def __init__(
        self, model: LoadedModel, gate: Gate | None = None, super_resolution: LoadedModel | None = None
    ) -> None:
        """Checks that the models can do what they are asked for.

        Raises:
          ValueError: a cascade that is given another gate or super-resolution model, models that do not fit each
            other, or a discriminator that cannot score a single image.
        """
        self._model, self._super_resolution = model, super_resolution
        self._parts, self.gate, self.description = None, gate and gate.settings, model.description
        self.saved_model = model.description.version_name
        self.grey = "as generated" if model.description.channels == 1 else f"luma {LUMA} of red, green, blue"
        self._is_cascade = model.description.kind == "cascade"
        if self._is_cascade:
            if gate is not None or super_resolution is not None:
                raise ValueError(
                    f"{model.path} is a cascade: its gate and its super-resolution model are inside; leave "
                    "min_realism, max_copy_ratio, max_tries and super_resolution out, or give the generator that it "
                    "was made of"
                )
            settings, names = model.description.settings, ("min_realism", "max_tries", "copies", "calibration")
            self.gate = {name: settings[name] for name in names if name in settings}
        elif gate is not None:
            specs = [tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, None]), tf.TensorSpec([])]
            self._search = tf.function(GatedGenerator(model, gate), input_signature=specs, autograph=False)
        if super_resolution is not None:
            self._parts = CascadeParts(model, super_resolution)
            self.description = self._parts.describe(self._parts.name, model.description.version, {})
            self.saved_model += f" and {super_resolution.description.version_name}"

    def training_patients(self) -> str | None:
        """Salted keys of patients that any of the models was trained on, None where one does not tell."""
        return (self._parts or self._model).training_patients()

    def check_count(self, images: int) -> None:
        """Raises ValueError for more images than a gated cohort has seeds for."""
        if self.gate is not None and images > TRY_STRIDE:
            raise ValueError(
                f"a cohort with a gate holds at most {TRY_STRIDE} images, got {images}; generate several with "
                "different --seed"
            )

    def arguments(self) -> dict[str, Any]:
        """What the bytes of shards depend on, beside the labels; not max_tries, which only decides when to give up."""
        gate = self.gate or {}
        facts = {name: gate[name] for name in ("min_realism",) if name in gate}
        if "copies" in gate:
            facts |= {"max_copy_ratio": gate["copies"]["max_copy_ratio"], "copies_of": gate["copies"]["fingerprint"]}
        return {"model": self.description.weights_sha256} | facts

    def batches(self, images: range, batch_size: int) -> list[range]:
        """The images that are generated at once, of a part of the cohort; each is a part of its own for `images`."""
        rows = batch_size * (1 if self.gate is None or self._is_cascade else GATED_BATCHES)
        return [range(start, min(start + rows, images.stop)) for start in range(images.start, images.stop, rows)]

    def images(
        self, labels: CohortLabels, images: range, first_seed: int, truncation: float, batch_size: int
    ) -> Iterator[SourceImage]:
        """The images of a part of the cohort, in order. Without a gate an image takes one try.

        Raises:
          ValueError: a label that the model refuses, an image none of whose candidates passes, or a discriminator that
            scores one NaN.
        """
        batches = self.batches(images, batch_size)
        made = itertools.chain.from_iterable(self._made(labels, batch, first_seed, truncation) for batch in batches)
        try:
            yield from made if self._parts is None else self._enlarged(made, batch_size)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(f"{self._model.path} refused a label of the plan: {error.message}") from error

    def _made(self, labels: CohortLabels, images: range, first_seed: int, truncation: float) -> Iterator[SourceImage]:
        seeds = first_seed + np.arange(images.start, images.stop, dtype=np.int64)
        label = labels.part(images.start, images.stop)
        if self._is_cascade:
            made = self._model.call("generate", seed=seeds, label=label, truncation=truncation)
        elif self.gate is not None:
            made = {name: output.numpy() for name, output in self._search(seeds, label, truncation).items()}
            if made["is_nan"].any():
                raise ValueError(
                    f"the discriminator of {self._model.path} scored an image NaN: the model left its numeric range; "
                    "export another checkpoint"
                )
        else:
            made = {"image": self._model.generate(seeds, label, truncation), "seed": seeds}
        made = {name: np.full(len(seeds), value) for name, value in _UNGATED.items()} | made
        for row, pixels in enumerate(made["image"]):
            image = SourceImage(
                to_grey(pixels),
                int(made["seed"][row]),
                int(made["tries"][row]),
                float(made["realism"][row]),
                int(made["copies_refused"][row]),
                float(made["copy_ratio"][row]),
            )
            if not made["is_accepted"][row]:
                raise ValueError(self._nothing_passed(label[row], image))
            yield image

    def _enlarged(self, images: Iterator[SourceImage], batch_size: int) -> Iterator[SourceImage]:
        while batch := list(itertools.islice(images, batch_size)):
            large = self._super_resolution.super_resolve(np.stack([image.pixels for image in batch])[..., np.newaxis])
            size = self.description.image_size
            if large.shape != (len(batch), size, size, 1):
                raise ValueError(
                    f"{self._super_resolution.path} made images {large.shape} of {len(batch)}, expected {size} x "
                    f"{size} pixels as its model.json says; export it again"
                )
            for image, pixels in zip(batch, large, strict=True):
                yield dataclasses.replace(image, pixels=pixels[..., 0])

    def _nothing_passed(self, label: np.ndarray, best: SourceImage) -> str:
        """The message for an image none of whose candidates passes; `best` is the most real of them."""
        gate, dashes = self.gate, "" if self._is_cascade else "--"
        names = [name for name, value in zip(self.description.label_names, label, strict=False) if value == 1]
        limits, found, flags, cure = [], [], [], "train the model longer"
        if "min_realism" in gate:
            limits.append(f"reached realism {realism_text(gate['min_realism'], names)}")
            found.append(f"the best had {best.realism:.3g}")
            flags.append(f"a lower {dashes}min_realism")
        if "copies" in gate:
            limits.append(f"kept to a copy ratio of {gate['copies']['max_copy_ratio']:g}")
            found.append(f"{best.copies_refused} were too near a training image")
            flags.append(f"a higher {dashes}max_copy_ratio")
            cure = "train the model on more images"
        advice = (
            f"export {self._model.path} again with {', '.join(flags)} or a higher max_tries and choose another "
            "--out_dir"
            if self._is_cascade
            else f"the same command with a higher --max_tries resumes from them, or choose {' or '.join(flags)} and "
            "another --out_dir"
        )
        return (
            f"no image of {' + '.join(names) or 'no label'} {' and '.join(limits)} in {gate['max_tries']} tries, "
            f"{', '.join(found)}; finished shards are kept: {advice}, or {cure}"
        )


_UNGATED = {
    "realism": float("nan"),
    "tries": 1,
    "is_accepted": True,
    "copies_refused": 0,
    "copy_ratio": float("nan"),
}


def to_grey(image: np.ndarray) -> np.ndarray:
    """uint8 [height, width] of uint8 [height, width, 1 or 3], three channels by luma."""
    if image.shape[-1] == 1:
        return image[..., 0]
    return np.rint(image.astype(np.float32) @ np.array(LUMA, np.float32)).clip(0, 255).astype(np.uint8)
