import gzip
import math
import pickle

import cv2
import numpy as np
import pytest

from tfcxr.data.records import read_dataset_info
from tfrecords_builder.build import build_dataset
from tfrecords_builder.datasets import make_reader
from tfrecords_builder.datasets.chexpert_labels import OBSERVATIONS
from tfrecords_builder.datasets.mimic_cxr_jpg import MimicCxrJpg
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.options import BuildOptions

# The published order of columns, which is not that of CheXpert.
LABEL_HEADER = ",".join(["subject_id", "study_id", *sorted(OBSERVATIONS)])
METADATA_HEADER = (
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime"
)
SPLIT_HEADER = "dicom_id,study_id,subject_id,split"
SUBJECT, STUDY = 10000032, 50414267


def labels(study=STUDY, subject=SUBJECT, **values):
    return ",".join(
        [str(subject), str(study), *(values.get(name.replace(" ", "_"), "") for name in sorted(OBSERVATIONS))]
    )


def metadata(name, study=STUDY, subject=SUBJECT, view="PA"):
    return f'{name},{subject},{study},"CHEST (PA, LAT)",{view},3056,2544,21800506,213014.531'


def split(name, study=STUDY, subject=SUBJECT, split="train"):
    return f"{name},{study},{subject},{split}"


def path(name, study=STUDY, subject=SUBJECT):
    return f"files/p{str(subject)[:2]}/p{subject}/s{study}/{name}.jpg"


def write(raw_dir, table, header, rows, suffix=".gz"):
    opener = gzip.open if suffix else open
    with opener(raw_dir / f"mimic-cxr-2.0.0-{table}.csv{suffix}", "wt") as file:
        file.write("\n".join([header, *rows]) + "\n")


