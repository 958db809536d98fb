"""How far what was written is from the ported model in memory: both compute the same few fixed inputs in float32."""

import dataclasses
import os
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from tfcxr.backbones.base import Backbone
from tfcxr.data.pipeline import from_pixels, to_pixels
from tfcxr.models.base import GAN, latents_from_seeds
from tfcxr.models.pggan.networks import Discriminator
from tfcxr.porting.ported import Ported

SEEDS = (1, 2)
BACKBONE_SIZE = 96  # pixels of an image for a network that resizes none, unless it needs more


@dataclasses.dataclass(frozen=True)
class Parity:
    """Differences relative to the largest magnitude of the expected array.

    Attributes:
      compared: what was computed. largest, mean: the worst of all arrays.
      largest_allowed, mean_allowed: kernels that are chosen anew for a graph round differently, so not 0.
    """

    compared: str
    largest: float
    mean: float
    largest_allowed: float = 1e-3
    mean_allowed: float = 1e-5

    @property
    def is_met(self) -> bool:
        """Whether they are the same numbers but for rounding; NaN is not."""
        return self.largest <= self.largest_allowed and self.mean <= self.mean_allowed

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{self.compared}: largest difference {self.largest:.2g}, mean {self.mean:.2g} of the largest value"


def gan_parity(model: GAN, saved_model: str | os.PathLike) -> Parity:
    """Images of fixed seeds, and the critic's score of them, of the model and of its SavedModel."""
    loaded = tf.saved_model.load(str(saved_model))
    pairs = []
    for index, seed in enumerate(SEEDS):  # one by one, for memory's sake
        z = latents_from_seeds(tf.constant([seed], tf.int64), model.config.latent_size)
        labels = model.config.label_count
        label = tf.one_hot([index % labels], labels) if labels else tf.zeros([1, 0])
        told = (label,) if labels else ()
        image = model.generate_from_latent(z, label)
        pairs.append((loaded.draw_latent(z, *told)["image"], image))
        pixels = to_pixels(image)
        realism = tf.sigmoid(model.score(from_pixels(pixels), label)[0][:, 0])
        judged = loaded.score(pixels, *(told if model.discriminator_reads_label else ()))
        pairs.append((judged["realism"], realism))
    return _compared(f"images and scores of {len(SEEDS)} seeds", pairs)


def backbone_parity(model: Backbone, saved_model: str | os.PathLike) -> Parity:
    """Features, and logits where there are any, of fixed noise, of the network and of its SavedModel."""
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
    """Values of fixed noise, of the discriminator and of a new one that reads its weights."""
    config = ported.model.config
    other = Discriminator(config, seed=1)
    other.load_weights(weights)
    size = ported.settings["image_size"]
    image = tf.random.stateless_uniform([len(SEEDS), size, size, config.channels], SEEDS)
    inputs = image, tf.zeros([len(SEEDS), 0])
    return _compared(f"values of {len(SEEDS)} images", [(other(inputs), ported.model(inputs))])


def _compared(what: str, pairs: Iterable[tuple[tf.Tensor, tf.Tensor]]) -> Parity:
    largest = mean = 0.0
    for found, expected in pairs:
        found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
        difference = np.abs(found - expected) / max(np.abs(expected).max(), 1e-12)
        largest, mean = np.maximum(largest, difference.max()), np.maximum(mean, difference.mean())  # keeps NaN
    return Parity(what, float(largest), float(mean))
