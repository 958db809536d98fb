"""Every kind of damage, made for real, is found and named; a clean folder has no problem."""

import dataclasses
import json
import math
import pathlib

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data.records import PATIENT_KEYS_FILE, shard_name, write_dataset_info, write_patient_keys, write_shard
from tfcxr.data.schema import FEATURES, INFO_FILE, REQUIRED_FEATURES, DatasetInfo, Record, SplitInfo, encode_record
from tfrecords_builder.inspect import folder_check, stored_records, verify
from tfrecords_builder.inspect.data_folders import read_usable_info
from tfrecords_builder.inspect.folder_check import EXAMPLES_SHOWN
from tfrecords_builder.inspect.verify import verify_folder

SIZE = 8
LABELS = ("b", "a")  # not in the order of the alphabet, in which JSON sorts the counts
TRAIN, TEST = shard_name("train", 0, 2), shard_name("test", 0, 1)


def make_record(index, split="train", size=SIZE, **changes):
    label = (math.nan, 0.0) if index % 5 == 4 else (1.0, float(index % 2))
    image = np.random.default_rng(index).integers(0, 256, (size, size), dtype=np.uint8)
    known = {"view": "PA", "age": 40.0 + index, "sex": "F"} if index % 2 else {}
    return Record(
        **{"image": image, "key": f"{split}-{index}", "label": label, "patient_key": f"{split}-p{index // 2}"}
        | known
        | changes
    )


def make_records(size=SIZE):
    return {
        "train": [make_record(i, size=size) for i in range(20)],
        "test": [make_record(i, "test", size) for i in range(6)],
    }


def write_folder(folder, records, examples=None, encoding="raw", **facts):
    """Shards and a true info; `examples` are written in the place of the serialised records."""
    splits = {}
    for name, of_split in records.items():
        serialized = (examples or {}).get(name) or [encode_record(record, encoding) for record in of_split]
        count = 2 if name == "train" else 1
        shards = tuple(write_shard(folder / shard_name(name, i, count), serialized[i::count]) for i in range(count))
        labels = np.array([record.label for record in of_split])
        counts = {
            label: {
                "positive": int((labels[:, i] == 1).sum()),
                "negative": int((labels[:, i] == 0).sum()),
                "unknown": int(np.isnan(labels[:, i]).sum()),
            }
            for i, label in enumerate(LABELS)
        }
        splits[name] = SplitInfo(len(of_split), len({record.patient_key for record in of_split}), counts, shards)
    images = sum(map(len, records.values()))
    fields = {
        "name": "made",
        "label_names": LABELS,
        "is_single_label": False,
        "image_size": SIZE,
        "bits": 8,
        "encoding": encoding,
        "splits": splits,
        "images_read": images + 3,
        "images_written": images,
        "rejected": {"constant": 3},
        "preprocessing": {},
        "source": {},
        "salt_fingerprint": "abc",
    }
    write_dataset_info(folder, DatasetInfo(**fields | facts))
    return folder


@pytest.fixture
def clean(tmp_path):
    return write_folder(tmp_path / "clean", make_records())


def found_in(*arguments, **options):
    return {problem.kind: problem for problem in verify_folder(*arguments, **options).problems}


@pytest.mark.parametrize("decode", verify.DECODE_CHOICES)
@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_a_clean_folder_has_no_problem(tmp_path, encoding, decode):
    folder = write_folder(tmp_path, make_records(), encoding=encoding)
    (folder / "preview.png").touch()  # other files are not ours to judge
    found = verify_folder(folder, decode=decode, sample=7)
    assert found.problems == [] and found.notes == []
    (contents,) = found.contents
    assert contents.decoded == {"sample": 7, "all": 26, "none": 0}[decode] and contents.constant == 0
    assert contents.splits["train"].images == 20 and len(contents.splits["train"].patients) == 10


def flip_byte(folder):
    content = bytearray((folder / TRAIN).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / TRAIN).write_bytes(content)


def cut(folder):
    content = (folder / TRAIN).read_bytes()
    (folder / TRAIN).write_bytes(content[:-5])


def cut_between_records(folder):
    content = (folder / TRAIN).read_bytes()
    length = int.from_bytes(content[:8], "little") + 16
    (folder / TRAIN).write_bytes(content[:length])


