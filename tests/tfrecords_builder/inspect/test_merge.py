"""Merging data folders: whose labels end up where, what is refused, and what a killed merge leaves."""

import dataclasses
import math
import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data.pipeline import evaluation_batches
from tfcxr.data.records import (
    read_dataset_info,
    shard_name,
    shard_paths,
    stored_patient_keys,
    write_dataset_info,
    write_shard,
)
from tfcxr.data.schema import DatasetInfo, Record, SplitInfo, encode_record
from tfcxr.data.training_patients import TRAINING_PATIENTS_FILE, TrainingPatients, read_training_patients
from tfcxr.data.unfinished import resumable_work, unfinished_folder
from tfrecords_builder.inspect import merge_shard
from tfrecords_builder.inspect.merge import merge_folders
from tfrecords_builder.inspect.merge_inputs import MergeOptions

UNKNOWN = math.nan


def record(key: str, label: tuple, patient: str, size: int = 4, bits: int = 8) -> Record:
    """Noise that depends on the key alone."""
    random = np.random.default_rng(list(key.encode()))
    dtype = np.uint8 if bits == 8 else np.uint16
    image = random.integers(0, 1 << bits, (size, size)).astype(dtype)
    return Record(image, key, tuple(map(float, label)), patient, view="PA", age=40.0)


def write_set(folder, name, label_names, splits, shards=2, **facts) -> pathlib.Path:
    """A data folder of `splits[split]` = [(key, patient, label), ...]."""
    facts = {"is_single_label": False, "image_size": 4, "bits": 8, "encoding": "raw"} | facts
    described = {}
    for split, rows in splits.items():
        records = [record(key, label, patient, facts["image_size"], facts["bits"]) for key, patient, label in rows]
        written = [
            write_shard(
                folder / shard_name(split, index, shards),
                [encode_record(entry, facts["encoding"]) for entry in records[index::shards]],
            )
            for index in range(shards)
        ]
        described[split] = SplitInfo(len(rows), len({patient for _, patient, _ in rows}), {}, tuple(written))
    images = sum(split.images for split in described.values())
    write_dataset_info(
        folder,
        DatasetInfo(
            **{
                "name": name,
                "label_names": tuple(label_names),
                "splits": described,
                "images_read": images + 1,
                "images_written": images,
                "rejected": {"constant": 1},
                "preprocessing": {"square": "pad", "seed": 5},
                "source": {"homepage": "", "citation": f"paper of {name}", "licence": f"licence of {name}"},
                "salt_fingerprint": "salt",
                "notice": "",
                "notices": {"sideways": 2},
            }
            | facts
        ),
    )
    return folder


ONE_SPLITS = {
    "train": [("1a", "p1", (1, 0)), ("1b", "p1", (0, UNKNOWN)), ("1c", "p2", (0, 0))],
    "test": [("1d", "p3", (1, 1))],
}
TWO_SPLITS = {
    "train": [("2a", "q1", (1, 0, 1)), ("2b", "q2", (UNKNOWN, 1, 0))],
    "validation": [("2c", "q3", (0, 0, 0))],
}


@pytest.fixture
def one(tmp_path):
    return write_set(tmp_path / "one", "set_one", ["Edema", "Mass"], ONE_SPLITS)


@pytest.fixture
def two(tmp_path):
    return write_set(tmp_path / "two", "set_two", ["Mass", "Hernia", "Edema"], TWO_SPLITS)


def labels_of(data_dir) -> dict[str, dict[str, list]]:
    """Split -> key -> label; checks on the way that the pixels and facts are those of the key."""
    info = read_dataset_info(data_dir)
    found = {}
    for split in info.splits:
        found[split] = {}
        for batch in evaluation_batches(data_dir, split, 100, verify_checksums=True).as_numpy_iterator():
            for row, key in enumerate(batch["key"]):
                whole = record(key.decode(), (), "", info.image_size, info.bits)
                np.testing.assert_array_equal(batch["image"][row, ..., 0], whole.image)
                assert (batch["view"][row], batch["age"][row]) == (b"PA", 40)
                found[split][key.decode()] = batch["label"][row].tolist()
    return found


