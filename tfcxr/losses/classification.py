"""Cross-entropy of labels, exclusive or joint, of which some are unknown."""

import tensorflow as tf


def class_loss(is_single_label: bool, logits: tf.Tensor, label: tf.Tensor, label_mask: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy over known labels, a float32 scalar; 0 when none is known.

    The auxiliary classifier's loss of an ACGAN (Odena, Olah, Shlens 2017, equation 3).

    Args:
      is_single_label: softmax over exclusive labels, else a sigmoid for each label.
      logits: float32 [batch, labels].
      label: float32 [batch, labels], 0 or 1; 0 where unknown.
      label_mask: float32 [batch, labels], 1 where the label is known. An unknown label adds nothing; with a softmax,
        one unknown label leaves out its row.
    """
    if is_single_label:
        losses = tf.nn.softmax_cross_entropy_with_logits(label, logits)
        label_mask = tf.reduce_min(label_mask, axis=1)
    else:
        losses = tf.nn.sigmoid_cross_entropy_with_logits(label, logits)
    return tf.math.divide_no_nan(tf.reduce_sum(losses * label_mask), tf.reduce_sum(label_mask))


def label_loss(logits: tf.Tensor, label: tf.Tensor, is_single_label: bool) -> tf.Tensor:
    """`class_loss` of float32 labels [batch, labels] that are 1 present, 0 absent, NaN unknown."""
    is_known = tf.logical_not(tf.math.is_nan(label))
    return class_loss(is_single_label, logits, tf.where(is_known, label, 0.0), tf.cast(is_known, tf.float32))
