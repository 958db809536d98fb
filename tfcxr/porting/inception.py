"""Inception-v3 checkpoints: torchvision's, and pytorch-fid's `pt_inception-2015-12-05-6726825d.pth`."""

import functools
from typing import Any

from tfcxr.backbones.inception import PUBLISHED_SIZE, InceptionV3
from tfcxr.porting.format import Format
from tfcxr.porting.ported import Ported, ported_backbone
from tfcxr.porting.reference_outputs import backbone_output
from tfcxr.porting.state_dicts import state_dict
from tfcxr.porting.weight_transfer import (
    BATCH_COUNTERS,
    Target,
    dense_kernel,
    dimension,
    layer_targets,
    normalization_targets,
)

IGNORED = BATCH_COUNTERS | {"AuxLogits.*": "the second classifier, which only helps training"}


def port_torchvision(checkpoint: Any, transform_input: bool = True, input_size: int = PUBLISHED_SIZE) -> Ported:
    """Makes torchvision's Inception v3: ImageNet-normalised colours.

    Args:
      transform_input: as torchvision has it for its published weights.
      input_size: pixels to which images are resized for pooled features and logits; 0 takes them as they are.

    Raises:
      ValueError: keys that do not fit, see `transfer`.
    """
    return _port(checkpoint, "torchvision", "torchvision Inception v3", 1000, transform_input, input_size)


def port_pytorch_fid(checkpoint: Any, input_size: int = PUBLISHED_SIZE) -> Ported:
    """Makes pytorch-fid's Inception v3: colours in [0, 1].

    Raises:
      ValueError: keys that do not fit, see `transfer`.
    """
    return _port(checkpoint, "pytorch_fid", "pytorch-fid Inception v3", 1008, False, input_size)


def inception_targets(model: InceptionV3) -> dict[str, Target]:
    """PyTorch's key -> where it goes."""
    targets = {}
    for name, layer in model.convolutions.items():
        targets |= layer_targets(layer, f"{name}.conv") | normalization_targets(f"{name}.bn", layer.norm)
    return targets | layer_targets(model.fc, "fc", dense_kernel)


def _port(
    checkpoint: Any, variant: str, name: str, default_classes: int, transform_input: bool, input_size: int
) -> Ported:
    state = state_dict(checkpoint, first_key="Conv2d_1a_3x3.conv.weight")
    classes = dimension(state, "fc.weight", 0, default_classes)
    model = InceptionV3(variant, classes, transform_input, input_size)
    settings = {"variant": variant, "classes": classes, "transform_input": transform_input}
    return ported_backbone(model, "inception", name, state, inception_targets(model), IGNORED, settings)


TORCHVISION_INCEPTION_V3 = Format(port_torchvision)
PYTORCH_FID_INCEPTION_V3 = Format(port_pytorch_fid, functools.partial(backbone_output, resizes=True))