FILE_DAMAGE = {
    flip_byte: [
        (folder_check.ALTERED_SHARD, TRAIN),
        (folder_check.DAMAGED_SHARD, f"{TRAIN}, damaged after record 5 of 10"),
    ],
    cut: [(folder_check.SHARD_BYTES, TRAIN), (folder_check.DAMAGED_SHARD, f"{TRAIN}, damaged after record 9 of 10")],
    cut_between_records: [(folder_check.SHARD_IMAGES, f"{TRAIN}, 1 instead of 10")],
    lambda folder: (folder / TRAIN).unlink(): [(folder_check.NO_SHARD, TRAIN)],
    lambda folder: (folder / "extra.tfrecord").touch(): [(folder_check.STRAY_FILE, "extra.tfrecord")],
    lambda folder: (folder / ".partial-1-x").touch(): [(folder_check.STRAY_FILE, ".partial-1-x")],
    lambda folder: (folder / "unfinished_build").mkdir(): [(verify.UNFINISHED, "unfinished_build")],
    lambda folder: (folder / "unfinished_merge").mkdir(): [(verify.UNFINISHED, "unfinished_merge")],
}


@pytest.mark.parametrize("damage", FILE_DAMAGE, ids=lambda damage: damage.__name__)
def test_damaged_files_are_named_and_the_others_still_checked(tmp_path, damage):
    records = make_records()
    records["test"][3] = make_record(3, "test", age=-1.0)
    folder = write_folder(tmp_path / "made", records)
    damage(folder)
    found = found_in(folder)
    for kind, text in FILE_DAMAGE[damage]:
        assert text in found[kind].examples[0]
    assert found[stored_records.AGE].examples == (f"record 3 of {TEST}: -1",)


CROISSANT_DAMAGE = {
    "another checksum": (lambda text: text.replace('"sha256": "', '"sha256": "0'), "names or checksums of test-0"),
    "no JSON": (lambda text: text[:-9], "it describes no files"),
    "a shard less": (lambda text: text.replace(TEST, "another"), f"another, {TEST} differ"),
}


@pytest.mark.parametrize("damage", CROISSANT_DAMAGE)
def test_a_croissant_file_of_other_shards_is_a_problem(clean, damage):
    path = clean / "croissant.json"
    change, said = CROISSANT_DAMAGE[damage]
    path.write_text(change(path.read_text()))
    (problem,) = verify_folder(clean).problems
    assert problem.kind == folder_check.CROISSANT and said in problem.examples[0]
    assert f"python -m tfcxr.card --data_dir={clean} writes it again" in problem.examples[0]


def test_a_croissant_file_may_be_missing_or_say_more(clean):
    path = clean / "croissant.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"datePublished": "2026-01-01"}))
    assert verify_folder(clean).problems == []
    path.unlink()  # as earlier versions wrote the folder
    assert verify_folder(clean).problems == []


def test_counts_are_not_compared_where_a_shard_is_missing(clean):
    (clean / TRAIN).unlink()
    found = verify_folder(clean)
    assert [problem.kind for problem in found.problems] == [folder_check.NO_SHARD]
    assert len(found.notes) == 1 and "the counts of split 'train' were not compared" in found.notes[0]


def drop_label(info):
    info["label_names"].remove("a")
    for split in info["splits"].values():
        del split["labels"]["a"]


