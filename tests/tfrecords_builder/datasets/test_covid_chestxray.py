import csv
import math

import cv2
import numpy as np
import pytest

from tfrecords_builder.build import build_dataset
from tfrecords_builder.datasets import make_reader
from tfrecords_builder.datasets.covid_chestxray import FINDINGS, CovidChestxray, finding_label
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.options import BuildOptions

_HEADER_LINE = (
    "patientid,offset,sex,age,finding,RT_PCR_positive,survival,intubated,intubation_present,went_icu,in_icu,"
    "needed_supplemental_O2,extubated,temperature,pO2_saturation,leukocyte_count,neutrophil_count,lymphocyte_count,"
    "view,modality,date,location,folder,filename,doi,url,license,clinical_notes,other_notes,"
)
HEADER = next(csv.reader([_HEADER_LINE]))
NAMES = CovidChestxray.label_names
COVID = "Pneumonia/Viral/COVID-19"


def make(raw_dir, rows, files, header=HEADER):
    raw_dir.mkdir(exist_ok=True)
    (raw_dir / "images").mkdir(exist_ok=True)
    with (raw_dir / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    for name in files:
        (raw_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (raw_dir / name).touch()
    return str(raw_dir)


def row(filename, finding=COVID, patientid="2", view="PA", modality="X-ray", **others):
    return dict(filename=filename, finding=finding, patientid=patientid, view=view, modality=modality, **others)


def read(raw_dir, rows, files, **settings):
    entries = list(CovidChestxray(make(raw_dir, rows, files), **settings).examples())
    examples = {entry.key: entry for entry in entries if isinstance(entry, RawExample)}
    return examples, {entry.key: entry.reason for entry in entries if isinstance(entry, Reject)}


def test_row_becomes_example(tmp_path):
    rows = [row("a.jpg", age="65", sex="M", clinical_notes="with, comma\nand line"), row("b.png", view="AP Supine")]
    examples, rejects = read(tmp_path, rows, ["images/a.jpg", "images/b.png"])
    assert not rejects
    a, b = examples["a.jpg"], examples["b.png"]
    assert (a.patient_id, a.age, a.sex, a.view, a.path) == ("2", 65, "M", "PA", "images/a.jpg")
    assert (math.isnan(b.age), b.sex, b.view) == (True, "", "AP")


@pytest.mark.parametrize(
    "finding, present, unknown",
    [
        ("No Finding", {"No Finding"}, set()),
        ("Tuberculosis", {"Tuberculosis"}, set()),
        (COVID, {"Pneumonia", "Viral", "COVID-19"}, set()),
        ("Pneumonia/Viral/Herpes ", {"Pneumonia", "Viral", "Herpes"}, set()),
        ("Pneumonia/Bacterial/Staphylococcus/MRSA", {"Pneumonia", "Bacterial", "Staphylococcus", "MRSA"}, set()),
        ("Pneumonia/Viral/Influenza", {"Pneumonia", "Viral", "Influenza"}, {"H1N1"}),
        ("Pneumonia/Fungal", {"Pneumonia", "Fungal"}, {"Aspergillosis", "Pneumocystis"}),
        ("Pneumonia", {"Pneumonia"}, set(NAMES) - {"No Finding", "Tuberculosis", "Pneumonia"}),
        ("todo", set(), set(NAMES)),
        ("Unknown", set(), set(NAMES)),
        ("", set(), set(NAMES)),
    ],
)
def test_findings(finding, present, unknown):
    label = finding_label(finding)
    assert {name for name, value in zip(NAMES, label, strict=True) if value == 1} == present
    assert {name for name, value in zip(NAMES, label, strict=True) if math.isnan(value)} == unknown
    assert len(label) == len(FINDINGS) == 26


def test_names_of_labels_are_different():
    assert len(set(NAMES)) == len(NAMES)


def test_rows_that_cannot_be_used(tmp_path):
    rows = [
        row("lateral.jpg", view="L"),
        row("axial.jpg", view="Axial", modality="CT"),
        row("volume.nii.gz", view="Axial", modality="CT"),
        row("absent.jpg"),
        row("label.jpg", "COVID-19, ARDS"),
        row("patient.jpg", patientid=""),
        row("", patientid="9"),
    ]
    files = ["lateral.jpg", "axial.jpg", "label.jpg", "patient.jpg", "extra.png", "more/extra.png"]
    reader = CovidChestxray(make(tmp_path, rows, [f"images/{name}" for name in files]))
    assert [(entry.key, entry.reason) for entry in reader.examples()] == [
        ("lateral.jpg", "excluded_view"),
        ("axial.jpg", "excluded_modality"),
        ("volume.nii.gz", "unsupported_format"),
        ("absent.jpg", "missing_file"),
        ("label.jpg", "unknown_label"),
        ("patient.jpg", "unknown_patient"),
        ("metadata.csv line 8", "missing_file"),
        ("extra.png", "file_without_row"),
        ("images/more/extra.png", "same_file_name_twice"),
    ]


def test_views_are_chosen(tmp_path):
    rows = [row(f"{view}.jpg", view=view) for view in ("PA", "AP", "AP Supine", "AP erect", "AP Erect", "L", "")]
    files = [f"images/{line['filename']}" for line in rows]
    examples, rejects = read(tmp_path, rows, files)
    assert {name: example.view for name, example in examples.items()} == {
        "PA.jpg": "PA",
        "AP.jpg": "AP",
        "AP Supine.jpg": "AP",
        "AP erect.jpg": "AP",
        "AP Erect.jpg": "AP",
    }
    assert rejects == {"L.jpg": "excluded_view", ".jpg": "excluded_view"}
    examples, rejects = read(tmp_path, rows, [], views="l, PA")
    assert {name: example.view for name, example in examples.items()} == {"PA.jpg": "PA", "L.jpg": "LATERAL"}
    assert set(rejects.values()) == {"excluded_view"}
    assert make_reader("covid_chestxray", str(tmp_path), ["views=l,PA"]).views == ["L", "PA"]


def test_rows_of_one_image_are_all_given(tmp_path):
    reader = CovidChestxray(make(tmp_path, [row("a.jpg"), row("a.jpg", "No Finding")], ["images/a.jpg"]))
    assert [entry.key for entry in reader.examples()] == ["a.jpg", "a.jpg"]


def test_wrong_settings_and_layout(tmp_path):
    raw_dir = make(tmp_path / "raw", [], [])
    with pytest.raises(ValueError, match="covid_chestxray has no view 'AP Supin'; did you mean 'AP Supine'"):
        CovidChestxray(raw_dir, views="PA,AP Supin")
    header = [name for name in HEADER if name != "modality"]
    with pytest.raises(ValueError, match="lacks the column 'modality'"):
        list(CovidChestxray(make(tmp_path / "raw", [row("a.jpg")], [], header)).examples())
    (tmp_path / "raw" / "images").rmdir()
    with pytest.raises(FileNotFoundError, match=r"holds no folder images; expected metadata\.csv and images"):
        CovidChestxray(raw_dir)
    (tmp_path / "raw" / "metadata.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no metadata\.csv"):
        CovidChestxray(raw_dir)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        CovidChestxray(str(tmp_path / "absent"))


def test_build(tmp_path):
    findings = [COVID, "No Finding", "Pneumonia", "todo"]
    rows = [row(f"{number}.png", findings[number % 4], f"patient-{number // 2}") for number in range(16)]
    raw_dir = make(tmp_path / "raw", [*rows, row("l.png", view="L")], ["images/l.png"])
    random = np.random.default_rng(0)
    for line in rows:
        cv2.imwrite(f"{raw_dir}/images/{line['filename']}", random.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    options = BuildOptions(image_sizes=(16,), workers=1, splits={"train": 0.5, "test": 0.5})
    info = build_dataset(CovidChestxray(raw_dir), tmp_path / "out", options)[16]
    assert (info.images_read, info.images_written, info.rejected) == (17, 16, {"excluded_view": 1})
    assert sum(split.patients for split in info.splits.values()) == 8
    totals = {
        kind: [sum(split.labels[name][kind] for split in info.splits.values()) for name in ("Pneumonia", "COVID-19")]
        for kind in ("positive", "negative", "unknown")
    }
    assert totals == {"positive": [8, 4], "negative": [4, 4], "unknown": [4, 8]}
