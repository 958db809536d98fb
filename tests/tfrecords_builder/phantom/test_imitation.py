"""Phantom radiographs in published layouts: every one is read whole by the reader of its data set."""

import pytest

from tfcxr import command_line
from tfrecords_builder.build import build_dataset
from tfrecords_builder.commands.imitate import ImitateArguments, imitate
from tfrecords_builder.datasets import DATASETS
from tfrecords_builder.datasets.reader import IMITATION_FILE, Reject
from tfrecords_builder.options import BuildOptions
from tfrecords_builder.phantom.imitation import LAYOUTS


@pytest.mark.parametrize("dataset", LAYOUTS)
def test_every_layout_is_read_whole(dataset, tmp_path):
    imitate(ImitateArguments(dataset=dataset, out_dir=str(tmp_path / "raw"), images=30, image_size=16))
    settings = {"exclusive": False} if dataset == "chestxray8" else {}
    reader = DATASETS[dataset](str(tmp_path / "raw"), **settings)
    entries = list(reader.examples())
    allowed = {"excluded_other_finding", "excluded_several_findings"} if dataset == "chestxray8" else set()
    assert {entry.reason for entry in entries if isinstance(entry, Reject)} <= allowed
    examples = [entry for entry in entries if not isinstance(entry, Reject)]
    assert len(entries) == 30 and len({example.patient_id for example in examples}) > 5
    assert all(reader.read_image(example).pixels.shape == (16, 16) for example in examples)
    assert {max(example.label) for example in examples} == {1.0}


def test_the_same_seed_draws_the_same_files_and_a_folder_is_kept(tmp_path):
    folders = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        out_dir = tmp_path / name
        imitate(ImitateArguments(dataset="mura", out_dir=str(out_dir), images=4, image_size=16, seed=seed))
        folders.append({str(path.relative_to(out_dir)): path.read_bytes() for path in out_dir.rglob("*.png")})
    assert folders[0] == folders[1] and set(folders[0].values()) != set(folders[2].values())
    with pytest.raises(FileExistsError, match="exists already; choose another --out_dir"):
        imitate(ImitateArguments(dataset="mura", out_dir=str(tmp_path / "a")))


@pytest.mark.parametrize("given", ["raw", "raw/chest_xray"])
def test_records_of_phantoms_say_what_they_are(given, tmp_path):
    imitate(ImitateArguments(dataset="chest_xray_pneumonia", out_dir=str(tmp_path / "raw"), images=20, image_size=16))
    reader = DATASETS["chest_xray_pneumonia"](str(tmp_path / given))
    options = BuildOptions(image_sizes=(16,), splits={"train": 1.0}, workers=1)
    info = build_dataset(reader, tmp_path / "out", options)[16]
    assert info.notice.startswith("PHANTOM, NOT PATIENTS") and info.source["licence"] == "Apache-2.0 (own work)"
    (tmp_path / "raw" / IMITATION_FILE).unlink()
    info = build_dataset(reader, tmp_path / "real", options)[16]
    assert info.notice == "" and info.source["licence"] == "CC BY 4.0"


def test_unknown_data_set_names_those_that_can_be_imitated(capsys):
    with pytest.raises(SystemExit):
        command_line.run(imitate, ["imitate", "--dataset=chexprt", "--out_dir=x"])
    assert "--dataset=chexprt is unknown; did you mean 'chexpert'?" in capsys.readouterr().err
