"""DenseNet checkpoints: TorchXRayVision's (whole pickled modules or state dictionaries) and torchvision's.

Widths, depths, channels and classes come from the shapes. Published torchvision files have dotted names
(`denselayer1.norm.1.weight`), which are read as `norm1`, so that both spellings give the same checksum.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.backbones.base import VALUE_RANGES
from tfcxr.backbones.densenet import DENSENET121_BLOCKS, DenseNet
from tfcxr.porting.inert_pickle import PickledObject
from tfcxr.porting.layer_targets import BATCH_COUNTERS, dense_targets, dimension, normalization_targets
from tfcxr.porting.ported import Ported
from tfcxr.porting.state_dicts import StateDict, state_dict
from tfcxr.porting.weight_transfer import Target, convolution_kernel, transfer

XRV_LABELS = (
    "Atelectasis",
    "Consolidation",
    "Infiltration",
    "Pneumothorax",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Effusion",
    "Pneumonia",
    "Pleural_Thickening",
    "Cardiomegaly",
    "Nodule",
    "Mass",
    "Hernia",
    "Lung Lesion",
    "Fracture",
    "Lung Opacity",
    "Enlarged Cardiomediastinum",
)
XRV_SIZE = 224  # pixels, to which TorchXRayVision resizes for its published weights
FIRST_KEY = "features.conv0.weight"
IGNORED = BATCH_COUNTERS | {"op_threshs": "operating points and no weights; kept as op_thresholds"}
_DENSE_LAYER = re.compile(r"features\.denseblock(\d+)\.denselayer(\d+)\.")
_DOTTED = re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.(\d)(?=\.)")


def port_xrv(checkpoint: Any, input_size: int = XRV_SIZE) -> Ported:
    """A DenseNet of TorchXRayVision (Cohen et al. 2022): grey images in [-1024, 1024].

    Args:
      checkpoint: what `read_pytorch_file` gave: a pickled module or a state dictionary.
      input_size: to which images are resized for pooled features and logits; 0 takes them as they are.

    Raises:
      ValueError: keys missing, without a place, of another shape, or values that are not finite.
    """
    state = _with_plain_classifier(state_dict(checkpoint, first_key=FIRST_KEY))
    classes = dimension(state, "classifier.weight", 0, len(XRV_LABELS))
    thresholds = np.asarray(state.get("op_threshs", _attribute(checkpoint, "op_threshs", np.ndarray, np.zeros([0]))))
    if thresholds.size and thresholds.shape != (classes,):
        raise ValueError(f"op_threshs must hold a number for each of {classes} classes, got shape {thresholds.shape}")
    points = tuple(float(value) for value in thresholds)
    ported = _port(state, "xrv", "TorchXRayVision DenseNet", 1, classes, input_size, points)
    ported.settings["labels"] = _labels(checkpoint, classes)
    ported.settings["op_thresholds"] = [None if math.isnan(value) else value for value in points]
    return ported


def port_torchvision(checkpoint: Any, input_size: int = 0) -> Ported:
    """A DenseNet of torchvision: ImageNet-normalised colours.

    Args:
      checkpoint: what `read_pytorch_file` gave. input_size: to which images are resized, 0 for as they are.

    Raises:
      ValueError: keys missing, without a place, of another shape, or values that are not finite.
    """
    state = _with_plain_classifier(state_dict(checkpoint, first_key=FIRST_KEY))
    classes = dimension(state, "classifier.weight", 0, 1000)
    return _port(state, "imagenet", "torchvision DenseNet", 3, classes, input_size)


def undotted(state: StateDict) -> StateDict:
    """The same arrays with `norm1` for `norm.1` and `conv2` for `conv.2` in dense layers.

    Raises:
      ValueError: a key in both spellings.
    """
    renamed = {_DOTTED.sub(r"\1\2", key): array for key, array in state.items()}
    if len(renamed) != len(state):
        raise ValueError("the checkpoint has the same dense layers with dotted (norm.1) and plain names (norm1)")
    return StateDict(renamed, state.notes)


def densenet_targets(model: DenseNet) -> dict[str, Target]:
    """PyTorch's key -> where it goes."""
    targets = {"features.conv0.weight": Target(model.conv0.kernel, convolution_kernel)}
    targets |= normalization_targets("features.norm0", model.conv0.norm)
    for block, layers in enumerate(model.blocks, start=1):
        for number, layer in enumerate(layers, start=1):
            key = f"features.denseblock{block}.denselayer{number}"
            targets |= normalization_targets(f"{key}.norm1", layer.norm1)
            targets[f"{key}.conv1.weight"] = Target(layer.conv1.kernel, convolution_kernel)
            targets |= normalization_targets(f"{key}.norm2", layer.conv1.norm)
            targets[f"{key}.conv2.weight"] = Target(layer.conv2.kernel, convolution_kernel)
    for block, transition in enumerate(model.transitions, start=1):
        key = f"features.transition{block}"
        targets |= normalization_targets(f"{key}.norm", transition.norm)
        targets[f"{key}.conv.weight"] = Target(transition.conv.kernel, convolution_kernel)
    targets |= normalization_targets("features.norm5", model.norm5)
    return targets | dense_targets("classifier", model.classifier)


