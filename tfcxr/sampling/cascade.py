"""Where a cohort's images come from: a generator, a gate on what it draws, a super-resolution model after it.

    source = ImageSource(LoadedModel("saved_models/cgan"), RealismGate(0.9), LoadedModel("saved_models/srgan"))
    for image in source.images(plan, range(len(plan)), first_seed=0, truncation=1.0, batch_size=64):
        image.pixels  # uint8 [512, 512]

An exported cascade, which holds all three, draws the same images (see `tfcxr.serving.cascade`).
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfcxr.sampling.label_plan import LabelPlan
from tfcxr.sampling.realism_gate import Accepted, RealismSearch, nothing_passed
from tfcxr.serving.cascade_parts import LUMA, TRY_STRIDE, CascadeParts, RealismGate, cascade_name, check_critic
from tfcxr.serving.loaded_cascade import LoadedCascade
from tfcxr.serving.loaded_model import LoadedModel


class ImageSource:
    """Draws the images of a plan.

    Attributes:
      gate: that images pass, None where all are kept.
      description: of what draws; two models are described as one cascade.
      saved_model: "name/version", of both where there are two. grey: how images become grey.
    """

    def __init__(
        self, model: LoadedModel, gate: RealismGate | None = None, super_resolution: LoadedModel | None = None
    ) -> None:
        """Checks that the models can do what they are asked for.

        Raises:
          ValueError: a cascade that is given another gate or super-resolution model, models that do not fit each
            other, or a critic that cannot judge one image.
        """
        self._model, self._super_resolution = model, super_resolution
        self._parts, self.gate, self.description = None, gate, model.description
        self.saved_model = f"{model.description.name}/{model.description.version}"
        self.grey = "as generated" if model.description.channels == 1 else f"luma {LUMA} of red, green, blue"
        if model.description.kind == "cascade":
            if gate is not None or super_resolution is not None:
                raise ValueError(
                    f"{model.path} is a cascade: its gate and its super-resolution model are inside; leave "
                    "min_realism, max_tries and super_resolution out, or give the generator that it was made of"
                )
            self.gate = model.gate
        elif gate is not None:
            check_critic(model, gate)
        if super_resolution is not None:
            self._parts = CascadeParts(model, super_resolution)
            self.description = self._parts.describe(cascade_name(self._parts), model.description.version, {})
            enlarger = super_resolution.description
            self.saved_model += f" and {enlarger.name}/{enlarger.version}"

    def training_patients(self) -> str | None:
        """Salted keys of patients that any of the models was trained on, None where one does not tell."""
        return (self._parts or self._model).training_patients()

    def check_plan(self, plan: LabelPlan) -> None:
        """Whether the images have seeds enough for all their candidates.

        Raises:
          ValueError: more images than a gated cohort can have.
        """
        if self.gate is not None and len(plan) > TRY_STRIDE:
            raise ValueError(
                f"a cohort with a gate holds at most {TRY_STRIDE} images, got {len(plan)}; draw several with "
                "different --seed"
            )

    def arguments(self) -> dict[str, Any]:
        """What the bytes of shards depend on, beside the plan; not max_tries, which only decides when to give up."""
        gate = {} if self.gate is None else {"min_realism": self.gate.min_realism}
        return {"model": self.description.weights_sha256} | gate

    def images(
        self, plan: LabelPlan, images: range, first_seed: int, truncation: float, batch_size: int
    ) -> Iterator[Accepted]:
        """The images of a part of the plan, in order, grey: pixels uint8 [height, width].

        Without a gate an image takes one try, and its realism is NaN.

        Raises:
          ValueError: a label that the model refuses, or an image none of whose candidates passes.
        """
        if self.description.kind == "cascade" and self._parts is None:
            drawn = self._from_cascade(plan, images, first_seed, truncation, batch_size)
        elif self.gate is None:
            drawn = self._ungated(plan, images, first_seed, truncation, batch_size)
        else:
            drawn = RealismSearch(self._model, self.gate, plan, first_seed, truncation, batch_size).accepted(images)
        grey = (dataclasses.replace(image, pixels=to_grey(image.pixels)) for image in drawn)
        try:
            yield from grey if self._parts is None else self._enlarged(grey, batch_size)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(f"{self._model.path} refused a label of the plan: {error.message}") from error

    def _ungated(
        self, plan: LabelPlan, images: range, first_seed: int, truncation: float, batch_size: int
    ) -> Iterator[Accepted]:
        for start in range(images.start, images.stop, batch_size):
            stop = min(start + batch_size, images.stop)
            seeds = first_seed + np.arange(start, stop, dtype=np.int64)
            drawn = self._model.draw(seeds, plan.labels(start, stop), truncation)
            for pixels, seed in zip(drawn, seeds.tolist(), strict=True):
                yield Accepted(pixels, seed, 1, float("nan"))

    def _from_cascade(
        self, plan: LabelPlan, images: range, first_seed: int, truncation: float, batch_size: int
    ) -> Iterator[Accepted]:
        model: LoadedCascade = self._model
        for start in range(images.start, images.stop, batch_size):
            stop = min(start + batch_size, images.stop)
            labels = plan.labels(start, stop)
            drawn = model.search(first_seed + np.arange(start, stop, dtype=np.int64), labels, truncation)
            rows = zip(drawn["image"], drawn["seed"].tolist(), drawn["tries"].tolist(), strict=True)
            for row, (pixels, seed, tries) in enumerate(rows):
                realism = float(drawn["realism"][row])
                if not drawn["is_accepted"][row]:
                    raise nothing_passed(labels[row], self.description.label_names, model.gate, realism, model.path)
                yield Accepted(pixels, seed, tries, realism)

    def _enlarged(self, images: Iterator[Accepted], batch_size: int) -> Iterator[Accepted]:
        while batch := list(itertools.islice(images, batch_size)):
            large = self._super_resolution.enhance(np.stack([image.pixels for image in batch])[..., np.newaxis])
            size = self.description.image_size
            if large.shape != (len(batch), size, size, 1):
                raise ValueError(
                    f"{self._super_resolution.path} made images {large.shape} of {len(batch)}, expected {size} x "
                    f"{size} pixels as its model.json says; export it again"
                )
            for image, pixels in zip(batch, large, strict=True):
                yield dataclasses.replace(image, pixels=pixels[..., 0])


def to_grey(image: np.ndarray) -> np.ndarray:
    """uint8 [height, width] of uint8 [height, width, 1 or 3], three channels by luma."""
    if image.shape[-1] == 1:
        return image[..., 0]
    return np.rint(image.astype(np.float32) @ np.array(LUMA, np.float32)).clip(0, 255).astype(np.uint8)
