"""A data folder as PNG or DICOM files and a table, and back."""

import csv
import dataclasses
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tfcxr.data import picture_folder
from tfcxr.data.pipeline import load_images
from tfcxr.data.records import read_dataset_info, write_dataset_info
from tfcxr.data.schema import INFO_FILE
from tfrecords_builder.commands.build import BuildArguments, build
from tfrecords_builder.commands.convert import ConvertArguments, convert

PROVENANCE = {"saved_model": "gan/2", "weights_sha256": "ab" * 32, "seed": 3, "truncation": 1.0}


@pytest.fixture
def cohort(disc_records, tmp_path):
    """The discs as if a model had generated them."""
    folder = shutil.copytree(disc_records, tmp_path / "32")
    info = read_dataset_info(folder)
    write_dataset_info(folder, dataclasses.replace(info, is_synthetic=True, name="my gan", provenance=PROVENANCE))
    return folder


def convert_to(picture_format, data_dir, out_dir):
    convert(ConvertArguments(folders=(str(data_dir),), to=picture_format, out_dir=str(out_dir)))


def rows_of(folder):
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_image_is_a_file_with_its_row(disc_records, tmp_path, capsys):
    convert_to("png", disc_records, tmp_path)
    assert f"wrote {tmp_path / 'discs'}; labels.csv beside the pictures" in capsys.readouterr().out
    rows = rows_of(tmp_path / "discs")
    splits = list(dict.fromkeys(row["split"] for row in rows))
    assert len(rows) == 80 and set(splits) == {"train", "validation", "test"}
    stored = load_images(disc_records, splits)
    for row, image, label, patient in zip(rows, stored.images, stored.labels, stored.patient_keys, strict=True):
        picture = Image.open(tmp_path / "discs" / row["file"])
        np.testing.assert_array_equal(np.asarray(picture), image[..., 0])
        assert picture.text == {}  # nothing says synthetic
        assert [row["NORMAL"], row["PNEUMONIA"]] == [f"{value:g}" for value in label]
        assert row["patient"] == patient and row["is_synthetic"] == "no" and row["age"] == ""
    provenance = json.loads((tmp_path / "discs" / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["is_synthetic"] is False and provenance["splits"]["train"]["images"] == 48
    assert "shards" not in provenance["splits"]["train"]


def test_synthetic_png_files_say_so_in_table_and_file(cohort, tmp_path):
    convert_to("png", cohort, tmp_path)
    row = rows_of(tmp_path / "my_gan")[0]
    assert row["is_synthetic"] == "yes"
    facts = json.loads(Image.open(tmp_path / "my_gan" / row["file"]).text["tfcxr"])
    assert facts["synthetic"] is True and facts["model"] == "gan/2" and facts["labels"] == ["NORMAL"]
    assert json.loads((tmp_path / "my_gan" / "provenance.json").read_text())["provenance"] == PROVENANCE


def test_synthetic_dicom_files_say_so_and_have_equal_pixels(cohort, tmp_path, capsys):
    pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
    convert_to("dicom", cohort, tmp_path)
    assert f"wrote {tmp_path / 'my_gan'}; labels.csv beside the pictures" in capsys.readouterr().out
    rows = rows_of(tmp_path / "my_gan")
    stored = load_images(cohort, list(dict.fromkeys(row["split"] for row in rows)))
    for row, image in zip(rows, stored.images, strict=True):
        dataset = pydicom.dcmread(tmp_path / "my_gan" / row["file"])
        np.testing.assert_array_equal(dataset.pixel_array, image[..., 0])
        named = "NORMAL" if row["NORMAL"] == "1" else "PNEUMONIA"
        assert dataset.SyntheticData == "YES" and f"gan/2 generated as: {named}" in dataset.SeriesDescription
        assert row["patient"] not in str(dataset)
    assert len({str(pydicom.dcmread(tmp_path / "my_gan" / row["file"]).SOPInstanceUID) for row in rows}) == 80


@pytest.mark.parametrize("picture_format", ["png", "dicom"])
def test_the_table_builds_the_same_records_again(cohort, tmp_path, picture_format):
    if picture_format == "dicom":
        pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
    convert_to(picture_format, cohort, tmp_path)
    settings = ("table=labels.csv", "image_column=file", "label_columns=NORMAL,PNEUMONIA", "patient_column=patient")
    build(
        BuildArguments(
            dataset="image_table", raw_dir=str(tmp_path / "my_gan"), out_dir=str(tmp_path / "again"),
            image_sizes=("32",), settings=settings, splits="train=1", workers=1,
        )
    )  # fmt: skip
    stored = load_images(cohort, ["train", "validation", "test"])
    again = load_images(tmp_path / "again" / "32", "train")
    assert sorted(map(bytes, again.images)) == sorted(map(bytes, stored.images))
    assert again.labels.sum() == stored.labels.sum()
    if picture_format == "dicom":
        assert read_dataset_info(tmp_path / "again" / "32").notices["synthetic"] == 80


def test_what_cannot_be_converted(disc_records, tmp_path):
    convert_to("png", disc_records, tmp_path)
    with pytest.raises(FileExistsError, match="discs is there already; remove it or choose another --out_dir"):
        convert_to("png", disc_records, tmp_path)
    damaged = shutil.copytree(disc_records, tmp_path / "damaged")
    shard = next(damaged.glob("test-*.tfrecord"))
    content = bytearray(shard.read_bytes())
    content[60] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match="was altered: its SHA-256 is not the recorded one"):
        convert_to("png", damaged, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def start_conversion(data_dir, out_dir):
    paths = os.pathsep.join([str(pathlib.Path(__file__).parents[3]), *sys.path])
    words = ["-m", "tfrecords_builder", "convert", str(data_dir), "--to=png", f"--out_dir={out_dir}"]
    return subprocess.Popen(
        [sys.executable, *words], env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.DEVNULL
    )


@pytest.mark.thorough
def test_a_killed_conversion_is_finished_to_the_same_bytes(write_records, tmp_path):
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # shown when the test fails
    generator = random.Random(seed)
    data_dir = tmp_path / "32"
    write_records(data_dir, {"train": 600, "test": 60}, shards=20)
    convert_to("png", data_dir, tmp_path / "whole")
    out_dir = tmp_path / "out"
    notes = out_dir / "unfinished_discs" / "unfinished_conversion"
    found, deadline = [], time.monotonic() + 300
    for _ in range(3):
        process, wanted = start_conversion(data_dir, out_dir), len(found) + generator.randint(1, 8)
        while len(found) < wanted and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
            found = list(notes.glob("t*.json"))
        time.sleep(generator.uniform(0, 0.02))
        process.kill()
        process.wait()
        assert not (out_dir / "discs").exists() and len(found) < 40
    (first, *_) = json.loads(min(found).read_text())["files"]
    (out_dir / "unfinished_discs" / "discs" / first).write_bytes(b"")  # as after a crash of the machine: done again
    convert_to("png", data_dir, out_dir)
    assert contents(out_dir) == contents(tmp_path / "whole")


def test_an_unfinished_conversion_is_resumed_with_its_own_source_and_format_only(
    disc_records, cohort, tmp_path, monkeypatch
):
    info = dataclasses.replace(read_dataset_info(cohort), name="discs")
    write_dataset_info(cohort, info)
    out_dir = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(picture_folder, "_provenance_text", lambda info: 1 / 0)  # when all pictures are there
        with pytest.raises(ZeroDivisionError):
            convert_to("png", cohort, out_dir)
    assert [path.name for path in out_dir.iterdir()] == ["unfinished_discs"]
    with pytest.raises(ValueError, match="unfinished_discs holds an unfinished conversion of another source; run its"):
        convert_to("png", disc_records, out_dir)
    pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
    with pytest.raises(ValueError, match="holds an unfinished conversion of another format"):
        convert_to("dicom", cohort, out_dir)
    (picture, *_) = (out_dir / "unfinished_discs" / "discs" / "train").iterdir()
    before = picture.stat().st_mtime_ns
    convert_to("png", cohort, out_dir)
    assert [path.name for path in out_dir.iterdir()] == ["discs"]
    assert (out_dir / "discs" / "train" / picture.name).stat().st_mtime_ns == before
    convert_to("png", cohort, tmp_path / "whole")
    assert contents(out_dir) == contents(tmp_path / "whole")


def test_a_real_image_is_never_marked_and_no_synthetic_one_unmarked(disc_records, cohort, tmp_path):
    pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
    with pytest.raises(ValueError, match="holds discs, whose images no model generated; DICOM files are written of"):
        convert_to("dicom", disc_records, tmp_path / "out")
    merge = {"inputs": {"discs": {}, "my gan": {}}, "mixes_synthetic_and_real": True}
    merged = dataclasses.replace(read_dataset_info(cohort), provenance=merge)
    (cohort / INFO_FILE).write_text(merged.to_json(), encoding="utf-8")
    for picture_format in ("png", "dicom"):
        with pytest.raises(ValueError, match="was merged from discs, my gan, and its records do not say which of them"):
            convert_to(picture_format, cohort, tmp_path / "out")
    assert not (tmp_path / "out").exists()
