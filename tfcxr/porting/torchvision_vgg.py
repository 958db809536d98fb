"""torchvision's VGG-16: its convolutions; a full file's classifier has no place here."""

from typing import Any

from tfcxr.backbones.vgg import VGG16Features
from tfcxr.porting.format import Format
from tfcxr.porting.ported import Ported, ported_backbone
from tfcxr.porting.state_dicts import state_dict
from tfcxr.porting.weight_transfer import Target, layer_targets

IGNORED = {"classifier.*": "the dense layers of the classifier; only the convolutions serve as features"}


def port(checkpoint: Any, input_size: int = 0) -> Ported:
    """Makes VGG-16 without its classifier: ImageNet-normalised colours.

    Args:
      input_size: pixels to which images are resized; 0 takes them as they are.

    Raises:
      ValueError: keys that do not fit, see `transfer`.
    """
    model = VGG16Features(input_size)
    state = state_dict(checkpoint, first_key="features.0.weight")
    return ported_backbone(model, "vgg16", "torchvision VGG-16", state, vgg_targets(model), IGNORED)


def vgg_targets(model: VGG16Features) -> dict[str, Target]:
    """PyTorch's key -> where it goes."""
    targets = {}
    for number, layer in model.convolutions.items():
        targets |= layer_targets(layer, f"features.{number}")
    return targets


TORCHVISION_VGG16 = Format(port)
