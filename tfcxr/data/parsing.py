"""Serialised records -> tensors, a batch at a time. What a record holds is said in `tfcxr.data.schema`."""

import math

import tensorflow as tf

from tfcxr.data.schema import DatasetInfo


def parse_batch(serialized: tf.Tensor, info: DatasetInfo) -> dict[str, tf.Tensor]:
    """Parses a batch of serialised records at once, which is twice as fast as one by one.

    Args:
      serialized: string [batch].
      info: the data set's description.

    Returns:
      "image" uint8 or uint16 [batch, size, size, 1]; "label" float32 [batch, labels] with NaN where unknown;
      "key", "patient_key", "view", "sex" string [batch]; "age" float32 [batch] in years, NaN where unknown.
    """
    pixels = {"image/bytes": tf.io.FixedLenFeature([], tf.string)}
    parsed = tf.io.parse_example(serialized, pixels | _fact_features(info))
    return {"image": _decode_pixels(parsed["image/bytes"], info), **_facts(parsed)}


def parse_facts(serialized: tf.Tensor, info: DatasetInfo) -> dict[str, tf.Tensor]:
    """What `parse_batch` gives but for "image": no pixel is copied or decoded."""
    return _facts(tf.io.parse_example(serialized, _fact_features(info)))


def _fact_features(info: DatasetInfo) -> dict[str, tf.io.FixedLenFeature]:
    return {
        "image/key": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([len(info.label_names)], tf.float32),
        "patient/key": tf.io.FixedLenFeature([], tf.string),
        "view": tf.io.FixedLenFeature([], tf.string, ""),
        "patient/sex": tf.io.FixedLenFeature([], tf.string, ""),
        "patient/age": tf.io.FixedLenFeature([], tf.float32, math.nan),
    }


def _facts(parsed: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {
        "label": parsed["label"],
        "key": parsed["image/key"],
        "patient_key": parsed["patient/key"],
        "view": parsed["view"],
        "sex": parsed["patient/sex"],
        "age": parsed["patient/age"],
    }


def _decode_pixels(pixels: tf.Tensor, info: DatasetInfo) -> tf.Tensor:
    dtype = tf.uint8 if info.bits == 8 else tf.uint16
    size = info.image_size
    if info.encoding == "raw":
        # The number of records, not -1: a record of two images' length must not pass as two.
        return tf.reshape(tf.io.decode_raw(pixels, dtype), [tf.shape(pixels)[0], size, size, 1])
    decode = lambda png: tf.ensure_shape(tf.io.decode_png(png, channels=1, dtype=dtype), [size, size, 1])  # noqa: E731
    return tf.map_fn(decode, pixels, fn_output_signature=tf.TensorSpec([size, size, 1], dtype))
