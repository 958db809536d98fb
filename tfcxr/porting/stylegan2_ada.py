"""State dicts of StyleGAN2-ADA (NVlabs/stylegan2-ada-pytorch): {"G_ema", "D"} and, if it is there, "G".

NVIDIA's own .pkl files hold programs, which are never run here; where they can be loaded, save their state dicts:

    torch.save({name: networks[name].state_dict() for name in ("G", "G_ema", "D")}, "state.pt")
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfcxr.config import make_config, to_plain
from tfcxr.models.stylegan2 import StyleGAN2, StyleGAN2Config
from tfcxr.models.stylegan2_networks import Discriminator, Generator
from tfcxr.porting.pggan_weights import map_kernel
from tfcxr.porting.ported import Ported
from tfcxr.porting.pytorch_file import state_dict
from tfcxr.porting.weight_transfer import Target, WeightTransfer, dense_kernel, layer_targets, transfer

FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64.0
IGNORED = {"*resample_filter": "the fixed filter [1, 3, 3, 1], compared with ours"}
LONE_DEVIATION = 1e-4  # what the original computes for an image alone


def port(checkpoint: Any, deviation_group_size: int = 4, is_single_label: bool = True) -> Ported:
    """A StyleGAN2 with the checkpoint's weights; sizes, channels and the mapping's depth are read off the shapes.

    Args:
      deviation_group_size: images whose minibatch deviation is measured together. is_single_label: of the labels that
        a conditional network is told, exactly one is 1.

    Raises:
      ValueError: not such a checkpoint, keys that do not fit (all are listed), or widths of another rule than ours.
    """
    if not isinstance(checkpoint, Mapping) or not {"G_ema", "D"} <= checkpoint.keys():
        keys = list(checkpoint) if isinstance(checkpoint, Mapping) else type(checkpoint).__name__
        raise ValueError(f"expected a dictionary of the state dicts G_ema, D and mostly G, got {keys!s:.200}")
    states = {name: state_dict(checkpoint[name], name) for name in ("G_ema", "D", "G") if name in checkpoint}
    for name, state in states.items():
        _check_filters(state, name)
    found = _settings(states["G_ema"])
    options = {"deviation_group_size": deviation_group_size, "is_single_label": is_single_label}
    config = make_config(StyleGAN2Config, found, options)
    model = StyleGAN2(config)
    transfers = {"ema_generator": fill_generator(model.ema_generator, states["G_ema"], "G_ema")}
    notes = ["The networks compute in float32 and do not clamp features, as the original does at 16 bits only."]
    if "G" in states:
        transfers["generator"] = fill_generator(model.generator, states["G"], "G")
    else:
        for variable, value in zip(model.generator.variables, model.ema_generator.variables, strict=True):
            variable.assign(value)
        notes.append("The checkpoint lacks G, so training would go on from the averaged generator.")
    transfers["discriminator"] = fill_discriminator(model.discriminator, states["D"], "D")
    model.discriminator.typical_deviation.assign(LONE_DEVIATION)
    return Ported(model, "gan", transfers, to_plain(config), tuple(notes))


def fill_generator(network: Generator, state: Mapping[str, np.ndarray], name: str) -> WeightTransfer:
    """Moves a state dict into a generator.

    Raises:
      ValueError: keys that do not fit.
    """
    targets = {"mapping.w_avg": Target(network.mapping.average)} | _mapping_targets(network.mapping)
    for block in network.synthesis.blocks:
        prefix = f"synthesis.{block.name}"
        if block.conv0 is None:
            targets[f"{prefix}.const"] = Target(block.const, lambda array: array.transpose(1, 2, 0))
        else:
            targets |= _style_targets(block.conv0, f"{prefix}.conv0")
        targets |= _style_targets(block.conv1, f"{prefix}.conv1") | _style_targets(block.torgb, f"{prefix}.torgb")
    return transfer(state, targets, IGNORED, name)


def fill_discriminator(network: Discriminator, state: Mapping[str, np.ndarray], name: str) -> WeightTransfer:
    """Moves a state dict into a discriminator.

    Raises:
      ValueError: keys that do not fit.
    """
    targets = layer_targets(network.fromrgb, f"{network.blocks[0].name}.fromrgb")
    for block in network.blocks:
        for layer in (block.conv0, block.conv1, block.skip):
            targets |= layer_targets(layer, f"{block.name}.{layer.name}")
    targets |= layer_targets(network.conv, "b4.conv") | layer_targets(network.fc, "b4.fc", map_kernel)
    targets |= layer_targets(network.out, "b4.out", dense_kernel)
    if network.mapping is not None:
        targets |= _mapping_targets(network.mapping)
    return transfer(state, targets, IGNORED, name)


def _mapping_targets(mapping: Any) -> dict[str, Target]:
    layers = ([] if mapping.embed is None else [mapping.embed]) + mapping.dense
    targets = {}
    for layer in layers:
        targets |= layer_targets(layer, f"mapping.{layer.name}", dense_kernel)
    return targets


def _style_targets(layer: Any, name: str) -> dict[str, Target]:
    targets = layer_targets(layer, name) | layer_targets(layer.affine, f"{name}.affine", dense_kernel)
    if hasattr(layer, "noise_strength"):
        targets |= {
            f"{name}.noise_strength": Target(layer.noise_strength),
            f"{name}.noise_const": Target(layer.noise),
        }
    return targets


def _settings(state: dict[str, np.ndarray]) -> dict[str, Any]:
    """What the shapes of a generator say."""
    widths = {
        int(match[1]): array.shape[0]
        for key, array in state.items()
        if (match := re.fullmatch(r"synthesis\.b(\d{1,4})\.conv1\.weight", key)) and array.ndim == 4
    }
    dense = [key for key in state if re.fullmatch(r"mapping\.fc\d+\.weight", key)]
    needed = ("mapping.w_avg", "mapping.fc0.weight", "synthesis.b4.torgb.weight")
    if missing := [key for key in needed if key not in state] + ([] if widths else ["synthesis.b4.conv1.weight"]):
        raise ValueError(f"G_ema is no state dict of StyleGAN2-ADA's generator, it lacks {', '.join(missing)}")
    size, style_size = max(widths), state["mapping.w_avg"].size
    labels = state["mapping.embed.weight"].shape[-1] if "mapping.embed.weight" in state else 0
    largest = max(widths.values())
    found = {
        "image_size": size,
        "channels": state["synthesis.b4.torgb.weight"].shape[0],
        "label_count": labels,
        "conditional": bool(labels),
        "latent_size": state["mapping.fc0.weight"].shape[-1] - (style_size if labels else 0),
        "style_size": style_size,
        "mapping_layers": len(dense),
        "channel_base": widths[size] * size,
        "channel_max": largest,
    }
    if make_config(StyleGAN2Config, found).filters != dict(sorted(widths.items())):
        raise ValueError(f"expected channels of channel_base / size, at most channel_max, got {widths} by size")
    return found


def _check_filters(state: dict[str, np.ndarray], name: str) -> None:
    for key, array in state.items():
        if key.endswith("resample_filter") and (array.shape != FILTER.shape or not np.allclose(array, FILTER)):
            raise ValueError(f"{name}.{key} is not the filter [1, 3, 3, 1], the only one that StyleGAN2 here has")
