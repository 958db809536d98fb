"""Cross-entropy of labels, exclusive or joint, of which some are unknown."""

import numpy as np
import tensorflow as tf


def class_loss(
    is_single_label: bool,
    logits: tf.Tensor,
    label: tf.Tensor,
    label_mask: tf.Tensor,
    label_weights: np.ndarray | None = None,
) -> tf.Tensor:
    """Mean cross-entropy over known labels, a float32 scalar; 0 when none is known.

    The auxiliary classifier's loss of an ACGAN (Odena, Olah, Shlens 2017, equation 3).

    Args:
      is_single_label: softmax over exclusive labels, else a sigmoid for each label.
      logits: float32 [batch, labels].
      label: float32 [batch, labels], 0 or 1; 0 where unknown.
      label_mask: float32 [batch, labels], 1 where the label is known. An unknown label adds nothing; with a softmax,
        one unknown label leaves out its row.
      label_weights: float32 [2, labels], factors of the loss of an absent and of a present label; 1 where None.
    """
    if is_single_label:
        losses = tf.nn.softmax_cross_entropy_with_logits(label, logits)
        label_mask = tf.reduce_min(label_mask, axis=1)
        if label_weights is not None:
            losses *= tf.linalg.matvec(label, label_weights[1])
    else:
        losses = tf.nn.sigmoid_cross_entropy_with_logits(label, logits)
        if label_weights is not None:
            losses *= label * label_weights[1] + (1 - label) * label_weights[0]
    return tf.math.divide_no_nan(tf.reduce_sum(losses * label_mask), tf.reduce_sum(label_mask))
