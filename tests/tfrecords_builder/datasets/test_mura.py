"""MURA on a tiny folder in its published layout, with every fault that a copy of it can have."""

import json

import cv2
import numpy as np
import pytest

from tfcxr.data.records import read_dataset_info
from tfrecords_builder.build import build_dataset
from tfrecords_builder.datasets import make_reader
from tfrecords_builder.datasets.mura import Mura
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.options import BuildOptions

ELBOW = "train/XR_ELBOW/patient00011/study1_negative"
WRIST = "train/XR_WRIST/patient00011/study1_positive"
FINGER = "train/XR_FINGER/patient00020/study2_positive"
SHOULDER = "train/XR_SHOULDER/patient00030/study1_negative"
VALID = "valid/XR_HAND/patient09001/study1_positive"
STUDIES = {ELBOW: (2, 0), WRIST: (1, 1), FINGER: (1, 1), SHOULDER: (1, 0), VALID: (1, 1)}  # images, abnormal


def write_image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (20, 24), dtype=np.uint8))


def write_tables(root, split, images, studies):
    (root / f"{split}_image_paths.csv").write_text("".join(f"MURA-v1.1/{path}\n" for path in images))
    lines = (f"MURA-v1.1/{study}/,{abnormal}\n" for study, abnormal in studies)
    (root / f"{split}_labeled_studies.csv").write_text("".join(lines))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "raw" / "MURA-v1.1"
    for split in ("train", "valid"):
        studies = {study: facts for study, facts in STUDIES.items() if study.startswith(split)}
        images = [f"{study}/image{n}.png" for study, (count, _) in studies.items() for n in range(1, 1 + count)]
        for number, path in enumerate(images):
            write_image(root / path, number)
        write_tables(root, split, images, [(study, abnormal) for study, (_, abnormal) in studies.items()])
    return root


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def examples_and_rejects(reader):
    entries = list(reader.examples())
    rejects = {entry.key: entry.reason for entry in entries if isinstance(entry, Reject)}
    return {entry.key: entry for entry in entries if isinstance(entry, RawExample)}, rejects


@pytest.mark.parametrize("given", ["", "MURA-v1.1"])
def test_studies_patients_and_the_published_split(root, given):
    reader = Mura(str(root.parent / given))
    examples, rejects = examples_and_rejects(reader)
    assert not rejects and reader.is_single_label
    assert reader.label_names == ("normal", "abnormal")
    facts = {key: (e.patient_id, e.label, e.official_split) for key, e in examples.items()}
    assert facts == {
        f"{ELBOW}/image1.png": ("patient00011", (1.0, 0.0), ""),
        f"{ELBOW}/image2.png": ("patient00011", (1.0, 0.0), ""),
        f"{WRIST}/image1.png": ("patient00011", (0.0, 1.0), ""),
        f"{FINGER}/image1.png": ("patient00020", (0.0, 1.0), ""),
        f"{SHOULDER}/image1.png": ("patient00030", (1.0, 0.0), ""),
        f"{VALID}/image1.png": ("patient09001", (0.0, 1.0), "validation"),
    }
    assert all((reader.raw_dir / example.path).is_file() for example in examples.values())


@pytest.mark.parametrize(
    "settings, names, labels, excluded",
    [
        (
            {"labels": "body_part", "body_parts": "wrist, elbow"},
            ("elbow", "wrist"),
            {ELBOW: (1, 0), WRIST: (0, 1)},
            {FINGER, SHOULDER, VALID},
        ),
        (
            {"labels": "both", "body_parts": "elbow,hand"},
            ("elbow", "hand", "abnormal"),
            {ELBOW: (1, 0, 0), VALID: (0, 1, 1)},
            {WRIST, FINGER, SHOULDER},
        ),
        (
            {"labels": "medfid"},
            ("foot_ankle", "knee", "elbow", "forearm", "hand", "humerus", "shoulder"),
            {ELBOW: (0, 0, 1, 0, 0, 0, 0), SHOULDER: (0, 0, 0, 0, 0, 0, 1), VALID: (0, 0, 0, 0, 1, 0, 0)},
            {WRIST, FINGER},
        ),
        ({"body_parts": "elbow"}, ("normal", "abnormal"), {ELBOW: (1, 0)}, {WRIST, FINGER, SHOULDER, VALID}),
    ],
)
def test_label_sets(root, settings, names, labels, excluded):
    reader = Mura(str(root), **settings)
    examples, rejects = examples_and_rejects(reader)
    assert reader.label_names == names
    assert reader.is_single_label == (reader.labels != "both")
    assert {key.rpartition("/")[0]: example.label for key, example in examples.items()} == labels
    assert {key.rpartition("/")[0] for key in rejects} == excluded
    assert set(rejects.values()) == {"excluded_body_part"}


