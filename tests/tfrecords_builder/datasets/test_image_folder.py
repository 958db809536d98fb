import pytest

from tfrecords_builder.datasets.image_folder import ImageFolder
from tfrecords_builder.datasets.reader import Reject


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
        ("healthy/deep/p1_b.JPG", "healthy/deep/p1_b.JPG", (1.0, 0.0)),
        ("healthy/p1_a.png", "healthy/p1_a.png", (1.0, 0.0)),
        ("sick/p2_a.jpeg", "sick/p2_a.jpeg", (0.0, 1.0)),
    ]
    assert [(entry.key, entry.reason) for entry in entries if isinstance(entry, Reject)] == [
        ("sick/notes.txt", "not_an_image")
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
    assert rejects == {"unknown_patient", "not_an_image"}


def test_wrong_folder_or_pattern(tmp_path, raw_dir):
    with pytest.raises(ValueError, match="is not a regular expression"):
        ImageFolder(raw_dir, patient_pattern="(")
    with pytest.raises(FileNotFoundError, match="holds no folder; expected one folder a class"):
        ImageFolder(str(tmp_path / "sick"))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        ImageFolder(str(tmp_path / "absent"))
