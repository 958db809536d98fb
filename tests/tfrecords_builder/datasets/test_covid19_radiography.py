import cv2
import numpy as np
import pytest

from tfrecords_builder.build import build_dataset
from tfrecords_builder.datasets import make_reader
from tfrecords_builder.datasets.covid19_radiography import Covid19Radiography
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.options import BuildOptions

CLASSES = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")


def touch(raw_dir, *names):
    for name in names:
        (raw_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (raw_dir / name).touch()


@pytest.fixture
def raw_dir(tmp_path):
    for name in CLASSES:
        touch(tmp_path, f"{name}.metadata.xlsx", f"{name}/images/{name}-1.png", f"{name}/masks/{name}-1.png")
    touch(tmp_path, "README.md.txt")
    return tmp_path


def test_folders_are_exclusive_labels_and_masks_no_images(raw_dir):
    reader = Covid19Radiography(str(raw_dir))
    assert reader.label_names == CLASSES and reader.is_single_label
    assert list(reader.examples()) == [
        RawExample(
            key=f"{name}-1.png",
            patient_id=f"{name}-1.png",
            label=tuple(float(other == name) for other in CLASSES),
            path=f"{name}/images/{name}-1.png",
            age=pytest.approx(float("nan"), nan_ok=True),
        )
        for name in CLASSES
    ]


@pytest.mark.parametrize("archive", ["", "COVID-19_Radiography_Dataset", "COVID-19 Radiography Database"])
def test_older_releases(tmp_path, archive, caplog):
    touch(tmp_path / archive, "COVID-19/COVID-19 (1).png", "NORMAL/NORMAL (2).png", "Viral Pneumonia/a.png")
    with caplog.at_level("WARNING"):
        examples = list(Covid19Radiography(str(tmp_path)).examples())
    assert [(example.path, example.label.index(1.0)) for example in examples] == [
        ("COVID-19/COVID-19 (1).png", 0),
        ("NORMAL/NORMAL (2).png", 2),
        ("Viral Pneumonia/a.png", 3),
    ]
    assert "holds no Lung_Opacity, as older releases" in caplog.text


def test_an_image_a_patient_is_said_aloud(raw_dir, caplog):
    with caplog.at_level("WARNING"):
        reader = Covid19Radiography(str(raw_dir))
    assert "no patient identifiers are published: each image counts as a patient" in caplog.text
    assert "no patient identifiers" in reader.notice


def test_same_name_twice(raw_dir):
    touch(raw_dir, "COVID/COVID-1.png", "Normal/images/COVID-1.png")
    entries = list(Covid19Radiography(str(raw_dir)).examples())
    rejects = [(entry.key, entry.reason) for entry in entries if isinstance(entry, Reject)]
    assert rejects == [("COVID/images/COVID-1.png", "same_file_name_twice")]
    # In another class the name has another label: both come, and the plan finds the conflict.
    labels = [
        entry.label.index(1.0) for entry in entries if isinstance(entry, RawExample) and entry.key == "COVID-1.png"
    ]
    assert labels == [0, 2]


def test_wrong_layout(tmp_path, raw_dir):
    (raw_dir / "NORMAL").mkdir()
    with pytest.raises(ValueError, match="holds both Normal and NORMAL; leave one folder for the class Normal"):
        Covid19Radiography(str(raw_dir))
    with pytest.raises(
        FileNotFoundError, match=r"COVID nor Viral Pneumonia; expected COVID, .*each with images/\*\.png"
    ):
        touch(tmp_path / "other", "Normal/a.png")
        Covid19Radiography(str(tmp_path / "other"))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Covid19Radiography(str(tmp_path / "absent"))


def test_build(raw_dir, tmp_path):
    random = np.random.default_rng(0)
    for name in CLASSES:
        for number in range(2, 6):
            path = raw_dir / name / "images" / f"{name}-{number}.png"
            cv2.imwrite(str(path), random.integers(0, 256, (30, 24), dtype=np.uint8))
    reader = make_reader("covid19_radiography", str(raw_dir))
    options = BuildOptions(image_sizes=(16,), workers=1, splits={"train": 0.5, "test": 0.5})
    info = build_dataset(reader, tmp_path / "out", options)[16]
    assert (info.images_read, info.images_written, info.rejected) == (20, 16, {"truncated": 4})
    positives = [sum(split.labels[name]["positive"] for split in info.splits.values()) for name in CLASSES]
    assert positives == [4, 4, 4, 4]
    assert info.notice == reader.notice