INFO_EDITS = {
    "images": (
        lambda info: info["splits"]["test"].update(images=7),
        folder_check.COUNTS,
        "split test holds 6 images, the info says 7",
    ),
    "patients": (
        lambda info: info["splits"]["test"].update(patients=2),
        folder_check.COUNTS,
        "split test holds 3 patients, the info says 2",
    ),
    "positive": (
        lambda info: info["splits"]["test"]["labels"]["a"].update(positive=1),
        folder_check.COUNTS,
        "split test holds 3 images with a positive, the info says 1",
    ),
    "unknown": (
        lambda info: info["splits"]["test"]["labels"]["b"].update(unknown=0),
        folder_check.COUNTS,
        "split test holds 1 images with b unknown, the info says 0",
    ),
    "written": (
        lambda info: info.update(images_read=30, images_written=27),
        folder_check.COUNTS,
        "27 images written, its splits hold 26",
    ),
    "read": (
        lambda info: info.update(images_read=30),
        verify.BAD_INFO,
        "30 images were read, but 26 written and 3 rejected",
    ),
    "label renamed": (
        lambda info: info.update(label_names=["b", "c"]),
        verify.BAD_INFO,
        "counts other labels than the label_names b, c",
    ),
    "label dropped": (drop_label, stored_records.LABEL_LENGTH, "2 values for 1 label names"),
    "single label": (lambda info: info.update(is_single_label=True), stored_records.NOT_ONE_LABEL, ": 2 are"),
    "version": (lambda info: info.update(schema_version=99), verify.BAD_INFO, "schema version 99"),
    "size": (lambda info: info.update(image_size=16), stored_records.IMAGE_SIZE, "8 x 8, expected 16 x 16"),
    "size text": (lambda info: info.update(image_size="8"), verify.BAD_INFO, "image_size expects pixels, got '8'"),
    "encoding": (lambda info: info.update(encoding="png"), stored_records.PIXELS, "no PNG file"),
    "bits": (lambda info: info.update(bits=16), stored_records.PIXELS, "64 bytes, expected 128"),
    "sha256": (lambda info: info["splits"]["test"]["shards"][0].update(sha256="0"), folder_check.ALTERED_SHARD, TEST),
    "shard images": (
        lambda info: info["splits"]["test"]["shards"][0].update(images=5),
        folder_check.SHARD_IMAGES,
        f"{TEST}, 6 instead of 5",
    ),
    "shard path": (
        lambda info: info["splits"]["test"]["shards"][0].update(file="../other.tfrecord"),
        verify.BAD_INFO,
        "a file name beside the info, got '../other.tfrecord'",
    ),
    "splits": (lambda info: info.update(splits=["train"]), verify.BAD_INFO, "does not hold the fields of a data set"),
    "source": (
        lambda info: info.update(source="here"),
        verify.BAD_INFO,
        "source expects names with values, got 'here'",
    ),
    "counts": (
        lambda info: info["splits"]["test"].update(labels={"a": 1, "b": 2}),
        verify.BAD_INFO,
        "label 'a' of split 'test' expects counts positive, negative, unknown, got 1",
    ),
    "no labels": (lambda info: info.update(label_names=[]), verify.BAD_INFO, "label_names expects texts, got []"),
    "patients text": (
        lambda info: info["splits"]["test"].update(patients="3"),
        verify.BAD_INFO,
        "split 'test' expects numbers of images and patients, got 6, '3'",
    ),
    "shard bytes": (
        lambda info: info["splits"]["test"]["shards"][0].update(bytes=None),
        verify.BAD_INFO,
        "expects numbers of images and bytes, got 6, None",
    ),
}


@pytest.mark.parametrize("case", INFO_EDITS)
def test_an_edited_info_is_found_out(clean, case):
    edit, kind, text = INFO_EDITS[case]
    info = json.loads((clean / INFO_FILE).read_text())
    edit(info)
    (clean / INFO_FILE).write_text(json.dumps(info))
    found = found_in(clean)
    assert any(text in example for example in found[kind].examples), found


def list_patients(folder, records):
    """The patients' keys beside the shards, as the info names them."""
    keys = {split: {record.patient_key for record in of_split} for split, of_split in records.items()}
    info = json.loads((folder / INFO_FILE).read_text())
    info["patient_keys_sha256"] = write_patient_keys(folder, keys)
    (folder / INFO_FILE).write_text(json.dumps(info))


def test_the_list_of_patients_is_compared_with_the_records(clean):
    records = make_records()
    list_patients(clean, records)
    assert verify_folder(clean).problems == []
    content = (clean / PATIENT_KEYS_FILE).read_text()
    (clean / PATIENT_KEYS_FILE).write_text(content.replace("test-p0", "test-p9"))
    assert "patient_keys.json was altered" in found_in(clean)[folder_check.PATIENT_KEYS].examples[0]
    (clean / PATIENT_KEYS_FILE).unlink()
    assert "the file is missing" in found_in(clean)[folder_check.PATIENT_KEYS].examples[0]
    list_patients(clean, {**records, "test": [*records["test"][2:], make_record(99)]})
    assert found_in(clean)[folder_check.PATIENT_KEYS].examples == (
        "of split test it holds 3 keys, the records have 3, which are others",
    )


