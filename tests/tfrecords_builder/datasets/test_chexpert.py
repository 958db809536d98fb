import math
import pickle

import cv2
import numpy as np
import pytest

from tfcxr.data.records import read_dataset_info
from tfrecords_builder.build import build_dataset
from tfrecords_builder.datasets import make_reader
from tfrecords_builder.datasets.chexpert import Chexpert
from tfrecords_builder.datasets.chexpert_labels import OBSERVATIONS
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.options import BuildOptions

PATIENT_COLUMNS = ("Sex", "Age", "Frontal/Lateral", "AP/PA")
HEADER = ",".join(["Path", *PATIENT_COLUMNS, *OBSERVATIONS])


def image(patient=1, folder="train", name="view1_frontal", study=1):
    return f"{folder}/patient{patient:05}/study{study}/{name}.jpg"


def row(path, sex="Female", age="68", plane="Frontal", projection="AP", top="CheXpert-v1.0-small/", **labels):
    values = [labels.get(name.replace(" ", "_"), "") for name in OBSERVATIONS]
    return ",".join([top + path, sex, age, plane, projection, *values])


@pytest.fixture
def root(tmp_path):
    """CheXpert-v1.0-small in its published layout: two train images, one of them lateral, and one to validate."""
    folder = tmp_path / "CheXpert-v1.0-small"
    write(folder, "train.csv", [row(image(1)), row(image(2, name="view2_lateral"), "Male", "55", "Lateral", "")])
    write(folder, "valid.csv", [row(image(64541, "valid"), projection="PA")])
    touch(folder, image(1), image(2, name="view2_lateral"), image(64541, "valid"))
    return folder


def write(root, table, rows, header=HEADER):
    root.mkdir(exist_ok=True)
    (root / table).write_text("\n".join([header, *rows]) + "\n")


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def read(root, **settings):
    entries = list(Chexpert(str(root), **settings).examples())
    examples = {entry.key: entry for entry in entries if isinstance(entry, RawExample)}
    return examples, {entry.key: entry.reason for entry in entries if isinstance(entry, Reject)}


def labels(root, path=None, **settings):
    """Label name -> value for one image."""
    example = read(root, **settings)[0][path or image(1)]
    return dict(zip(Chexpert(str(root), **settings).label_names, example.label, strict=True))


def same(found, expected):
    return str(found) == str(expected)  # NaN is like NaN


@pytest.mark.parametrize("is_root_named", [True, False])
def test_rows_become_examples(root, is_root_named):
    examples, rejects = read(root if is_root_named else root.parent, views="all")
    assert not rejects and list(examples) == [image(1), image(2, name="view2_lateral"), image(64541, "valid")]
    first, lateral, valid = examples.values()
    facts = [
        (entry.patient_id, entry.age, entry.sex, entry.view, entry.official_split) for entry in (first, lateral, valid)
    ]
    assert facts == [
        ("00001", 68, "F", "AP", ""),
        ("00002", 55, "M", "LATERAL", ""),
        ("64541", 68, "F", "PA", "validation"),
    ]
    assert first.path == image(1) and len(first.label) == 14


def test_lateral_images_are_left_out_and_counted(root):
    examples, rejects = read(root)
    assert list(examples) == [image(1), image(64541, "valid")]
    assert rejects == {image(2, name="view2_lateral"): "excluded_view"}
    examples, rejects = read(root, views="lateral")
    assert list(examples) == [image(2, name="view2_lateral")] and len(rejects) == 2


def test_projection(root):
    write(root, "train.csv", [row(image(1)), row(image(2), projection="LL"), row(image(3), projection="PA")])
    touch(root, image(2), image(3))
    examples, rejects = read(root, projection="AP")
    assert list(examples) == [image(1)]
    assert {key: rejects[key] for key in (image(2), image(3))} == dict.fromkeys((image(2), image(3)), "excluded_view")
    assert read(root)[0][image(2)].view == ""


