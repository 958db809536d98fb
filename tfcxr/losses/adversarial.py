"""Adversarial losses: how the discriminator's realism logits are scored, each a pair of means over a batch.

`discriminator_loss` wants real logits high and fake ones low; `generator_loss` wants fake ones high.
"""

import tensorflow as tf

ADVERSARIAL_LOSSES = ("least_squares", "log", "minimax", "hinge", "wasserstein")


def discriminator_loss(name: str, real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Loss of the discriminator, a float32 scalar.

    Args:
      name: "least_squares": squared distance of sigmoid(logits) to 1 (real) and 0 (fake), the sum of both, as fits the
        tag losses that singh2023 prints (.494 before training, when both sigmoids are near one half). Differs from
        Mao et al. 2017, who score the logits themselves and take half of it.
        "log" and "minimax": binary cross-entropy (Goodfellow et al. 2014, equation 1), the sum of both.
        "hinge": real logits below 1 and fake ones above -1 count, by their distance (Lim, Ye 2017; Miyato et al. 2018,
        equation 16).
        "wasserstein": mean fake minus mean real logit (Arjovsky, Chintala, Bottou 2017, equation 2), which needs a
        penalty on the critic's slope beside it.
      real_logits, fake_logits: float32 [batch, 1], before the sigmoid.

    Raises:
      ValueError: unknown name.
    """
    if name == "least_squares":
        real_error = tf.square(1.0 - tf.sigmoid(real_logits))
        return tf.reduce_mean(real_error) + tf.reduce_mean(tf.square(tf.sigmoid(fake_logits)))
    if name in ("log", "minimax"):
        return tf.reduce_mean(tf.nn.softplus(-real_logits)) + tf.reduce_mean(tf.nn.softplus(fake_logits))
    if name == "hinge":
        return tf.reduce_mean(tf.nn.relu(1.0 - real_logits)) + tf.reduce_mean(tf.nn.relu(1.0 + fake_logits))
    if name == "wasserstein":
        return tf.reduce_mean(fake_logits) - tf.reduce_mean(real_logits)
    raise _unknown(name)


def generator_loss(name: str, fake_logits: tf.Tensor) -> tf.Tensor:
    """Loss of the generator, a float32 scalar.

    Args:
      name: "least_squares": squared distance of sigmoid(logits) to 1. "log": non-saturating cross-entropy
        (Goodfellow et al. 2014, section 3). "minimax": mean log(1 - sigmoid(logits)), equation 1 there, which is
        negative and hardly teaches a generator that is always found out. "hinge" and "wasserstein": minus the mean
        logit (Miyato et al. 2018, equation 17; Arjovsky, Chintala, Bottou 2017).
      fake_logits: float32 [batch, 1], before the sigmoid.

    Raises:
      ValueError: unknown name.
    """
    if name == "least_squares":
        return tf.reduce_mean(tf.square(1.0 - tf.sigmoid(fake_logits)))
    if name == "log":
        return tf.reduce_mean(tf.nn.softplus(-fake_logits))
    if name == "minimax":
        return -tf.reduce_mean(tf.nn.softplus(fake_logits))
    if name in ("hinge", "wasserstein"):
        return -tf.reduce_mean(fake_logits)
    raise _unknown(name)


def _unknown(name: str) -> ValueError:
    return ValueError(f"unknown adversarial loss {name!r}; valid names: {', '.join(ADVERSARIAL_LOSSES)}")
