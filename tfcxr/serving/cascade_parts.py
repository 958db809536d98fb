"""Two exported models that fit each other: a generator, and a super-resolution model that enlarges its images."""

import dataclasses
import hashlib
from typing import Any

import tfcxr
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.model_card import ModelDescription


class CascadeParts:
    """A generator and a super-resolution model for its images; `image_size` is that of the enlarged ones."""

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

    @property
    def name(self) -> str:
        """Of a pair that was not exported as one model."""
        return f"{self.generator.description.name}_{self.super_resolution.description.name}"

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
        """Salted keys of the patients that either model was trained on, one per line; None where they are not known."""
        if self._missing_patients():
            return None
        texts = [model.training_patients() for model in (self.generator, self.super_resolution)]
        return "".join(f"{key}\n" for key in sorted({key for text in texts for key in text.split()}))

    def _missing_patients(self) -> str:
        """Why the patients are not known, "" where they are."""
        models = (self.generator, self.super_resolution)
        if silent := [model.description.version_name for model in models if model.training_patients() is None]:
            records = "a record" if len(silent) == 1 else "records"
            return f"{' and '.join(silent)} without {records} of training patients"
        salts = {model.description.data.get("salt_fingerprint", "") for model in models}
        return "the two models were trained on data of different salts" if len(salts) > 1 else ""

    def _data(self) -> dict[str, str]:
        """The training data of both."""
        sides = (self.generator.description.data, self.super_resolution.description.data)
        joined = {
            name: (" " if name == "notice" else " + ").join(
                dict.fromkeys(str(side[name]) for side in sides if side.get(name))
            )
            for name in dict.fromkeys([*sides[0], *sides[1]])
        }
        missing = self._missing_patients()
        return joined | ({"patient_keys_missing": missing} if missing else {})


def _facts(description: ModelDescription) -> dict[str, Any]:
    facts = dataclasses.asdict(description)
    kept = {name: facts[name] for name in ("model", "weights_sha256", "steps", "scale", "image_size", "settings")}
    return {"saved_model": description.version_name, **kept, "training_data": description.data}
