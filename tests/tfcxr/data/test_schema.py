import dataclasses
import json
import math

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data import schema
from tfcxr.data.parsing import parse_batch


def make_info(**facts) -> schema.DatasetInfo:
    defaults = {
        "name": "x",
        "label_names": ("A", "B"),
        "is_single_label": False,
        "image_size": 4,
        "bits": 8,
        "encoding": "raw",
        "splits": {},
        "images_read": 3,
        "images_written": 2,
        "rejected": {"truncated": 1},
        "preprocessing": {},
        "source": {},
    }
    return schema.DatasetInfo(**(defaults | facts))


@pytest.mark.parametrize("encoding", schema.ENCODINGS)
@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.uint16, 16)])
def test_record_survives_encoding(encoding, dtype, bits):
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (4, 4), endpoint=True).astype(dtype)
    record = schema.Record(image, "k", (1.0, math.nan), "p", view="PA", age=93.0, sex="F")
    bare = schema.Record(image, "k2", (0.0, 1.0), "p2")
    for age, stored in ((89.0, 89.0), (89.5, 90.0)):
        example = tf.train.Example.FromString(schema.encode_record(dataclasses.replace(record, age=age), "raw"))
        assert example.features.feature["patient/age"].float_list.value[0] == stored
    serialized = tf.constant([schema.encode_record(record, encoding), schema.encode_record(bare, encoding)])
    parsed = parse_batch(serialized, make_info(bits=bits, encoding=encoding))
    np.testing.assert_array_equal(parsed["image"][0, ..., 0], image)
    np.testing.assert_array_equal(parsed["label"], np.array([[1, np.nan], [0, 1]], np.float32))
    assert parsed["view"].numpy().tolist() == [b"PA", b""]
    assert parsed["sex"].numpy().tolist() == [b"F", b""]
    assert parsed["age"][0] == 90.0, "ages above 90 would tell people apart"
    assert math.isnan(parsed["age"][1])
    assert parsed["patient_key"].numpy().tolist() == [b"p", b"p2"]


def test_same_record_gives_same_bytes():
    record = schema.Record(np.zeros((4, 4), np.uint8), "k", (1.0,), "p", "PA", 3.0, "M")
    assert schema.encode_record(record, "raw") == schema.encode_record(dataclasses.replace(record), "raw")


@pytest.mark.parametrize(
    ("image", "label", "message"),
    [
        (np.zeros((4, 4, 3), np.uint8), (1.0,), r"\[height, width\], got uint8 \(4, 4, 3\)"),
        (np.zeros((4, 4), np.float32), (1.0,), "uint8 or uint16"),
        (np.zeros((4, 4), np.uint8), (-1.0,), "0, 1 or NaN"),
    ],
)
def test_wrong_record_is_refused(image, label, message):
    with pytest.raises(ValueError, match=message):
        schema.encode_record(schema.Record(image, "k", label, "p"), "raw")


def test_info_survives_json():
    shard = schema.ShardInfo("train-00000-of-00001.tfrecord", 2, 100, "ab")
    counts = {"A": {"positive": 1, "negative": 1, "unknown": 0}}
    info = make_info(splits={"train": schema.SplitInfo(2, 1, counts, (shard,))}, provenance={"seed": 1})
    assert schema.DatasetInfo.from_json(info.to_json()) == info


def test_an_info_of_an_earlier_version_is_read():
    fields = json.loads(make_info().to_json())
    del fields["patient_keys_sha256"]
    assert schema.DatasetInfo.from_json(json.dumps(fields)) == make_info()


def test_labels_are_counted_by_state():
    labels = np.array([[1, 0], [1, math.nan], [0, math.nan], [1, math.nan]], np.float32)
    counts = schema.named_counts(("A", "B"), schema.count_labels(labels))
    assert counts == {
        "A": {"positive": 3, "negative": 1, "unknown": 0},
        "B": {"positive": 0, "negative": 1, "unknown": 3},
    }
    assert json.loads(json.dumps(counts)) == counts
    assert schema.count_labels(labels[:0]).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_what_is_read_must_equal_what_is_written_and_rejected():
    with pytest.raises(ValueError, match="3 images were read, but 2 written and 0 rejected"):
        make_info(rejected={})


@pytest.mark.parametrize(
    ("change", "message"),
    [({"bits": 12}, "8 or 16 bits"), ({"encoding": "jpeg"}, "encoding in"), ({"label_names": ("A", "A")}, "twice")],
)
def test_wrong_info_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        make_info(**change)


def test_other_schema_version_is_refused():
    fields = json.loads(make_info().to_json()) | {"schema_version": 99}
    with pytest.raises(ValueError, match=r"schema version 99, this package reads version 1; build the data set again"):
        schema.DatasetInfo.from_json(json.dumps(fields))


@pytest.mark.parametrize("text", ["{", "[]", '{"schema_version": 1}', '{"schema_version": 1, "splits": {}}'])
def test_damaged_info_is_refused(text):
    with pytest.raises(ValueError, match="dataset_info.json"):
        schema.DatasetInfo.from_json(text)


def test_hashed_key_depends_on_salt_and_hides_identifier():
    assert schema.hashed_key("patient 7", b"a") == schema.hashed_key("patient 7", b"a")
    assert schema.hashed_key("patient 7", b"a") != schema.hashed_key("patient 7", b"b")
    assert "7" not in schema.hashed_key("7", b"a", length=1) or len(schema.hashed_key("7", b"a")) == 16