def test_an_info_that_is_no_json(clean):
    (clean / INFO_FILE).write_text("{")
    assert "is not JSON" in found_in(clean)[verify.BAD_INFO].examples[0]


def changed(serialized, change):
    example = tf.train.Example.FromString(serialized)
    change(example.features.feature)
    return example.SerializeToString()


def with_pixels(pixels):
    return lambda features: features["image/bytes"].bytes_list.value.__setitem__(0, pixels)


GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)
RECORD_DAMAGE = {
    "label length": (
        "raw",
        lambda f: f["label"].float_list.value.append(0),
        stored_records.LABEL_LENGTH,
        "3 values for 2 label names",
    ),
    "label value": (
        "raw",
        lambda f: f["label"].float_list.value.__setitem__(0, 0.5),
        stored_records.LABEL_VALUE,
        "0.5",
    ),
    "no label": ("raw", lambda f: f.pop("label"), stored_records.LABEL_LENGTH, "0 values"),
    "height": (
        "raw",
        lambda f: f["image/height"].int64_list.value.__setitem__(0, 9),
        stored_records.IMAGE_SIZE,
        "9 x 8, expected 8 x 8",
    ),
    "no width": (
        "raw",
        lambda f: f.pop("image/width"),
        stored_records.MISSING_FEATURE,
        "'image/width' has 0 values of int64_list",
    ),
    "key kind": (
        "raw",
        lambda f: f["image/key"].int64_list.value.append(1),
        stored_records.MISSING_FEATURE,
        "'image/key'",
    ),
    "empty patient": (
        "raw",
        lambda f: f["patient/key"].bytes_list.value.__setitem__(0, b""),
        stored_records.EMPTY_KEY,
        "patient/key",
    ),
    "age": ("raw", lambda f: f["patient/age"].float_list.value.append(91), stored_records.AGE, "91"),
    "view": ("raw", lambda f: f["view"].bytes_list.value.append(b"Mr X"), stored_records.VIEW_OR_SEX, "Mr X"),
    "private": (
        "raw",
        lambda f: f["patient/name"].bytes_list.value.append(b"X"),
        stored_records.UNKNOWN_FEATURE,
        "'patient/name'",
    ),
    "raw length": ("raw", with_pixels(b"123"), stored_records.PIXELS, "3 bytes, expected 64"),
    "no png": ("png", with_pixels(b"123"), stored_records.PIXELS, "no PNG file"),
    "png size": (
        "png",
        with_pixels(cv2.imencode(".png", GREY[:4])[1].tobytes()),
        stored_records.PIXELS,
        "PNG of 8 x 4 px",
    ),
    "png colour": (
        "png",
        with_pixels(cv2.imencode(".png", np.dstack([GREY] * 3))[1].tobytes()),
        stored_records.PIXELS,
        "colour type 2",
    ),
    "png bits": (
        "png",
        with_pixels(cv2.imencode(".png", GREY.astype(np.uint16))[1].tobytes()),
        stored_records.PIXELS,
        "16 bits",
    ),
    "png cut": ("png", with_pixels(cv2.imencode(".png", GREY)[1].tobytes()[:50]), stored_records.PIXELS, "PNG"),
}


@pytest.mark.parametrize("case", RECORD_DAMAGE)
def test_a_record_that_is_not_of_the_schema_is_named(tmp_path, case):
    encoding, change, kind, text = RECORD_DAMAGE[case]
    records = make_records()
    serialized = [encode_record(record, encoding) for record in records["test"]]
    serialized[2] = changed(serialized[2], change)
    folder = write_folder(tmp_path, records, {"test": serialized}, encoding)
    found = found_in(folder, decode="all")
    assert found[kind].count == 1
    assert found[kind].examples[0].startswith(f"record 2 of {TEST}: ") and text in found[kind].examples[0]