def serialized(data_dir, split="train") -> list[bytes]:
    info = read_dataset_info(data_dir)
    return [entry.numpy() for entry in tf.data.TFRecordDataset(shard_paths(data_dir, info, split))]


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def same(found, expected):
    assert found.keys() == expected.keys()
    for split in expected:
        assert found[split].keys() == expected[split].keys()
        for key, label in expected[split].items():
            np.testing.assert_array_equal(found[split][key], label, err_msg=key)


def test_labels_are_aligned_by_name_and_unknown_where_absent(one, two, tmp_path):
    info = merge_folders([one, two], tmp_path / "out", MergeOptions())[4]
    assert info == read_dataset_info(tmp_path / "out")
    assert info.label_names == ("Edema", "Mass", "Hernia") and not info.is_single_label
    patients = {"train": ["p1", "p2", "q1", "q2"], "test": ["p3"], "validation": ["q3"]}
    assert stored_patient_keys(tmp_path / "out", info) == patients
    same(
        labels_of(tmp_path / "out"),
        {
            "train": {
                "1a": [1, 0, UNKNOWN],
                "1b": [0, UNKNOWN, UNKNOWN],
                "1c": [0, 0, UNKNOWN],
                "2a": [1, 1, 0],
                "2b": [0, UNKNOWN, 1],
            },
            "test": {"1d": [1, 1, UNKNOWN]},
            "validation": {"2c": [0, 0, 0]},
        },
    )
    train = info.splits["train"]
    assert (train.images, train.patients) == (5, 4)
    assert train.labels == {
        "Edema": {"positive": 2, "negative": 3, "unknown": 0},
        "Mass": {"positive": 1, "negative": 2, "unknown": 2},
        "Hernia": {"positive": 1, "negative": 1, "unknown": 3},
    }
    assert not (unfinished_folder(tmp_path / "out", "merge")).exists()


def test_info_keeps_what_was_known_of_each_set_and_the_sums_hold(one, two, tmp_path):
    info = merge_folders([one, two], tmp_path / "out", MergeOptions(seed=3))[4]
    assert (info.name, info.bits, info.encoding, info.salt_fingerprint) == ("merged", 8, "raw", "salt")
    assert (info.images_read, info.images_written, info.rejected) == (9, 7, {"constant": 2})
    assert info.notices == {"sideways": 4}
    assert info.preprocessing == {name: {"square": "pad", "seed": 5} for name in ("set_one", "set_two")}
    assert info.source["licence"] == "set_one: licence of set_one\nset_two: licence of set_two"
    assert info.source["homepage"] == ""
    assert info.provenance["merge"]["seed"] == 3 and info.provenance["merge"]["absent_label"] == "unknown"
    entry = info.provenance["inputs"]["set_two"]
    assert entry["source"]["citation"] == "paper of set_two" and entry["images_written"] == 3
    assert str(tmp_path) not in (tmp_path / "out" / "dataset_info.json").read_text()


def test_only_the_splits_asked_for_are_taken_and_the_rest_counted(one, two, tmp_path):
    info = merge_folders([one, two], tmp_path / "out", MergeOptions(splits=("validation", "test")))[4]
    assert set(info.splits) == {"validation", "test"} and info.images_written == 2
    assert info.rejected == {"constant": 2, "split_not_merged": 5}
    with pytest.raises(ValueError, match="no data set has a split 'tset'; did you mean 'test'"):
        merge_folders([one, two], tmp_path / "x", MergeOptions(splits=("tset",)))
    assert not (tmp_path / "x").exists()


def test_no_image_in_the_splits(tmp_path):
    empty = [write_set(tmp_path / name, name, ["A"], {"train": []}) for name in ("one", "two")]
    with pytest.raises(ValueError, match="the splits to merge hold no image"):
        merge_folders(empty, tmp_path / "x", MergeOptions())


