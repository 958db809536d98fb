"""What conditional networks are told of an image's labels."""

import tensorflow as tf


def label_condition(label: tf.Tensor, label_mask: tf.Tensor | None, is_single_label: bool) -> tf.Tensor:
    """Labels as networks read them, float32 [batch, labels].

    Args:
      label: float32 [batch, labels], 0 or 1; 0 where unknown.
      label_mask: float32 [batch, labels], 1 where the label is known; None says that all are.
      is_single_label: exclusive labels stay as they are (all zero for an unknown row). Joint labels become 1 where
        present, -1 where absent and 0 where unknown, so that an unknown one is not taken for absent.
    """
    signed = label if is_single_label else 2.0 * label - 1.0
    return signed if label_mask is None else signed * label_mask