@pytest.mark.parametrize(
    "settings, pneumonia, edema, fracture",
    [
        ({}, math.nan, 1.0, 0.0),
        ({"uncertain": "zeros"}, 0.0, 1.0, 0.0),
        ({"uncertain": "ones"}, 1.0, 1.0, 0.0),
        ({"uncertain": "ignore", "blank": "unknown"}, math.nan, 1.0, math.nan),
    ],
)
def test_blanks_and_uncertain_values(root, settings, pneumonia, edema, fracture):
    write(root, "train.csv", [row(image(1), Pneumonia="-1.0", Edema="1.0", Cardiomegaly="0")])
    found = labels(root, **settings)
    assert tuple(found) == OBSERVATIONS
    assert same([found[name] for name in ("Pneumonia", "Edema", "Fracture")], [pneumonia, edema, fracture])
    assert found["Cardiomegaly"] == 0


def test_as_is_keeps_all_four_values_apart(root):
    write(root, "train.csv", [row(image(1), Pneumonia="-1", Edema="1", Cardiomegaly="0")])
    found = labels(root, uncertain="as_is", blank="unknown", findings="Edema, Pneumonia,Cardiomegaly,Fracture")
    expected = {"Edema": 1.0, "Pneumonia": math.nan, "Cardiomegaly": 0.0, "Fracture": math.nan}
    expected |= {"Edema uncertain": 0.0, "Pneumonia uncertain": 1.0}
    expected |= {"Cardiomegaly uncertain": 0.0, "Fracture uncertain": 0.0}
    assert same(found, expected)


def test_the_set_of_li(root):
    rows = [
        row(image(1), Cardiomegaly="1.0"),
        row(image(2), Cardiomegaly="-1.0", Edema="1.0"),
        row(image(3), Pneumothorax="1.0", projection="PA"),
        row(image(4), Pleural_Effusion="1.0", Pneumothorax="-1.0"),
    ]
    write(root, "train.csv", rows)
    touch(root, image(2), image(3), image(4))
    settings = ["projection=AP", "uncertain=as_is", "require_any=Cardiomegaly,Pleural Effusion,Pneumothorax"]
    reader = make_reader("chexpert", str(root), settings)
    entries = list(reader.examples())
    kept = [entry for entry in entries if isinstance(entry, RawExample)]
    assert [entry.key for entry in kept] == [image(1), image(4)]
    found = dict(zip(reader.label_names, kept[1].label, strict=True))
    assert found["Pleural Effusion"] == found["Pneumothorax uncertain"] == 1 and math.isnan(found["Pneumothorax"])
    reasons = {entry.key: entry.reason for entry in entries if isinstance(entry, Reject)}
    assert reasons == {
        image(2): "excluded_no_required_finding",
        image(3): "excluded_view",
        image(64541, "valid"): "excluded_view",
        image(2, name="view2_lateral"): "file_without_row",
    }


TEST_IMAGES = [image(64741, "test"), image(64741, "test", "view2_lateral")]


@pytest.mark.parametrize(
    "table, key, paths",
    [
        ("test.csv", "Path", [f"CheXpert-v1.0/{path}" for path in TEST_IMAGES]),
        ("test_labels.csv", "Path", TEST_IMAGES),
        ("groundtruth.csv", "Study", ["CheXpert-v1.0/test/patient64741/study1"]),
    ],
)
def test_the_test_set_is_named_by_image_or_study(root, table, key, paths):
    touch(root, *TEST_IMAGES)
    ones = ",".join("1" for _ in OBSERVATIONS)
    write(root, table, [f"{path},{ones}" for path in paths], ",".join([key, *OBSERVATIONS]))
    examples, rejects = read(root, views="all")
    assert not rejects
    found = [(examples[path].official_split, examples[path].view, set(examples[path].label)) for path in TEST_IMAGES]
    assert found == [("test", "", {1.0}), ("test", "LATERAL", {1.0})]
    assert math.isnan(examples[TEST_IMAGES[0]].age)
    assert read(root)[1][TEST_IMAGES[1]] == "excluded_view"  # lateral by its name