def test_names_are_changed_in_all_sets_or_in_one(one, two, tmp_path):
    options = MergeOptions(renames=("Mass=Nodule", "set_two:Edema=Oedema", "Hernia=Edema"))
    info = merge_folders([one, two], tmp_path / "out", options)[4]
    assert info.label_names == ("Edema", "Nodule", "Oedema")
    found = labels_of(tmp_path / "out")["train"]
    np.testing.assert_array_equal(found["1a"], [1, 0, UNKNOWN])
    np.testing.assert_array_equal(found["2b"], [1, UNKNOWN, 0])
    assert info.provenance["inputs"]["set_two"]["renamed_to"] == ["Nodule", "Edema", "Oedema"]


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        ("Mass", "expects OLD=NEW or SET:OLD=NEW, got 'Mass'"),
        ("Mass=", "expects OLD=NEW or SET:OLD=NEW, got 'Mass='"),
        ("Mas=Nodule", "no data set has a label 'Mas'; did you mean 'Mass'"),
        ("set_on:Mass=Nodule", "no data set is called 'set_on'; did you mean 'set_one'"),
        ("set_one:Hernia=Nodule", "set_one has no label 'Hernia'; valid names: Edema, Mass"),
        ("Mass=Edema", "after renaming, set_one has one label name twice: Edema, Edema"),
    ],
)
def test_a_wrong_renaming_is_told(one, two, tmp_path, rename, message):
    with pytest.raises(ValueError, match=message):
        merge_folders([one, two], tmp_path / "x", MergeOptions(renames=(rename,)))


def test_label_names_can_be_chosen_and_ordered(one, two, tmp_path):
    info = merge_folders([one, two], tmp_path / "out", MergeOptions(label_names=("Hernia", "Edema")))[4]
    assert info.label_names == ("Hernia", "Edema")
    found = labels_of(tmp_path / "out")["train"]
    np.testing.assert_array_equal(found["1a"], [UNKNOWN, 1])
    np.testing.assert_array_equal(found["2b"], [1, 0])
    with pytest.raises(ValueError, match="no data set has a label 'Hernja' after renaming; did you mean 'Hernia'"):
        merge_folders([one, two], tmp_path / "x", MergeOptions(label_names=("Hernja",)))
    with pytest.raises(ValueError, match="labels expects one or more names, each once, got 'Mass,Mass'"):
        MergeOptions(label_names=("Mass", "Mass"))


@pytest.mark.parametrize("renamed", [False, True])
def test_labels_of_one_folder_are_chosen(one, tmp_path, renamed):
    renames, names = (("Mass=Nodule",), ("Nodule",)) if renamed else ((), ("Mass",))
    options = MergeOptions(label_names=names, renames=renames, splits=("train",))
    info = merge_folders([one], tmp_path / "out", options)[4]
    assert info == read_dataset_info(tmp_path / "out")
    assert (info.name, info.label_names, info.is_single_label) == ("set_one", names, False)
    same(labels_of(tmp_path / "out"), {"train": {"1a": [0], "1b": [UNKNOWN], "1c": [0]}})
    assert info.splits["train"].labels == {names[0]: {"positive": 0, "negative": 2, "unknown": 1}}
    assert (info.images_read, info.rejected) == (5, {"constant": 1, "split_not_merged": 1})
    assert info.source == read_dataset_info(one).source and info.salt_fingerprint == "salt"
    assert stored_patient_keys(tmp_path / "out", info) == {"train": ["p1", "p2"]}
    with pytest.raises(ValueError, match="set_one has no label 'Mas'; did you mean 'Mass'"):
        merge_folders([one], tmp_path / "x", MergeOptions(label_names=("Mas",)))


def test_of_exclusive_classes_the_images_of_others_are_left_out(tmp_path):
    classes = single(tmp_path / "one", "one", ["ELBOW", "HAND", "FOOT"], [(1, 0, 0), (0, 1, 0), (0, 0, 1)] * 2, "a")
    info = merge_folders([classes], tmp_path / "out", MergeOptions(label_names=("FOOT", "ELBOW")))[4]
    assert info.is_single_label and info.label_names == ("FOOT", "ELBOW")
    same(labels_of(tmp_path / "out"), {"train": {"a0": [0, 1], "a2": [1, 0], "a3": [0, 1], "a5": [1, 0]}})
    assert (info.images_written, info.rejected) == (4, {"constant": 1, "excluded_label": 2})
    assert info.splits["train"].patients == 4
    lone = single(tmp_path / "lone", "lone", ["ELBOW", "HAND"], [(1, 0)], "b")
    with pytest.raises(ValueError, match="no image has any of the labels HAND"):
        merge_folders([lone], tmp_path / "x", MergeOptions(label_names=("HAND",)))


def single(folder, name, label_names, labels, prefix):
    rows = [(f"{prefix}{index}", f"{prefix}p{index}", label) for index, label in enumerate(labels)]
    return write_set(folder, name, label_names, {"train": rows}, is_single_label=True)


