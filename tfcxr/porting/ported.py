"""What every format of `tfcxr.porting` gives back."""

import dataclasses
from typing import Any, Literal

import keras

from tfcxr.porting.weight_transfer import WeightTransfer


@dataclasses.dataclass(frozen=True)
class Ported:
    """A model with the weights of a checkpoint.

    Attributes:
      model: of kind "gan" a model of `tfcxr.models`, of kind "backbone" a network of `tfcxr.backbones`, of kind
        "discriminator" the discriminator of a PGGAN alone, which has no generator to export.
      transfers: network name -> which keys it got.
      settings: what the port chose or read, plain JSON. notes: what a user of the model should know, a sentence each.
    """

    model: keras.Model
    kind: Literal["gan", "backbone", "discriminator"]
    transfers: dict[str, WeightTransfer]
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
