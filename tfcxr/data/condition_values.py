"""The values of conditions as tensors, see `tfcxr.data.conditions`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfcxr.data.conditions import UNKNOWN, YEARS


def condition_values(facts: Mapping[str, Any], columns: Sequence[str]) -> tf.Tensor:
    """Values float32 [images, columns], NaN where unknown.

    Args:
      facts: "sex" and "view" string [images], "age" float32 [images], as `read_facts` and `parse_batch` give them.
    """
    return tf.stack([_column_values(facts, column) for column in columns], axis=1)


def with_unknown(values: Any) -> tf.Tensor:
    """Values as networks are told them: `UNKNOWN` in the place of NaN."""
    return tf.where(tf.math.is_nan(values), tf.fill(tf.shape(values), UNKNOWN), values)


def _column_values(facts: Mapping[str, Any], column: str) -> tf.Tensor:
    field, _, value = column.partition("=")
    if field == "age":
        return tf.clip_by_value(tf.cast(facts["age"], tf.float32) / YEARS, 0.0, 1.0)
    words = tf.convert_to_tensor(facts[field])
    return tf.where(tf.equal(words, ""), math.nan, tf.cast(tf.equal(words, value), tf.float32))