def test_exclusive_sets_of_the_same_names_stay_exclusive(tmp_path):
    one = single(tmp_path / "one", "one", ["ELBOW", "HAND"], [(1, 0), (0, 1)], "a")
    two = single(tmp_path / "two", "two", ["hand", "ELBOW"], [(1, 0), (0, 1)], "b")
    info = merge_folders([one, two], tmp_path / "out", MergeOptions(renames=("hand=HAND",)))[4]
    assert info.is_single_label and info.label_names == ("ELBOW", "HAND")
    same(labels_of(tmp_path / "out"), {"train": {"a0": [1, 0], "a1": [0, 1], "b0": [0, 1], "b1": [1, 0]}})
    # With a name left out, some images would have no label.
    assert not merge_folders([one, two], tmp_path / "less", MergeOptions(label_names=("ELBOW",)))[4].is_single_label


def test_exclusive_sets_of_other_names_are_exclusive_only_when_said_so(tmp_path):
    one = single(tmp_path / "one", "mura", ["ELBOW", "HAND"], [(1, 0), (0, 1)], "a")
    two = single(tmp_path / "two", "lera", ["FOOT", "HAND"], [(1, 0), (0, 1)], "b")
    assert not merge_folders([one, two], tmp_path / "out", MergeOptions())[4].is_single_label
    expected = {"a0": [1, 0, UNKNOWN], "a1": [0, 1, UNKNOWN], "b0": [UNKNOWN, 0, 1], "b1": [UNKNOWN, 1, 0]}
    same(labels_of(tmp_path / "out"), {"train": expected})
    info = merge_folders([one, two], tmp_path / "exclusive", MergeOptions(is_single_label=True))[4]
    assert info.is_single_label and info.provenance["merge"]["absent_label"] == "0"
    expected = {"a0": [1, 0, 0], "a1": [0, 1, 0], "b0": [0, 0, 1], "b1": [0, 1, 0]}
    same(labels_of(tmp_path / "exclusive"), {"train": expected})
    with pytest.raises(
        ValueError, match=r"1 images of .*two \(split train\) do not have exactly one of .* ELBOW, HAND"
    ):
        merge_folders([one, two], tmp_path / "x", MergeOptions(is_single_label=True, label_names=("ELBOW", "HAND")))


def test_sets_of_many_labels_cannot_be_called_exclusive(one, two, tmp_path):
    with pytest.raises(ValueError, match="--single_label needs data sets .* not so of set_one, set_two"):
        merge_folders([one, two], tmp_path / "x", MergeOptions(is_single_label=True))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"image_size": 8}, "one holds images of 4 px and 8 bits, .*other of 8 px and 8 bits; build both with"),
        ({"bits": 16}, "one holds images of 4 px and 8 bits, .*other of 4 px and 16 bits; build both with"),
        ({"name": "set_one", "salt_fingerprint": ""}, "one and .*other hold data set set_one hashed with two salts"),
        ({"is_synthetic": True}, "other holds synthetic images and the others hold real ones; --mix_synthetic"),
    ],
)
def test_what_does_not_fit_together_is_refused(one, tmp_path, facts, message):
    other = write_set(tmp_path / "other", **{"name": "other", "label_names": ["A"], "splits": {}} | facts)
    with pytest.raises(ValueError, match=message):
        merge_folders([one, other], tmp_path / "x", MergeOptions())
    assert not (tmp_path / "x").exists()


def test_wrong_folders_are_refused(one, two, tmp_path):
    options = MergeOptions()
    with pytest.raises(ValueError, match="a merge takes two data folders or more, or one and --labels, got none"):
        merge_folders([], tmp_path / "x", options)
    with pytest.raises(ValueError, match="one alone is nothing to merge; name further folders, or --labels"):
        merge_folders([one], tmp_path / "x", options)
    with pytest.raises(ValueError, match="a folder is named twice: "):
        merge_folders([one, two, two / ".." / "one"], tmp_path / "x", options)
    with pytest.raises(FileNotFoundError, match="absent does not exist"):
        merge_folders([one, tmp_path / "absent"], tmp_path / "x", options)
    with pytest.raises(FileExistsError, match="two already holds a data set; remove it or choose another"):
        merge_folders([one, two], two, options)
    with pytest.raises(FileExistsError, match=f"{tmp_path} already holds a data set"):
        merge_folders([one, two], tmp_path, options)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "precious.tfrecord").write_text("mine")
    with pytest.raises(FileExistsError, match="foreign holds shards, but no dataset_info.json and no unfinished merge"):
        merge_folders([one, two], tmp_path / "foreign", options)
    with pytest.raises(FileExistsError, match="is a file, expected a folder"):
        merge_folders([one, two], tmp_path / "foreign" / "precious.tfrecord", options)
    with pytest.raises(ValueError, match="--shard_images must be 1 or more, got 0"):
        MergeOptions(shard_images=0)


