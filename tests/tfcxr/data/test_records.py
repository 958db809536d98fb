import dataclasses
import shutil

import pytest

from tfcxr.data.pipeline import training_batches
from tfcxr.data.records import (
    PATIENT_KEYS_FILE,
    divide_into_shards,
    read_dataset_info,
    read_patient_keys,
    shard_paths,
    split_info,
    stored_patient_keys,
    write_dataset_info,
    write_patient_keys,
)


@pytest.fixture
def copied_records(disc_records, tmp_path):
    return shutil.copytree(disc_records, tmp_path / "copy")


def test_shards_are_found_in_order(disc_records):
    info = read_dataset_info(disc_records)
    paths = shard_paths(disc_records, info, "train", verify_checksums=True)
    assert [path.split("/")[-1] for path in paths] == [f"train-{index:05d}-of-00003.tfrecord" for index in range(3)]


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist; python -m tfrecords_builder makes one"):
        read_dataset_info(tmp_path / "nowhere")


def test_folder_without_info(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no dataset_info.json; it is empty"):
        read_dataset_info(tmp_path)


def test_folder_of_several_sizes_names_them(disc_records):
    with pytest.raises(FileNotFoundError, match="it holds builds at 32 px"):
        read_dataset_info(disc_records.parent)


def test_unknown_split_names_the_others(disc_records):
    with pytest.raises(ValueError, match="no split 'tset'; it has test, train, validation"):
        split_info(read_dataset_info(disc_records), "tset")


def test_truncated_shard(copied_records):
    path = copied_records / "train-00001-of-00003.tfrecord"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"train-00001-of-00003.tfrecord is damaged: expected \d+ bytes"):
        shard_paths(copied_records, read_dataset_info(copied_records), "train")


def test_altered_shard_is_found_on_request(copied_records):
    path = copied_records / "train-00001-of-00003.tfrecord"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    info = read_dataset_info(copied_records)
    assert shard_paths(copied_records, info, "train")
    with pytest.raises(ValueError, match="was altered: its SHA-256"):
        shard_paths(copied_records, info, "train", verify_checksums=True)


def test_missing_shard(copied_records):
    (copied_records / "train-00001-of-00003.tfrecord").unlink()
    with pytest.raises(FileNotFoundError, match=r"train-00001-of-00003.tfrecord is missing"):
        shard_paths(copied_records, read_dataset_info(copied_records), "train")


def test_several_splits_are_read_as_one(disc_records):
    info = read_dataset_info(disc_records)
    both = split_info(info, "train, test")
    assert (both.images, both.patients) == (64, 32) and both.labels["NORMAL"]["positive"] == 32
    assert len(shard_paths(disc_records, info, "train,test")) == 6
    batches = training_batches(disc_records, "test,validation", batch_size=32, seed=0)  # more than either holds
    assert next(iter(batches))["image"].shape[0] == 32
    with pytest.raises(ValueError, match="'test,test' names a split twice"):
        split_info(info, "test,test")
    with pytest.raises(ValueError, match="has no split 'fold_9'; it has"):
        split_info(info, "test,fold_9")


@pytest.mark.parametrize(
    ("images", "shard_images", "lengths"),
    [
        (0, 5, []),
        (1, 5, [1]),
        (100, 2000, [100]),
        (101, 2000, [50, 51]),
        (700, 2000, [100] * 7),
        (800, 2000, [100] * 8),
        (801, 2000, [100] * 7 + [101]),
        (4001, 2000, [500] * 7 + [501]),
        (7, 3, [2, 2, 3]),
    ],
)
def test_images_are_divided_into_shards(images, shard_images, lengths):
    shards = divide_into_shards(images, shard_images)
    found = [len(range(images)[shard]) for shard in shards]
    assert len(found) == len(lengths) and sum(found) == images
    assert [position for shard in shards for position in range(images)[shard]] == list(range(images))
    assert max(found, default=0) <= shard_images and max(found, default=0) - min(found, default=0) <= 1
    if sum(lengths) == images:
        assert found == lengths


def test_patient_keys_stand_beside_the_shards(copied_records):
    names = ("test", "train", "validation")
    from_records = {split: read_patient_keys(copied_records, split) for split in names}
    digest = write_patient_keys(copied_records, {split: [*keys, keys[0]] for split, keys in from_records.items()})
    info = dataclasses.replace(read_dataset_info(copied_records), patient_keys_sha256=digest)
    write_dataset_info(copied_records, info)
    assert stored_patient_keys(copied_records, info) == from_records
    for shard in info.splits["train"].shards:  # no record is read
        (copied_records / shard.file).write_bytes(bytes(shard.bytes))
    assert read_patient_keys(copied_records, "train") == from_records["train"]
    assert read_patient_keys(copied_records, "test, train") == sorted(from_records["test"] + from_records["train"])
    with pytest.raises(ValueError, match="no split 'tset'"):
        read_patient_keys(copied_records, "tset")
    (copied_records / PATIENT_KEYS_FILE).write_text("{}")
    with pytest.raises(ValueError, match=r"patient_keys.json was altered: .*; remove it, and the records are read"):
        read_patient_keys(copied_records, "train")
    (copied_records / PATIENT_KEYS_FILE).unlink()
    assert read_patient_keys(copied_records, "test") == from_records["test"]
