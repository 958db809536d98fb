"""How far the written model is from the ported one in memory: both compute the same few fixed inputs in float32."""

import dataclasses
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tfcxr.backbones.base import Backbone
from tfcxr.data.pipeline import from_pixels, to_pixels
from tfcxr.models.base import GAN, latents_from_seeds
from tfcxr.models.pggan.networks import Discriminator
from tfcxr.porting.ported import Ported

SEEDS = (1, 2)
BACKBONE_SIZE = 96  # pixels of an image for a network that resizes none, unless it needs more


LARGEST_ALLOWED, MEAN_ALLOWED = 1e-3, 1e-5  # other orders of the same sums differ by 1e-7 to 1e-5, a wrong port by 1e-2


def relative_differences(found: Any, expected: Any) -> tuple[float, float]:
    """The largest and the mean difference, relative to the largest magnitude of `expected`; NaN stays NaN."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    difference = np.abs(found - expected) / max(np.abs(expected).max(), 1e-12)
    return float(difference.max()), float(difference.mean())


@dataclasses.dataclass(frozen=True)
class Parity:
    """The worst `relative_differences` of all arrays; kernels that are chosen anew for a graph round differently."""

    compared: str
    largest: float
    mean: float
    largest_allowed: float = LARGEST_ALLOWED
    mean_allowed: float = MEAN_ALLOWED

    @property
    def is_met(self) -> bool:
        """Whether they are the same numbers but for rounding; NaN is not."""
        return self.largest <= self.largest_allowed and self.mean <= self.mean_allowed

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{self.compared}: largest difference {self.largest:.2g}, mean {self.mean:.2g} of the largest value"


def gan_parity(model: GAN, saved_model: str | os.PathLike) -> Parity:
    """Compares images of fixed seeds, and the discriminator's score of them, with those of the SavedModel."""
    loaded = tf.saved_model.load(str(saved_model))
    pairs = []
    for index, seed in enumerate(SEEDS):  # one by one, for memory's sake
        z = latents_from_seeds(tf.constant([seed], tf.int64), model.config.latent_size)
        labels = model.config.label_count
        label = tf.one_hot([index % labels], labels) if labels else tf.zeros([1, 0])
        labels_input = (label,) if labels else ()
        image = model.generate_from_latent(z, label)
        pairs.append((loaded.generate_from_latent(z, *labels_input)["image"], image))
        pixels = to_pixels(image)
        realism = tf.sigmoid(model.score(from_pixels(pixels), label)[0][:, 0])
        scores = loaded.score(pixels, *(labels_input if model.discriminator_reads_label else ()))
        pairs.append((scores["realism"], realism))
    return _compared(f"images and scores of {len(SEEDS)} seeds", pairs)


def backbone_parity(model: Backbone, saved_model: str | os.PathLike) -> Parity:
    """Compares features, and logits where there are any, of fixed noise with those of the SavedModel."""
    loaded = tf.saved_model.load(str(saved_model))
    size = model.input_size or max(BACKBONE_SIZE, model.smallest_size)
    image = tf.random.stateless_uniform([len(SEEDS), size, size, 1], SEEDS, -1.0, 1.0)
    features = model.pooled(model.from_signed(image))
    found = loaded.extract(image)
    pairs = [(found["features"], features)]
    if model.classes:
        pairs.append((found["logits"], model.classify(features)))
    return _compared(f"features of {len(SEEDS)} images of {size} px", pairs)


def discriminator_parity(ported: Ported, weights: str | os.PathLike) -> Parity:
    """Compares values of fixed noise with those of a new discriminator that reads the weights."""
    config = ported.model.config
    other = Discriminator(config, seed=1)
    other.load_weights(weights)
    size = ported.settings["image_size"]
    image = tf.random.stateless_uniform([len(SEEDS), size, size, config.channels], SEEDS)
    inputs = image, tf.zeros([len(SEEDS), 0])
    return _compared(f"values of {len(SEEDS)} images", [(other(inputs), ported.model(inputs))])


def _compared(what: str, pairs: Iterable[tuple[tf.Tensor, tf.Tensor]]) -> Parity:
    largest, mean = np.max([relative_differences(*pair) for pair in pairs], axis=0)  # keeps NaN
    return Parity(what, float(largest), float(mean))
