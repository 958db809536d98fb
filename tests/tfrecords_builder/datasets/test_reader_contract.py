"""What every reader of the registry keeps, each tried on a tiny raw folder in its layout."""

import collections
import dataclasses
import gzip
import importlib
import json
import math
import pathlib
import pickle

import pytest

from tfrecords_builder.build import build_dataset
from tfrecords_builder.datasets import DATASETS, make_reader
from tfrecords_builder.datasets.chexpert_labels import OBSERVATIONS
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.options import BuildOptions
from tfrecords_builder.plan import NothingLeftError, arguments_of

WITHOUT_RAW_FOLDER = {"phantom"}
WITHOUT_TABLE = {"chest_xray_pneumonia", "covid19_radiography", "image_folder"}
ANY_COLLECTION = {"image_folder", "image_table"}  # of the user's own images: nothing to cite
VIEWS = {"PA", "AP", "LATERAL", ""}


def write(root: pathlib.Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".gz"):
            (root / name).write_bytes(gzip.compress(text.encode()))
        else:
            (root / name).write_text(text)


def nih() -> dict[str, str]:
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    rows = ("00000001_000.png,Mass,0,1,58,M,PA", "00000002_000.png,No Finding,0,2,9,F,AP")
    images = {f"images/0000000{number}_000.png": "" for number in (1, 2)}
    return {"Data_Entry_2017.csv": "\n".join((header, *rows)), **images}