def test_different_salts_of_different_sets_get_a_fingerprint_of_their_own(one, tmp_path):
    other = write_set(tmp_path / "other", "other", ["A"], {"train": [("k", "p", (1,))]}, salt_fingerprint="pepper")
    fingerprint = merge_folders([one, other], tmp_path / "out", MergeOptions())[4].salt_fingerprint
    assert fingerprint.startswith("several-")
    assert merge_folders([other, one], tmp_path / "turned", MergeOptions())[4].salt_fingerprint == fingerprint
    # A set inside a merge is still known by its salt.
    again = write_set(tmp_path / "again", "other", ["A"], {"train": [("l", "r", (1,))]}, salt_fingerprint="salt")
    with pytest.raises(ValueError, match="out and .*again hold data set other hashed with two salts"):
        merge_folders([tmp_path / "out", again], tmp_path / "x", MergeOptions())


def test_one_set_in_two_folders_keeps_both_descriptions(one, tmp_path):
    more = write_set(tmp_path / "more", "set_one", ["Mass"], {"train": [("9", "p1", (1,))]})
    info = merge_folders([one, more], tmp_path / "out", MergeOptions(renames=("set_one_2:Mass=Big",)))[4]
    assert list(info.preprocessing) == ["set_one", "set_one_2"] and info.label_names == ("Edema", "Mass", "Big")
    assert info.splits["train"].patients == 2  # p1 is in both folders


def test_an_image_twice_is_refused(one, tmp_path):
    splits = {"train": [("1a", "p1", (1,)), ("1b", "p1", (1,)), ("9", "p9", (1,))], "test": [("1d", "p3", (1,))]}
    copy = write_set(tmp_path / "copy", "set_one", ["A"], splits)
    with pytest.raises(ValueError) as error:
        merge_folders([one, copy], tmp_path / "x", MergeOptions())
    assert str(error.value) == (
        f"3 images would be there twice: 1 in {one} (split test) and {copy} (split test), "
        f"2 in {one} (split train) and {copy} (split train); leave out one of the folders"
    )
    assert not (tmp_path / "x").exists()


def test_a_patient_in_two_splits_is_refused(one, tmp_path):
    splits = {"train": [("8", "p3", (1,)), ("9", "p3", (1,))], "test": [("10", "p1", (1,)), ("11", "", (1,))]}
    other = write_set(tmp_path / "other", "set_one", ["A"], splits | {"validation": [("12", "", (1,))]})
    with pytest.raises(ValueError) as error:
        merge_folders([one, other], tmp_path / "x", MergeOptions())
    assert str(error.value) == (
        f"2 patients would be in two splits: 1 in {one} (split test) and {other} (split train), "
        f"1 in {one} (split train) and {other} (split test); "
        f"build {other} again with --keep_splits={one}: each patient of both then keeps the split that {one} gave; "
        "or leave one of the folders out"
    )
    stranger = write_set(tmp_path / "stranger", "set_two", ["A"], splits)  # --keep_splits would not take it
    with pytest.raises(ValueError, match=r"\(split test\); leave one of the folders out$"):
        merge_folders([one, stranger], tmp_path / "x", MergeOptions())


