"""Images that are read when they are asked for, against the same images in memory."""

import dataclasses

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data.pipeline import choose_images, from_pixels, load_images, read_facts, to_pixels
from tfcxr.data.records import read_dataset_info, shard_name, write_dataset_info, write_shard
from tfcxr.data.schema import DatasetInfo, Record, SplitInfo, encode_record
from tfcxr.data.stored_images import join_images, open_images, read_batches


def write_images(folder, images, encoding, name="train", shards=2, bits=8, damage=lambda example: example):
    """A data folder of one split with images uint8 or uint16 [images, size, size]."""
    written = []
    for shard in range(shards):
        chosen = range(shard, len(images), shards)
        records = [
            Record(images[i], f"i{i}", (float(i % 2), np.nan), f"p{i // 2}", age=40.0 + i, sex="F") for i in chosen
        ]
        examples = [damage(encode_record(record, encoding)) for record in records]
        written.append(write_shard(folder / shard_name(name, shard, shards), examples))
    counts = {
        "A": {"positive": len(images) // 2, "negative": len(images) - len(images) // 2, "unknown": 0},
        "B": {"positive": 0, "negative": 0, "unknown": len(images)},
    }
    splits = {name: SplitInfo(len(images), -(-len(images) // 2), counts, tuple(written))}
    count = len(images)
    size = images.shape[1]
    info = DatasetInfo("noise", ("A", "B"), False, size, bits, encoding, splits, count, count, {}, {}, {})
    write_dataset_info(folder, info)


def noise(dtype, count=9, size=24, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (count, size, size)).astype(dtype)


@pytest.mark.parametrize("encoding", ["raw", "png"])
@pytest.mark.parametrize("bits", [8, 16])
def test_rows_are_those_of_the_array_in_memory(tmp_path, encoding, bits):
    write_images(tmp_path, noise(np.dtype(f"uint{bits}")), encoding, bits=bits)
    expected = load_images(tmp_path, "train").images
    if bits == 16:
        expected = to_pixels(from_pixels(tf.constant(expected))).numpy()
    images = open_images(tmp_path, ["train"])
    assert images.shape == (9, 24, 24, 1) and len(images) == 9 and images.dtype == np.uint8
    mask = np.arange(9) % 3 == 1
    for chosen in (slice(None), slice(2, 7), np.array([5, 0, 5]), mask, np.array([], int)):
        np.testing.assert_array_equal(images[chosen], expected[chosen])
        np.testing.assert_array_equal(images.where(chosen)[:], expected[chosen])
    np.testing.assert_array_equal(images[np.int64(4)], expected[4])
    np.testing.assert_array_equal(images.where(mask).where(np.array([2]))[:], expected[mask][[2]])
    np.testing.assert_array_equal(np.concatenate(list(read_batches(images, 4))), expected)
    assert [len(batch) for batch in read_batches(images, 4)] == [4, 4, 1]
    assert list(read_batches(images.where(slice(0)), 4)) == []


def test_the_same_random_images_are_chosen_as_in_memory(disc_records):
    loaded = load_images(disc_records, ["train", "test"], 10, seed=3)
    chosen = choose_images(loaded.info, ["train", "test"], 10, seed=3)
    np.testing.assert_array_equal(open_images(disc_records, ["train", "test"]).where(chosen)[:], loaded.images)
    facts = read_facts(disc_records, ["train", "test"])
    np.testing.assert_array_equal(facts["label"][chosen], loaded.labels)
    np.testing.assert_array_equal(facts["key"][chosen], loaded.keys)
    np.testing.assert_array_equal(facts["patient_key"][chosen], loaded.patient_keys)


def test_sets_of_another_depth_and_encoding_are_joined(tmp_path):
    write_images(tmp_path / "deep", noise(np.uint16, 3), "png", bits=16)
    write_images(tmp_path / "raw", noise(np.uint8, 4, seed=1), "raw")
    parts = [open_images(tmp_path / name, ["train"]) for name in ("deep", "raw")]
    joined = join_images([parts[0].where(np.array([2, 0])), parts[1]])
    np.testing.assert_array_equal(joined[:], np.concatenate([parts[0][np.array([2, 0])], parts[1][:]]))


def undecodable(example):
    """The record with bytes that are no picture, and everything else as it was."""
    message = tf.train.Example.FromString(example)
    message.features.feature["image/bytes"].bytes_list.value[0] = b"no picture"
    return message.SerializeToString(deterministic=True)


def test_facts_are_read_without_decoding_a_pixel(tmp_path):
    write_images(tmp_path, noise(np.uint8), "png", damage=undecodable)
    facts = read_facts(tmp_path, "train")
    assert sorted(facts["key"]) == [f"i{i}" for i in range(9)]
    np.testing.assert_array_equal(facts["label"][:, 0], [int(key[1:]) % 2 for key in facts["key"]])
    assert np.isnan(facts["label"][:, 1]).all() and set(facts["sex"]) == {"F"} and set(facts["view"]) == {""}
    np.testing.assert_array_equal(facts["age"], [40 + int(key[1:]) for key in facts["key"]])
    with pytest.raises(ValueError, match="is damaged"):
        load_images(tmp_path, "train")


def test_damage_is_named_when_it_is_read(tmp_path):
    write_images(tmp_path / "undecodable", noise(np.uint8), "png", damage=undecodable)
    with pytest.raises(ValueError, match=r"a record of .*train-00000.* is damaged: expected an image of 24 px and 8"):
        open_images(tmp_path / "undecodable", ["train"])[0]
    write_images(tmp_path / "no_record", noise(np.uint8), "raw", damage=lambda example: b"\xff\xff")
    with pytest.raises(ValueError, match="is damaged: it holds no image"):
        open_images(tmp_path / "no_record", ["train"])[0]
    write_images(tmp_path / "small", noise(np.uint8, size=16), "png")
    info = read_dataset_info(tmp_path / "small")
    write_dataset_info(tmp_path / "small", dataclasses.replace(info, image_size=24))
    with pytest.raises(ValueError, match=r"expected an image of 24 px and 8 bits, got uint8 \(16, 16\)"):
        open_images(tmp_path / "small", ["train"])[0]
    shard = info.splits["train"].shards[0]
    more = dataclasses.replace(info.splits["train"], shards=(dataclasses.replace(shard, images=9),))
    write_dataset_info(tmp_path / "small", dataclasses.replace(info, splits={"train": more}))
    with pytest.raises(ValueError, match="holds 5 images, not 9"):
        open_images(tmp_path / "small", ["train"])
    cut = (tmp_path / "small" / shard.file).read_bytes()[:-7]
    (tmp_path / "small" / shard.file).write_bytes(cut)
    less = dataclasses.replace(info.splits["train"], shards=(dataclasses.replace(shard, bytes=len(cut)),))
    write_dataset_info(tmp_path / "small", dataclasses.replace(info, splits={"train": less}))
    with pytest.raises(ValueError, match="its last record is cut off"):
        open_images(tmp_path / "small", ["train"])


def test_only_the_asked_for_images_are_decoded(tmp_path, monkeypatch):
    write_images(tmp_path, noise(np.uint8), "png")
    decoded = []
    decode = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *arguments: decoded.append(1) or decode(*arguments))
    images = open_images(tmp_path, ["train"])
    part = join_images([images.where(np.arange(4)), images])
    assert not decoded
    part[np.array([1, 8])]
    assert len(decoded) == 2