def test_rows_and_files_that_cannot_be_used(root):
    rows = [
        row(image(1)),
        row(image(3)),
        row(image(4), Edema="2"),
        row("train/somebody/study1/view1_frontal.jpg"),
        row(image(64541, "valid")),
        row("../train.jpg"),
        row("train/../../outside.jpg"),
    ]
    write(root, "train.csv", rows)
    touch(root, image(4), image(5), "train/somebody/study1/view1_frontal.jpg", "../outside.jpg")
    write(
        root,
        "groundtruth.csv",
        ["test/patient9/study1" + 14 * ",0", "../.." + 14 * ",0"],
        "Study," + ",".join(OBSERVATIONS),
    )
    entries = list(Chexpert(str(root), views="all").examples())
    assert [(entry.key, entry.reason) for entry in entries if isinstance(entry, Reject)] == [
        (image(3), "missing_file"),
        (image(4), "unknown_label"),
        ("train/somebody/study1/view1_frontal.jpg", "unknown_patient"),
        (image(64541, "valid"), "in_two_official_lists"),
        ("../train.jpg", "missing_file"),
        ("train/../../outside.jpg", "missing_file"),
        (image(64541, "valid"), "in_two_official_lists"),
        ("test/patient9/study1", "missing_file"),
        ("../..", "missing_file"),
        (image(2, name="view2_lateral"), "file_without_row"),
        (image(5), "file_without_row"),
    ]
    assert [entry.key for entry in entries if isinstance(entry, RawExample)] == [image(1)]


def test_a_row_twice_is_left_to_the_builder(root, tmp_path):
    rows = [row(image(number), Edema="1.0") for number in range(1, 7)]
    write(root, "train.csv", [*rows, rows[0], row(image(2), Edema="0.0"), row(image(64541, "valid"))])
    (root / image(2, name="view2_lateral")).unlink()
    for path in [*(image(number) for number in range(1, 7)), image(64541, "valid")]:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(path)).integers(0, 256, (20, 24), dtype=np.uint8)
        cv2.imwrite(str(root / path), pixels)
    write(root, "valid.csv", [row(image(1, "valid")), row(image(64541, "valid"))])
    reader = Chexpert(str(root), findings="Edema")
    build_dataset(
        reader, tmp_path / "out", BuildOptions(image_sizes=(16,), splits={"train": 0.5, "held_out": 0.5}, workers=1)
    )
    info = read_dataset_info(tmp_path / "out" / "16")
    assert info.label_names == ("Edema",)
    assert info.rejected == {"duplicate_key": 1, "conflicting_labels": 2, "in_two_official_lists": 2, "missing_file": 1}
    assert info.images_read == 11 and info.images_written == 5
    assert info.preprocessing["reader_settings"] == {
        "uncertain": "ignore",
        "blank": "zero",
        "findings": "Edema",
        "require_any": "",
        "views": "frontal",
        "projection": "all",
    }
    assert "patient0" not in (tmp_path / "out/16/dataset_info.json").read_text()


def test_a_reader_can_be_sent_to_workers(root):
    reader = Chexpert(str(root), uncertain="ones")
    assert vars(pickle.loads(pickle.dumps(reader))) == vars(reader)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"uncertain": "zero"}, "unknown uncertain 'zero'; did you mean 'zeros'"),
        ({"blank": "zeros"}, "unknown blank 'zeros'; did you mean 'zero'"),
        ({"views": "front"}, "unknown views 'front'; did you mean 'frontal'"),
        ({"projection": "ap"}, "unknown projection 'ap'; "),
        ({"findings": "Edema,Effusion"}, "unknown observation in findings 'Effusion'; did you mean 'Pleural Effusion'"),
        ({"require_any": "Edema,Edema"}, "setting require_any expects different names with commas between"),
        ({"views": "lateral", "projection": "AP"}, "views=lateral keeps no AP image; leave out projection=AP"),
    ],
)
def test_wrong_settings(root, settings, message):
    with pytest.raises(ValueError, match=message):
        Chexpert(str(root), **settings)


def test_wrong_folders_and_tables(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist or is no folder"):
        Chexpert(str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match=r"holds neither train.csv nor valid.csv, .*; expected CheXpert-v1.0"):
        Chexpert(str(root / "train"))
    write(root, "train.csv", [], HEADER.replace("Edema", "Oedema"))
    with pytest.raises(ValueError, match=r"train.csv lacks the column 'Edema'; did you mean 'Oedema'"):
        read(root)
    write(root, "test.csv", [], HEADER)
    write(root, "test_labels.csv", [], HEADER)
    with pytest.raises(ValueError, match=r"holds test.csv and test_labels.csv; leave the one that you want"):
        Chexpert(str(root))
    write(tmp_path / "CheXpert-v1.0", "valid.csv", [])
    with pytest.raises(ValueError, match="holds the set more than once"):
        Chexpert(str(tmp_path))
