"""State dicts of StyleGAN2-ADA (NVlabs/stylegan2-ada-pytorch): {"G_ema", "D"} and, if it is there, "G".

NVIDIA's own .pkl files are read too: their tensors, not the programs beside them. One that is refused must be loaded
where its program is trusted, to save its state dicts:

    torch.save({name: networks[name].state_dict() for name in ("G", "G_ema", "D")}, "state.pt")

Keys and shapes tell sizes, widths, the number of labels and the depth of both mapping networks. They do not tell:

- The magnitude at which features are cut off (`conv_clamp`) and the group size of the minibatch stddev: options here.
- That blocks were trained in 16 bits (`num_fp16_res`): they compute in float32 here, like the original's
  `force_fp32=True`, which differs from 16 bits by rounding (1e-3 of the largest value of 64-px images).
- Activation (leaky ReLU) and the mapping networks' learning-rate factor (.01): the original's training program always
  sets these. A network that its `legacy.py` converted from TensorFlow may have others; it then computes other numbers.

A generator of another architecture than "skip", or a discriminator of another than "resnet", is refused.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfcxr.config import make_config, to_plain
from tfcxr.models.stylegan2 import Discriminator, Generator, MappingNetwork, StyleGAN2, StyleGAN2Config
from tfcxr.porting.format import Format
from tfcxr.porting.pggan_weights import map_kernel
from tfcxr.porting.ported import Ported
from tfcxr.porting.reference_outputs import stylegan_output
from tfcxr.porting.state_dicts import state_dict
from tfcxr.porting.weight_transfer import Target, WeightTransfer, dense_kernel, dimension, layer_targets, transfer

NETWORKS = ("G_ema", "D", "G")
FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64.0
IGNORED = {"*resample_filter": "the fixed filter [1, 3, 3, 1], compared with ours"}
LONE_DEVIATION = 1e-4  # what the original computes for an image alone
TRAINING_CLAMP = 256.0  # of the original's training program, but with --fp32=true


def port(
    checkpoint: Any,
    deviation_group_size: int = 4,
    is_single_label: bool = True,
    convolution_clamp: float = TRAINING_CLAMP,
) -> Ported:
    """Makes a StyleGAN2 with the checkpoint's weights; the module's first lines say what is read and what is not.

    Args:
      deviation_group_size: images whose minibatch stddev is computed together: 4 by the original's `auto`, 8 by
        `paper256` and `paper512`.
      is_single_label: exactly one label of an image is 1. Where several may be, the original reads 0 and 1 and ours -1
        and 1; the weights that read labels are changed to compute the same.
      convolution_clamp: the original's `conv_clamp`; 0 for none, as with its --fp32=true.

    Raises:
      ValueError: not such a checkpoint, keys that do not fit (all are listed), or another architecture than ours.
    """
    if not isinstance(checkpoint, Mapping) or not {"G_ema", "D"} <= checkpoint.keys():
        keys = list(checkpoint) if isinstance(checkpoint, Mapping) else type(checkpoint).__name__
        raise ValueError(f"expected a dictionary of the state dicts G_ema, D and mostly G, got {keys!s:.200}")
    states = {name: state_dict(checkpoint[name], name) for name in NETWORKS if name in checkpoint}
    for name, state in states.items():
        _check_filters(state, name)
    found = _generator_settings(states["G_ema"])
    found |= _discriminator_settings(states["D"], found["label_count"])
    options = {
        "deviation_group_size": deviation_group_size,
        "is_single_label": is_single_label,
        "convolution_clamp": convolution_clamp,
    }
    config = make_config(StyleGAN2Config, found, options)
    model = StyleGAN2(config)
    transfers = {"ema_generator": fill_generator(model.ema_generator, states["G_ema"], "G_ema")}
    limit = f"are cut off at {convolution_clamp:g}" if convolution_clamp else "have no bound"
    notes = [
        f"The networks compute in float32, and the outputs of convolutions {limit}: the original's conv_clamp, which "
        f"no key says, is {TRAINING_CLAMP:g} unless it trained with --fp32=true (give convolution_clamp=0 for none)."
    ]
    if "G" in states:
        transfers["generator"] = fill_generator(model.generator, states["G"], "G")
    else:
        for variable, value in zip(model.generator.variables, model.ema_generator.variables, strict=True):
            variable.assign(value)
        notes.append("The checkpoint lacks G, so training would go on from the averaged generator.")
    transfers["discriminator"] = fill_discriminator(model.discriminator, states["D"], "D")
    model.discriminator.typical_deviation.assign(LONE_DEVIATION)
    if config.label_count and not is_single_label:
        for network in (model.ema_generator, model.generator, model.discriminator):
            _tell_signed_labels(network.mapping)
        notes.append("Labels are 0 and 1 as in the original; one that is unknown counts as halfway between.")
    if others := sorted(str(name) for name in checkpoint.keys() - states.keys()):
        notes.append(f"Not read, since they are none of its networks: {', '.join(others)}.")
    return Ported(model, "gan", transfers, to_plain(config), tuple(notes))


def fill_generator(network: Generator, state: Mapping[str, np.ndarray], name: str) -> WeightTransfer:
    """Assigns a state dict to a generator, see `transfer`."""
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
    """Assigns a state dict to a discriminator, see `transfer`."""
    targets = layer_targets(network.fromrgb, f"{network.blocks[0].name}.fromrgb")
    for block in network.blocks:
        for layer in (block.conv0, block.conv1, block.skip):
            targets |= layer_targets(layer, f"{block.name}.{layer.name}")
    targets |= layer_targets(network.conv, "b4.conv") | layer_targets(network.fc, "b4.fc", map_kernel)
    targets |= layer_targets(network.out, "b4.out", dense_kernel)
    if network.mapping is not None:
        targets |= _mapping_targets(network.mapping)
    return transfer(state, targets, IGNORED, name)


def _mapping_targets(mapping: MappingNetwork) -> dict[str, Target]:
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


def _tell_signed_labels(mapping: MappingNetwork) -> None:
    """Changes the embedding so that labels in {-1, 1} give what the same labels in {0, 1} gave."""
    embed = mapping.embed
    halved = 0.5 * embed.kernel.numpy()
    embed.kernel.assign(halved)
    embed.bias.assign(embed.bias.numpy() + embed.kernel_factor * halved.sum(axis=0))


# settings, from keys and shapes


def _generator_settings(state: dict[str, np.ndarray]) -> dict[str, Any]:
    widths = {
        int(match[1]): array.shape[0]
        for key, array in state.items()
        if (match := re.fullmatch(r"synthesis\.b(\d{1,4})\.conv1\.weight", key)) and array.ndim == 4
    }
    image_layer = f"synthesis.b{max(widths, default=4)}.torgb.weight"
    needed = ("mapping.w_avg", "mapping.fc0.weight", image_layer)
    if missing := [key for key in needed if key not in state] + ([] if widths else ["synthesis.b4.conv1.weight"]):
        raise ValueError(f"G_ema is no state dict of StyleGAN2-ADA's generator, it lacks {', '.join(missing)}")
    size, style_size = max(widths), state["mapping.w_avg"].size
    labels = dimension(state, "mapping.embed.weight", 1, 0)
    if any(re.fullmatch(r"synthesis\.b\d+\.skip\.weight", key) for key in state):
        raise ValueError(_other_architecture("G_ema", "resnet", "skip"))
    if size > 4 and "synthesis.b4.torgb.weight" not in state:
        raise ValueError(_other_architecture("G_ema", "orig", "skip"))
    if not any(key.endswith(".noise_const") for key in state):
        raise ValueError("G_ema was made with use_noise=False, and StyleGAN2 here has noise")
    for key in ("embed", "fc0"):
        if (width := dimension(state, f"mapping.{key}.weight", 0, style_size)) != style_size:
            raise ValueError(f"G_ema.mapping.{key} has {width} units; all layers must have as many as w, {style_size}")
    found = {
        "image_size": size,
        "channels": state[image_layer].shape[0],
        "label_count": labels,
        "conditional": bool(labels),
        "latent_size": dimension(state, "mapping.fc0.weight", 1, 1) - (style_size if labels else 0),
        "style_size": style_size,
        "mapping_layers": _mapping_depth(state),
        "channel_base": max(size * width for size, width in widths.items()),
        "channel_max": max(widths.values()),
    }
    if make_config(StyleGAN2Config, found).filters != dict(sorted(widths.items())):
        raise ValueError(f"expected channels of channel_base / size, at most channel_max, got {widths} by size")
    return found


def _discriminator_settings(state: dict[str, np.ndarray], label_count: int) -> dict[str, Any]:
    """Reads the depth of a conditional discriminator's mapping network; all else must match the generator."""
    if "b4.conv.weight" not in state:
        raise ValueError("D is no state dict of StyleGAN2-ADA's discriminator, it lacks b4.conv.weight")
    if sum(key.endswith(".fromrgb.weight") for key in state) > 1:
        raise ValueError(_other_architecture("D", "skip", "resnet"))
    if not any(key.endswith(".skip.weight") for key in state):
        raise ValueError(_other_architecture("D", "orig", "resnet"))
    labels = dimension(state, "mapping.embed.weight", 1, 0)
    if labels != label_count:
        raise ValueError(f"G_ema is told {label_count} labels and D {labels}; both must be told the same")
    width = dimension(state, "b4.conv.weight", 0, 1)
    if (deviations := dimension(state, "b4.conv.weight", 1, 1) - width) != 1:
        raise ValueError(f"D has {deviations} channels of minibatch stddev (mbstd_num_channels), expected 1")
    if not labels:
        return {}
    for key in ("b4.out", "mapping.embed", "mapping.fc0"):
        if (units := dimension(state, f"{key}.weight", 0, width)) != width:
            raise ValueError(f"D.{key} has {units} units; it must have as many as b4.conv, {width} (cmap_dim)")
    return {"discriminator_mapping_layers": _mapping_depth(state)}


def _mapping_depth(state: dict[str, np.ndarray]) -> int:
    return sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", key)) for key in state)


def _other_architecture(network: str, found: str, expected: str) -> str:
    return f"{network} is of architecture {found!r} by its keys; StyleGAN2 here is {expected!r}, the original's default"


def _check_filters(state: dict[str, np.ndarray], name: str) -> None:
    for key, array in state.items():
        if key.endswith("resample_filter") and (array.shape != FILTER.shape or not np.allclose(array, FILTER)):
            raise ValueError(f"{name}.{key} is not the filter [1, 3, 3, 1], the only one that StyleGAN2 here has")


STYLEGAN2_ADA = Format(port, stylegan_output)