def test_a_record_that_is_no_example(tmp_path):
    records = make_records()
    folder = write_folder(tmp_path, records, {"test": [b"\xff" * 9] * 6})
    problem = found_in(folder)[stored_records.NO_EXAMPLE]
    assert problem.count == 6 and len(problem.examples) == EXAMPLES_SHOWN
    assert str(problem).endswith("and 3 more")


def test_keys_and_patients_must_not_repeat(tmp_path):
    records = make_records()
    records["train"][1] = make_record(1, key="train-0")
    records["test"][0] = make_record(0, "test", key="train-5", patient_key="train-p4")
    found = found_in(write_folder(tmp_path, records))
    assert set(found) == {folder_check.KEY_TWICE, folder_check.PATIENT_IN_SPLITS}
    twice = found[folder_check.KEY_TWICE]
    assert twice.count == 2
    assert set(twice.examples) == {"train-0 in train 2 times", "train-5 in test, train-5 in train"}
    assert found[folder_check.PATIENT_IN_SPLITS].examples == ("train-p4 in test, train-p4 in train 2 times",)


def test_many_repeated_keys_are_counted_and_a_few_named(tmp_path):
    records = make_records()
    records["test"] = [make_record(i, "test", key=f"train-{i}") for i in range(6)]
    problem = found_in(write_folder(tmp_path, records))[folder_check.KEY_TWICE]
    assert problem.count == 6 and len(problem.examples) == EXAMPLES_SHOWN


def test_constant_pictures_are_counted(tmp_path):
    records = make_records()
    records["test"][0] = make_record(0, "test", image=np.full((8, 8), 7, np.uint8))
    (contents,) = verify_folder(write_folder(tmp_path, records), decode="all").contents
    assert contents.decoded == 26 and contents.constant == 1


def sizes(folder, *, labels=None, order=None, **facts):
    write_folder(folder / "8", make_records())
    records = make_records(4)
    if labels:
        records["test"][0] = dataclasses.replace(records["test"][0], label=labels)
    if order:
        records["test"] = records["test"][::order]
    if facts.pop("split_missing", False):
        del records["test"]
    write_folder(folder / "4", records, image_size=4, **facts)
    return folder


@pytest.mark.parametrize(
    "difference, text",
    [
        ({"labels": (0.0, 1.0)}, "4 and 8 hold other labels, patients, views, ages or sexes in split test"),
        ({"order": -1}, "4 and 8 hold other image keys in split test, or in another order"),
        ({"salt_fingerprint": "x"}, "4 and 8 have another salt_fingerprint in their infos"),
        ({"split_missing": True}, "of 4 and 8 only one has split test"),
    ],
)
def test_sizes_that_differ(tmp_path, difference, text):
    assert text in found_in(sizes(tmp_path, **difference))[verify.SIZES_DIFFER].examples


def test_a_build_of_several_sizes(tmp_path):
    folder = sizes(tmp_path)
    found = verify_folder(folder)
    assert found.problems == [] and [contents.info.image_size for contents in found.contents] == [4, 8]
    (folder / "4" / TEST).unlink()
    found = verify_folder(folder)
    assert [problem.folder for problem in found.problems] == [str(folder / "4")]
    assert any("split 'test' of sizes 4 and 8 was not compared" in note for note in found.notes)
    (folder / "4" / INFO_FILE).unlink()
    assert "has no dataset_info.json" in found_in(folder)[verify.BAD_INFO].examples[0]


def test_against_other_folders(clean, tmp_path):
    records = {"train": [make_record(i, "other") for i in range(4)]}
    other = write_folder(tmp_path / "other", records)
    found = verify_folder(clean, [other])
    assert found.problems == [] and found.notes == []
    records["train"][0] = make_record(0, "other", patient_key="train-p1")
    records["train"][1] = make_record(1, "other", key="test-2")
    shared = write_folder(tmp_path / "shared", records)
    found = found_in(clean, [other, shared])
    assert found[verify.SHARED_PATIENT].examples == (f"train-p1 in train 2 times and in train of {shared}",)
    assert found[verify.SHARED_KEY].examples == (f"test-2 in test and in train of {shared}",)
    assert verify_folder(clean, [other, shared]).advice == ["leave what is shared out of one of the folders"]


