"""torchvision's VGG-16: its convolutions; a full file's classifier has no place here."""

from typing import Any

from tfcxr.backbones.base import VALUE_RANGES
from tfcxr.backbones.vgg import VGG16Features
from tfcxr.porting.ported import Ported
from tfcxr.porting.pytorch_file import state_dict
from tfcxr.porting.weight_transfer import Target, convolution_kernel, transfer

IGNORED = {"classifier.*": "the dense layers of the classifier; only the convolutions serve as features"}


def port(checkpoint: Any, input_size: int = 0) -> Ported:
    """VGG-16's convolutions: ImageNet-normalised colours.

    Args:
      checkpoint: what `read_pytorch_file` gave. input_size: to which images are resized, 0 for as they are.

    Raises:
      ValueError: keys missing, without a place, of another shape, or values that are not finite.
    """
    model = VGG16Features(input_size)
    state = state_dict(checkpoint, first_key="features.0.weight")
    moved = transfer(state, vgg_targets(model), IGNORED, "torchvision VGG-16")
    model.trainable = False
    settings = {"value_range": VALUE_RANGES["imagenet"].text, "input_size": input_size}
    return Ported(model, "backbone", {"vgg16": moved}, settings)


def vgg_targets(model: VGG16Features) -> dict[str, Target]:
    """PyTorch's key -> where it goes."""
    targets = {}
    for number, layer in model.convolutions.items():
        targets[f"features.{number}.weight"] = Target(layer.kernel, convolution_kernel)
        targets[f"features.{number}.bias"] = Target(layer.bias)
    return targets
