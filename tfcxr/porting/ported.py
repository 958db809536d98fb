"""What every format of `tfcxr.porting` gives back."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np

from tfcxr.backbones.base import VALUE_RANGES, Backbone
from tfcxr.porting.weight_transfer import Target, WeightTransfer, transfer


@dataclasses.dataclass(frozen=True)
class Ported:
    """A model with the weights of a checkpoint.

    Attributes:
      model: of kind "gan" a model of `tfcxr.models`, of kind "backbone" a network of `tfcxr.backbones`, of kind
        "discriminator" the discriminator of a PGGAN alone, which has no generator to export.
      kind: decides what is written.
      transfers: network name -> which keys it got.
      settings: what the port chose or read, plain JSON.
      notes: what a user of the model should know, a sentence each.
    """

    model: keras.Model
    kind: Literal["gan", "backbone", "discriminator"]
    transfers: dict[str, WeightTransfer]
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


def ported_backbone(
    model: Backbone,
    key: str,
    name: str,
    state: Mapping[str, np.ndarray],
    targets: Mapping[str, Target],
    ignored: Mapping[str, str],
    settings: dict[str, Any] | None = None,
) -> Ported:
    """A frozen feature network with the arrays of `state`; reports call it `key`, messages `name`.

    Raises:
      ValueError: keys that do not fit, see `transfer`.
    """
    moved = transfer(state, targets, ignored, name)
    model.trainable = False
    text = VALUE_RANGES[model.value_range].text
    settings = (settings or {}) | {"value_range": text, "input_size": model.input_size}
    return Ported(model, "backbone", {key: moved}, settings)
