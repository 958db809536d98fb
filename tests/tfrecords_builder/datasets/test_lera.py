"""LERA on a tiny folder in the layout that its users read, with every fault that a copy of it can have."""

import cv2
import numpy as np
import pytest

from tfcxr.data.records import read_dataset_info
from tfrecords_builder.build import build_dataset
from tfrecords_builder.datasets import make_reader
from tfrecords_builder.datasets.lera import Lera
from tfrecords_builder.datasets.mura import Mura
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.options import BuildOptions

ROWS = "1001,XR FOOT,1\n1002,XR KNEE,0\n1003,XR ANKLE,0\n1004,XR HIP,1\n"
FOOT, KNEE, KNEE_2, ANKLE, HIP = (
    "1001/ST-1/IM-0001.png",
    "1002/ST-1/IM-0001.png",
    "1002/ST-1/IM-0002.png",
    "1003/ST-1/IM-0001.png",
    "1004/IM-0001.png",
)


def write_image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (24, 20), dtype=np.uint8))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "raw" / "LERA Dataset"
    for number, name in enumerate((FOOT, KNEE, KNEE_2, ANKLE, HIP)):
        write_image(root / name, number)
    (root / "labels.csv").write_text(ROWS)
    return root


def examples_and_rejects(reader):
    entries = list(reader.examples())
    rejects = [(entry.key, entry.reason) for entry in entries if isinstance(entry, Reject)]
    return {entry.key: entry for entry in entries if isinstance(entry, RawExample)}, rejects


@pytest.mark.parametrize("given", ["", "LERA Dataset"])
def test_patients_and_findings(root, given):
    reader = Lera(str(root.parent / given))
    examples, rejects = examples_and_rejects(reader)
    assert not rejects and reader.label_names == ("normal", "abnormal")
    assert {key: (example.patient_id, example.label) for key, example in examples.items()} == {
        FOOT: ("1001", (0.0, 1.0)),
        KNEE: ("1002", (1.0, 0.0)),
        KNEE_2: ("1002", (1.0, 0.0)),
        ANKLE: ("1003", (1.0, 0.0)),
        HIP: ("1004", (0.0, 1.0)),
    }
    assert {example.official_split for example in examples.values()} == {""}
    assert all((reader.raw_dir / example.path).is_file() for example in examples.values())


def test_the_value_for_abnormal_can_be_turned_and_is_warned_of(root, caplog):
    with caplog.at_level("WARNING"):
        assert not Lera(str(root), labels="medfid").notice
        assert not caplog.records
        examples, _ = examples_and_rejects(Lera(str(root), abnormal_value="0"))
    assert "that 0 in labels.csv means abnormal is not stated by the authors of the set" in caplog.text
    assert examples[FOOT].label == (1.0, 0.0) and examples[KNEE].label == (0.0, 1.0)


@pytest.mark.parametrize(
    "settings, names, labels, excluded",
    [
        (
            {"labels": "body_part"},
            ("ankle", "foot", "hip", "knee"),
            {FOOT: (0, 1, 0, 0), KNEE: (0, 0, 0, 1), KNEE_2: (0, 0, 0, 1), ANKLE: (1, 0, 0, 0), HIP: (0, 0, 1, 0)},
            [],
        ),
        (
            {"labels": "both", "body_parts": "hip,foot"},
            ("foot", "hip", "abnormal"),
            {FOOT: (1, 0, 1), HIP: (0, 1, 1)},
            [KNEE, KNEE_2, ANKLE],
        ),
    ],
)
def test_label_sets(root, settings, names, labels, excluded):
    reader = Lera(str(root), **settings)
    examples, rejects = examples_and_rejects(reader)
    assert reader.label_names == names
    assert {key: example.label for key, example in examples.items()} == labels
    assert rejects == [(key, "excluded_body_part") for key in excluded]


