"""DenseNet checkpoints: TorchXRayVision's (whole pickled modules or state dictionaries) and torchvision's.

Widths, depths, channels and classes come from the shapes. Published torchvision files have dotted names
(`denselayer1.norm.1.weight`), which are read as `norm1`, so that both spellings give the same checksum.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.backbones.densenet import DENSENET121_BLOCKS, DenseNet
from tfcxr.porting.format import Format
from tfcxr.porting.inert_pickle import PickledObject
from tfcxr.porting.ported import Ported, ported_backbone
from tfcxr.porting.state_dicts import StateDict, state_dict
from tfcxr.porting.weight_transfer import (
    BATCH_COUNTERS,
    Target,
    dense_kernel,
    dimension,
    layer_targets,
    normalization_targets,
)

XRV_LABELS = (
    *("Atelectasis", "Consolidation", "Infiltration", "Pneumothorax", "Edema", "Emphysema", "Fibrosis"),
    *("Effusion", "Pneumonia", "Pleural_Thickening", "Cardiomegaly", "Nodule", "Mass"),
    *("Hernia", "Lung Lesion", "Fracture", "Lung Opacity", "Enlarged Cardiomediastinum"),
)
XRV_SIZE = 224  # pixels, to which TorchXRayVision resizes for its published weights
FIRST_KEY = "features.conv0.weight"
IGNORED = BATCH_COUNTERS | {"op_threshs": "operating points and no weights; kept as op_thresholds"}
_DENSE_LAYER = re.compile(r"features\.denseblock(\d+)\.denselayer(\d+)\.")
_DOTTED = re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.(\d)(?=\.)")


def port_xrv(checkpoint: Any, input_size: int = XRV_SIZE) -> Ported:
    """Makes a DenseNet of TorchXRayVision (Cohen et al. 2022): grey images in [-1024, 1024].

    Args:
      checkpoint: a pickled module or a state dictionary.
      input_size: pixels to which images are resized for pooled features and logits; 0 takes them as they are.

    Raises:
      ValueError: keys that do not fit, see `transfer`, or op_threshs of another count than the classes.
    """
    state = _plain_state(checkpoint)
    classes = dimension(state, "classifier.weight", 0, len(XRV_LABELS))
    thresholds = np.asarray(state.get("op_threshs", _attribute(checkpoint, "op_threshs", np.ndarray, np.zeros([0]))))
    if thresholds.size and thresholds.shape != (classes,):
        raise ValueError(f"op_threshs must hold a number for each of {classes} classes, got shape {thresholds.shape}")
    points = tuple(float(value) for value in thresholds)
    ported = _port(state, "TorchXRayVision DenseNet", 1, classes, "xrv", input_size, points)
    ported.settings["labels"] = _labels(checkpoint, classes)
    ported.settings["op_thresholds"] = [None if math.isnan(value) else value for value in points]
    return ported


def port_torchvision(checkpoint: Any, input_size: int = 0) -> Ported:
    """Makes a DenseNet of torchvision: ImageNet-normalised colours.

    Args:
      input_size: pixels to which images are resized; 0 takes them as they are.

    Raises:
      ValueError: keys that do not fit, see `transfer`.
    """
    state = _plain_state(checkpoint)
    classes = dimension(state, "classifier.weight", 0, 1000)
    return _port(state, "torchvision DenseNet", 3, classes, "imagenet", input_size)


def densenet_targets(model: DenseNet) -> dict[str, Target]:
    """PyTorch's key -> where it goes."""
    targets = layer_targets(model.conv0, "features.conv0") | normalization_targets("features.norm0", model.conv0.norm)
    for block, layers in enumerate(model.blocks, start=1):
        for number, layer in enumerate(layers, start=1):
            key = f"features.denseblock{block}.denselayer{number}"
            for part, convolution, norm in ((1, layer.conv1, layer.norm1), (2, layer.conv2, layer.conv1.norm)):
                targets |= normalization_targets(f"{key}.norm{part}", norm)
                targets |= layer_targets(convolution, f"{key}.conv{part}")
    for block, transition in enumerate(model.transitions, start=1):
        key = f"features.transition{block}"
        targets |= normalization_targets(f"{key}.norm", transition.norm)
        targets |= layer_targets(transition.conv, f"{key}.conv")
    targets |= normalization_targets("features.norm5", model.norm5)
    return targets | layer_targets(model.classifier, "classifier", dense_kernel)


