import pathlib
from collections import Counter

import cv2
import numpy as np
import pytest

from tfcxr.data.records import read_dataset_info
from tfrecords_builder.build import build_dataset
from tfrecords_builder.datasets import make_reader
from tfrecords_builder.datasets.chest_xray_pneumonia import ChestXrayPneumonia
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.options import BuildOptions

CXR = next(
    (folder / "shared/cxr" for folder in pathlib.Path(__file__).parents if (folder / "shared/cxr").is_dir()), None
)
FILES = {
    "train/NORMAL/IM-0115-0001.jpeg": ("N0115", ""),
    "train/NORMAL/NORMAL2-IM-0115-0001-0002.jpeg": ("N0115", ""),
    "train/PNEUMONIA/person7_bacteria_24.jpeg": ("P7", ""),
    "val/PNEUMONIA/person1946_bacteria_4874.jpeg": ("P1946", ""),
    "test/PNEUMONIA/person7_virus_1.jpeg": ("P7", "test"),
}


@pytest.fixture
def raw_dir(tmp_path):
    for name in FILES:
        path = tmp_path / "chest_xray" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize("given", ["", "chest_xray"])
def test_patients_labels_and_published_split(raw_dir, given):
    reader = ChestXrayPneumonia(str(raw_dir / given))
    examples = list(reader.examples())
    assert {example.key: (example.patient_id, example.official_split) for example in examples} == FILES
    for example in examples:
        assert example.label == ((1.0, 0.0) if "NORMAL/" in example.key else (0.0, 1.0))
        assert (reader.raw_dir / example.path).is_file()


def test_other_files_are_rejected(raw_dir):
    for name in (".DS_Store", "notes.txt", "scan.jpeg"):
        (raw_dir / "chest_xray/train/NORMAL" / name).touch()
    rejects = [entry for entry in ChestXrayPneumonia(str(raw_dir)).examples() if isinstance(entry, Reject)]
    assert [(reject.key, reject.reason) for reject in rejects] == [
        ("train/NORMAL/notes.txt", "not_an_image"),
        ("train/NORMAL/scan.jpeg", "unknown_patient"),
        ("train/NORMAL/.DS_Store", "hidden_file"),
    ]


def test_images_in_no_class_are_rejected_and_the_second_copy_is_left_alone(raw_dir):
    for name in (
        "train/COVID/person1_virus_1.jpeg",
        "test/person2_virus_1.jpeg",
        "chest_xray/train/NORMAL/IM-1-1.jpeg",
    ):
        (raw_dir / "chest_xray" / name).parent.mkdir(parents=True, exist_ok=True)
        (raw_dir / "chest_xray" / name).touch()
    entries = list(ChestXrayPneumonia(str(raw_dir)).examples())
    assert {entry.key: entry.reason for entry in entries if isinstance(entry, Reject)} == {
        "train/COVID/person1_virus_1.jpeg": "unknown_label",
        "test/person2_virus_1.jpeg": "unknown_label",
    }
    assert len(entries) == len(FILES) + 2


def test_the_cause_comes_from_the_file_name(raw_dir):
    for name in ("person8_7.jpeg", "person9_fungus_1.jpeg"):
        (raw_dir / "chest_xray/train/PNEUMONIA" / name).touch()
    reader = make_reader("chest_xray_pneumonia", str(raw_dir), ["labels=cause"])
    entries = list(reader.examples())
    assert reader.label_names == ("NORMAL", "BACTERIAL", "VIRAL")
    names = {e.key: reader.label_names[e.label.index(1.0)] for e in entries if isinstance(e, RawExample)}
    assert names == {
        key: "VIRAL" if "virus" in key else "BACTERIAL" if "bacteria" in key else "NORMAL" for key in FILES
    }
    assert {entry.key: entry.reason for entry in entries if isinstance(entry, Reject)} == {
        "train/PNEUMONIA/person8_7.jpeg": "unknown_cause",
        "train/PNEUMONIA/person9_fungus_1.jpeg": "unknown_cause",
    }
    assert sum(isinstance(entry, RawExample) for entry in ChestXrayPneumonia(str(raw_dir)).examples()) == 7


def test_a_build_moves_no_patient_of_the_test_split(raw_dir, tmp_path):
    for number, name in enumerate((*FILES, "train/PNEUMONIA/person2_virus_1.jpeg", "train/NORMAL/IM-0001-0001.jpeg")):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30), dtype=np.uint8)
        cv2.imwrite(str(raw_dir / "chest_xray" / name), pixels)
    (raw_dir / "chest_xray/train/NORMAL/IM-0002-0001.jpeg").write_bytes(b"no picture")
    reader = ChestXrayPneumonia(str(raw_dir), labels="cause")
    build_dataset(
        reader, tmp_path / "out", BuildOptions(image_sizes=(16,), splits={"train": 0.5, "held_out": 0.5}, workers=1)
    )
    info = read_dataset_info(tmp_path / "out" / "16")
    # person7 has an image in train and one in test
    assert info.rejected == {"patient_in_other_official_split": 1, "not_an_image": 1}
    assert (info.images_read, info.images_written) == (8, 6)
    assert info.splits["test"].labels["VIRAL"] == {"positive": 1, "negative": 0, "unknown": 0}
    assert info.preprocessing["reader_settings"] == {"labels": "cause"}
    assert "person" not in (tmp_path / "out" / "16" / "dataset_info.json").read_text()


@pytest.mark.real_data
@pytest.mark.skipif(CXR is None, reason="no shared/cxr with real radiographs beside the checkout")
def test_counts_of_the_real_set():
    def count(reader):
        entries = list(reader.examples())
        assert not [entry for entry in entries if isinstance(entry, Reject)]
        names = [reader.label_names[entry.label.index(1.0)] for entry in entries]
        return Counter(zip((entry.official_split for entry in entries), names, strict=True))

    # the README of shared/cxr; the causes were counted from the file names by hand
    counts = {("", "NORMAL"): 1035, ("", "PNEUMONIA"): 3009, ("test", "NORMAL"): 180, ("test", "PNEUMONIA"): 287}
    assert count(ChestXrayPneumonia(str(CXR))) == counts
    causes = {("", "BACTERIAL"): 1966, ("", "VIRAL"): 1043, ("test", "BACTERIAL"): 176, ("test", "VIRAL"): 111}
    normal = {key: counts[key] for key in counts if key[1] == "NORMAL"}
    assert count(ChestXrayPneumonia(str(CXR), labels="cause")) == normal | causes


def test_unknown_labels(raw_dir):
    with pytest.raises(ValueError, match="unknown labels 'causes'; did you mean 'cause'"):
        ChestXrayPneumonia(str(raw_dir), labels="causes")


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent does not exist or is no folder"):
        ChestXrayPneumonia(str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match="holds no train or test folder; expected chest_xray with"):
        ChestXrayPneumonia(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="name it with --raw_dir"):
        ChestXrayPneumonia("")
