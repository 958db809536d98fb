import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data import record_reader
from tfcxr.data.label_choice import choose_labels
from tfcxr.data.record_reader import RecordReader, reading_errors
from tfcxr.data.records import read_dataset_info, shard_paths
from tfcxr.data.tfrecord import read_records

OPEN_FILES = pathlib.Path("/proc/self/fd")


@pytest.fixture(name="shards")
def train_shards(disc_records):
    return shard_paths(disc_records, read_dataset_info(disc_records), "train")


@pytest.fixture(name="choice")
def all_labels(disc_records):
    return choose_labels(read_dataset_info(disc_records))


def test_any_records_in_any_order(shards, choice):
    stored = [record for path in shards for record in read_records(path)]
    places = np.array([47, 0, 20, 20, 15])
    assert RecordReader(shards, choice, 48).read(places).tolist() == [stored[place] for place in places]


def test_threads_read_more_shards_than_may_be_open(shards, choice, monkeypatch):
    monkeypatch.setattr(record_reader, "_MOST_OPEN_SHARDS", 1)
    stored = [record for path in shards for record in read_records(path)]
    reader = RecordReader(shards, choice, 48)
    before = len(list(OPEN_FILES.iterdir()))
    orders = tf.data.Dataset.range(64).map(
        lambda seed: tf.numpy_function(
            lambda seed: reader.read(np.random.default_rng(seed).permutation(48)), [seed], tf.string
        ),
        num_parallel_calls=4,
    )
    for seed, records in enumerate(orders.as_numpy_iterator()):
        assert records.tolist() == [stored[place] for place in np.random.default_rng(seed).permutation(48)]
    assert len(list(OPEN_FILES.iterdir())) <= before + 2  # one shard, and what listing opens


def test_a_file_that_shrinks_after_it_was_looked_at(shards, choice, tmp_path):
    path = tmp_path / "shard"
    path.write_bytes(pathlib.Path(shards[0]).read_bytes())
    reader = RecordReader([path], choice, 16)
    reader.read(np.array([0]))
    os.truncate(path, 100)
    with pytest.raises(
        ValueError, match=f"shard {path} is damaged: a record does not fit its checksum; build the data"
    ):
        reader.read(np.array([1]))


def test_fewer_records_than_the_description_says(shards, choice, disc_records):
    with pytest.raises(ValueError, match=f"{disc_records} is damaged: it holds 32 images, not 48; build it again"):
        RecordReader(shards[:2], choice, 48).read(np.array([0]))


def test_errors_of_others_stay_as_they_are():
    with pytest.raises(tf.errors.InvalidArgumentError, match="no such word"), reading_errors():
        raise tf.errors.InvalidArgumentError(None, None, "no such word")
