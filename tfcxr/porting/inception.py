"""Inception-v3 checkpoints: torchvision's, and pytorch-fid's `pt_inception-2015-12-05-6726825d.pth`."""

from typing import Any

from tfcxr.backbones.base import VALUE_RANGES
from tfcxr.backbones.inception import PUBLISHED_SIZE, InceptionV3
from tfcxr.porting.layer_targets import BATCH_COUNTERS, dense_targets, dimension, normalization_targets
from tfcxr.porting.ported import Ported
from tfcxr.porting.pytorch_file import state_dict
from tfcxr.porting.weight_transfer import Target, convolution_kernel, transfer

IGNORED = BATCH_COUNTERS | {"AuxLogits.*": "the second classifier, which only helps training"}


def port_torchvision(checkpoint: Any, transform_input: bool = True, input_size: int = PUBLISHED_SIZE) -> Ported:
    """torchvision's: ImageNet-normalised colours.

    Args:
      checkpoint: what `read_pytorch_file` gave. transform_input: as torchvision has it for its published weights.
      input_size: to which images are resized for pooled features and logits; 0 takes them as they are.

    Raises:
      ValueError: keys missing, without a place, of another shape, or values that are not finite.
    """
    return _port(checkpoint, "torchvision", "torchvision Inception v3", 1000, transform_input, input_size)


def port_pytorch_fid(checkpoint: Any, input_size: int = PUBLISHED_SIZE) -> Ported:
    """pytorch-fid's: colours in [0, 1].

    Args:
      checkpoint: what `read_pytorch_file` gave.
      input_size: to which images are resized for pooled features and logits; 0 takes them as they are.

    Raises:
      ValueError: keys missing, without a place, of another shape, or values that are not finite.
    """
    return _port(checkpoint, "pytorch_fid", "pytorch-fid Inception v3", 1008, False, input_size)


def inception_targets(model: InceptionV3) -> dict[str, Target]:
    """PyTorch's key -> where it goes."""
    targets = {}
    for name, layer in model.convolutions.items():
        targets[f"{name}.conv.weight"] = Target(layer.kernel, convolution_kernel)
        targets |= normalization_targets(f"{name}.bn", layer.norm)
    return targets | dense_targets("fc", model.fc)


def _port(
    checkpoint: Any, variant: str, name: str, default_classes: int, transform_input: bool, input_size: int
) -> Ported:
    state = state_dict(checkpoint, first_key="Conv2d_1a_3x3.conv.weight")
    classes = dimension(state, "fc.weight", 0, default_classes)
    model = InceptionV3(variant, classes, transform_input, input_size)
    moved = transfer(state, inception_targets(model), IGNORED, name)
    model.trainable = False
    settings = {"variant": variant, "classes": classes, "transform_input": transform_input, "input_size": input_size}
    settings["value_range"] = VALUE_RANGES[model.value_range].text
    return Ported(model, "backbone", {"inception": moved}, settings)
