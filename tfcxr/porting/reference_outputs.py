"""Computes the outputs by which a ported network is compared with the original, by their names in a reference.

Images are in/image, or in/img_S for those of S pixels that belong to out/size_S/... Each function returns None for an
unknown name and raises KeyError for a missing input.

| format | inputs | outputs, with or without size_S/ before them |
| --- | --- | --- |
| feature networks | image | features (the last map), features_mean (its mean; DenseNet: before the ReLU), features2 or
  features_2048 (pooled), logits, sigmoid; resized_A_to_S/... |
| cxr_pggan, fb_pggan | z, image | gen_shadow or avgG, generator or netG, discriminator or netD; alpha_A/... |
| stylegan2_ada | z, label, image | image (also image/noise_const/psi_P, image/noise_none/psi_P), w, w_psi_P, score |

`_batchB` behind a score is the score of the first B images, judged together.
"""

import re
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfcxr.backbones.base import Backbone, global_mean
from tfcxr.porting.ported import Ported

Inputs = Mapping[str, np.ndarray]
_BACKBONE = re.compile(r"(?:size_(\d+)/|resized_(\d+)_to_(\d+)/)?(\w+)")
_PGGAN = re.compile(
    r"(?:loaded/)?(?:size_(\d+)/)?(?:alpha_([\d.]+)/)?"
    r"(generator|netG|gen_shadow|avgG|image|discriminator|netD|score)(?:_batch(\d+))?(?:/score)?"
)
_STYLEGAN = re.compile(r"image|image/noise_(const|none)/psi_([\d.]+)|w|w_psi_([\d.]+)|score(?:_batch(\d+))?")


def backbone_output(ported: Ported, inputs: Inputs, name: str, resizes: bool = False) -> tf.Tensor | None:
    """An output of a feature network; `resizes` where the original resizes images itself, so size_S/... are resized."""
    model: Backbone = ported.model
    match = _BACKBONE.fullmatch(name)
    if not match:
        return None
    size, before, target, what = match.groups()
    image = _image(inputs, size or before)
    input_size = model.input_size
    try:
        if target:
            model.input_size = int(target)
        elif size and not resizes:
            model.input_size = 0
        if what == "features":
            return model.features(image) if hasattr(model, "features") else model(image)
        if what == "features_mean":
            return global_mean(model.features(model.sized(image)))
        if what in ("features2", "features_2048", "pooled"):
            return model.pooled(image)
        if what in ("logits", "sigmoid") and model.classes:
            logits = model.classify(model.pooled(image))
            return tf.sigmoid(logits) if what == "sigmoid" else logits
    finally:
        model.input_size = input_size
    return None


def pggan_output(ported: Ported, inputs: Inputs, name: str) -> tf.Tensor | None:
    """An output of a PGGAN, or of its discriminator alone; alpha is the checkpoint's where the name has none."""
    match = _PGGAN.fullmatch(name)
    if not match:
        return None
    size, alpha, network, rows = match.groups()
    alpha = float(ported.settings["alpha"] if alpha is None else alpha)
    if network in ("discriminator", "netD", "score"):
        image = _image(inputs, size or str(ported.settings["image_size"]))[: int(rows) if rows else None]
        discriminator = ported.model if ported.kind == "discriminator" else ported.model.discriminator
        return discriminator((image, tf.zeros([len(image), 0])), alpha=alpha)
    if ported.kind != "gan":
        return None
    generator = ported.model.generator if network in ("generator", "netG") else ported.model.ema_generator
    z = tf.constant(inputs["z"])
    return generator((z, tf.zeros([len(z), 0])), size=int(size) if size else None, alpha=alpha)


def stylegan_output(ported: Ported, inputs: Inputs, name: str) -> tf.Tensor | None:
    """An output of a StyleGAN2's averaged generator or discriminator."""
    match = _STYLEGAN.fullmatch(name)
    if not match:
        return None
    noise, image_psi, w_psi, rows = match.groups()
    label = tf.constant(inputs["label"]) if ported.model.config.label_count else None
    if name.startswith("score"):
        image = _image(inputs, str(ported.settings["image_size"]))[: int(rows) if rows else None]
        condition = tf.zeros([len(image), 0]) if label is None else label[: len(image)]
        return ported.model.discriminator((image, condition))[0]
    z = tf.constant(inputs["z"])
    generator = ported.model.ema_generator
    average = generator.mapping.average
    w = generator.mapping(z, tf.zeros([len(z), 0]) if label is None else label)
    w = average + float(image_psi or w_psi or 1) * (w - average)
    if name.startswith("w"):
        return w
    silence = [tf.zeros([1, size, size, 1]) for size in generator.synthesis.noise_sizes]
    return generator.synthesis(generator.styles(w), silence if noise == "none" else None)


def _image(inputs: Inputs, size: str | None) -> tf.Tensor:
    """in/image, or else the images of this size, or the only ones; channels last."""
    images = [name for name in inputs if name.startswith("img_")]
    name = "image" if "image" in inputs else f"img_{size}" if size else images[0] if len(images) == 1 else "image"
    return tf.constant(inputs[name].transpose(0, 2, 3, 1))
