"""The embedding baseline of Segal et al. 2021: the discriminator of a PGGAN, retrained to regress z from images.

    network, curve = train_latent_regressor(model, LatentRegressionConfig(steps=2000))
    z = network(images)

It trains on pairs that the generator makes: z is drawn, the image is generated from it. For a real image it then
predicts a z. Where the generator normalizes z, its length means nothing: the target is the normalized z, and the cosine
of the angle between true and predicted z says how close they are: 1 is perfect, 0 is chance.
"""

import dataclasses
import math

import numpy as np
import tensorflow as tf
from absl import logging
from tqdm import tqdm

from tfcxr.config import check_range
from tfcxr.layers.pixel_normalization import pixel_normalization
from tfcxr.models.base import AdversarialModel
from tfcxr.models.pggan import PGGAN
from tfcxr.models.retrained_discriminator import RetrainedDiscriminator, RetrainingConfig

HELD_OUT_STREAM, TRAINING_STREAM = 0, 1  # of the random numbers, so that no held-out z is trained on
EARLY_REPORTS = (25, 50, 100)  # steps


@dataclasses.dataclass(frozen=True)
class LatentRegressionConfig(RetrainingConfig):
    """How the regressor is trained; all ours to choose.

    Attributes:
      steps: of training.
      seed: of all random numbers.
      held_out_images: pairs that are never trained on.
      report_every: steps between evaluations on them, after early ones at 25, 50 and 100 steps.
    """

    steps: int = 2000
    seed: int = 0
    held_out_images: int = 256
    report_every: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "steps", "held_out_images", "report_every", minimum=1)
        check_range(self, "seed", minimum=0)


def train_latent_regressor(
    model: PGGAN, config: LatentRegressionConfig | None = None, labels: np.ndarray | None = None
) -> tuple[RetrainedDiscriminator, list[dict[str, float]]]:
    """Trains with a progress bar; the same arguments give the same weights on one CPU.

    Args:
      labels: float32 [rows, labels], 1 present and else 0, from which a conditional model's are drawn.

    Returns:
      the network, images in [-1, 1] -> z float32 [batch, latent_size], and for each evaluation on the held-out pairs
      "step", the "loss" (mean since the last evaluation) and the mean "cosine" of the angle between true and predicted
      z.

    Raises:
      ValueError: the model is no PGGAN, a conditional one has no labels to draw from, or the loss is not finite.
    """
    config = config or LatentRegressionConfig()
    network = make_latent_regressor(model, config)
    label_count = model.config.label_count
    if label_count and (labels is None or labels.shape[1:] != (label_count,) or not len(labels)):
        shape = None if labels is None else labels.shape
        raise ValueError(f"the model generates images for {label_count} labels; expected rows of as many, got {shape}")
    rows = tf.constant(labels if label_count else np.zeros([1, 0]), tf.float32)
    index_spec = tf.TensorSpec([], tf.int64)

    def make_pairs(stream: int, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """A batch of images [batch, size, size, channels] and the z that they should give."""
        seed = tf.stack([tf.constant(2 * config.seed + stream, tf.int64), index])
        z = tf.random.stateless_normal([config.batch_size, model.config.latent_size], seed)
        chosen = tf.random.stateless_uniform([config.batch_size], seed, 0, rows.shape[0], tf.int32)
        return model.generate_from_latent(z, tf.gather(rows, chosen)), latent_target(model, z)

    @tf.function(autograph=False, input_signature=[index_spec])
    def train_step(step: tf.Tensor) -> tf.Tensor:
        image, target = make_pairs(TRAINING_STREAM, step)
        return network.train_step(image, lambda outputs: tf.reduce_mean(tf.square(outputs - target)))

    @tf.function(autograph=False, input_signature=[index_spec])
    def held_out_cosines(index: tf.Tensor) -> tf.Tensor:
        image, target = make_pairs(HELD_OUT_STREAM, index)
        return latent_cosine(network(image), target)

    batches = math.ceil(config.held_out_images / config.batch_size)
    curve, losses = [], []
    with tqdm(total=config.steps, unit="step", desc="regressing z from images", mininterval=1) as progress:
        for step in range(1, config.steps + 1):
            losses.append(float(train_step(step)))
            if not math.isfinite(losses[-1]):
                raise ValueError(f"the loss of z is {losses[-1]} at step {step}; lower learning_rate")
            if step in (*EARLY_REPORTS, config.steps) or step % config.report_every == 0:
                cosines = np.concatenate([held_out_cosines(index).numpy() for index in range(batches)])
                cosine = float(cosines[: config.held_out_images].mean())
                curve.append({"step": step, "loss": float(np.mean(losses)), "cosine": cosine})
                logging.info("step %d: loss %.3f, cosine of held-out z %.3f", step, curve[-1]["loss"], cosine)
                losses.clear()
                progress.set_postfix(cosine=f"{cosine:.3f}", refresh=False)
            progress.update()
    return network, curve


def make_latent_regressor(model: AdversarialModel, config: LatentRegressionConfig) -> RetrainedDiscriminator:
    """The regressor before its training, or to restore a trained one's weights into.

    Raises:
      ValueError: the model is no PGGAN with a discriminator of its own.
    """
    if not isinstance(model, PGGAN):
        raise ValueError(
            f"only a pggan embeds images by its discriminator, got a {type(model).__name__}; give the run folder of a "
            "training with --model=pggan"
        )
    return RetrainedDiscriminator(model, model.config.latent_size, config)


def latent_target(model: PGGAN, z: tf.Tensor) -> tf.Tensor:
    """The part of z [batch, latent_size] that the images depend on: where the generator normalizes z, its direction."""
    return pixel_normalization(z) if model.config.normalizes_generator else z


def latent_cosine(predicted: tf.Tensor, true: tf.Tensor) -> tf.Tensor:
    """Cosine of the angle between rows, float32 [batch] of float32 [batch, latent_size] each."""
    return tf.reduce_sum(tf.math.l2_normalize(predicted, axis=1) * tf.math.l2_normalize(true, axis=1), axis=1)
