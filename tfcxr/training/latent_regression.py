"""The embedding baseline of Segal et al. 2021: the discriminator of a PGGAN, retrained to tell z from the image.

    network, curve = train_latent_regressor(model, LatentRegressionConfig(steps=2000))
    z = network(images)

It learns on pairs that the generator makes, as many as wanted: z is drawn, the image is generated from it. A real
image's z is then what comes out for it. The scale of z means nothing where the network normalizes it, so the
target is the normalized z, and closeness is told as the cosine of the angle to it: 1 is perfect, 0 is chance.
"""

import dataclasses
import math

import numpy as np
import tensorflow as tf
from absl import logging
from tqdm import tqdm

from tfcxr.models.pggan import PGGAN
from tfcxr.models.pggan.retrained_discriminator import RetrainedDiscriminator, RetrainingConfig, latent_target

HELD_OUT_STREAM, TRAINING_STREAM = 0, 1  # of the draws, so that no held-out z is trained on


@dataclasses.dataclass(frozen=True)
class LatentRegressionConfig(RetrainingConfig):
    """How the regressor is trained; all ours to choose.

    Attributes:
      steps: of training. seed: of all draws.
      held_out_images: pairs that are never trained on. report_every: steps between looks at them, after early ones at
        25, 50 and 100 steps.
    """

    steps: int = 2000
    seed: int = 0
    held_out_images: int = 256
    report_every: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("steps", 1), ("seed", 0), ("held_out_images", 1), ("report_every", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"LatentRegressionConfig.{name} must be {least} or more, got {getattr(self, name)}")


def train_latent_regressor(
    model: PGGAN, config: LatentRegressionConfig | None = None, labels: np.ndarray | None = None
) -> tuple[RetrainedDiscriminator, list[dict[str, float]]]:
    """Trains with a progress bar; the same arguments give the same weights on one CPU.

    Args:
      labels: float32 [rows, labels], 1 present and else 0, from which a conditional model's are drawn.

    Returns:
      the network, images in [-1, 1] -> z float32 [batch, latent_size], and for each look at the held-out pairs "step",
      the "loss" (mean since the last look) and the mean "cosine" of the angle between true and predicted z.

    Raises:
      ValueError: the model is no PGGAN, a conditional one has no labels to draw from, or the loss is not finite.
    """
    config = config or LatentRegressionConfig()
    network = make_latent_regressor(model, config)
    label_count = model.config.label_count
    if label_count and (labels is None or labels.shape[1:] != (label_count,) or not len(labels)):
        shape = None if labels is None else labels.shape
        raise ValueError(f"the model draws images of {label_count} labels; expected rows of as many, got {shape}")
    rows = tf.constant(labels if label_count else np.zeros([1, 0]), tf.float32)

    def draw(images: int, stream: int, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Images [images, size, size, channels] and the z that they should give."""
        seed = tf.stack([tf.constant(2 * config.seed + stream, tf.int64), step])
        z = tf.random.stateless_normal([images, model.config.latent_size], seed)
        chosen = tf.random.stateless_uniform([images], seed, 0, rows.shape[0], tf.int32)
        return model.generate_from_latent(z, tf.gather(rows, chosen)), latent_target(model, z)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.int64)])
    def step_function(step: tf.Tensor) -> tf.Tensor:
        image, target = draw(config.batch_size, TRAINING_STREAM, step)
        return network.train_step(image, lambda outputs: tf.reduce_mean(tf.square(outputs - target)))

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.int64)])
    def cosine_function(index: tf.Tensor) -> tf.Tensor:
        image, target = draw(config.batch_size, HELD_OUT_STREAM, index)
        return latent_cosine(network(image), target)

    batches = math.ceil(config.held_out_images / config.batch_size)
    looks = {25, 50, 100, config.steps}
    curve, losses = [], []
    with tqdm(total=config.steps, unit="step", desc="learning z from images", mininterval=1) as progress:
        for step in range(1, config.steps + 1):
            losses.append(float(step_function(step)))
            if not math.isfinite(losses[-1]):
                raise ValueError(f"the loss of z is {losses[-1]} at step {step}; lower learning_rate")
            if step in looks or step % config.report_every == 0:
                cosines = np.concatenate([cosine_function(index).numpy() for index in range(batches)])
                cosine = float(cosines[: config.held_out_images].mean())
                curve.append({"step": step, "loss": float(np.mean(losses)), "cosine": cosine})
                logging.info("step %d: loss %.3f, cosine of held-out z %.3f", step, curve[-1]["loss"], cosine)
                losses.clear()
                progress.set_postfix(cosine=f"{cosine:.3f}", refresh=False)
            progress.update()
    return network, curve


def make_latent_regressor(model: PGGAN, config: LatentRegressionConfig) -> RetrainedDiscriminator:
    """The regressor before its training, or to restore a trained one's weights into.

    Raises:
      ValueError: the model is no PGGAN with a discriminator of its own.
    """
    return RetrainedDiscriminator(model, model.config.latent_size, config)


def latent_cosine(predicted: tf.Tensor, true: tf.Tensor) -> tf.Tensor:
    """Cosine of the angle between rows, float32 [batch] of float32 [batch, latent_size] each."""
    return tf.reduce_sum(tf.math.l2_normalize(predicted, axis=1) * tf.math.l2_normalize(true, axis=1), axis=1)