def test_medfid_labels_fit_those_of_mura(root, tmp_path):
    study = tmp_path / "mura" / "train" / "XR_ELBOW" / "patient00001" / "study1_negative"
    study.mkdir(parents=True)
    for name in ("image_paths", "labeled_studies"):
        (tmp_path / "mura" / f"train_{name}.csv").touch()
    reader = Lera(str(root), labels="medfid")
    assert reader.label_names == Mura(str(tmp_path / "mura"), labels="medfid").label_names
    examples, rejects = examples_and_rejects(reader)
    assert {key: reader.label_names[example.label.index(1.0)] for key, example in examples.items()} == {
        FOOT: "foot_ankle",
        ANKLE: "foot_ankle",
        KNEE: "knee",
        KNEE_2: "knee",
    }
    assert rejects == [(HIP, "excluded_body_part")]


def test_every_fault_is_a_reject(root):
    (root / "labels.csv").write_text(
        ROWS + "1005,XR KNEE,0\n1006,XR KNEE,0\n1006,XR KNEE,1\n1007,XR WRIST,0\n1008,XR KNEE,yes\n1002,XR KNEE,0\n"
        "1010,XR KNEE,0\n"
    )
    for name in ("1006/ST-1/a.png", "1007/ST-1/a.png", "1008/ST-1/a.png", "1009/ST-1/a.png", "loose.png"):
        write_image(root / name)
    (root / "1001/ST-1/._IM-0001.png").write_bytes(b"\0\5\26\7")
    (root / "1001/ST-1/notes.txt").touch()
    (root / "1009/.DS_Store").touch()
    (root / "1010").mkdir()
    (root / "1010/.DS_Store").touch()
    (root / "read me.txt").touch()
    examples, rejects = examples_and_rejects(Lera(str(root)))
    assert sorted(rejects) == [
        ("1001/ST-1/._IM-0001.png", "hidden_file"),
        ("1001/ST-1/notes.txt", "not_an_image"),
        ("1002", "duplicate_row"),
        ("1005", "missing_file"),
        ("1006", "duplicate_row"),
        ("1006/ST-1/a.png", "conflicting_labels"),
        ("1007/ST-1/a.png", "unknown_label"),
        ("1008/ST-1/a.png", "unknown_label"),
        ("1009/.DS_Store", "hidden_file"),
        ("1009/ST-1/a.png", "file_without_row"),
        ("1010", "missing_file"),
        ("1010/.DS_Store", "hidden_file"),
        ("loose.png", "file_without_row"),
    ]
    assert set(examples) == {FOOT, KNEE, KNEE_2, ANKLE, HIP}
    parts, _ = examples_and_rejects(Lera(str(root), labels="body_part"))
    assert "1008/ST-1/a.png" in parts, "a body part needs no finding"


def test_a_build_counts_images_and_rejects_and_tells_no_patient(root, tmp_path):
    (root / "1002/ST-1/IM-0002.png").write_bytes(b"no picture")
    reader = make_reader("lera", str(root), ["labels=medfid"])
    build_dataset(
        reader, tmp_path / "out", BuildOptions(image_sizes=(16,), splits={"train": 0.5, "test": 0.5}, workers=1)
    )
    info = read_dataset_info(tmp_path / "out" / "16")
    assert info.rejected == {"excluded_body_part": 1, "not_an_image": 1}
    assert (info.images_read, info.images_written) == (5, 3)
    assert sum(split.labels["foot_ankle"]["positive"] for split in info.splits.values()) == 2
    written = (tmp_path / "out" / "16" / "dataset_info.json").read_text()
    assert "1002" not in written and str(tmp_path) not in written


def test_wrong_settings_and_folders(root, tmp_path):
    with pytest.raises(ValueError, match="unknown labels 'parts'; did you mean 'body_part'"):
        Lera(str(root), labels="parts")
    with pytest.raises(ValueError, match="unknown body part 'wrist'; valid names: ankle, foot, hip, knee"):
        Lera(str(root), body_parts="wrist")
    with pytest.raises(ValueError, match="unknown abnormal_value '2'; valid names: 0, 1"):
        Lera(str(root), abnormal_value="2")
    with pytest.raises(FileNotFoundError, match="does not exist or is no folder"):
        Lera(str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match="holds no labels.csv; expected labels.csv .* beside <patient>/ST-1"):
        Lera(str(tmp_path))
    (root / "labels.csv").write_text("1001,XR FOOT\n")
    with pytest.raises(ValueError, match="labels.csv line 1 has 2 fields, expected 3 and no header: patient's number,"):
        list(Lera(str(root)).examples())