def write_set(raw_dir, metadata_rows, split_rows, label_rows, paths, suffix=".gz"):
    (raw_dir / "files").mkdir(exist_ok=True)
    write(raw_dir, "metadata", METADATA_HEADER, metadata_rows, suffix)
    write(raw_dir, "split", SPLIT_HEADER, split_rows, suffix)
    write(raw_dir, "chexpert", LABEL_HEADER, label_rows, suffix)
    for name in paths:
        (raw_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (raw_dir / name).touch()
    return str(raw_dir)


def write_names(raw_dir, names, **changes):
    """A set of images of one study, in order, each with a row in all tables."""
    changes = {"label_rows": [labels()], **changes}
    rows = {"metadata_rows": [metadata(name) for name in names], "split_rows": [split(name) for name in names]}
    return write_set(raw_dir, **{**rows, "paths": [path(name) for name in names], **changes})


def read(raw_dir, **settings):
    entries = list(MimicCxrJpg(raw_dir, **settings).examples())
    examples = {entry.key: entry for entry in entries if isinstance(entry, RawExample)}
    return examples, [(entry.key, entry.reason) for entry in entries if isinstance(entry, Reject)]


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_rows_become_examples(tmp_path, suffix):
    raw_dir = write_set(
        tmp_path,
        [metadata("02aa-1"), metadata("02aa-2", view="AP"), metadata("03bb", 5, 11000001, "AP")],
        [split("02aa-1"), split("02aa-2"), split("03bb", 5, 11000001, "validate")],
        [labels(Edema="1.0", Pneumonia="-1.0"), labels(5, 11000001, Fracture="0.0", No_Finding="1.0")],
        [path("02aa-1"), path("02aa-2"), path("03bb", 5, 11000001)],
        suffix,
    )
    examples, rejects = read(raw_dir)
    assert not rejects
    facts = [(entry.patient_id, entry.view, entry.official_split) for entry in examples.values()]
    assert facts == [("10000032", "PA", "train"), ("10000032", "AP", "train"), ("11000001", "AP", "validation")]
    assert examples["03bb"].path == path("03bb", 5, 11000001) == "files/p11/p11000001/s5/03bb.jpg"
    reader = MimicCxrJpg(raw_dir)
    assert reader.label_names == OBSERVATIONS
    first, _, last = (dict(zip(OBSERVATIONS, entry.label, strict=True)) for entry in examples.values())
    assert (first["Edema"], first["Fracture"], math.isnan(first["Pneumonia"])) == (1, 0, True)
    assert [name for name, value in last.items() if value] == ["No Finding"]
    assert examples["02aa-1"].label is examples["02aa-2"].label  # one object a label vector, not one an image


def test_policies_of_chexpert_hold_here(tmp_path):
    raw_dir = write_names(tmp_path, ["a"], label_rows=[labels(Edema="-1.0", Pneumonia="1.0")])
    settings = ["uncertain=as_is", "findings=Edema,Pneumonia,Fracture", "blank=unknown"]
    reader = make_reader("mimic_cxr_jpg", raw_dir, settings)
    assert reader.label_names[3:] == ("Edema uncertain", "Pneumonia uncertain", "Fracture uncertain")
    (example,) = reader.examples()
    assert str(example.label) == "(nan, 1.0, nan, 1.0, 0.0, 0.0)"
    assert read(raw_dir, uncertain="ones", require_any="Edema")[1] == [("a", "excluded_no_required_finding")]
    assert len(read(raw_dir, require_any="Edema,Pneumonia")[0]) == 1


def test_the_other_labeller(tmp_path):
    raw_dir = write_names(tmp_path, ["a"], label_rows=[labels(Edema="0.0")])
    write(tmp_path, "negbio", LABEL_HEADER, [labels(Edema="1.0")])
    values = [read(raw_dir, labels=name, findings="Edema")[0]["a"].label for name in ("chexpert", "negbio")]
    assert values == [(0.0,), (1.0,)]


@pytest.mark.parametrize(
    "settings, kept",
    [
        ({}, ["PA", "AP"]),
        ({"views": "all"}, ["PA", "AP", "LATERAL", "LL", "", "AP AXIAL", "LAO"]),
        ({"views": "lateral"}, ["LATERAL", "LL"]),
        ({"projection": "AP"}, ["AP"]),
    ],
)
def test_views(tmp_path, settings, kept):
    views = ["PA", "AP", "LATERAL", "LL", "", "AP AXIAL", "LAO"]
    names = [f"image{index}" for index in range(len(views))]
    rows = [metadata(name, view=view) for name, view in zip(names, views, strict=True)]
    examples, rejects = read(write_names(tmp_path, names, metadata_rows=rows), **settings)
    assert [views[names.index(name)] for name in examples] == kept
    assert len(rejects) == len(views) - len(kept) and {reason for _, reason in rejects} <= {"excluded_view"}
    stored = {views[names.index(name)]: example.view for name, example in examples.items()}
    expected = {"PA": "PA", "AP": "AP", "LATERAL": "LATERAL", "LL": "LATERAL", "": "", "AP AXIAL": "", "LAO": ""}
    assert stored == {view: expected[view] for view in kept}


def test_rows_and_files_that_cannot_be_used(tmp_path):
    names = ["good", "gone", "no_label", "bad_label", "differs", "no_split", "two_splits", "odd_split", "moved"]
    studies = {"no_label": 2, "bad_label": 3, "differs": 4}
    paths = [path(name, studies.get(name, STUDY)) for name in names if name not in ("gone", "moved")]
    splits = [split(name, studies.get(name, STUDY)) for name in names if name not in ("no_split", "odd_split")]
    raw_dir = write_set(
        tmp_path,
        [metadata(name, studies.get(name, STUDY)) for name in names],
        [*splits, split("two_splits", split="test"), split("good"), split("odd_split", split="tran")],
        [labels(), labels(), labels(3, Edema="2"), labels(4, Edema="1"), labels(4, Edema="0")],
        [*paths, path("extra"), "files/p10/good.jpg", path("moved", 77)],
    )
    examples, rejects = read(raw_dir)
    assert list(examples) == ["good"]
    assert rejects == [
        ("gone", "missing_file"),
        ("no_label", "no_label_row"),
        ("bad_label", "unknown_label"),
        ("differs", "conflicting_labels"),
        ("no_split", "no_split_row"),
        ("two_splits", "in_two_official_lists"),
        ("odd_split", "unknown_split"),
        ("moved", "missing_file"),
        ("files/p10/good.jpg", "same_file_name_twice"),
        (path("extra"), "file_without_row"),
        (path("moved", 77), "file_without_row"),
    ]


def test_a_build_counts_rows_that_come_twice(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    names = ["a", "b", "c"]
    subjects = dict(zip(names, (10000001, 10000002, 10000003), strict=True))
    splits = dict(zip(names, ("train", "validate", "test"), strict=True))
    rows = [metadata(name, subject=subjects[name]) for name in names]
    raw_dir = write_set(
        raw,
        [*rows, rows[0]],
        [split(name, subject=subjects[name], split=splits[name]) for name in names],
        [labels(subject=subject, Edema="1.0") for subject in subjects.values()],
        [path(name, subject=subject) for name, subject in subjects.items()],
    )
    for number, (name, subject) in enumerate(subjects.items()):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 20), dtype=np.uint8)
        cv2.imwrite(str(raw / path(name, subject=subject)), pixels)
    build_dataset(MimicCxrJpg(raw_dir), tmp_path / "out", BuildOptions(image_sizes=(16,), workers=1))
    info = read_dataset_info(tmp_path / "out" / "16")
    assert {name: part.images for name, part in info.splits.items()} == {"train": 1, "validation": 1, "test": 1}
    assert info.rejected == {"duplicate_key": 1} and info.images_read == 4
    assert info.preprocessing["reader_settings"]["labels"] == "chexpert"
    text = (tmp_path / "out/16/dataset_info.json").read_text()
    assert "1000000" not in text and str(tmp_path) not in text


def test_a_reader_can_be_sent_to_workers(tmp_path):
    reader = MimicCxrJpg(write_names(tmp_path, ["a"]), findings="Edema")
    assert vars(pickle.loads(pickle.dumps(reader))) == vars(reader)


def test_wrong_settings_folders_and_tables(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist or is no folder"):
        MimicCxrJpg(str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match="holds no folder files; expected files/p10/p10000032/s50414267/"):
        MimicCxrJpg(str(tmp_path))
    raw_dir = write_names(tmp_path, ["a"])
    with pytest.raises(ValueError, match="unknown labels 'chexbert'; did you mean 'chexpert'"):
        MimicCxrJpg(raw_dir, labels="chexbert")
    with pytest.raises(ValueError, match="unknown uncertain 'one'; did you mean 'ones'"):
        MimicCxrJpg(raw_dir, uncertain="one")
    with pytest.raises(FileNotFoundError, match=r"holds no mimic-cxr-2.0.0-negbio.csv.gz nor mimic-cxr-2.0.0-negbio"):
        MimicCxrJpg(raw_dir, labels="negbio")
    write(tmp_path, "metadata", METADATA_HEADER.replace("ViewPosition", "View"), [])
    with pytest.raises(ValueError, match="metadata.csv.gz lacks the column 'ViewPosition'"):
        read(raw_dir)
    write(tmp_path, "split", SPLIT_HEADER, [], suffix="")
    with pytest.raises(ValueError, match=r"holds mimic-cxr-2.0.0-split.csv.gz and mimic-cxr-2.0.0-split.csv; leave"):
        MimicCxrJpg(raw_dir)
