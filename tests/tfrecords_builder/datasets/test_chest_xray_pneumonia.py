import pytest

from tfrecords_builder.datasets.chest_xray_pneumonia import ChestXrayPneumonia
from tfrecords_builder.datasets.reader import Reject

FILES = {
    "train/NORMAL/IM-0115-0001.jpeg": ("N0115", ""),
    "train/NORMAL/NORMAL2-IM-0115-0001-0002.jpeg": ("N0115", ""),
    "train/PNEUMONIA/person7_bacteria_24.jpeg": ("P7", ""),
    "val/PNEUMONIA/person1946_bacteria_4874.jpeg": ("P1946", ""),
    "test/PNEUMONIA/person7_virus_1.jpeg": ("P7", "test"),
}


@pytest.fixture
def raw_dir(tmp_path):
    for name in FILES:
        path = tmp_path / "chest_xray" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize("given", ["", "chest_xray"])
def test_patients_labels_and_published_split(raw_dir, given):
    reader = ChestXrayPneumonia(str(raw_dir / given))
    examples = list(reader.examples())
    assert {example.key: (example.patient_id, example.official_split) for example in examples} == FILES
    for example in examples:
        assert example.label == ((1.0, 0.0) if "NORMAL/" in example.key else (0.0, 1.0))
        assert (reader.raw_dir / example.path).is_file()


def test_other_files_are_rejected(raw_dir):
    (raw_dir / "chest_xray/train/NORMAL/.DS_Store").touch()
    (raw_dir / "chest_xray/train/NORMAL/scan.jpeg").touch()
    rejects = [entry for entry in ChestXrayPneumonia(str(raw_dir)).examples() if isinstance(entry, Reject)]
    assert [(reject.key, reject.reason) for reject in rejects] == [
        ("train/NORMAL/.DS_Store", "not_an_image"),
        ("train/NORMAL/scan.jpeg", "unknown_patient"),
    ]


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent does not exist or is no folder"):
        ChestXrayPneumonia(str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match="holds no train or test folder; expected chest_xray with"):
        ChestXrayPneumonia(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="name it with --raw_dir"):
        ChestXrayPneumonia("")