def test_a_patient_in_another_split_of_another_build(clean, tmp_path):
    records = {"train": [make_record(i, "other", patient_key="test-p1") for i in range(2)]}
    former = write_folder(tmp_path / "former", records)
    found = verify_folder(clean, [former])
    assert [str(problem) for problem in found.problems] == [
        f"{verify.PATIENT_IN_OTHER_SPLIT} (1): test-p1 in test 2 times and in train of {former}"
    ]
    assert found.advice == [
        f"build {clean} again with --keep_splits={former}: each patient of both then keeps the split that {former} gave"
    ]


def test_a_patient_whose_split_was_kept_is_no_problem(tmp_path):
    former = write_folder(tmp_path / "former", {"train": make_records()["train"][:4]})  # the images too
    rebuilt = write_folder(tmp_path / "rebuilt", make_records(), preprocessing={"kept_patients": 2})
    found = verify_folder(rebuilt, [former])
    assert not found.problems and not found.notes and found.kept == [str(former)]
    other = write_folder(tmp_path / "other", {"test": make_records()["train"][:4]})
    assert verify.PATIENT_IN_OTHER_SPLIT in found_in(rebuilt, [other])
    stranger = write_folder(tmp_path / "stranger", {"train": make_records()["train"][:4]}, name="another")
    assert verify.SHARED_PATIENT in found_in(rebuilt, [stranger])


def test_against_folders_that_cannot_be_compared(clean, tmp_path):
    records = {"train": [make_record(i, "other") for i in range(4)]}
    salted = write_folder(tmp_path / "salted", records, salt_fingerprint="other")
    assert (
        "another salt; build both with one --salt_file" in found_in(clean, [salted])[verify.NOT_COMPARABLE].examples[0]
    )
    synthetic = write_folder(tmp_path / "synthetic", records, salt_fingerprint="", is_synthetic=True)
    found = verify_folder(clean, [synthetic])
    assert found.problems == [] and "synthetic images have no patients" in found.notes[0]
    named = write_folder(tmp_path / "named", records, name="another")
    found = verify_folder(clean, [named])
    assert found.problems == [] and "a patient who is in both would not be seen" in found.notes[0]
    flip_byte(named)
    assert "is damaged after record" in found_in(clean, [named])[verify.NOT_COMPARABLE].examples[0]
    (named / TRAIN).unlink()
    assert "is missing" in found_in(clean, [named])[verify.NOT_COMPARABLE].examples[0]


