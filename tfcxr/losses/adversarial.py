"""Adversarial losses: functions of realism logits float32 [batch, 1], before the sigmoid -> float32 scalar.

A discriminator's loss wants real logits high and fake ones low; a generator's wants fake ones high.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


def log_discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy (Goodfellow et al. 2014, equation 1), the sum over real and fake."""
    return tf.reduce_mean(tf.nn.softplus(-real_logits)) + tf.reduce_mean(tf.nn.softplus(fake_logits))


def log_generator_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Non-saturating cross-entropy (Goodfellow et al. 2014, section 3)."""
    return tf.reduce_mean(tf.nn.softplus(-fake_logits))


def minimax_generator_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Mean log(1 - sigmoid(logits)) (Goodfellow et al. 2014, equation 1), at most 0.

    Its gradient vanishes where the discriminator is sure that an image is fake.
    """
    return -tf.reduce_mean(tf.nn.softplus(fake_logits))


def least_squares_discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Squared distance of sigmoid(logits) to 1 (real) and 0 (fake), the sum of both.

    It fits the tag losses that singh2023 prints (.494 before training, when both sigmoids are near one half). Differs
    from Mao et al. 2017, who score the logits themselves and take half of it.
    """
    real_error = tf.square(1.0 - tf.sigmoid(real_logits))
    return tf.reduce_mean(real_error) + tf.reduce_mean(tf.square(tf.sigmoid(fake_logits)))


def least_squares_generator_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Squared distance of sigmoid(logits) to 1."""
    return tf.reduce_mean(tf.square(1.0 - tf.sigmoid(fake_logits)))


def hinge_discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """How far real logits are below 1 and fake ones above -1 (Lim, Ye 2017; Miyato et al. 2018, equation 16)."""
    return tf.reduce_mean(tf.nn.relu(1.0 - real_logits)) + tf.reduce_mean(tf.nn.relu(1.0 + fake_logits))


def wasserstein_discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Mean fake minus mean real critic value (Arjovsky, Chintala, Bottou 2017, equation 2).

    It needs a penalty on the critic's slope beside it.
    """
    return tf.reduce_mean(fake_logits) - tf.reduce_mean(real_logits)


def wasserstein_generator_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Minus the mean critic value (Arjovsky, Chintala, Bottou 2017), or logit (Miyato et al. 2018, equation 17)."""
    return -tf.reduce_mean(fake_logits)


class AdversarialLoss(NamedTuple):
    """The losses of both networks: `discriminator(real_logits, fake_logits)` and `generator(fake_logits)`."""

    discriminator: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    generator: Callable[[tf.Tensor], tf.Tensor]


ADVERSARIAL_LOSSES = {
    "log": AdversarialLoss(log_discriminator_loss, log_generator_loss),
    "minimax": AdversarialLoss(log_discriminator_loss, minimax_generator_loss),
    "least_squares": AdversarialLoss(least_squares_discriminator_loss, least_squares_generator_loss),
    "hinge": AdversarialLoss(hinge_discriminator_loss, wasserstein_generator_loss),
    "wasserstein": AdversarialLoss(wasserstein_discriminator_loss, wasserstein_generator_loss),
}