def test_synthetic_and_real_are_mixed_only_on_request_and_stay_synthetic(one, tmp_path):
    drawn = write_set(
        tmp_path / "drawn", "acgan", ["Mass"], {"train": [("s1", "s1", (1,))]},
        is_synthetic=True, notice="Drawn.", provenance={"seed": 7}, salt_fingerprint="other",
    )  # fmt: skip
    info = merge_folders([one, drawn], tmp_path / "out", MergeOptions(mix_synthetic=True))[4]
    assert info.is_synthetic and info.provenance["mixes_synthetic_and_real"]
    assert info.provenance["inputs"]["acgan"]["provenance"] == {"seed": 7}
    assert not info.provenance["inputs"]["set_one"]["is_synthetic"]
    assert info.notice == "Synthetic radiographs and those of patients are mixed here; do not test on them. Drawn."
    more = write_set(tmp_path / "more", "acgan", ["Mass"], {"train": [("s2", "s2", (1,))]}, is_synthetic=True)
    info = merge_folders([drawn, more], tmp_path / "all", MergeOptions())[4]
    assert info.is_synthetic and not info.provenance["mixes_synthetic_and_real"] and info.notice == "Drawn."


def write_cohort(folder, seen: str | None, salt="salt", key="s1") -> pathlib.Path:
    """A synthetic cohort whose generator was trained on the patients `seen`, or does not tell where it is None."""
    training_data = {"split": "train", "salt_fingerprint": salt}
    training_data |= {} if seen is None else {"patient_keys_file": TRAINING_PATIENTS_FILE}
    rows = {"train": [(key, key, (1, 0))]}
    provenance, labels = {"training_data": training_data}, ["Edema", "Mass"]
    write_set(folder, folder.name, labels, rows, is_synthetic=True, provenance=provenance, salt_fingerprint="")
    if seen is not None:
        (folder / TRAINING_PATIENTS_FILE).write_text(seen)
    return folder


def test_an_ensemble_names_the_patients_of_all_its_generators(one, tmp_path):
    first = write_cohort(tmp_path / "first", "p1\np2\n")
    second = write_cohort(tmp_path / "second", "p2\np3\n", key="s2")
    info = merge_folders([first, second], tmp_path / "out", MergeOptions())[4]
    expected = TrainingPatients(frozenset({"p1", "p2", "p3"}), "salt")
    assert read_training_patients(tmp_path / "out", info) == expected
    again = merge_folders([tmp_path / "out", one], tmp_path / "mixed", MergeOptions(mix_synthetic=True))[4]
    assert read_training_patients(tmp_path / "mixed", again) == expected
    chosen = merge_folders([first], tmp_path / "chosen", MergeOptions(label_names=("Edema",)))[4]
    assert read_training_patients(tmp_path / "chosen", chosen).keys == {"p1", "p2"}
    assert chosen.provenance["training_data"]["split"] == "train"


@pytest.mark.parametrize(
    ("seen", "salt", "why"),
    [(None, "salt", r"\(.*second does not name them\)"), ("p3\n", "other", r"\(their keys have different salts\)")],
)
def test_an_ensemble_with_a_silent_generator_says_so(tmp_path, caplog, seen, salt, why):
    first, second = write_cohort(tmp_path / "first", "p1\n"), write_cohort(tmp_path / "second", seen, salt, "s2")
    with caplog.at_level("WARNING"):
        info = merge_folders([first, second], tmp_path / "out", MergeOptions())[4]
    assert read_training_patients(tmp_path / "out", info) is None
    assert re.search(why, caplog.text)


@pytest.mark.parametrize("bits", [8, 16])
def test_encodings_may_differ(tmp_path, bits):
    one = write_set(tmp_path / "one", "set_one", ["Edema", "Mass"], ONE_SPLITS, bits=bits)
    two = write_set(tmp_path / "two", "set_two", ["Mass", "Hernia", "Edema"], TWO_SPLITS, bits=bits, encoding="png")
    info = merge_folders([one, two], tmp_path / "out", MergeOptions())[4]
    assert (info.encoding, info.bits) == ("raw", bits)
    expected = [record("2a", (1, 1, 0), "q1", bits=bits), record("1a", (1, 0, UNKNOWN), "p1", bits=bits)]
    labels_of(tmp_path / "out")  # compares the pixels
    assert {encode_record(entry, "raw") for entry in expected} < set(serialized(tmp_path / "out"))


