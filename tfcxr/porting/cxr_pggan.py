"""Checkpoints of Segal et al. 2021 (CXR_PGGAN): a PGGAN of dialect "segal", or its discriminator alone.

A full checkpoint is {"state_dict", "settings"} of the whole training; `Final_Full_Model.pth` is one. The
discriminator's own file has its settings instead of the training's. Keys and shapes tell depth, channels, latent size,
normalizations and equalization; no file tells leakiness, upsampling and value range, so these are options.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfcxr.config import make_config, to_plain
from tfcxr.models.pggan import PGGAN, PGGANConfig
from tfcxr.models.pggan.networks import BASE_SIZE, Discriminator, Generator
from tfcxr.porting.format import Format
from tfcxr.porting.pggan_weights import (
    checked_alpha,
    image_layer_shapes,
    kernel_shape,
    latent_bias,
    latent_kernel,
    map_kernel,
    one_number,
    ported_pggan,
)
from tfcxr.porting.ported import Ported
from tfcxr.porting.reference_outputs import pggan_output
from tfcxr.porting.state_dicts import StateDict, state_dict
from tfcxr.porting.weight_transfer import Target, dense_kernel, layer_targets, transfer

NETWORKS = {"generator": "generator", "ema_generator": "gen_shadow", "discriminator": "discriminator"}
FADING = "read for the fading, no weight"
SIZE_BUFFERS = {"current_size": "the shapes say it", "current_depth": "the shapes say it", "alpha": FADING}
TRAINING_BUFFERS = {
    **dict.fromkeys(("img_size", "scale"), "the shapes say it"),
    "alpha": FADING,
    "alpha_jumps": "the schedule of the training",
    "fixed_z": "latents of the training's sample pictures",
    "g_current_iter": "read as the number of steps, no weight",
    **dict.fromkeys(("total_iter", "current_iter", "num_images_seen", "iter_images_seen"), "a counter of the training"),
    **dict.fromkeys(("d_current_iter", "epoch_counter", "batch_count"), "a counter of the training"),
}


def port(
    checkpoint: Any, leakiness: float | None = None, upsampling: str = "nearest", value_range: str = "0..1"
) -> Ported:
    """Makes a PGGAN, or a discriminator alone, with the checkpoint's weights and its alpha.

    Args:
      leakiness: slope of the leaky ReLU; None is what the file says, else .2. The last layers have .2 always.
      upsampling: "nearest" or "bilinear", of the generator.
      value_range: "0..1" or "-1..1", of the images inside.

    Raises:
      ValueError: not such a checkpoint, keys that do not fit (all are listed), or an option out of range.
    """
    if not isinstance(checkpoint, Mapping):
        raise ValueError(f"expected a dictionary with state_dict and settings, got {type(checkpoint).__name__}")
    settings = checkpoint.get("settings", {}) if "state_dict" in checkpoint else {}
    settings = settings if isinstance(settings, Mapping) else {}
    state = state_dict(checkpoint.get("state_dict", checkpoint), "the checkpoint's state_dict")
    if leakiness is None:
        leakiness = one_number(settings.get("leakiness", 0.2), "leakiness", "settings")
    options = {"leaky_slope": leakiness, "upsampling": upsampling, "value_range": value_range, "dialect": "segal"}
    alpha = _alpha(settings, state)
    if any(key.startswith("fromRGB.") for key in state):
        return _port_discriminator(state, options, alpha)
    return _port_training(state, options, alpha)


def _port_training(state: StateDict, options: dict[str, Any], alpha: float) -> Ported:
    has_average = any(key.startswith("gen_shadow.") for key in state)
    found = _generator_settings(state, "generator.") | _discriminator_settings(state, "discriminator.")
    config = make_config(PGGANConfig, found, options, {"ema_decay": 0.999 if has_average else 0.0})
    model = PGGAN(config)
    transfers, rest = {}, dict(state)
    for name, prefix in NETWORKS.items():
        network = model.networks[name]
        if network is None:
            continue
        part = {key: rest.pop(key) for key in state if key.startswith(f"{prefix}.")}
        targets = _discriminator_targets if name == "discriminator" else _generator_targets
        ignored = {f"{prefix}.{key}": reason for key, reason in SIZE_BUFFERS.items()}
        transfers[name] = transfer(part, targets(network, f"{prefix}."), ignored, name)
    transfers["training"] = transfer(StateDict(rest, state.notes), {}, TRAINING_BUFFERS, "training's state")
    if "g_current_iter" in state and state["g_current_iter"].size == 1:
        model.state["step"].assign(int(state["g_current_iter"].reshape(())))
    notes = [
        "The score signature rates each image alone, with the minibatch stddev that the original computes for one."
    ]
    if config.channels == 3:
        notes.append("Images have three channels, which are nearly equal where the training's pictures were grey.")
    return ported_pggan(model, transfers, alpha, notes)


def _port_discriminator(state: StateDict, options: dict[str, Any], alpha: float) -> Ported:
    config = make_config(PGGANConfig, _discriminator_settings(state, ""), options)
    network = Discriminator(config, seed=0)
    transfers = {"discriminator": transfer(state, _discriminator_targets(network, ""), SIZE_BUFFERS, "discriminator")}
    note = "The checkpoint holds a discriminator alone, so nothing can generate images; its Keras weights are written."
    return Ported(network, "discriminator", transfers, to_plain(config) | {"alpha": alpha}, (note,))


def _alpha(settings: Mapping[str, Any], state: dict[str, np.ndarray]) -> float:
    """Reads the settings first: some versions rounded the copy in the state dict to a whole number."""
    places = (settings.get("alpha"), "settings"), (state.get("alpha"), "state_dict")
    return next((checked_alpha(value, where) for value, where in places if value is not None), 0.0)


# sizes and options, from keys and shapes


def _generator_settings(state: dict[str, np.ndarray], prefix: str) -> dict[str, Any]:
    shapes = image_layer_shapes(state, f"{prefix}toRGB.", f"{_middle(state, prefix + 'toRGB')}.weight")
    return {
        "filters": tuple(shape[1] for shape in shapes),
        "latent_size": kernel_shape(state, f"{prefix}latent_linear.0.module.weight", 2)[1],
        "normalizes_generator": len(shapes) == 1 or f"{prefix}ScaleBlocks.0.convolv.2" not in _modules(state),
    }


def _discriminator_settings(state: dict[str, np.ndarray], prefix: str) -> dict[str, Any]:
    middle = _middle(state, prefix + "fromRGB")
    shapes = image_layer_shapes(state, f"{prefix}fromRGB.", f"{middle}.weight")
    first = kernel_shape(state, f"{prefix}DecisionBlock.0{middle}.weight", 4)
    return {
        "image_size": BASE_SIZE << (len(shapes) - 1),
        "channels": shapes[0][1],
        "filters": tuple(shape[0] for shape in shapes),
        "is_equalized": bool(middle),
        "normalizes_discriminator": f"{prefix}DecisionBlock.3" in _modules(state),
        "minibatch_stddev": first[1] == first[0] + 1,
        "critic_outputs": kernel_shape(state, f"{prefix}DecisionLinear.module.weight", 2)[0],
    }


def _middle(state: dict[str, np.ndarray], layers: str) -> str:
    """ ".module" where the layers are equalized, "" where not."""
    return ".module" if f"{layers}.0.module.weight" in state or f"{layers}.0.weight" not in state else ""


def _modules(state: dict[str, np.ndarray]) -> set[str]:
    return {key.removesuffix(".weight").removesuffix(".module") for key in state if key.endswith(".weight")}


# where the keys go


def _generator_targets(network: Generator, prefix: str) -> dict[str, Target]:
    config = network.config
    middle = ".module" if config.is_equalized else ""
    second = 3 if config.normalizes_generator else 2
    targets = layer_targets(network.latent, f"{prefix}latent_linear.0.module", latent_kernel, latent_bias)
    targets |= layer_targets(network.first, f"{prefix}init_conv.0{middle}")
    for index, block in enumerate(network.blocks):
        for layer, position in zip(block.convolutions, (0, second), strict=True):
            targets |= layer_targets(layer, f"{prefix}ScaleBlocks.{index}.convolv.{position}{middle}")
    for index, layer in enumerate(network.to_image):
        targets |= layer_targets(layer, f"{prefix}toRGB.{index}{middle}")
    return targets


def _discriminator_targets(network: Discriminator, prefix: str) -> dict[str, Target]:
    """The file counts blocks from the largest size down, and the layers from the image from 4 px up."""
    config = network.config
    middle = ".module" if config.is_equalized else ""
    second = 3 if config.normalizes_discriminator else 2
    targets = {}
    for index, layer in enumerate(network.from_image):
        targets |= layer_targets(layer, f"{prefix}fromRGB.{index}{middle}")
    for index, block in enumerate(reversed(network.blocks)):
        for layer, position in zip(block.convolutions, (0, second), strict=True):
            targets |= layer_targets(layer, f"{prefix}ScaleBlocks.{index}.convolv.{position}{middle}")
    targets |= layer_targets(network.last, f"{prefix}DecisionBlock.0{middle}")
    targets |= layer_targets(network.dense, f"{prefix}DecisionBlock.{second}{middle}", map_kernel)
    return targets | layer_targets(network.decision, f"{prefix}DecisionLinear.module", dense_kernel)


CXR_PGGAN = Format(port, pggan_output)
