"""How fast the averaged generator follows the trained one: by a decay per step, or by a half-life in images.

A half-life in images means the same at any batch size. In a short training it also forgets the first, blurred weights
earlier than a decay per step: it is at most a twentieth of the images seen so far, as in the authors' program of
StyleGAN2 with adaptive augmentation (Karras et al. 2020, `ema_rampup`).
"""

import tensorflow as tf

RAMP = 0.05  # the half-life is at most this share of the images seen so far


def rate_by_steps(decay: float, steps: tf.Tensor) -> tf.Tensor:
    """How far the average moves towards the trained weights in this step, a float32 scalar in (0, 1].

    Args:
      decay: share of the average that a step keeps, at most (1 + steps) / (10 + steps).
      steps: so far, a float32 scalar.
    """
    return 1.0 - tf.minimum(decay, (1.0 + steps) / (10.0 + steps))


def rate_by_images(half_life: float, images: int, steps: tf.Tensor) -> tf.Tensor:
    """How far the average moves towards the trained weights in this step, a float32 scalar in (0, 1].

    Args:
      half_life: images after which half of the average is newer, at most `RAMP` times those seen before this step.
      images: per step.
      steps: before this one, a float32 scalar.
    """
    half_life = tf.clip_by_value(RAMP * (float(images) * steps), 1e-8, half_life)
    return 1.0 - tf.pow(0.5, float(images) / half_life)