def test_records_keep_their_bytes_where_nothing_changes(one, tmp_path):
    other = write_set(tmp_path / "other", "other", ["Edema", "Mass"], {"train": [("k", "p", (1, 0))]}, encoding="png")
    both = write_set(tmp_path / "both", "both", ["Edema", "Mass"], {"train": [("l", "p", (1, 0))]}, encoding="png")
    info = merge_folders([other, both], tmp_path / "png", MergeOptions())[4]
    assert info.encoding == "png"
    assert sorted(serialized(tmp_path / "png")) == sorted(serialized(other) + serialized(both))
    merge_folders([one, other], tmp_path / "out", MergeOptions())
    assert set(serialized(one)) < set(serialized(tmp_path / "out"))


def many(folder, name, prefix, images=60, **facts):
    rows = [(f"{prefix}{index:03d}", f"{prefix}p{index // 2}", (index % 2,)) for index in range(images)]
    return write_set(folder, name, ["A"], {"train": rows}, shards=3, **facts)


def test_order_is_a_mix_that_depends_on_the_seed_and_the_images_alone(tmp_path, monkeypatch):
    one, two = many(tmp_path / "one", "one", "a"), many(tmp_path / "two", "two", "b", encoding="png")
    options = MergeOptions(shard_images=25)
    merge_folders([one, two], tmp_path / "out", options)
    monkeypatch.setattr(merge_shard, "PORTION_BYTES", 500)  # a few records at once
    info = merge_folders([two, one], tmp_path / "turned", options)[4]
    shards = [name for name in contents(tmp_path / "out") if name.endswith(".tfrecord")]
    assert len(shards) == 5 and {shard.images for shard in info.splits["train"].shards} == {24}
    for name in shards:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "turned" / name).read_bytes()
        keys = [entry.split(b"image/key")[1][:12] for entry in map(bytes, tf.data.TFRecordDataset(
            str(tmp_path / "out" / name)).as_numpy_iterator())]  # fmt: skip
        assert {4 < sum(letter in key for key in keys) < 20 for letter in (b"a", b"b")} == {True}
    merge_folders([one, two], tmp_path / "seed", MergeOptions(shard_images=25, seed=1))
    assert serialized(tmp_path / "seed") != serialized(tmp_path / "out")
    assert sorted(serialized(tmp_path / "seed")) == sorted(serialized(tmp_path / "out"))


def test_folders_of_several_sizes_are_merged_size_by_size(tmp_path):
    for name, prefix in (("one", "a"), ("two", "b")):
        for size in (4, 8):
            many(tmp_path / name / str(size), name, prefix, images=6, image_size=size)
    infos = merge_folders([tmp_path / "one", tmp_path / "two"], tmp_path / "out", MergeOptions())
    assert list(infos) == [4, 8]
    for size in (4, 8):
        assert read_dataset_info(tmp_path / "out" / str(size)).image_size == size
        assert len(labels_of(tmp_path / "out" / str(size))["train"]) == 12
    assert labels_of(tmp_path / "out" / "4") == labels_of(tmp_path / "out" / "8")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["4", "8"]
    with pytest.raises(ValueError, match="hold different image sizes .*one: 4, 8; .*8: a single size"):
        merge_folders([tmp_path / "one", tmp_path / "two" / "8"], tmp_path / "x", MergeOptions())


def test_altered_and_damaged_shards_are_refused(one, two, tmp_path):
    path = one / shard_name("train", 0, 2)
    good = serialized(one)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    with pytest.raises(ValueError, match="was altered: its SHA-256 is not the recorded one"):
        merge_folders([one, two], tmp_path / "x", MergeOptions())
    path.unlink()
    with pytest.raises(FileNotFoundError, match="train-00000-of-00002.tfrecord is missing"):
        merge_folders([one, two], tmp_path / "x", MergeOptions())
    info = read_dataset_info(one)
    for images, example, message in (
        (2, b"no example", "a record of split train in .*one is damaged"),
        (3, good, "train-00000-of-00002.tfrecord does not hold the 3 images"),
    ):
        written = dataclasses.replace(write_shard(path, [example]), images=images)
        shards = (written, info.splits["train"].shards[1])
        splits = info.splits | {"train": dataclasses.replace(info.splits["train"], shards=shards)}
        write_dataset_info(one, dataclasses.replace(info, splits=splits))
        with pytest.raises(ValueError, match=message):
            merge_folders([one, two], tmp_path / "x", MergeOptions(splits=("train",)))
    assert not (tmp_path / "x").exists()


