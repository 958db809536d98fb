"""Records are encoded without TensorFlow to the bytes that TensorFlow gives, and decoded to the same values."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError

from tfcxr.data.example import Example
from tfcxr.data.schema import Record, encode_record

IMAGE = np.arange(1200, dtype=np.uint16).reshape(30, 40)
RECORDS = {
    "whole": Record(IMAGE, "k" * 300, (1.0, 0.0, math.nan), "p", "LATERAL", 93.0, "F"),
    "bare": Record(IMAGE.astype(np.uint8), "", (), ""),
    "one label": Record(IMAGE, "clé", (1.0,), "p", age=0.25),
}
SPECIAL = {"b": [b"", b"\0\xff" * 200], "f": [math.inf, -0.0, 1e-40], "i": [0, -1, 2**63 - 1, -(2**63), 300], "": []}


def filled(example_class, lists):
    """An example with `lists`, name -> values, in the kind that the name says; without values a feature has no kind."""
    example = example_class()
    for name, values in lists.items():
        feature = example.features.feature[name]
        if values:
            kind = {"b": feature.bytes_list, "f": feature.float_list, "i": feature.int64_list}[name]
            kind.value.extend(values)
    return example


@pytest.mark.parametrize("encoding", ["raw", "png"])
@pytest.mark.parametrize("name", RECORDS)
def test_a_record_has_the_bytes_that_tensorflow_gives(name, encoding):
    data = encode_record(RECORDS[name], encoding)
    message = tf.train.Example.FromString(data)
    assert message.SerializeToString(deterministic=True) == data
    features = message.features.feature
    assert features["image/key"].bytes_list.value == [RECORDS[name].key.encode()]
    np.testing.assert_array_equal(features["label"].float_list.value, RECORDS[name].label)
    assert (features["image/height"].int64_list.value, features["image/width"].int64_list.value) == ([30], [40])


def test_special_values_have_the_bytes_that_tensorflow_gives():
    ours, theirs = filled(Example, SPECIAL), filled(tf.train.Example, SPECIAL)
    data = theirs.SerializeToString(deterministic=True)
    assert ours.SerializeToString(deterministic=True) == data
    features = Example.FromString(data).features.feature
    assert {name: feature.WhichOneof("kind") for name, feature in features.items()} == {
        "b": "bytes_list",
        "f": "float_list",
        "i": "int64_list",
        "": None,
    }
    assert list(features["i"].int64_list.value) == SPECIAL["i"]


def test_what_tensorflow_refuses_is_refused():
    whole = encode_record(dataclasses.replace(RECORDS["whole"], age=3.0), "raw")
    for damaged in (b"\xff" * 9, whole[:-3], whole[:100]):
        with pytest.raises(DecodeError):
            tf.train.Example.FromString(damaged)
        with pytest.raises(DecodeError):
            Example.FromString(damaged)
