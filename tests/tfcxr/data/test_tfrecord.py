"""Files are those of `tf.io.TFRecordWriter`, byte for byte, and every damage of a file is found."""

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data.tfrecord import BUFFER_BYTES, HEAD_BYTES, framed, read_record, read_records, record_positions

RECORDS = [b"", b"\0", b"a" * 300, np.random.default_rng(0).bytes(BUFFER_BYTES + 5), b"last"]


def write(path, records):
    path.write_bytes(b"".join(map(framed, records)))
    return path


def test_a_file_has_the_bytes_that_tensorflow_writes(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in RECORDS:
            writer.write(record)
    assert write(tmp_path / "ours", RECORDS).read_bytes() == (tmp_path / "theirs").read_bytes()
    assert [entry.numpy() for entry in tf.data.TFRecordDataset(str(tmp_path / "ours"))] == RECORDS
    assert list(read_records(tmp_path / "theirs")) == RECORDS
    assert list(read_records(write(tmp_path / "empty", []))) == []


def test_any_record_by_its_position(tmp_path):
    path = write(tmp_path / "shard", RECORDS)
    starts, lengths = record_positions(path)
    assert lengths.tolist() == [len(record) for record in RECORDS]
    with path.open("rb") as file:
        for place in (4, 2, 0, 3, 1):
            assert read_record(file.fileno(), starts[place], lengths[place]) == RECORDS[place]
        with pytest.raises(ValueError, match="a record does not fit its checksum"):
            read_record(file.fileno(), starts[2], lengths[2] - 1)
    assert [len(column) for column in record_positions(write(tmp_path / "empty", []))] == [0, 0]


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"\0" * 12, lambda data: data + b"\0"])
def test_positions_of_a_damaged_file(tmp_path, change):
    path = tmp_path / "shard"
    path.write_bytes(change(framed(b"a" * 300)))
    with pytest.raises(ValueError, match=f"{path} is damaged: (it is cut off|the length of a record does not fit)"):
        record_positions(path)


def flipped(data, position):
    changed = bytearray(data)
    changed[position] ^= 1
    return bytes(changed)


def head_of(length):
    """The head of a record of this length, with its checksum."""
    return (data := length.to_bytes(8, "little")) + framed(data)[-4:]


SECOND = 316  # where the second of two records of 300 bytes begins
# damage -> what becomes of the file's bytes, how many records are read before it, the message
DAMAGE = {
    "length": (lambda data: flipped(data, SECOND), 1, "the length of a record does not fit its checksum"),
    "length's checksum": (lambda data: flipped(data, SECOND + 9), 1, "the length of a record does not fit"),
    "record": (lambda data: flipped(data, SECOND + HEAD_BYTES), 1, "a record does not fit its checksum"),
    "record's checksum": (lambda data: flipped(data, len(data) - 1), 1, "a record does not fit its checksum"),
    "cut in the record": (lambda data: data[:-20], 1, "the file is cut off"),
    "cut in the head": (lambda data: data[: SECOND + 5], 1, "the file is cut off"),
    "cut in the checksum": (lambda data: data[:-1], 1, "the file is cut off"),
    "bytes behind": (lambda data: data + b"x" * 5, 2, "the file is cut off"),
    "a record longer than all memory": (lambda data: data + head_of(2**60), 2, "the file is cut off"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_told_and_what_comes_before_is_read(tmp_path, kind):
    damage, whole, message = DAMAGE[kind]
    records = [b"a" * 300, b"b" * 300]
    path = write(tmp_path / "file", records)
    path.write_bytes(damage(path.read_bytes()))
    found = []
    with pytest.raises(ValueError, match=message):
        for record in read_records(path):
            found.append(record)  # noqa: PERF402 (those before the damage are kept)
    assert found == records[:whole]
    if whole < 2 and kind != "cut in the head":  # which TensorFlow takes for the end
        with pytest.raises(tf.errors.DataLossError):
            list(tf.data.TFRecordDataset(str(path)))
