"""Two exported models that fit each other, a generator and a super-resolution model, and the gate between them."""

import dataclasses
import hashlib
from typing import Any

from absl import logging

import tfcxr
from tfcxr.config import make_config
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.model_card import ModelDescription
from tfcxr.training.run_folder import model_class

LUMA = (0.2989, 0.5870, 0.1140)  # red, green, blue, as real colour files become grey
TRY_STRIDE = 2**22  # between the seeds of an image's candidates; images of a gated cohort, at most
MAX_TRIES = 2**10  # times TRY_STRIDE are the seeds that a cohort has


@dataclasses.dataclass(frozen=True)
class RealismGate:
    """Which candidates of an image are kept: the first that the critic rates at `min_realism` (woloszyn2025: .9).

    The candidates of an image whose own seed is s have the seeds s, s + 2**22, s + 2 * 2**22 and so on. A cohort draws
    its images from seed * 2**32 + i, so no two images of any gated cohorts share a candidate.

    Attributes:
      min_realism: in [0, 1]. max_tries: candidates of an image, at most 1,024.
    """

    min_realism: float = 0.9
    max_tries: int = 100

    def __post_init__(self) -> None:
        if not 0 <= self.min_realism <= 1:
            raise ValueError(f"min_realism must be in [0, 1], got {self.min_realism}")
        if not 1 <= self.max_tries <= MAX_TRIES:
            raise ValueError(f"max_tries must be from 1 to {MAX_TRIES}, got {self.max_tries}")


class CascadeParts:
    """A generator and a super-resolution model that enlarges what it draws.

    Attributes:
      generator, super_resolution: the two. image_size: pixels of the enlarged image.
    """

    def __init__(self, generator: LoadedModel, super_resolution: LoadedModel) -> None:
        """Checks that they fit.

        Raises:
          ValueError: either is a model of another kind, or the second enlarges no grey images.
        """
        small, large = generator.description, super_resolution.description
        if small.kind != "generator":
            raise ValueError(f"{generator.path} is a {small.kind}, expected the export of a generator")
        if large.kind != "super_resolution":
            raise ValueError(f"{super_resolution.path} is a {large.kind}, expected an exported super-resolution model")
        if large.channels != 1:
            raise ValueError(
                f"{super_resolution.path} enlarges images of {large.channels} channels, expected grey; "
                "train it with channels=1"
            )
        self.generator, self.super_resolution = generator, super_resolution
        self.image_size = small.image_size * large.scale

    def describe(self, name: str, version: int, settings: dict[str, Any]) -> ModelDescription:
        """The description of both as one model; `settings` are those of the cascade itself."""
        small, large = self.generator.description, self.super_resolution.description
        return dataclasses.replace(
            small,
            model="cascade",
            name=name,
            version=version,
            image_size=self.image_size,
            channels=1,
            settings=settings | {"generator": _facts(small), "super_resolution": _facts(large)},
            data=self._data(),
            weights_sha256=hashlib.sha256((small.weights_sha256 + large.weights_sha256).encode()).hexdigest(),
            tfcxr_version=tfcxr.__version__,
            kind="cascade",
            scale=large.scale,
        )

    def training_patients(self) -> str | None:
        """Salted keys of the patients that either model was trained on, a line each; None where one does not tell."""
        texts = [model.training_patients() for model in (self.generator, self.super_resolution)]
        if self._missing_patients():
            return None
        return "".join(f"{key}\n" for key in sorted({key for text in texts for key in text.split()}))

    def _missing_patients(self) -> str:
        """Why the patients cannot be told, "" where they can."""
        models = (self.generator, self.super_resolution)
        if silent := [_version_name(model.description) for model in models if model.training_patients() is None]:
            return (
                f"{' and '.join(silent)} without {'a record' if len(silent) == 1 else 'records'} of training patients"
            )
        salts = {model.description.data.get("salt_fingerprint", "") for model in models}
        return "the two models were trained on data of different salts" if len(salts) > 1 else ""

    def _data(self) -> dict[str, str]:
        sides = (self.generator.description.data, self.super_resolution.description.data)
        joined = {
            name: (" " if name == "notice" else " + ").join(
                dict.fromkeys(str(side[name]) for side in sides if side.get(name))
            )
            for name in dict.fromkeys([*sides[0], *sides[1]])
        }
        missing = self._missing_patients()
        return joined | ({"patient_keys_missing": missing} if missing else {})


def check_critic(model: LoadedModel, gate: RealismGate) -> None:
    """Whether the gate can ask a model's critic of one image.

    Raises:
      ValueError: the model has no critic, or one that compares the images of a request with each other.
    """
    try:
        _ = model.discriminator_reads_label
    except KeyError as error:
        raise ValueError(
            f"{model.path} has no critic (no signature 'score'), so a gate cannot tell which images look real; "
            "draw without min_realism, or export a model that has one"
        ) from error
    config_class = model_class(model.description.model).config_class
    config = make_config(config_class, config_class.current_settings(model.description.settings))
    if config.compares_images:
        raise ValueError(
            f"the critic of {model.path} compares the images of a request with each other (minibatch_stddev), so "
            "no image has a score of its own; draw without min_realism, or train a model without minibatch_stddev"
        )
    if not config.realism_is_probability:
        logging.warning(
            "the loss of %s (%s) does not train probabilities: its realism ranks images, so min_realism %g means "
            "nothing outside this model",
            model.path,
            model.description.model,
            gate.min_realism,
        )


def cascade_name(parts: CascadeParts) -> str:
    """Of a pair that was not exported as one model."""
    return f"{parts.generator.description.name}_{parts.super_resolution.description.name}"


def _facts(description: ModelDescription) -> dict[str, Any]:
    return {
        "saved_model": _version_name(description),
        "model": description.model,
        "weights_sha256": description.weights_sha256,
        "steps": description.steps,
        "scale": description.scale,
        "image_size": description.image_size,
        "settings": description.settings,
        "training_data": description.data,
    }


def _version_name(description: ModelDescription) -> str:
    return f"{description.name}/{description.version}"
