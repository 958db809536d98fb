import pathlib

import pytest

from tfrecords_builder.build import build_dataset
from tfrecords_builder.datasets import make_reader
from tfrecords_builder.datasets.chestxray8 import ChestXray8
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.options import BuildOptions

CXR = next(
    (folder / "shared/cxr" for folder in pathlib.Path(__file__).parents if (folder / "shared/cxr").is_dir()), None
)
HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
LABELS = {
    "none.png": "No Finding",
    "mass.png": "Mass",
    "pneumonia.png": "Pneumonia",
    "mass_edema.png": "Edema|Mass",
    "both.png": "Mass|Pneumonia",
    "edema.png": "Edema",
    "other.png": "Edema|Effusion",
}


def write(raw_dir, labels, files=None):
    rows = [f"{name},{label},0,{index},40,F,PA" for index, (name, label) in enumerate(labels.items())]
    (raw_dir / "Data_Entry_2017.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    (raw_dir / "images").mkdir(exist_ok=True)
    for name in labels if files is None else files:
        (raw_dir / "images" / name).touch()
    return str(raw_dir)


def read(reader):
    """Image -> its class, or the reason why it is rejected."""
    found = {}
    for entry in reader.examples():
        is_example = isinstance(entry, RawExample)
        assert not is_example or (sorted(entry.label) == [0, 0, 1] and entry.path == f"images/{entry.key}")
        found[entry.key] = reader.label_names[entry.label.index(1)] if is_example else entry.reason
    return found


def test_only_images_of_one_of_three_classes(tmp_path):
    assert read(ChestXray8(write(tmp_path, LABELS))) == {
        "none.png": "No Finding",
        "mass.png": "Mass",
        "pneumonia.png": "Pneumonia",
        "mass_edema.png": "excluded_several_findings",
        "both.png": "excluded_several_findings",
        "edema.png": "excluded_other_finding",
        "other.png": "excluded_other_finding",
    }


def test_classes_among_other_findings(tmp_path):
    reader = make_reader("chestxray8", write(tmp_path, LABELS), ["exclusive=false"])
    found = read(reader)
    assert found["mass_edema.png"] == found["mass.png"] == "Mass"
    assert found["both.png"] == "excluded_several_findings"
    assert found["other.png"] == "excluded_other_finding"


def test_faults_of_the_large_set_stay_rejects(tmp_path):
    (tmp_path / "train_val_list.txt").write_text("none.png\n")
    (tmp_path / "test_list.txt").write_text("none.png\nmass.png\n")
    raw_dir = write(tmp_path, {**LABELS, "odd.png": "Edama"}, [*LABELS, "odd.png", "extra.png"])
    (tmp_path / "images/pneumonia.png").unlink()
    (tmp_path / "images_001").mkdir()
    (tmp_path / "images_001/mass.png").touch()
    entries = list(ChestXray8(raw_dir).examples())
    splits = {entry.key: entry.official_split for entry in entries if isinstance(entry, RawExample)}
    reasons = {entry.key: entry.reason for entry in entries if isinstance(entry, Reject)}
    assert splits == {"mass.png": "test"}
    assert {key: reason for key, reason in reasons.items() if not reason.startswith("excluded")} == {
        "none.png": "in_two_official_lists",
        "pneumonia.png": "missing_file",
        "odd.png": "unknown_label",
        "extra.png": "file_without_row",
        "images/mass.png": "same_file_name_twice",
    }


def test_wrong_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds neither Data_Entry_2017.csv nor"):
        ChestXray8(str(tmp_path))
    write(tmp_path, LABELS)
    (tmp_path / "Data_Entry_2017.csv").write_text("Image Index\n")
    with pytest.raises(ValueError, match="lacks the column 'Finding Labels'"):
        list(ChestXray8(str(tmp_path)).examples())


@pytest.mark.real_data
@pytest.mark.skipif(CXR is None, reason="no shared/cxr with real radiographs beside the checkout")
def test_the_real_set_in_three_classes(tmp_path):
    reader = ChestXray8(str(CXR / "nih_64"))
    # on_error=stop: what the settings leave out is no fault
    options = BuildOptions(
        image_sizes=(16,), splits={"train": 1.0}, workers=1, on_error="stop", max_images_per_label=20
    )
    info = build_dataset(reader, tmp_path / "out", options)[16]
    positives = {name: count["positive"] for name, count in info.splits["train"].labels.items()}
    rows = (CXR / "nih_64/Data_Entry_2017.csv").read_text().splitlines()[1:]
    alone = {name: sum(row.split(",")[1] == name for row in rows) for name in positives}
    assert positives == {name: min(20, count) for name, count in alone.items()}
    assert info.images_read == 775 == info.images_written + sum(info.rejected.values())
    assert info.preprocessing["max_images_per_label"]["limit"] == 20
