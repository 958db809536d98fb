import json
import math
import os
import pickle
import sys

import numpy as np
import pytest

from tfrecords_builder.build import build_dataset
from tfrecords_builder.datasets import make_reader
from tfrecords_builder.datasets.reader import RawExample
from tfrecords_builder.datasets.rsna_pneumonia import CLASSES, MAPPING, RsnaPneumonia, dicom_facts
from tfrecords_builder.options import BuildOptions

pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
from pydicom.dataset import FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid  # noqa: E402

NORMAL, NOT_NORMAL, OPACITY = CLASSES
SECRET = "Secret^Name"


def write_dicom(path, age="051Y", sex="F", view="PA", seed=0, **elements):
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    dataset.PatientName, dataset.PatientID, dataset.Modality = SECRET, "secret-id", "CR"
    with pydicom.config.disable_value_validation():
        dataset.PatientAge, dataset.PatientSex, dataset.ViewPosition = age, sex, view
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 20, 30, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = np.random.default_rng(seed).integers(0, 256, (20, 30), dtype=np.uint8).tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)


def make(raw_dir, targets, files, classes=(), **settings):
    """`targets` and `classes` are rows, `files` stems of images to write."""
    (raw_dir / "stage_2_train_images").mkdir(parents=True, exist_ok=True)
    lines = [f"{key},{'1,2,3,4' if target == '1' else ',,,'},{target}" for key, target in targets]
    (raw_dir / "stage_2_train_labels.csv").write_text("\n".join(["patientId,x,y,width,height,Target", *lines]))
    lines = [f"{key},{name}" for key, name in classes]
    (raw_dir / "stage_2_detailed_class_info.csv").write_text("\n".join(["patientId,class", *lines]))
    for number, name in enumerate(files):
        write_dicom(raw_dir / "stage_2_train_images" / f"{name}.dcm", seed=number)
    return RsnaPneumonia(str(raw_dir), **settings)


def write_mapping(raw_dir, names):
    entries = [{"subset_img_id": key, "img_id": name, "orig_labels": []} for key, name in names.items()]
    (raw_dir / MAPPING).write_text(json.dumps(entries))


def test_boxes_of_an_image_are_one_example(tmp_path):
    reader = make(tmp_path, [("a", "1"), ("a", "1"), ("b", "0")], ["a", "b"])
    assert reader.label_names == ("Lung Opacity",) and not reader.is_single_label
    assert list(reader.examples()) == [
        RawExample("a", "a", (1.0,), "stage_2_train_images/a.dcm", "PA", 51.0, "F"),
        RawExample("b", "b", (0.0,), "stage_2_train_images/b.dcm", "PA", 51.0, "F"),
    ]


def test_three_classes(tmp_path):
    classes = [("a", OPACITY), ("a", OPACITY), ("b", NOT_NORMAL), ("c", NORMAL)]
    make(tmp_path, [], ["a", "b", "c"], classes)
    reader = make_reader("rsna_pneumonia", str(tmp_path), ["labels=classes", "dicom_window=full"])
    assert reader.label_names == CLASSES and reader.is_single_label and reader.dicom_window == "full"
    assert [entry.label for entry in reader.examples()] == [(0, 0, 1), (0, 1, 0), (1, 0, 0)]


def test_rows_and_files_that_cannot_be_used(tmp_path):
    targets = [("conflict", "0"), ("conflict", "1"), ("conflict", "0"), ("label", "2"), ("absent", "1"), ("good", "1")]
    reader = make(tmp_path, targets, ["conflict", "label", "good", "extra", "more/good"])
    write_dicom(tmp_path / "stage_2_test_images" / "test.dcm")
    assert [(entry.key, getattr(entry, "reason", "")) for entry in reader.examples()] == [
        ("conflict", "conflicting_labels"),
        ("label", "unknown_label"),
        ("absent", "missing_file"),
        ("good", ""),
        ("extra", "file_without_row"),
        ("stage_2_train_images/more/good.dcm", "same_file_name_twice"),
        ("stage_2_test_images/test.dcm", "no_label_row"),
    ]
    classes = [("conflict", NORMAL), ("conflict", OPACITY), ("label", "Pneumonia"), ("good", NORMAL)]
    entries = make(tmp_path, [], [], classes, labels="classes").examples()
    assert [getattr(entry, "reason", "") for entry in entries][:3] == ["conflicting_labels", "unknown_label", ""]


def test_mapping_keeps_patients_together(tmp_path, caplog):
    with caplog.at_level("WARNING"):
        reader = make(tmp_path, [("a", "1"), ("b", "0"), ("c", "0"), ("d", "0")], ["a", "b", "c", "d"])
    assert "each image counts as a patient, so splits may share patients; put RSNA's" in caplog.text
    assert "each image counts as a patient" in reader.notice
    assert [entry.patient_id for entry in reader.examples()] == ["a", "b", "c", "d"]
    write_mapping(tmp_path, {"a": "00000061_007.png", "b": "00000061_010.png", "c": "00000002_000.png"})
    reader = RsnaPneumonia(str(tmp_path))
    *examples, last = reader.examples()
    assert not reader.notice
    assert [entry.patient_id for entry in examples] == ["00000061", "00000061", "00000002"]
    assert (last.key, last.reason) == ("d", "unknown_patient")