def test_wrong_arguments(clean, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        verify_folder(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="has no dataset_info.json"):
        verify_folder(tmp_path)
    with pytest.raises(ValueError, match="unknown decode 'sampel'; did you mean 'sample'"):
        verify_folder(clean, decode="sampel")
    with pytest.raises(ValueError, match="sample expects 1 image or more, got 0"):
        verify_folder(clean, sample=0)
    with pytest.raises(ValueError, match="cannot be compared with itself"):
        verify_folder(clean, [tmp_path / "clean"])
    other = write_folder(tmp_path / "other", make_records())
    (other / INFO_FILE).write_text('{"schema_version": 1}')
    with pytest.raises(ValueError, match="does not hold the fields of a data set"):
        verify_folder(clean, [other])


def test_features_are_those_that_the_schema_writes():
    features = tf.train.Example.FromString(encode_record(make_record(1), "raw")).features.feature
    assert {name: feature.WhichOneof("kind") for name, feature in features.items()} == FEATURES
    features = tf.train.Example.FromString(encode_record(make_record(0), "raw")).features.feature
    assert set(features) == set(REQUIRED_FEATURES)


def test_ten_thousand_damaged_records_are_taken_apart_without_a_crash(clean):
    info = read_usable_info(clean)
    serialized, random = encode_record(make_record(1), "raw"), np.random.default_rng(0)
    flawed = 0
    for _ in range(10_000):
        damaged = bytearray(serialized)
        for position in random.integers(0, len(damaged), random.integers(1, 5)):
            damaged[position] = random.integers(256)
        damaged = bytes(damaged[: random.integers(len(damaged))] if random.random() < 0.3 else damaged)
        flawed += bool(stored_records.check_record(damaged, info).flaws)
    assert flawed > 5000


def test_damaged_infos_never_end_in_a_crash(clean):
    text, random = (clean / INFO_FILE).read_text(), np.random.default_rng(0)
    values = ["null", "-1", '""', "[]", "{}", "true", "1.5", '"x"']
    for _ in range(100):
        lines = text.splitlines()
        line = random.integers(1, len(lines) - 1)
        head, colon, tail = lines[line].partition(": ")
        if colon and tail.rstrip(",") not in ("{", "["):
            lines[line] = f"{head}: {random.choice(values)}{',' if tail.endswith(',') else ''}"
        else:
            del lines[line]
        (clean / INFO_FILE).write_text("\n".join(lines))
        for problem in verify_folder(clean, decode="none").problems:
            assert str(problem)


CASES = {
    "clean": ["verify", "{root}/clean", "--decode=all", "--against={root}/named"],
    "kept": ["verify", "{root}/kept", "--against={root}/clean", "--against={root}/named"],
    "damaged": ["verify", "{root}/damaged"],
    "absent": ["verify", "{root}/absent"],
    "two": ["verify", "{root}/clean", "{root}/named"],
    "flag": ["verify", "{root}/clean", "--decod=all"],
    "inspect": ["inspect", "{root}/clean", "--images=4", "--splits=test"],
    "inspect out": ["inspect", "{root}/clean", "--out_dir={root}/page"],
    "inspect damaged": ["inspect", "{root}/damaged"],
    "inspect none": ["inspect"],
}


@pytest.fixture(scope="module")
def commands(tmp_path_factory, run_commands):
    root = tmp_path_factory.mktemp("commands")
    write_folder(root / "clean", make_records())
    write_folder(root / "named", {"train": [make_record(i, "other") for i in range(4)]}, name="another")
    write_folder(root / "kept", make_records(), preprocessing={"kept_patients": 13})
    flip_byte(write_folder(root / "damaged", make_records()))
    lines = [[argument.format(root=root) for argument in arguments] for arguments in CASES.values()]
    return root, dict(zip(CASES, run_commands(lines), strict=True))


def test_verify_prints_one_line_when_all_is_well(commands):
    root, results = commands
    status, output, _ = results["clean"]
    assert status == 0
    note, line, look = output.splitlines()
    assert look == f"its tables and pictures: python -m tfrecords_builder inspect {root}/clean"
    assert note.startswith("not judged: ") and "would not be seen" in note
    assert line == (
        f"verified {root}/clean: 8 px; 26 images of 13 patients in test, train; "
        "SHA-256 and schema of 3 shards, labels, counts, keys and patients; "
        f"26 pictures decoded, 0 of them constant; no key shared with {root}/named"
    )


def test_verify_says_that_splits_were_kept(commands):
    root, results = commands
    status, output, _ = results["kept"]
    assert status == 0
    assert output.splitlines()[1].endswith(
        f"; no key shared with {root}/named; each patient is in the same split of {root}/clean, by --keep_splits"
    )


def test_verify_lists_problems_and_fails(commands):
    root, results = commands
    status, output, errors = results["damaged"]
    assert status == 1
    assert output.splitlines()[0] == f"{root}/damaged:"
    assert f"  {folder_check.ALTERED_SHARD} (1): {TRAIN}" in output and folder_check.DAMAGED_SHARD in output
    assert errors.strip().endswith("has 2 problems, listed above; restore the files or build it again")
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    "case, text",
    [
        ("absent", "absent does not exist"),
        ("two", "expected one data folder, such as runs/phantom, got 2"),
        ("flag", "decode"),
        ("inspect damaged", "verify"),
        ("inspect none", "expected one data folder, such as runs/phantom, got none"),
    ],
)
def test_a_mistake_is_one_sentence(commands, case, text):
    status, output, errors = commands[1][case]
    assert status == 1 and not output and text in errors and "Traceback" not in errors


def test_inspect_prints_tables_and_writes_its_files(commands):
    root, results = commands
    status, output, _ = results["inspect"]
    assert status == 0 and "keep it private" in output and "26" in output
    assert {path.name for path in (root / "clean" / "inspection").iterdir()} == {"inspection.html", "contact_sheet.png"}
    assert results["inspect out"][0] == 0
    assert {path.name for path in pathlib.Path(root / "page").iterdir()} == {"inspection.html", "contact_sheet.png"}
