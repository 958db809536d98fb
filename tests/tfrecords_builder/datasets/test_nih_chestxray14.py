import math
import pathlib
import pickle
from collections import Counter

import cv2
import numpy as np
import pytest

from tfcxr.data.records import read_dataset_info
from tfrecords_builder.build import build_dataset
from tfrecords_builder.datasets.nih_chestxray14 import NihChestXray14
from tfrecords_builder.datasets.nih_relabels import FINDINGS
from tfrecords_builder.datasets.patient_facts import parse_age
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.options import BuildOptions

CXR = next(
    (folder / "shared/cxr" for folder in pathlib.Path(__file__).parents if (folder / "shared/cxr").is_dir()), None
)
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)


def row(name, labels="No Finding", patient="1", age="058Y", sex="M", view="PA"):
    return f"{name},{labels},0,{patient},{age},{sex},{view},2500,2048,0.1,0.1,"


def make(raw_dir, rows, files, header=HEADER, table="Data_Entry_2017.csv", **settings):
    (raw_dir / table).write_text("\n".join([header, *rows]) + "\n")
    for name in files:
        (raw_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (raw_dir / name).touch()
    return NihChestXray14(str(raw_dir), **settings)


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


@pytest.mark.parametrize("folder", ["", "images/", "images_001/", "images_012/images/", "images-224/", "any/depth/of/"])
@pytest.mark.parametrize("table", ["Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv"])
def test_layouts(tmp_path, folder, table):
    examples, rejects = read(tmp_path, [row("a.png")], [folder + "a.png"], table=table)
    assert examples["a.png"].path == folder + "a.png" and not rejects


def test_of_two_files_of_a_name_that_of_the_published_layout_is_taken(tmp_path):
    folders = ["a/", "images/", "images_001/", "images_001/images/", "images_002/images/", ""]
    examples, rejects = read(tmp_path, [row("a.png")], [f"{folder}a.png" for folder in folders])
    assert examples["a.png"].path == "images_001/images/a.png"
    assert rejects == {f"{folder}a.png": "same_file_name_twice" for folder in folders if folder != "images_001/images/"}


def test_an_official_list_that_names_no_image_is_said(tmp_path, caplog):
    (tmp_path / "test_list.txt").write_text("images/a.png\n")
    with caplog.at_level("WARNING"):
        examples, _ = read(tmp_path, [row("a.png")], ["a.png"])
    assert examples["a.png"].official_split == ""
    assert "test_list.txt names none of the images in Data_Entry_2017.csv" in caplog.text
    (tmp_path / "test_list.txt").write_bytes(b"\xef\xbb\xbfa.png\r\n")
    assert read(tmp_path, [row("a.png")], ["a.png"])[0]["a.png"].official_split == "test"


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
        row("patient.png", patient="²"),
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


def test_the_table_of_2020(tmp_path):
    header = HEADER.replace("Patient Gender", "Patient Sex")
    files = ["images_003/images/a.png"]
    examples, rejects = read(
        tmp_path, [row("a.png", age="58", sex="F")], files, header=header, table="Data_Entry_2017_v2020.csv"
    )
    assert (examples["a.png"].age, examples["a.png"].sex, rejects) == (58, "F", {})


def test_other_views_and_sexes_are_unknown(tmp_path):
    examples, _ = read(tmp_path, [row("a.png", sex="?", view="LL")], ["a.png"])
    assert (examples["a.png"].sex, examples["a.png"].view) == ("", "")


@pytest.mark.parametrize(
    "header, message",
    [
        (HEADER.replace("Patient ID", "Patient"), "lacks the column 'Patient ID'; did you mean 'Patient'"),
        (HEADER.replace("Patient Gender", "G"), "lacks the column 'Patient Gender'"),
        (HEADER.replace("Follow-up #", "Patient ID"), "has the column 'Patient ID' more than once"),
        ("", "is empty, expected a header with 'Image Index', 'Finding Labels'"),
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
    with pytest.raises(ValueError, match="holds Data_Entry_2017.csv and Data_Entry_2017_v2020.csv; leave"):
        NihChestXray14(str(tmp_path))


def test_missing_folder_or_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither Data_Entry_2017.csv nor Data_Entry_2017_v2020.csv; expected"):
        NihChestXray14(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        NihChestXray14(str(tmp_path / "absent"))


def relabel(tmp_path, text, rows=None):
    (tmp_path / "relabels.csv").write_text(text)
    rows = rows or [row("a.png", "Mass"), row("b.png", "Mass")]
    return make(tmp_path, rows, ["a.png", "b.png"], labels_csv=str(tmp_path / "relabels.csv"))


def relabelled(tmp_path, text, rows=None):
    """Image -> its known labels, or the reason why it is rejected."""
    reader = relabel(tmp_path, text, rows)
    found = {}
    for entry in reader.examples():
        if isinstance(entry, RawExample):
            labels = zip(reader.label_names, entry.label, strict=True)
            found[entry.key] = {name: value for name, value in labels if not math.isnan(value)}
        else:
            found[entry.key] = entry.reason
    return found


def test_replaced_labels_in_a_column_a_finding(tmp_path):
    others = [name for name in FINDINGS if name not in ("Effusion", "Edema")]
    header = ",".join(["Image Index", "Patient ID", "Pleural Effusion", "edema", *others, "fold"])
    rest = ",".join(["0"] * 12)
    text = f"{header}\na.png,1,1.0,-1,{rest},train\nb.png,2,0,0.0,{rest},test\n"
    found = relabelled(tmp_path, text)
    zeros = dict.fromkeys(others, 0.0)
    assert found["a.png"] == {**zeros, "Effusion": 1.0, "No Finding": 0.0}  # Edema is unknown
    assert found["b.png"] == {**zeros, "Effusion": 0.0, "Edema": 0.0, "No Finding": 1.0}
    assert (tmp_path / "relabels.csv").exists()
    reader = relabel(tmp_path, text)
    public = {name: value for name, value in vars(reader).items() if name[0] != "_" and name != "raw_dir"}
    assert public == {"has_replaced_labels": True}  # and no path
    assert vars(pickle.loads(pickle.dumps(reader))) == vars(reader)


def test_replaced_labels_as_google_writes_them(tmp_path):
    text = "Image ID,Patient ID,Abnormal,Pleural Thickening,Hernia,Other\na.png,1,1,NO,YES,NO\nb.png,2,0,NO,NO,NO^\n"
    assert relabelled(tmp_path, text) == {
        "a.png": {"Pleural_Thickening": 0.0, "Hernia": 1.0, "No Finding": 0.0},
        "b.png": {"Pleural_Thickening": 0.0, "Hernia": 0.0, "No Finding": 1.0},
    }


def test_replaced_labels_in_a_list(tmp_path):
    found = relabelled(
        tmp_path, "Image Index;finding labels\nsome/folder/a.png;['Edema', 'Mass']\nb.png;No\xa0Finding\n"
    )
    assert found == relabelled(tmp_path, "Image Index,Finding Labels\na.png,Edema|Mass\nb.png,No Finding\n")
    assert [name for name, value in found["a.png"].items() if value] == ["Edema", "Mass"]
    assert [name for name, value in found["b.png"].items() if value] == ["No Finding"]


@pytest.mark.parametrize(
    "rows, reasons",
    [
        (["a.png,1,0", "c.png,1,0"], {"b.png": "excluded_no_replacement_label", "c.png": "replacement_without_row"}),
        (["a.png,1,0", "b.png,maybe,0"], {"b.png": "unknown_label"}),
        (["a.png,1,0", 'b.png,"1,0","0,0"'], {}),
        (["a.png,1,0", "b.png,1,1"], {"b.png": "conflicting_labels"}),
        (["a.png,1,0", "b.png,1,", "b.png,0,", "b.png,1,"], {"b.png": "conflicting_labels"}),
        (["a.png,1,0", "b.png,1,", "b.png,1,"], {}),
    ],
)
def test_replaced_labels_that_cannot_be_used(tmp_path, rows, reasons):
    found = relabelled(tmp_path, "\n".join(["image,Mass,No Finding", *rows]))
    assert {key: value for key, value in found.items() if isinstance(value, str)} == reasons


@pytest.mark.parametrize(
    "header, message",
    [
        ("Image Index,Fracture", "has no column named as one of the 14 findings and no column 'Finding Labels'"),
        ("name,Mass", "lacks the column 'Image Index'"),
        ("Image,Effusion,Pleural Effusion", "columns 'Effusion' and 'Pleural Effusion' for Effusion; leave one"),
    ],
)
def test_wrong_tables_of_replaced_labels(tmp_path, header, message):
    reader = relabel(tmp_path, f"{header}\na.png,1,1\n")
    with pytest.raises(ValueError, match=message):
        list(reader.examples())
    with pytest.raises(FileNotFoundError, match="labels_csv absent.csv does not exist"):
        NihChestXray14(str(tmp_path), labels_csv="absent.csv")


def test_the_builder_counts_rows_that_say_two_things(tmp_path):
    raw_dir = tmp_path / "raw"
    rows = [row(f"{number}.png", "Mass", patient=str(number)) for number in range(4)]
    rows += [row("0.png", "Edema", patient="0"), row("1.png", "Mass", patient="1"), row("gone.png")]
    (raw_dir).mkdir()
    reader = make(raw_dir, rows, [f"images_001/images/{number}.png" for number in range(4)])
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20), dtype=np.uint8)
        cv2.imwrite(str(raw_dir / f"images_001/images/{number}.png"), pixels)
    build_dataset(
        reader, tmp_path / "out", BuildOptions(image_sizes=(16,), splits={"train": 0.5, "test": 0.5}, workers=1)
    )
    info = read_dataset_info(tmp_path / "out" / "16")
    assert info.rejected == {"conflicting_labels": 2, "duplicate_key": 1, "missing_file": 1}
    assert (info.images_read, info.images_written) == (7, 3)


# The counts of the README of shared/cxr; those of the six originals are its table's rows.
REAL = {
    "nih": (
        {"PA": 302, "AP": 428},
        "No Finding 368, Pneumonia 362, Infiltration 133, Edema 80, Atelectasis 73, Effusion 68, Consolidation 20, "
        "Pleural_Thickening 19, Mass 15, Nodule 14, Cardiomegaly 10, Pneumothorax 7, Fibrosis 4, Emphysema 4, Hernia 3",
    ),
    "nih_64": (
        {"PA": 515, "AP": 260},
        "No Finding 374, Pneumonia 3, Infiltration 123, Edema 28, Atelectasis 74, Effusion 143, Consolidation 32, "
        "Pleural_Thickening 21, Mass 34, Nodule 32, Cardiomegaly 77, Pneumothorax 32, Fibrosis 25, Emphysema 28, "
        "Hernia 9",
    ),
    "fullsize/nih": (None, None),
}


@pytest.mark.thorough
@pytest.mark.real_data
@pytest.mark.skipif(CXR is None, reason="no shared/cxr with real radiographs beside the checkout")
@pytest.mark.parametrize("folder", REAL)
def test_counts_of_the_real_set(tmp_path, folder):
    views, counts = REAL[folder]
    reader = NihChestXray14(str(CXR / folder))
    examples = list(reader.examples())
    assert all(isinstance(entry, RawExample) for entry in examples)
    infos = build_dataset(reader, tmp_path / "out", BuildOptions(image_sizes=(32,), splits={"train": 1.0}, workers=1))
    info = infos[32]
    assert info.rejected == {} and info.images_written == info.images_read == len(examples)
    if counts is None:
        assert len(examples) == 6
        return
    expected = {name: int(count) for name, count in (part.rsplit(" ", 1) for part in counts.split(", "))}
    written = {
        name: sum(split.labels[name]["positive"] for split in info.splits.values()) for name in reader.label_names
    }
    assert written == expected
    assert Counter(example.view for example in examples) == views
