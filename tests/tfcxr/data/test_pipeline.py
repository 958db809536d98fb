import itertools
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data import pipeline, record_cache
from tfcxr.data.pipeline import (
    evaluation_batches,
    find_data_dir,
    from_pixels,
    load_images,
    to_pixels,
    training_batches,
)
from tfcxr.data.record_reader import reading_errors
from tfcxr.data.records import read_patient_keys


def from_images(batch):
    return to_pixels(batch["image"]).numpy()


def take(batches, count):
    return list(itertools.islice(batches.as_numpy_iterator(), count))


def test_batches_have_documented_shapes_and_ranges(disc_records):
    (batch,) = take(training_batches(disc_records, "train", 10, seed=0), 1)
    assert batch["image"].shape == (10, 32, 32, 1)
    assert batch["image"].dtype == np.float32
    assert -1 <= batch["image"].min() < -0.5 < 0.3 < batch["image"].max() <= 1
    assert batch["label"].shape == batch["label_mask"].shape == (10, 2)
    assert (batch["label_mask"] == 1).all()


def test_same_seed_same_order_other_seed_other_order(disc_records):
    images = [
        np.stack([batch["image"] for batch in take(training_batches(disc_records, "train", 8, seed), 9)])
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])


@pytest.mark.thorough
@pytest.mark.parametrize("start_step", [1, 3, 4, 5, 9, 17])
def test_started_at_any_step_it_continues_the_same_order(disc_records, start_step):
    whole = take(training_batches(disc_records, "train", 10, seed=3), 20)
    resumed = take(training_batches(disc_records, "train", 10, seed=3, start_step=start_step), 20 - start_step)
    for expected, batch in zip(whole[start_step:], resumed, strict=True):
        np.testing.assert_array_equal(expected["image"], batch["image"])
        np.testing.assert_array_equal(expected["label"], batch["label"])


def test_each_epoch_holds_each_image_once_in_a_new_order(disc_records):
    batches = take(training_batches(disc_records, "train", 8, seed=0), 12)
    epochs = [np.concatenate([batch["image"] for batch in batches[start : start + 6]]) for start in (0, 6)]
    sums = [np.sort(epoch.reshape(48, -1).astype(np.float64).sum(axis=1)) for epoch in epochs]
    np.testing.assert_array_equal(sums[0], sums[1])
    assert len(np.unique(sums[0])) == 48
    assert not np.array_equal(epochs[0], epochs[1])


def test_global_seed_of_numpy_does_not_matter(disc_records):
    np.random.seed(1)
    (first,) = take(training_batches(disc_records, "train", 8, seed=0), 1)
    np.random.seed(2)
    (second,) = take(training_batches(disc_records, "train", 8, seed=0), 1)
    np.testing.assert_array_equal(first["image"], second["image"])


def test_batch_larger_than_the_split_is_refused(disc_records):
    with pytest.raises(ValueError, match="holds 16 images, too few for one batch of 17"):
        training_batches(disc_records, "validation", 17, seed=0)


def test_evaluation_passes_once_in_stored_order(disc_records):
    keys = np.concatenate([batch["key"] for batch in evaluation_batches(disc_records, "test", 5).as_numpy_iterator()])
    assert len(keys) == len(set(keys)) == 16


def test_load_images_of_several_splits_and_a_subset(disc_records):
    both = load_images(disc_records, ["validation", "test"])
    assert both.images.shape == (32, 32, 32, 1)
    subset = load_images(disc_records, ["validation", "test"], max_images=7, seed=1)
    assert len(subset.images) == 7
    assert set(subset.keys) < set(both.keys)
    assert set(subset.keys) != set(load_images(disc_records, ["validation", "test"], max_images=7, seed=2).keys)
    with pytest.raises(ValueError, match="33 images were asked for, but discs holds 32"):
        load_images(disc_records, ["validation", "test"], max_images=33)


def test_patients_without_loading_everything(disc_records):
    assert read_patient_keys(disc_records, "train") == sorted(set(load_images(disc_records, "train").patient_keys))


def test_chosen_classes_leave_out_the_images_of_others(write_records, tmp_path):
    write_records(tmp_path / "32", {"train": 20}, images_a_patient=1)
    loaded = load_images(tmp_path / "32", "train")
    is_kept = loaded.labels[:, 1] == 1
    batches = take(training_batches(tmp_path / "32", "train", 5, seed=0, labels=["PNEUMONIA"]), 5)
    assert all((batch["label"] == 1).all() and batch["label"].shape == (5, 1) for batch in batches)
    epoch = np.concatenate([from_images(batch) for batch in batches[:2]])
    assert {image.tobytes() for image in epoch} == {image.tobytes() for image in loaded.images[is_kept]}
    (resumed,) = take(training_batches(tmp_path / "32", "train", 5, seed=0, start_step=4, labels=["PNEUMONIA"]), 1)
    np.testing.assert_array_equal(resumed["image"], batches[4]["image"])
    assert read_patient_keys(tmp_path / "32", "train", ["PNEUMONIA"]) == sorted(loaded.patient_keys[is_kept])
    with pytest.raises(ValueError, match="holds 10 images, too few for one batch of 11"):
        training_batches(tmp_path / "32", "train", 11, seed=0, labels=["PNEUMONIA"])


