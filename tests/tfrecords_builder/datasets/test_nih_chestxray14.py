import math

import pytest

from tfrecords_builder.datasets.nih_chestxray14 import FINDINGS, NihChestXray14, parse_age
from tfrecords_builder.datasets.reader import RawExample, Reject

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)


def row(name, labels="No Finding", patient="1", age="058Y", sex="M", view="PA"):
    return f"{name},{labels},0,{patient},{age},{sex},{view},2500,2048,0.1,0.1,"


def make(raw_dir, rows, files, header=HEADER, table="Data_Entry_2017.csv"):
    (raw_dir / table).write_text("\n".join([header, *rows]) + "\n")
    for name in files:
        (raw_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (raw_dir / name).touch()
    return NihChestXray14(str(raw_dir))


def read(raw_dir, *arguments, **options):
    entries = list(make(raw_dir, *arguments, **options).examples())
    examples = {entry.key: entry for entry in entries if isinstance(entry, RawExample)}
    return examples, {entry.key: entry.reason for entry in entries if isinstance(entry, Reject)}


def test_row_becomes_example(tmp_path):
    rows = [row("a.png", "Edema|Mass", "00000061", "058Y", "F", "AP"), row("b.png")]
    examples, rejects = read(tmp_path, rows, ["images_001/images/a.png", "images_002/images/b.png"])
    assert not rejects
    a, b = examples["a.png"], examples["b.png"]
    assert (a.patient_id, a.age, a.sex, a.view, a.path) == ("61", 58, "F", "AP", "images_001/images/a.png")
    names = NihChestXray14.label_names
    assert [name for name, value in zip(names, a.label, strict=True) if value] == ["Edema", "Mass"]
    assert [name for name, value in zip(names, b.label, strict=True) if value] == ["No Finding"]
    assert len(FINDINGS) == 14 and len(names) == 15


@pytest.mark.parametrize("folder", ["", "images/", "images_001/", "images_012/images/"])
@pytest.mark.parametrize("table", ["Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv"])
def test_layouts(tmp_path, folder, table):
    examples, rejects = read(tmp_path, [row("a.png")], [folder + "a.png"], table=table)
    assert examples["a.png"].path == folder + "a.png" and not rejects


def test_official_lists(tmp_path):
    (tmp_path / "train_val_list.txt").write_text("a.png\nboth.png\n")
    (tmp_path / "test_list.txt").write_text("b.png\r\nboth.png\r\n")
    names = ["a.png", "b.png", "both.png", "neither.png"]
    examples, rejects = read(tmp_path, [row(name) for name in names], names)
    splits = {name: example.official_split for name, example in examples.items()}
    assert splits == {"a.png": "", "b.png": "test", "neither.png": ""}
    assert rejects == {"both.png": "in_two_official_lists"}


def test_rows_that_cannot_be_used(tmp_path):
    rows = [
        row("absent.png"),
        row("label.png", "Edema|Edama"),
        row("conflict.png", "No Finding|Mass"),
        row("patient.png", patient="unknown"),
    ]
    files = ["label.png", "conflict.png", "patient.png", "extra.png", "images/extra.png"]
    entries = make(tmp_path, rows, files).examples()
    assert [(entry.key, entry.reason) for entry in entries] == [
        ("absent.png", "missing_file"),
        ("label.png", "unknown_label"),
        ("conflict.png", "conflicting_labels"),
        ("patient.png", "unknown_patient"),
        ("extra.png", "file_without_row"),
        ("extra.png", "same_file_name_twice"),
    ]


def test_ages(tmp_path, caplog):
    assert [parse_age(text) for text in ("58", "058Y", "018M")] == [58, 58, 1.5]
    assert parse_age("003D") == pytest.approx(3 / 365.25)
    assert math.isnan(parse_age("old")) and math.isnan(parse_age(""))
    with caplog.at_level("WARNING"):
        examples, _ = read(tmp_path, [row("a.png", age="411")], ["a.png"])
    assert math.isnan(examples["a.png"].age)
    assert "1 ages above 120 years" in caplog.text


def test_other_views_and_sexes_are_unknown(tmp_path):
    examples, _ = read(tmp_path, [row("a.png", sex="?", view="LL")], ["a.png"])
    assert (examples["a.png"].sex, examples["a.png"].view) == ("", "")


@pytest.mark.parametrize(
    "header, message",
    [
        (HEADER.replace("Patient ID", "Patient"), "lacks the column 'Patient ID'; it has Image Index"),
        (HEADER.replace("Patient Gender", "G"), "lacks the column 'Patient Gender'"),
        (HEADER.replace("Follow-up #", "Patient ID"), "has the column 'Patient ID' more than once"),
        ("", "lacks the column 'Image Index'"),
    ],
)
def test_wrong_header(tmp_path, header, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, [row("a.png")], ["a.png"], header=header)


def test_damaged_tables(tmp_path):
    with pytest.raises(ValueError, match="line 2 has 3 fields, expected 12"):
        read(tmp_path, ["a.png,Mass,0"], ["a.png"])
    (tmp_path / "Data_Entry_2017.csv").write_bytes(b"\xff\xfe\xfa\x80")
    with pytest.raises(ValueError, match="is not a CSV table in UTF-8"):
        list(NihChestXray14(str(tmp_path)).examples())
    (tmp_path / "Data_Entry_2017_v2020.csv").touch()
    with pytest.raises(ValueError, match="holds both Data_Entry_2017.csv and Data_Entry_2017_v2020.csv"):
        NihChestXray14(str(tmp_path))


def test_missing_folder_or_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds neither Data_Entry_2017.csv nor"):
        NihChestXray14(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        NihChestXray14(str(tmp_path / "absent"))