def test_killed_merge_is_finished_to_the_same_bytes(tmp_path):
    one, two = many(tmp_path / "one", "one", "a", images=80), many(tmp_path / "two", "two", "b", images=80)
    options = MergeOptions(shard_images=2)
    script = f"""
        from tfrecords_builder.inspect.merge import merge_folders
        from tfrecords_builder.inspect.merge_inputs import MergeOptions
        merge_folders([{str(one)!r}, {str(two)!r}], {str(tmp_path / "out")!r}, {options!r})
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    notes = unfinished_folder(tmp_path / "out", "merge")
    deadline = time.monotonic() + 120
    while len(list(notes.glob("train-*.tfrecord.json"))) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    noted = sorted(path.name.removesuffix(".json") for path in notes.glob("train-*.tfrecord.json"))
    assert 3 <= len(noted) < 80
    assert not list((tmp_path / "out").rglob("dataset_info.json"))
    done = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in noted}

    with pytest.raises(ValueError, match="holds an unfinished merge of another seed; run its command again"):
        merge_folders([one, two], tmp_path / "out", dataclasses.replace(options, seed=9))
    with pytest.raises(ValueError, match="holds an unfinished merge of another inputs"):
        merge_folders([one, many(tmp_path / "three", "three", "c")], tmp_path / "out", options)
    (tmp_path / "out" / noted[0]).write_bytes(b"")  # as after a crash of the machine: found, and done again
    merge_folders([one, two], tmp_path / "out", options)
    merge_folders([one, two], tmp_path / "whole", options)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    for name in noted[1:]:
        assert (tmp_path / "out" / name).stat().st_mtime_ns == done[name]


@pytest.mark.thorough
def test_workers_write_the_same_bytes(tmp_path):
    one, two = many(tmp_path / "one", "one", "a", bits=16), many(tmp_path / "two", "two", "b", bits=16, encoding="png")
    options = MergeOptions(shard_images=25, renames=("two:A=B",))
    merge_folders([one, two], tmp_path / "alone", options, workers=1)
    merge_folders([one, two], tmp_path / "shared", options, workers=2)
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")


@pytest.mark.thorough
def test_what_is_wrong_with_a_shard_is_told_by_its_worker(one, two, tmp_path):
    path = two / shard_name("validation", 0, 2)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="validation-00000-of-00002.tfrecord was altered"):
        merge_folders([one, two], tmp_path / "x", MergeOptions(), workers=2)
    assert not (tmp_path / "x").exists()


def test_two_merges_at_once_are_refused(one, two, tmp_path):
    with (
        resumable_work(tmp_path / "out", "merge", []),
        pytest.raises(FileExistsError, match="another process is at work on the merge in .*/out"),
    ):
        merge_folders([one, two], tmp_path / "out", MergeOptions())


def test_the_command(one, two, tmp_path, run_commands):
    out = tmp_path / "out"
    merge_command = ["merge", str(one), str(two)]
    commands = [
        [*merge_command, f"--out_dir={out}", "--rename=Mass=Nodule", "--rename", "set_two:Edema=Oedema"]
        + ["--labels=Oedema,Nodule", "--splits=train,test", "--shard_images=2", "--seed=4"],
        [*merge_command, f"--out_dir={tmp_path / 'x'}", "--rename=Mas=Nodule"],
        ["merge", str(one), f"--out_dir={tmp_path / 'x'}"],
        [*merge_command, f"--out_dir={tmp_path / 'x'}", "--single_label"],
    ]
    (status, output, _), *mistakes = run_commands(commands)
    assert status == 0
    assert "merged: set_one, set_two; any of Oedema, Nodule" in output
    assert "  train: 5 images of 4 patients\n    Oedema: 1 positive, 1 negative, 3 unknown\n" in output
    assert "read 9 = written 6 + rejected 3 (constant 2, split_not_merged 1)" in output
    assert output.endswith(f"wrote {out}\n")  # 4 px are too small for a model
    info = read_dataset_info(out)
    assert set(info.splits) == {"train", "test"} and len(info.splits["train"].shards) == 3
    assert info.provenance["merge"]["seed"] == 4
    told = ("no data set has a label 'Mas'", "one alone is nothing to merge", "--single_label needs data sets")
    for (status, output, errors), message in zip(mistakes, told, strict=True):
        assert status == 1 and not output and message in errors.splitlines()[-1] and "Traceback" not in errors
    assert not (tmp_path / "x").exists()