@pytest.mark.parametrize("text", ["", "{}x", '[{"subset_img_id": "a"}]', '[{"subset_img_id": "a", "img_id": "b.png"}]'])
def test_damaged_mapping(tmp_path, text):
    (tmp_path / MAPPING).write_text(text)
    with pytest.raises(ValueError, match=r"is not RSNA's mapping, a JSON list of subset_img_id and img_id"):
        list(make(tmp_path, [("a", "1")], ["a"]).examples())


def test_facts_of_the_header(tmp_path):
    path = tmp_path / "a.dcm"
    write_dicom(path, age="51", sex="M", view="AP")  # the challenge's files write the age so
    assert dicom_facts(path) == {"age": 51.0, "sex": "M", "view": "AP"}
    write_dicom(path, age="", sex="O", view="LL")
    facts = dicom_facts(path)
    assert math.isnan(facts["age"]) and (facts["sex"], facts["view"]) == ("", "LATERAL")


def is_unknown(facts):
    return math.isnan(facts["age"]) and (facts["sex"], facts["view"]) == ("", "")


def test_damaged_header_is_unknown_and_the_image_still_given(tmp_path):
    reader = make(tmp_path, [("a", "1"), ("link", "0")], ["a"])
    path = tmp_path / "stage_2_train_images" / "a.dcm"
    path.write_bytes(b"no DICOM file")
    (tmp_path / "stage_2_train_images" / "link.dcm").symlink_to("nothing")
    (damaged, dangling) = reader.examples()
    assert damaged.key == "a" and math.isnan(damaged.age) and (damaged.sex, damaged.view) == ("", "")
    assert (dangling.key, dangling.reason) == ("link", "dangling_link") and "a link to nothing" in dangling.detail
    path.unlink()
    os.mkfifo(path)
    assert is_unknown(dicom_facts(path))


def test_any_damage_is_survived(tmp_path):
    path = tmp_path / "a.dcm"
    write_dicom(path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(500):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[random.integers(128, 600, random.integers(1, 20))] = random.integers(256)
        path.write_bytes(damaged[: random.integers(1, len(whole))].tobytes())
        facts = dicom_facts(path)
        assert set(facts) == {"age", "sex", "view"} and facts["sex"] in ("F", "M", "")


def test_unreadable_file_is_not_taken_as_damaged(tmp_path):
    path = tmp_path / "a.dcm"
    write_dicom(path)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(PermissionError):
        dicom_facts(path)


def test_wrong_settings_and_layout(tmp_path, monkeypatch):
    make(tmp_path, [], [])
    with pytest.raises(ValueError, match="unknown labels 'clases'; did you mean 'classes'"):
        RsnaPneumonia(str(tmp_path), labels="clases")
    with pytest.raises(ValueError, match="unknown dicom_window 'ful'; did you mean 'full'"):
        RsnaPneumonia(str(tmp_path), dicom_window="ful")
    (tmp_path / "stage_2_train_labels.csv").write_text("patientId,x\na,1\n")
    with pytest.raises(ValueError, match="lacks the column 'Target'"):
        list(RsnaPneumonia(str(tmp_path)).examples())
    (tmp_path / "stage_2_detailed_class_info.csv").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"lacks stage_2_train_images/\*.dcm or stage_2_detailed_class_info.csv"
    ):
        RsnaPneumonia(str(tmp_path), labels="classes")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        RsnaPneumonia(str(tmp_path / "absent"))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImportError, match=r"DICOM files need pydicom: pip install 'tfcxr\[dicom\]'"):
        RsnaPneumonia(str(tmp_path))


def test_build(tmp_path):
    names = [f"{number:02d}" for number in range(12)]
    raw_dir = tmp_path / "raw"
    make(raw_dir, [(name, str(int(name) % 2)) for name in names], names)
    write_mapping(raw_dir, {name: f"{int(name) // 3:08d}_000.png" for name in names})
    (raw_dir / "stage_2_train_images" / "00.dcm").write_bytes(b"damaged")
    write_dicom(raw_dir / "stage_2_test_images" / "test.dcm")
    reader = pickle.loads(pickle.dumps(RsnaPneumonia(str(raw_dir))))
    options = BuildOptions(image_sizes=(16,), workers=1, splits={"train": 0.5, "test": 0.5})
    info = build_dataset(reader, tmp_path / "out", options)[16]
    assert (info.images_read, info.images_written) == (13, 11)
    assert info.rejected == {"not_an_image": 1, "no_label_row": 1}
    assert sum(split.patients for split in info.splits.values()) == 4
    assert sum(split.labels["Lung Opacity"]["positive"] for split in info.splits.values()) == 6
    for path in (tmp_path / "out" / "16").iterdir():
        for secret in (SECRET, "secret-id", str(tmp_path)):
            assert secret.encode() not in path.read_bytes()
