"""PGGAN checkpoints of the GAN zoo (facebookresearch/pytorch_GAN_zoo): dialect "karras".

A checkpoint is {"config", "netG", "netD"} and mostly "avgG", the moving average. `config` is a dictionary, or a pickled
object of the zoo's own class whose values are read. Keys of old versions lack ".module".
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfcxr.config import make_config
from tfcxr.models.pggan import PGGAN, PGGANConfig
from tfcxr.models.pggan.networks import BASE_SIZE, Discriminator, Generator
from tfcxr.porting.format import Format
from tfcxr.porting.inert_pickle import PickledObject
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
from tfcxr.porting.state_dicts import state_dict
from tfcxr.porting.weight_transfer import Target, dense_kernel, layer_targets, transfer

TANH_CRITERIA = ("DCGAN", "MSE")  # losses with which the zoo's generator ends in tanh


def port(
    checkpoint: Any,
    leakiness: float | None = None,
    upsampling: str = "nearest",
    output_activation: str | None = None,
    value_range: str = "-1..1",
) -> Ported:
    """Makes a PGGAN with the checkpoint's weights and its alpha.

    Args:
      leakiness: slope of the leaky ReLU; None is what the config says, else .2.
      upsampling: "nearest" or "bilinear".
      output_activation: "linear" or "tanh"; None follows the config's loss.
      value_range: "0..1" or "-1..1", of the images inside.

    Raises:
      ValueError: not such a checkpoint, keys that do not fit (all are listed), or an option out of range.
    """
    keys = list(checkpoint) if isinstance(checkpoint, Mapping) else type(checkpoint).__name__
    if not isinstance(checkpoint, Mapping) or not {"netG", "netD"} <= checkpoint.keys():
        raise ValueError(f"expected a dictionary with netG, netD and mostly config and avgG, got {keys!s:.200}")
    given = checkpoint.get("config", {})
    given = given.state if isinstance(given, PickledObject) else given
    given = given if isinstance(given, Mapping) else {}
    states = {name: state_dict(checkpoint[name], name) for name in ("netG", "netD", "avgG") if checkpoint.get(name)}
    alpha = checked_alpha(given.get("alpha", 0.0), "config")
    if leakiness is None:
        leakiness = one_number(given.get("leakyReluLeak", 0.2), "leakyReluLeak", "config")
    found = _settings(states["netG"], states["netD"])
    found |= {
        "dialect": "karras",
        "normalizes_generator": bool(given.get("perChannelNormalization", True)),
        "is_equalized": bool(given.get("equalizedlR", True)),
        "leaky_slope": leakiness,
        "upsampling": upsampling,
        "output_activation": output_activation or ("tanh" if given.get("lossCriterion") in TANH_CRITERIA else "linear"),
        "value_range": value_range,
        "ema_decay": 0.999 if "avgG" in states else 0.0,
    }
    config = make_config(PGGANConfig, found)
    model = PGGAN(config)
    networks = {"netG": "generator", "netD": "discriminator", "avgG": "ema_generator"}
    transfers = {}
    for name, state in states.items():
        targets = _discriminator_targets if name == "netD" else _generator_targets
        network = model.networks[networks[name]]
        transfers[networks[name]] = transfer(state, targets(network, _middle(state)), {}, name)
    notes = []
    if category := int(one_number(given.get("categoryVectorDim") or 0, "categoryVectorDim", "config")):
        notes.append(f"The last {category} numbers of z name the category, as 0 and 1.")
    return ported_pggan(model, transfers, alpha, notes)


def _settings(generator: dict[str, np.ndarray], discriminator: dict[str, np.ndarray]) -> dict[str, Any]:
    middle = _middle(generator)
    shapes = image_layer_shapes(generator, "toRGBLayers.", f"{middle}.weight")
    first = kernel_shape(discriminator, f"groupScaleZero.0{_middle(discriminator)}.weight", 4)
    return {
        "image_size": BASE_SIZE << (len(shapes) - 1),
        "channels": shapes[0][0],
        "filters": tuple(shape[1] for shape in shapes),
        "latent_size": kernel_shape(generator, f"formatLayer{middle}.weight", 2)[1],
        "minibatch_stddev": first[1] == first[0] + 1,
        "critic_outputs": kernel_shape(discriminator, f"decisionLayer{_middle(discriminator)}.weight", 2)[0],
    }


def _middle(state: dict[str, np.ndarray]) -> str:
    return ".module" if any(".module." in key for key in state) else ""


def _generator_targets(network: Generator, middle: str) -> dict[str, Target]:
    targets = layer_targets(network.latent, f"formatLayer{middle}", latent_kernel, latent_bias)
    targets |= layer_targets(network.first, f"groupScale0.0{middle}")
    return targets | _block_targets(network, middle) | _image_targets(network.to_image, f"toRGBLayers.{{}}{middle}")


def _discriminator_targets(network: Discriminator, middle: str) -> dict[str, Target]:
    targets = _image_targets(network.from_image, f"fromRGBLayers.{{}}{middle}") | _block_targets(network, middle)
    targets |= layer_targets(network.last, f"groupScaleZero.0{middle}")
    targets |= layer_targets(network.dense, f"groupScaleZero.1{middle}", map_kernel)
    return targets | layer_targets(network.decision, f"decisionLayer{middle}", dense_kernel)


def _block_targets(network: Generator | Discriminator, middle: str) -> dict[str, Target]:
    targets = {}
    for index, block in enumerate(network.blocks):
        for position, layer in enumerate(block.convolutions):
            targets |= layer_targets(layer, f"scaleLayers.{index}.{position}{middle}")
    return targets


def _image_targets(layers: list[Any], name: str) -> dict[str, Target]:
    targets = {}
    for index, layer in enumerate(layers):
        targets |= layer_targets(layer, name.format(index))
    return targets


FB_PGGAN = Format(port, pggan_output)
