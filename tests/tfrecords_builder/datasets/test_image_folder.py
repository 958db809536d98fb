import pathlib

import cv2
import numpy as np
import pytest

from tfcxr.data.records import read_dataset_info
from tfrecords_builder.build import build_dataset
from tfrecords_builder.datasets import make_reader
from tfrecords_builder.datasets.image_folder import ImageFolder
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.options import BuildOptions

CXR = next(
    (folder / "shared/cxr" for folder in pathlib.Path(__file__).parents if (folder / "shared/cxr").is_dir()), None
)


@pytest.fixture
def raw_dir(tmp_path):
    for name in ("healthy/p1_a.png", "healthy/deep/p1_b.JPG", "sick/p2_a.jpeg", "sick/notes.txt", ".hidden/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return str(tmp_path)


def test_folders_are_labels_and_files_patients(raw_dir):
    reader = ImageFolder(raw_dir)
    entries = list(reader.examples())
    assert reader.label_names == ("healthy", "sick")
    assert [(entry.key, entry.patient_id, entry.label) for entry in entries if not isinstance(entry, Reject)] == [
        ("healthy/p1_a.png", "healthy/p1_a.png", (1.0, 0.0)),
        ("healthy/deep/p1_b.JPG", "healthy/deep/p1_b.JPG", (1.0, 0.0)),
        ("sick/p2_a.jpeg", "sick/p2_a.jpeg", (0.0, 1.0)),
    ]
    assert [(entry.key, entry.reason) for entry in entries if isinstance(entry, Reject)] == [
        ("sick/notes.txt", "not_an_image"),
        (".hidden", "system_folder"),
    ]


def test_a_file_a_patient_is_said_aloud(raw_dir, caplog):
    with caplog.at_level("WARNING"):
        ImageFolder(raw_dir, patient_pattern=r"(p\d+)_")
        assert not caplog.records
        ImageFolder(raw_dir)
    assert "every file as a patient of its own" in caplog.text


def test_pattern_finds_patients(raw_dir):
    patients = {
        entry.key: entry.patient_id
        for entry in ImageFolder(raw_dir, patient_pattern=r"(p1)_").examples()
        if not isinstance(entry, Reject)
    }
    assert patients == {"healthy/deep/p1_b.JPG": "p1", "healthy/p1_a.png": "p1"}
    rejects = {entry.reason for entry in ImageFolder(raw_dir, r"(p1)_").examples() if isinstance(entry, Reject)}
    assert rejects == {"unknown_patient", "not_an_image", "system_folder"}


def test_wrong_folder_or_pattern(tmp_path, raw_dir):
    with pytest.raises(ValueError, match="is not a regular expression"):
        ImageFolder(raw_dir, patient_pattern="(")
    with pytest.raises(FileNotFoundError, match="holds no folder; expected one folder per class"):
        ImageFolder(str(tmp_path / "sick"))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        ImageFolder(str(tmp_path / "absent"))


def test_every_format_of_image_is_taken(tmp_path):
    names = ("a.png", "b.JPG", "c.jpeg", "d.tif", "e.TIFF", "f.dcm", "g.DICOM")
    (tmp_path / "sick").mkdir()
    for name in (*names, "h.bmp", "i"):
        (tmp_path / "sick" / name).touch()
    entries = list(ImageFolder(str(tmp_path)).examples())
    assert [entry.key for entry in entries if isinstance(entry, RawExample)] == [f"sick/{name}" for name in names]
    assert {entry.key: entry.reason for entry in entries if isinstance(entry, Reject)} == {
        "sick/h.bmp": "not_an_image",
        "sick/i": "not_an_image",
    }


def test_a_class_without_an_image_is_an_error(raw_dir):
    root = pathlib.Path(raw_dir)
    for name in ("Nothing yet", "__MACOSX", "papers"):
        (root / name).mkdir()
    (root / "papers/a.pdf").touch()
    reader = ImageFolder(raw_dir)
    assert "__MACOSX" not in reader.label_names
    message = (
        r"holds no image of the class 'Nothing yet', 'papers', so nothing could learn it; put images there \(names"
    )
    with pytest.raises(ValueError, match=message):
        build_dataset(reader, root / "out", BuildOptions(image_sizes=(16,), workers=1))
    assert not (root / "out").exists()


def test_classes_that_differ_in_case_or_blanks_alone_are_refused(split_dir):
    (split_dir / "test/Healthy ").mkdir()
    with pytest.raises(
        ValueError, match="the class folders of .* 'Healthy ' and 'healthy' differ in case or blanks alone"
    ):
        ImageFolder(str(split_dir), split_folders=True)


def test_images_in_no_class_are_rejected(raw_dir):
    (pathlib.Path(raw_dir) / "loose.png").touch()
    rejects = [entry for entry in ImageFolder(raw_dir).examples() if isinstance(entry, Reject)]
    assert ("loose.png", "unknown_label") in [(reject.key, reject.reason) for reject in rejects]


@pytest.fixture
def split_dir(tmp_path):
    names = ("Train/healthy/p1_a.png", "Train/healthy/p2_a.png", "Train/sick/deep/p3_a.png", "val/sick/p4_a.png")
    for number, name in enumerate((*names, "test/other/p5_a.png", "test/other/p1_b.png", "test/p6.png", "p7.png")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.random.default_rng(number).integers(0, 256, (20, 20), dtype=np.uint8))
    return tmp_path


def test_split_folders_are_published_splits(split_dir):
    reader = make_reader("image_folder", str(split_dir), ["split_folders=true", r"patient_pattern=(p\d)"])
    entries = list(reader.examples())
    assert reader.label_names == ("healthy", "other", "sick")
    found = {
        entry.key: (entry.official_split, reader.label_names[entry.label.index(1.0)], entry.patient_id)
        for entry in entries
        if isinstance(entry, RawExample)
    }
    assert found == {
        "Train/healthy/p1_a.png": ("train", "healthy", "p1"),
        "Train/healthy/p2_a.png": ("train", "healthy", "p2"),
        "Train/sick/deep/p3_a.png": ("train", "sick", "p3"),
        "val/sick/p4_a.png": ("validation", "sick", "p4"),
        "test/other/p5_a.png": ("test", "other", "p5"),
        "test/other/p1_b.png": ("test", "other", "p1"),
    }
    rejects = {entry.key: entry.reason for entry in entries if isinstance(entry, Reject)}
    assert rejects == {"test/p6.png": "unknown_label", "p7.png": "unknown_label"}


def test_a_build_of_split_folders(split_dir, tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("built") / "out"
    (split_dir / "val/sick/p4_b.tif").write_bytes(b"no picture")
    reader = ImageFolder(str(split_dir), patient_pattern=r"(p\d)", split_folders=True)
    build_dataset(reader, out_dir, BuildOptions(image_sizes=(16,), workers=1))
    info = read_dataset_info(out_dir / "16")
    assert {name: split.images for name, split in info.splits.items()} == {"train": 2, "validation": 1, "test": 2}
    assert info.rejected == {"unknown_label": 2, "patient_in_other_official_split": 1, "not_an_image": 1}
    assert info.images_read == 9
    assert info.preprocessing["reader_settings"] == {
        "dicom_window": "file",
        "patient_pattern": r"(p\d)",
        "split_folders": True,
    }


def test_splits_taken_for_classes_are_warned_of(split_dir, caplog):
    with caplog.at_level("WARNING"):
        ImageFolder(str(split_dir), "p")
    assert "the classes Train, test, val look like splits" in caplog.text


def test_wrong_split_folders_and_window(split_dir, tmp_path):
    with pytest.raises(ValueError, match="unknown dicom_window 'ful'; did you mean 'full'"):
        ImageFolder(str(split_dir), dicom_window="ful")
    assert ImageFolder(str(split_dir), dicom_window="full").dicom_window == "full"
    with pytest.raises(FileNotFoundError, match="expected one folder per class with images in it, as <split>/<class>"):
        ImageFolder(str(split_dir / "val"), split_folders=True)
    (tmp_path / "validation").mkdir()
    with pytest.raises(ValueError, match="more than one folder for the split 'validation'; join them"):
        ImageFolder(str(tmp_path), split_folders=True)
    (tmp_path / "validation").rename(tmp_path / "fold-1")
    with pytest.raises(ValueError, match="split folder 'fold-1' in .* expects letters, digits and _"):
        ImageFolder(str(tmp_path), split_folders=True)


@pytest.mark.real_data
@pytest.mark.skipif(CXR is None, reason="no shared/cxr with real radiographs beside the checkout")
def test_the_full_size_originals_build(tmp_path):
    reader = ImageFolder(str(CXR / "fullsize/chest_xray"), patient_pattern=r"(person\d+|IM-\d+)")
    build_dataset(
        reader, tmp_path / "out", BuildOptions(image_sizes=(16,), splits={"train": 0.5, "test": 0.5}, workers=1)
    )
    info = read_dataset_info(tmp_path / "out" / "16")
    assert (info.images_read, info.images_written, info.rejected) == (16, 16, {})
    positives = {
        name: sum(split.labels[name]["positive"] for split in info.splits.values()) for name in info.label_names
    }
    assert positives == {"NORMAL": 6, "PNEUMONIA": 10}