def test_chosen_joint_labels_keep_all_images_in_another_order_of_columns(write_records, tmp_path):
    write_records(tmp_path / "32", {"train": 20}, is_single_label=False)
    (whole,), (chosen,) = (
        take(training_batches(tmp_path / "32", "train", 20, seed=0, labels=labels), 1)
        for labels in ((), ("PNEUMONIA", "NORMAL"))
    )
    np.testing.assert_array_equal(chosen["image"], whole["image"])
    np.testing.assert_array_equal(chosen["label"], whole["label"][:, ::-1])


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_cached_images_give_the_same_batches(write_records, tmp_path, encoding):
    write_records(tmp_path / "32", {"train": 20}, images_a_patient=1, encoding=encoding)
    options = {"start_step": 2, "labels": ["PNEUMONIA"], "conditions": ["sex=F", "age"]}
    read, cached = (
        take(training_batches(tmp_path / "32", "train", 5, 0, cache=cache, **options), 4) for cache in (False, True)
    )
    for expected, batch in zip(read, cached, strict=True):
        assert {name: value.dtype for name, value in batch.items()} == dict.fromkeys(expected, np.float32)
        for name, value in expected.items():
            np.testing.assert_array_equal(batch[name], value)


def test_more_pixels_than_memory_are_not_cached(disc_records, monkeypatch):
    monkeypatch.setattr(record_cache, "available_memory", lambda: 2**30 + 48 * 32 * 32)
    training_batches(disc_records, "train", 4, seed=0, cache=True)
    monkeypatch.setattr(record_cache, "available_memory", lambda: 2**30 + 48 * 32 * 32 - 1)
    with pytest.raises(ValueError, match=r"--cache needs 0.0 GiB for 48 images of 32 px .* but 1.0 GiB are available"):
        training_batches(disc_records, "train", 4, seed=0, cache=True)


def test_the_rows_of_all_workers_are_the_batch(disc_records):
    shares = [slice(0, 3), slice(3, 6)]
    (whole,), *parts = (
        take(training_batches(disc_records, "train", 6, seed=0, start_step=9, rows=rows), 1)
        for rows in (slice(None), *shares)
    )
    np.testing.assert_array_equal(np.concatenate([part["image"] for (part,) in parts]), whole["image"])


def damaged_copy(data_dir, tmp_path, shard):
    copied = shutil.copytree(data_dir, tmp_path / "copy")
    content = bytearray((copied / shard).read_bytes())
    content[200] ^= 255
    (copied / shard).write_bytes(content)
    return copied, copied / shard


def test_damage_while_training_is_reported(disc_records, tmp_path):
    copied, path = damaged_copy(disc_records, tmp_path, "train-00001-of-00003.tfrecord")
    message = f"^shard {path} is damaged: a record does not fit its checksum; build"
    with pytest.raises(ValueError, match=message), reading_errors():
        take(training_batches(copied, "train", 48, seed=0), 1)
    batches = training_batches(copied, "train", 48, seed=0)
    path.unlink()
    with pytest.raises(OSError, match="train-00001-of-00003.tfrecord"), reading_errors():
        take(batches, 1)


def test_damaged_record_is_reported(disc_records, tmp_path):
    copied, _ = damaged_copy(disc_records, tmp_path, "test-00000-of-00003.tfrecord")
    with pytest.raises(ValueError, match="a record of split 'test' .* is damaged"):
        load_images(copied, "test")
    with pytest.raises(ValueError, match="a record of split 'test' .* is damaged"):
        read_patient_keys(copied, "test")


def test_find_data_dir(disc_records, tmp_path):
    assert find_data_dir(disc_records, 32) == disc_records
    assert find_data_dir(disc_records.parent, 32) == disc_records
    with pytest.raises(ValueError, match="holds images of 32 px, but 64 px were asked for"):
        find_data_dir(disc_records, 64)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        find_data_dir(tmp_path / "nowhere", 64)


def test_pixels_survive_the_value_ranges():
    pixels = tf.range(256, dtype=tf.int32)
    np.testing.assert_array_equal(to_pixels(from_pixels(tf.cast(pixels, tf.uint8))), pixels)
    assert from_pixels(tf.constant([65535], tf.uint16)).numpy() == 1.0
    np.testing.assert_array_equal(to_pixels(tf.constant([-3.0, 3.0])), [0, 255])


def test_facts_are_of_every_image(disc_records):
    facts = pipeline.read_facts(disc_records, "train")
    images = pipeline.read_dataset_info(disc_records).splits["train"].images
    assert {len(values) for values in facts.values()} == {images} and len(set(facts["key"].tolist())) == images