def _plain_state(checkpoint: Any) -> StateDict:
    """Keys as today's torchvision writes them: `norm1` for `norm.1`, and `classifier.weight` for `classifier.0.weight`
    where that is the classifier's only layer with weights.

    Raises:
      ValueError: a key in both spellings.
    """
    found = state_dict(checkpoint, first_key=FIRST_KEY)
    state = {_DOTTED.sub(r"\1\2", key): array for key, array in found.items()}
    if len(state) != len(found):
        raise ValueError("the checkpoint has the same dense layers with dotted (norm.1) and plain names (norm1)")
    numbered = {key: match for key in state if (match := re.fullmatch(r"classifier\.(\d+)\.(weight|bias)", key))}
    numbers = {match[1] for match in numbered.values()}
    if len(numbers) != 1 or "classifier.weight" in state:
        return StateDict(state, found.notes)
    renamed = {f"classifier.{numbered[key][2]}" if key in numbered else key: array for key, array in state.items()}
    note = (
        f"The classifier's layer {numbers.pop()}, its only one with weights, is the classifier; what followed it, such "
        "as a sigmoid, is not applied: logits come out."
    )
    return StateDict(renamed, (*found.notes, note))


def _port(
    state: StateDict, name: str, channels: int, classes: int, value_range: str, input_size: int, points: Sequence = ()
) -> Ported:
    first = "features.denseblock1.denselayer1"
    growth_rate = dimension(state, f"{first}.conv2.weight", 0, 32)
    architecture = {
        "growth_rate": growth_rate,
        "block_config": _block_config(state),
        "initial_filters": dimension(state, FIRST_KEY, 0, 64),
        "bottleneck_size": max(1, dimension(state, f"{first}.conv1.weight", 0, 4 * growth_rate) // max(1, growth_rate)),
        "classes": classes,
        "channels": dimension(state, FIRST_KEY, 1, channels),
    }
    model = DenseNet(**architecture, value_range=value_range, input_size=input_size, op_thresholds=points)
    return ported_backbone(model, "densenet", name, state, densenet_targets(model), IGNORED, architecture)


def _labels(checkpoint: Any, classes: int) -> list[str]:
    """Names of the classes: the pickled module's own, else TorchXRayVision's where there are as many."""
    for name in ("pathologies", "targets"):
        labels = _attribute(checkpoint, name, list, [])
        if len(labels) == classes and all(isinstance(label, str) for label in labels):
            return labels
    return list(XRV_LABELS) if classes == len(XRV_LABELS) else []


def _attribute(checkpoint: Any, name: str, kind: type, default: Any) -> Any:
    """An attribute of a pickled module; `default` where it is missing or of another type."""
    attributes = checkpoint.state if isinstance(checkpoint, PickledObject) else None
    value = attributes.get(name) if isinstance(attributes, Mapping) else None
    return value if isinstance(value, kind) else default


def _block_config(state: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """How many dense layers the keys name in each block; DenseNet-121's numbers where they name none."""
    layers: dict[int, set[int]] = {}
    for key in state:
        if match := _DENSE_LAYER.match(key):
            layers.setdefault(int(match[1]), set()).add(int(match[2]))
    return tuple(len(layers[block]) for block in sorted(layers)) or DENSENET121_BLOCKS


XRV_DENSENET121 = Format(port_xrv)
TORCHVISION_DENSENET121 = Format(port_torchvision)