def chexpert() -> dict[str, str]:
    header = ",".join(("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *OBSERVATIONS))
    files = {}
    for split, patient in (("train", "patient00001"), ("valid", "patient64541")):
        image = f"{split}/{patient}/study1/view1_frontal.jpg"
        row = f"CheXpert-v1.0-small/{image},Female,68,Frontal,AP,1.0{',' * (len(OBSERVATIONS) - 1)}"
        files |= {f"{split}.csv": f"{header}\n{row}\n", image: ""}
    return files


def mimic() -> dict[str, str]:
    table, ids = "mimic-cxr-2.0.0-{}.csv.gz", "a-b-c,10000032,50414267"
    return {
        "files/p10/p10000032/s50414267/a-b-c.jpg": "",
        table.format("metadata"): f"dicom_id,subject_id,study_id,ViewPosition\n{ids},PA\n",
        table.format("split"): "dicom_id,study_id,subject_id,split\na-b-c,50414267,10000032,train\n",
        table.format("chexpert"): f"subject_id,study_id,{','.join(OBSERVATIONS)}\n"
        f"10000032,50414267,1.0{',' * (len(OBSERVATIONS) - 1)}\n",
    }


# name -> files of a raw folder, and the settings that it needs
RAW_FOLDERS = {
    "chest_xray_pneumonia": ({"train/NORMAL/IM-0001-0001.jpeg": "", "test/PNEUMONIA/person1_virus_6.jpeg": ""}, []),
    "chestxray8": (nih(), []),
    "chexpert": (chexpert(), []),
    "covid19_radiography": (
        {
            f"{name}/{kind}/{name}-1.png": ""
            for name in ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
            for kind in ("images", "masks")
        },
        [],
    ),
    "covid_chestxray": (
        {
            "metadata.csv": "patientid,sex,age,finding,view,modality,filename\n"
            "2,M,65,Pneumonia/Viral/COVID-19,PA,X-ray,a.jpg\n",
            "images/a.jpg": "",
        },
        [],
    ),
    "image_folder": ({"healthy/p1_a.png": "", "sick/p2_a.dcm": ""}, [r"patient_pattern=(p\d)_"]),
    "image_table": (
        {"labels.csv": "file,Edema,patient\na.png,1,p1\nb.png,0,p2\n", "a.png": "", "b.png": ""},
        ["table=labels.csv", "image_column=file", "label_columns=Edema", "patient_column=patient"],
    ),
    "lera": ({"labels.csv": "1001,XR FOOT,1\n", "1001/ST-1/IM-0001.png": ""}, []),
    "mimic_cxr_jpg": (mimic(), []),
    "mura": (
        {
            "train/XR_ELBOW/patient00011/study1_negative/image1.png": "",
            "train_image_paths.csv": "MURA-v1.1/train/XR_ELBOW/patient00011/study1_negative/image1.png\n",
            "train_labeled_studies.csv": "MURA-v1.1/train/XR_ELBOW/patient00011/study1_negative/,0\n",
        },
        [],
    ),
    "nih_chestxray14": (nih(), []),
    "padchest": (
        {
            "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv": "ImageID,ImageDir,StudyDate_DICOM,PatientID,"
            "PatientBirth,PatientSex_DICOM,Projection,Labels\n"
            "a.png,0,20140915,p1,1930.0,F,PA,['normal']\n"
            "b.png,54,20150102,p2,1955.0,M,AP,\"['pneumonia', ' infiltrates']\"\n",
            "0/a.png": "",
            "54/b.png": "",
        },
        [],
    ),
    "phantom": ({}, ["images=3"]),
    "rsna_pneumonia": (
        {
            "stage_2_train_labels.csv": "patientId,x,y,width,height,Target\na-1,,,,,0\nb-2,1,2,3,4,1\n",
            "stage_2_train_images/a-1.dcm": "",
            "stage_2_train_images/b-2.dcm": "",
        },
        [],
    ),
}


@pytest.fixture(params=sorted(DATASETS))
def name(request):
    assert request.param in RAW_FOLDERS, f"add a tiny raw folder of {request.param} to RAW_FOLDERS"
    if request.param == "rsna_pneumonia":
        pytest.importorskip("pydicom", reason="rsna_pneumonia needs the extra dicom")
    return request.param


@pytest.fixture
def reader(name, tmp_path):
    files, settings = RAW_FOLDERS[name]
    raw_dir = tmp_path / "raw"
    raw_dir.mkdir()
    write(raw_dir, files)
    return make_reader(name, "" if name in WITHOUT_RAW_FOLDER else str(raw_dir), settings)


def test_facts_of_the_class(name):
    reader_class = DATASETS[name]
    assert reader_class.name == name
    assert reader_class.__doc__ and reader_class.licence
    if name not in ANY_COLLECTION:
        assert len(reader_class.citation) > 20
    if name not in ANY_COLLECTION | WITHOUT_RAW_FOLDER:
        assert reader_class.homepage.startswith("https://")
        assert reader_class.citation != "" and any(year in reader_class.citation for year in ("201", "202"))
    if name not in WITHOUT_RAW_FOLDER:
        text = importlib.import_module(reader_class.__module__).__doc__ + reader_class.__doc__
        assert "Layout" in text, "its docstring tells the layout of the raw folder"


def test_examples_are_whole(reader):
    entries = list(reader.examples())
    examples = [entry for entry in entries if isinstance(entry, RawExample)]
    assert examples and len({example.key for example in examples}) == len(examples)
    assert reader.label_names and len(set(reader.label_names)) == len(reader.label_names)
    for example in examples:
        assert len(example.label) == len(reader.label_names)
        assert all(math.isnan(value) or value in (0.0, 1.0) for value in example.label)
        if reader.is_single_label:
            assert sum(example.label) == 1.0
        assert example.patient_id and example.view in VIEWS and example.sex in ("F", "M", "")
        if example.path:
            assert not pathlib.PurePath(example.path).is_absolute() and (reader.raw_dir / example.path).is_file()
    for reject in entries:
        if isinstance(reject, Reject):
            assert reject.key and reject.reason.replace("_", "").isalnum()
    assert repr(list(reader.examples())) == repr(entries), "the order depends on the raw data alone"


def test_settings_are_json_values_without_a_path(reader, tmp_path):
    stored = arguments_of(reader)
    assert json.loads(json.dumps(stored)) == stored
    assert str(tmp_path) not in json.dumps(stored)
    assert isinstance(reader.is_single_label, bool) and isinstance(reader.notice, str)


def test_readers_can_be_sent_to_workers(reader):
    copy = pickle.loads(pickle.dumps(reader))
    assert arguments_of(copy) == arguments_of(reader)
    assert copy.label_names == reader.label_names
    assert repr(list(copy.examples())) == repr(list(reader.examples()))


def test_a_missing_raw_folder_is_named(name, tmp_path):
    if name in WITHOUT_RAW_FOLDER:
        pytest.skip("it has no raw folder")
    settings = RAW_FOLDERS[name][1]
    with pytest.raises(FileNotFoundError, match=r"raw folder .*absent does not exist or is no folder") as failure:
        make_reader(name, str(tmp_path / "absent"), settings)
    assert "\n" not in str(failure.value)
    with pytest.raises(FileNotFoundError, match="name it with --raw_dir"):
        make_reader(name, "", settings)


def test_an_empty_raw_folder_is_said_and_nothing_written(name, tmp_path):
    if name in WITHOUT_RAW_FOLDER:
        pytest.skip("it has no raw folder")
    (tmp_path / "raw").mkdir()
    with pytest.raises((FileNotFoundError, ValueError)) as failure:
        reader = make_reader(name, str(tmp_path / "raw"), RAW_FOLDERS[name][1])
        build_dataset(reader, tmp_path / "out", BuildOptions(image_sizes=(16,), workers=1))
    message = str(failure.value)
    assert str(tmp_path / "raw") in message and "\n" not in message
    assert any(words in message for words in ("expected", "holds no", "lacks", "does not exist")), message
    assert not (tmp_path / "out").exists()


def facts(reader):
    """What a reader says of its images, wherever their files lie."""
    examples = [entry for entry in reader.examples() if isinstance(entry, RawExample)]
    return reader.label_names, repr([dataclasses.replace(example, real_path="") for example in examples])


def reasons(reader):
    return collections.Counter(entry.reason for entry in reader.examples() if isinstance(entry, Reject))


def test_links_are_followed(name, reader, tmp_path):
    if name in WITHOUT_RAW_FOLDER:
        pytest.skip("it has no raw folder")
    expected = facts(reader)
    (tmp_path / "raw").rename(tmp_path / "disk")
    (tmp_path / "raw").mkdir()
    for path in (tmp_path / "disk").iterdir():
        (tmp_path / "raw" / path.name).symlink_to(path)
    linked = make_reader(name, str(tmp_path / "raw"), RAW_FOLDERS[name][1])
    assert facts(linked) == expected and not reasons(linked)
    for example in linked.examples():
        assert example.real_path == str(tmp_path / "disk" / example.path)


def test_what_programs_leave_behind_is_counted_and_never_an_image_class_or_patient(name, reader, tmp_path):
    if name in WITHOUT_RAW_FOLDER:
        pytest.skip("it has no raw folder")
    expected = facts(reader)
    images = [example.path for example in reader.examples()]
    places = {tmp_path / "raw", *((tmp_path / "raw" / path).parent for path in images)}
    for place in places:
        for folder in ("__MACOSX", "@eaDir", ".ipynb_checkpoints"):
            for path in images:
                write(place / folder, {path: "", pathlib.PurePath(path).name: ""})
        write(place, {".DS_Store": "", f"._{pathlib.PurePath(images[0]).name}": ""})
        (place / "loop").symlink_to(".")
        (place / f"gone{pathlib.PurePath(images[0]).suffix}").symlink_to("/nowhere/at/all.png")
    crowded = make_reader(name, str(tmp_path / "raw"), RAW_FOLDERS[name][1])
    assert facts(crowded) == expected
    assert reasons(crowded) == {
        "system_folder": 3 * len(places),
        "hidden_file": 2 * len(places),
        "link_loop": len(places),
        "dangling_link": len(places),
    }
    rejects = [entry for entry in crowded.examples() if isinstance(entry, Reject)]
    assert len({reject.key for reject in rejects}) == len(rejects) and all(reject.detail for reject in rejects)


def test_a_missing_image_says_where_it_was_looked_for(name, reader, tmp_path):
    if name in WITHOUT_RAW_FOLDER | WITHOUT_TABLE:
        pytest.skip("no table names its images")
    missing = next(entry for entry in reader.examples())
    (tmp_path / "raw" / missing.path).unlink()
    rejects = [entry for entry in reader.examples() if isinstance(entry, Reject)]
    assert [reject.reason for reject in rejects] == ["missing_file"]
    assert str(reader.raw_dir) in rejects[0].detail and "names" in rejects[0].detail
    for example in reader.examples():
        if isinstance(example, RawExample):
            (tmp_path / "raw" / example.path).unlink()
    message = r"none of \d+ images in .*: missing_file \d+; such as .*names"
    with pytest.raises(NothingLeftError, match=message) as failure:
        build_dataset(reader, tmp_path / "out", BuildOptions(image_sizes=(16,), workers=1))
    assert str(reader.raw_dir) in str(failure.value) and str(tmp_path / "out/rejects.csv") in str(failure.value)
    assert (tmp_path / "out/rejects.csv").read_text().count("missing_file") == len(failure.value.rejects)
