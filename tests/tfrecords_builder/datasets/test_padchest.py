import gzip
import math

import cv2
import numpy as np
import pytest

from tfcxr.data.records import read_dataset_info
from tfrecords_builder.build import build_dataset
from tfrecords_builder.datasets import make_reader
from tfrecords_builder.datasets.nih_relabels import ALL_LABELS
from tfrecords_builder.datasets.padchest import FINDINGS, PadChest
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.options import BuildOptions

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
HEADER = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,Projection,"
    "MethodProjection,Pediatric,Report,MethodLabel,Labels,Localizations"
)
PATIENT = "839860488694292331637988235681460987"  # as long as the published ones


def row(image, labels="['normal']", patient=PATIENT, view="PA", date="20140915", birth="1930.0", sex="F"):
    fields = (image, "0", date, "1", patient, birth, sex, "POSTEROANTERIOR", view, "Manual", "No")
    return f'0,{",".join(fields)},sin hallazgos .,Physician,"{labels}",[]'


def make(raw_dir, rows, files=None, header=HEADER, **settings):
    (raw_dir / TABLE).write_text("\n".join([header, *rows]) + "\n")
    for name in [f"0/{text.split(',')[1]}" for text in rows] if files is None else files:
        (raw_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (raw_dir / name).touch()
    return PadChest(str(raw_dir), **settings)


def read(reader):
    """Key -> present labels and "?" where the others are unknown; or the reason."""
    found = {}
    for entry in reader.examples():
        if isinstance(entry, Reject):
            found[entry.key] = entry.reason
        else:
            present = [name for name, x in zip(reader.label_names, entry.label, strict=True) if x == 1]
            unknown = [x for x in entry.label if math.isnan(x)]
            assert len(unknown) in (0, len(entry.label) - len(present))
            found[entry.key] = (*present, "?") if unknown else tuple(present)
    return found


def test_row_becomes_example(tmp_path):
    (example,) = make(
        tmp_path, [row("a.png", "['cardiomegaly', ' pleural effusion']", view="AP_horizontal")]
    ).examples()
    assert (example.key, example.patient_id, example.path) == ("a.png", PATIENT, "0/a.png")
    assert (example.view, example.age, example.sex, example.official_split) == ("AP", 84.0, "F", "")
    assert PadChest.name == "padchest" and not PadChest.is_single_label


def test_the_default_labels_are_those_of_nih(tmp_path):
    assert make(tmp_path, [row("a.png")]).label_names == ALL_LABELS == tuple(FINDINGS)
    parts = [part for parts in FINDINGS.values() for part in parts]
    assert len(set(parts)) == len(parts) and all(part == part.strip().lower() for part in parts)


@pytest.mark.parametrize(
    "labels, expected",
    [
        ("['normal']", ("No Finding",)),
        ("[' normal', '']", ("No Finding",)),
        ("['laminar atelectasis', 'Pleural  Effusion ', 'multiple nodules']", ("Atelectasis", "Effusion", "Nodule")),
        ("['chronic changes']", ()),
        # A part of a word is no finding.
        ("['pseudonodule', 'subcutaneous emphysema', 'pericardial effusion']", ()),
        ("['unchanged']", ("?",)),
        ("['pneumonia', 'unchanged']", ("Pneumonia", "?")),
        ("['normal', 'unchanged']", ("No Finding",)),
        ("[]", ("?",)),
        ("nan", ("?",)),
        ("", ("?",)),
        ("['']", ("?",)),
        ("['exclude']", "excluded_by_authors"),
        ("['pneumonia', 'exclude']", "excluded_by_authors"),
        ("['normal', 'pneumonia']", "conflicting_labels"),
        ("['pneumonia'", "unknown_label"),
    ],
)
def test_labels(tmp_path, labels, expected):
    assert read(make(tmp_path, [row("a.png", labels)])) == {"a.png": expected}


def test_labels_of_the_users_choice(tmp_path):
    rows = [row("a.png", "['NSG tube', 'aortic elongation ']"), row("b.png", "['atypical pneumonia']")]
    settings = ["labels=Pneumonia, aortic elongation,nsg tube"]
    make(tmp_path, rows)
    reader = make_reader("padchest", str(tmp_path), settings)
    assert reader.label_names == ("Pneumonia", "aortic elongation", "nsg tube")
    assert read(reader) == {"a.png": ("aortic elongation", "nsg tube"), "b.png": ("Pneumonia",)}
    with pytest.raises(ValueError, match="holds no label 'aortic elongaton'; did you mean 'aortic elongation'"):
        list(PadChest(str(tmp_path), labels="aortic elongaton").examples())
    with pytest.raises(ValueError, match="expects different names with commas between, got 'a,a'"):
        PadChest(str(tmp_path), labels="a,a")
    with pytest.raises(ValueError, match="the names 'Pneumonia' and 'pneumonia' differ in case or blanks alone"):
        PadChest(str(tmp_path), labels="Pneumonia,pneumonia")


def test_views(tmp_path):
    views = ("PA", "AP", "AP_horizontal", "L", "COSTAL", "EXCLUDE", "")
    rows = [row(f"{number}.png", view=view) for number, view in enumerate(views)]
    assert list(read(make(tmp_path, rows)).values()) == [("No Finding",)] * 3 + ["excluded_view"] * 4
    reader = make_reader("padchest", str(tmp_path), ["views=l, COSTAL"])
    assert [key for key, value in read(reader).items() if value == ("No Finding",)] == ["3.png", "4.png"]
    assert [entry.view for entry in reader.examples() if isinstance(entry, RawExample)] == ["LATERAL", ""]
    with pytest.raises(ValueError, match="padchest has no view 'lateral'; .*valid names: PA, AP, AP_horizontal, L"):
        PadChest(str(tmp_path), views="lateral")


@pytest.mark.parametrize(
    "date, birth, age",
    [
        ("20140915", "1930.0", 84), ("20140915.0", "1930", 84), ("20140915", "1930,0", 84), ("2014-09-15", "2014", 0),
        ("20140915", "nan", None), ("", "1930.0", None), ("20140915", "1830.0", None), ("20140915", "2020.0", None),
    ],
)  # fmt: skip
def test_ages(tmp_path, caplog, date, birth, age):
    rows = [row("a.png", date=date, birth=f'"{birth}"')]
    with caplog.at_level("WARNING"):
        (example,) = make(tmp_path, rows).examples()
    assert math.isnan(example.age) if age is None else example.age == age
    assert ("1 ages below 0 or above 120 years" in caplog.text) == (birth in ("1830.0", "2020.0"))


def test_rows_and_files_that_cannot_be_used(tmp_path):
    rows = [
        row("absent.png"),
        row("nobody.png", patient=""),
        row("rounded.png", patient="8.39860488694292E+35"),
        row("", view="L"),
        row("twice.png"),
    ]
    files = ["nobody.png", "rounded.png", "0/twice.png", "images-224/twice.png", "54/extra.png"]
    entries = list(make(tmp_path, rows, files).examples())
    assert [(entry.key, entry.reason) for entry in entries if isinstance(entry, Reject)] == [
        ("absent.png", "missing_file"),
        ("nobody.png", "unknown_patient"),
        ("rounded.png", "unknown_patient"),
        (f"{TABLE} line 5", "excluded_view"),
        ("extra.png", "file_without_row"),
        ("images-224/twice.png", "same_file_name_twice"),
    ]
    details = {entry.key: entry.detail for entry in entries if isinstance(entry, Reject)}
    assert f"line 2 names it; no file of this name in {tmp_path} and the folders below" in details["absent.png"]
    assert "a spreadsheet program has rounded" in details["rounded.png"] and "8.39" not in details["rounded.png"]
    assert [entry.path for entry in entries if isinstance(entry, RawExample)] == ["0/twice.png"]


def test_tables(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"holds no {TABLE} nor {TABLE}\.gz"):
        PadChest(str(tmp_path))
    with pytest.raises(ValueError, match="lacks the column 'PatientBirth'"):
        list(make(tmp_path, [row("a.png")], header=HEADER.replace("PatientBirth", "Birth")).examples())
    text = (tmp_path / TABLE).read_text().replace(",Birth,", ",PatientBirth,")
    (tmp_path / f"{TABLE}.gz").write_bytes(gzip.compress(text.encode()))
    with pytest.raises(ValueError, match="leave the one that you want"):
        PadChest(str(tmp_path))
    (tmp_path / TABLE).unlink()
    assert read(PadChest(str(tmp_path))) == {"a.png": ("No Finding",)}


def test_build(tmp_path):
    raw_dir = tmp_path / "raw"
    raw_dir.mkdir()
    rows = [
        row(f"{n}.png", "['pneumonia']" if n % 2 else "['normal']", patient=f"{PATIENT}{n // 2}") for n in range(12)
    ]
    reader = make(raw_dir, [*rows, row("lateral.png", view="L")])
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 2**16, (20, 30), dtype=np.uint16)
        cv2.imwrite(str(raw_dir / f"0/{number}.png"), pixels)
    whole = (raw_dir / "0/0.png").read_bytes()
    (raw_dir / "0/0.png").write_bytes(whole[: len(whole) // 2])
    options = BuildOptions(image_sizes=(16,), splits={"train": 0.5, "test": 0.5}, workers=1, bits=16)
    build_dataset(reader, tmp_path / "out", options)
    info = read_dataset_info(tmp_path / "out/16")
    assert info.rejected == {"excluded_view": 1, "truncated": 1}
    assert (info.images_read, info.images_written) == (13, 11)
    assert sum(split.patients for split in info.splits.values()) == 6
    assert sum(split.labels["Pneumonia"]["positive"] for split in info.splits.values()) == 6
    assert info.preprocessing["reader_settings"] == {"views": ["PA", "AP", "AP_horizontal"]}
    assert PATIENT not in (tmp_path / "out/16/dataset_info.json").read_text()
