"""Adversarial losses: how the discriminator's realism logits are scored, each a pair of means over a batch.

`discriminator_loss` wants real logits high and fake ones low; `generator_loss` wants fake ones high.
"""

import tensorflow as tf

ADVERSARIAL_LOSSES = ("least_squares", "log")


def discriminator_loss(name: str, real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Loss of the discriminator, a float32 scalar.

    Args:
      name: "least_squares": squared distance of sigmoid(logits) to 1 (real) and 0 (fake), the sum of both, as fits the
        tag losses that singh2023 prints (.494 before training, when both sigmoids are near one half). Differs from
        Mao et al. 2017, who score the logits themselves and take half of it.
        "log": binary cross-entropy (Goodfellow et al. 2014, equation 1), the sum of both.
      real_logits, fake_logits: float32 [batch, 1], before the sigmoid.
    """
    if name == "least_squares":
        real_error = tf.square(1.0 - tf.sigmoid(real_logits))
        return tf.reduce_mean(real_error) + tf.reduce_mean(tf.square(tf.sigmoid(fake_logits)))
    return tf.reduce_mean(tf.nn.softplus(-real_logits)) + tf.reduce_mean(tf.nn.softplus(fake_logits))


def generator_loss(name: str, fake_logits: tf.Tensor) -> tf.Tensor:
    """Loss of the generator, a float32 scalar.

    Args:
      name: "least_squares": squared distance of sigmoid(logits) to 1. "log": non-saturating cross-entropy
        (Goodfellow et al. 2014, section 3).
      fake_logits: float32 [batch, 1], before the sigmoid.
    """
    if name == "least_squares":
        return tf.reduce_mean(tf.square(1.0 - tf.sigmoid(fake_logits)))
    return tf.reduce_mean(tf.nn.softplus(-fake_logits))