def _with_plain_classifier(state: StateDict) -> StateDict:
    """`classifier.weight` for `classifier.0.weight`, where that is the only layer there with weights."""
    numbered = {key: match for key in state if (match := re.fullmatch(r"classifier\.(\d+)\.(weight|bias)", key))}
    numbers = {match[1] for match in numbered.values()}
    if len(numbers) != 1 or "classifier.weight" in state:
        return state
    renamed = {f"classifier.{numbered[key][2]}" if key in numbered else key: array for key, array in state.items()}
    note = (
        f"The classifier's layer {numbers.pop()}, its only one with weights, is the classifier; what followed it, such "
        "as a sigmoid, is not applied: logits come out."
    )
    return StateDict(renamed, (*state.notes, note))


def _port(
    state: StateDict,
    value_range: str,
    name: str,
    channels: int,
    classes: int,
    input_size: int,
    op_thresholds: Sequence[float] = (),
) -> Ported:
    state = undotted(state)
    first = "features.denseblock1.denselayer1"
    growth_rate = dimension(state, f"{first}.conv2.weight", 0, 32)
    architecture = {
        "growth_rate": growth_rate,
        "block_config": _block_config(state),
        "initial_filters": dimension(state, "features.conv0.weight", 0, 64),
        "bottleneck_size": max(1, dimension(state, f"{first}.conv1.weight", 0, 4 * growth_rate) // max(1, growth_rate)),
        "classes": classes,
        "channels": dimension(state, "features.conv0.weight", 1, channels),
    }
    model = DenseNet(**architecture, value_range=value_range, input_size=input_size, op_thresholds=op_thresholds)
    moved = transfer(state, densenet_targets(model), IGNORED, name)
    model.trainable = False
    settings = architecture | {"value_range": VALUE_RANGES[value_range].text, "input_size": input_size}
    return Ported(model, "backbone", {"densenet": moved}, settings)


def _labels(checkpoint: Any, classes: int) -> list[str]:
    """Names of the classes: of the pickled module where it has them, else those of TorchXRayVision where they fit."""
    for name in ("pathologies", "targets"):
        labels = _attribute(checkpoint, name, list, [])
        if len(labels) == classes and all(isinstance(label, str) for label in labels):
            return labels
    return list(XRV_LABELS) if classes == len(XRV_LABELS) else []


def _attribute(checkpoint: Any, name: str, kind: type, default: Any) -> Any:
    """An attribute of a pickled module, of this type; else `default`."""
    attributes = checkpoint.state if isinstance(checkpoint, PickledObject) else None
    value = attributes.get(name) if isinstance(attributes, Mapping) else None
    return value if isinstance(value, kind) else default


def _block_config(state: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """Dense layers of each block that the keys name; those of DenseNet-121 where there are none."""
    layers: dict[int, set[int]] = {}
    for key in state:
        if match := _DENSE_LAYER.match(key):
            layers.setdefault(int(match[1]), set()).add(int(match[2]))
    return tuple(len(layers[block]) for block in sorted(layers)) or DENSENET121_BLOCKS
