"""EfficientNet-Lite checkpoints of the package efficientnet_lite_pytorch; widths and depths come from the shapes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfcxr.backbones.efficientnet_lite import LITE0_FILTERS, LITE0_REPEATS, EfficientNetLite, NormalizedKernel
from tfcxr.porting.format import Format
from tfcxr.porting.ported import Ported, ported_backbone
from tfcxr.porting.state_dicts import state_dict
from tfcxr.porting.weight_transfer import (
    BATCH_COUNTERS,
    Target,
    convolution_kernel,
    dense_kernel,
    dimension,
    layer_targets,
    normalization_targets,
)

FIRST_KEY = "_conv_stem.weight"


def port(checkpoint: Any, input_size: int = 0) -> Ported:
    """Makes an EfficientNet-Lite: colours in [-1, 1] (trained on (x - 127) / 128 of 8-bit values, within .004 of it).

    Args:
      input_size: pixels to which images are resized for pooled features and logits; 0 takes them as they are.

    Raises:
      ValueError: keys that do not fit, see `transfer`.
    """
    state = state_dict(checkpoint, first_key=FIRST_KEY)
    filters, repeats = _widths_and_depths(state)
    settings = {"filters": filters, "repeats": repeats, "classes": dimension(state, "_fc.weight", 0, 1000)}
    model = EfficientNetLite(**settings, input_size=input_size)
    targets = efficientnet_lite_targets(model)
    return ported_backbone(model, "efficientnet_lite", "EfficientNet-Lite", state, targets, BATCH_COUNTERS, settings)


def efficientnet_lite_targets(model: EfficientNetLite) -> dict[str, Target]:
    """PyTorch's key -> where it goes."""
    targets = _targets(model.stem, "_conv_stem", "_bn0")
    for number, block in enumerate(model.blocks):
        key = f"_blocks.{number}."
        if block.expand is not None:
            targets |= _targets(block.expand, f"{key}_expand_conv", f"{key}_bn0")
        targets |= _targets(block.depthwise, f"{key}_depthwise_conv", f"{key}_bn1")
        targets |= _targets(block.project, f"{key}_project_conv", f"{key}_bn2")
    targets |= _targets(model.head, "_conv_head", "_bn1")
    return targets | layer_targets(model.classifier, "_fc", dense_kernel)


def _targets(layer: NormalizedKernel, convolution: str, norm: str) -> dict[str, Target]:
    kernel = _depthwise_kernel if layer.is_depthwise else convolution_kernel
    return layer_targets(layer, convolution, kernel) | normalization_targets(norm, layer.norm)


def _depthwise_kernel(array: np.ndarray) -> np.ndarray:
    """(channels, 1, height, width) -> (height, width, channels, 1)."""
    return array.transpose(2, 3, 0, 1)


def _widths_and_depths(state: Mapping[str, np.ndarray]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Filters and repeats of `EfficientNetLite`; a stage ends where the width changes.

    A checkpoint without these keys, or of other stages, gets Lite0's, and `transfer` names what does not fit.
    """
    widths: list[int] = []
    while f"_blocks.{len(widths)}._project_conv.weight" in state:
        widths.append(dimension(state, f"_blocks.{len(widths)}._project_conv.weight", 0, 0))
    stages = list(dict.fromkeys(widths))
    if len(stages) != len(LITE0_REPEATS):
        return LITE0_FILTERS, LITE0_REPEATS
    first, last = dimension(state, FIRST_KEY, 0, LITE0_FILTERS[0]), dimension(state, "_conv_head.weight", 0, 1280)
    return (first, *stages, last), tuple(widths.count(width) for width in stages)


EFFICIENTNET_LITE = Format(port)