def test_every_fault_is_a_reject(root):
    (root / WRIST / "image1.png").unlink()
    write_image(root / SHOULDER / "image9.png")
    (root / ELBOW / "._image1.png").write_bytes(b"\0\5\26\7")
    (root / VALID / "._image1.png").write_bytes(b"\0\5\26\7")
    (root / ELBOW / "notes.txt").touch()
    contrary, unlabelled, odd, twice, foreign = (
        f"train/XR_{part}/patient000{number}/study1_negative"
        for part, number in (("HAND", 41), ("HAND", 42), ("HAND", 43), ("HAND", 44), ("KNEE", 45))
    )
    for study in (contrary, unlabelled, odd, twice, foreign):
        write_image(root / study / "image1.png")
    append(
        root / "train_image_paths.csv",
        f"MURA-v1.1/{ELBOW}/._image1.png\nMURA-v1.1/train/scan.png\nMURA-v1.1/{VALID}/image1.png\n"
        + "".join(f"MURA-v1.1/{study}/image1.png\n" for study in (contrary, unlabelled, odd, twice, foreign)),
    )
    append(
        root / "train_labeled_studies.csv",
        f"MURA-v1.1/{contrary}/,1\nMURA-v1.1/{odd}/,2\nMURA-v1.1/{twice}/,0\nMURA-v1.1/{twice}/,1\n"
        f"MURA-v1.1/{foreign}/,0\nMURA-v1.1/train/XR_HAND/patient00050/study1_negative/,0\n",
    )
    examples, rejects = examples_and_rejects(Mura(str(root)))
    assert rejects == {
        f"{WRIST}/image1.png": "missing_file",
        f"{SHOULDER}/image9.png": "file_without_row",
        f"{ELBOW}/._image1.png": "hidden_file",
        f"{VALID}/._image1.png": "hidden_file",
        f"{ELBOW}/notes.txt": "not_an_image",
        "MURA-v1.1/train/scan.png": "unknown_patient",
        f"{VALID}/image1.png": "wrong_table",
        f"{contrary}/image1.png": "conflicting_labels",
        f"{unlabelled}/image1.png": "study_without_label",
        f"{odd}/image1.png": "unknown_label",
        f"{twice}/image1.png": "conflicting_labels",
        f"{foreign}/image1.png": "unknown_label",
        "train/XR_HAND/patient00050/study1_negative": "study_without_image",
    }
    assert set(examples) == {
        *(f"{ELBOW}/image{number}.png" for number in (1, 2)),
        *(f"{study}/image1.png" for study in (FINGER, SHOULDER, VALID)),
    }
    body_parts, _ = examples_and_rejects(Mura(str(root), labels="body_part"))
    assert f"{unlabelled}/image1.png" in body_parts, "a body part needs no finding"


def test_a_build_keeps_patients_in_one_split_and_no_path(root, tmp_path):
    append(root / "train_image_paths.csv", "MURA-v1.1/train/XR_HAND/patient09001/study1_positive/image1.png\n")
    append(root / "train_labeled_studies.csv", "MURA-v1.1/train/XR_HAND/patient09001/study1_positive/,1\n")
    write_image(root / "train/XR_HAND/patient09001/study1_positive/image1.png", 9)
    append(root / "train_image_paths.csv", f"MURA-v1.1/{ELBOW}/image1.png\n")
    (root / ELBOW / "._image1.png").write_bytes(b"\0\5\26\7")
    reader = make_reader("mura", str(root), ["body_parts=elbow,wrist,finger,hand"])
    build_dataset(
        reader, tmp_path / "out", BuildOptions(image_sizes=(16,), splits={"train": 0.5, "test": 0.5}, workers=1)
    )
    info = read_dataset_info(tmp_path / "out" / "16")
    assert info.rejected == {
        "patient_in_other_official_split": 1,
        "duplicate_key": 1,
        "hidden_file": 1,
        "excluded_body_part": 1,
    }
    assert (info.images_read, info.images_written) == (9, 5)
    assert {name: split.patients for name, split in info.splits.items()} == {"train": 1, "test": 1, "validation": 1}
    assert info.preprocessing["reader_settings"] == {"body_parts": "elbow,finger,hand,wrist", "labels": "abnormality"}
    written = (tmp_path / "out" / "16" / "dataset_info.json").read_text()
    assert "patient0" not in written and str(tmp_path) not in written
    assert json.loads(written)["is_single_label"] is True


def test_wrong_settings_and_folders(root, tmp_path):
    with pytest.raises(ValueError, match="unknown labels 'bodypart'; did you mean 'body_part'"):
        Mura(str(root), labels="bodypart")
    with pytest.raises(ValueError, match="unknown body part 'elbw'; did you mean 'elbow'"):
        Mura(str(root), body_parts="elbw")
    with pytest.raises(ValueError, match="body_parts expects different names with commas between, got 'hand,hand'"):
        Mura(str(root), body_parts="hand,hand")
    with pytest.raises(ValueError, match="labels=medfid has no class for body_parts=wrist"):
        Mura(str(root), labels="medfid", body_parts="wrist")
    with pytest.raises(FileNotFoundError, match="does not exist or is no folder"):
        Mura(str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match="holds no train or valid folder; expected MURA-v1.1 with"):
        Mura(str(tmp_path))
    (root / "valid_image_paths.csv").write_text("a,b\n")
    with pytest.raises(
        ValueError, match="valid_image_paths.csv line 1 has 2 fields, expected 1 and no header: path of"
    ):
        list(Mura(str(root)).examples())
    (root / "valid_image_paths.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="valid_image_paths.csv is not a CSV table in UTF-8"):
        list(Mura(str(root)).examples())
    (root / "valid_image_paths.csv").unlink()
    with pytest.raises(FileNotFoundError, match="valid_image_paths.csv does not exist; expected MURA-v1.1 with"):
        Mura(str(root))
