"""From two cohorts to a study: what is written, what is refused, and that --help needs no second."""

import csv
import dataclasses
import json
import shutil
import stat
import subprocess
import sys

import pytest

from tfcxr.reader_study.answers import Answer
from tfcxr.reader_study.commands.design import DesignArguments, design, reader_groups, repeat_counts
from tfcxr.reader_study.design.study_folder import LEAKS_FILE
from tfcxr.reader_study.design_file import IMAGES_FOLDER, read_design, read_key, token_sha256
from tfcxr.reader_study.readings import readings


@pytest.fixture(scope="module")
def cohorts(write_records, tmp_path_factory):
    """Data folders of 64 discs from patients and 64 from a generator, the latter others and stored as PNG."""
    folder = tmp_path_factory.mktemp("cohorts")
    write_records(folder / "real", {"train": 4, "test": 64}, name="nih")
    synthetic = {"name": "cgan", "is_synthetic": True, "provenance": {"saved_model": "cgan/1"}}
    write_records(folder / "synthetic", {"train": 76}, encoding="png", images_a_patient=1, **synthetic)
    return {"real_dir": (str(folder / "real"),), "synthetic_dir": (str(folder / "synthetic"),)}


def arguments(cohorts, out_dir, **changes) -> DesignArguments:
    settings = {"grids": 3, "pairs": 8, "readers": "consultant=1,registrar=2", "display_size": 40, "seed": 4}
    return DesignArguments(**cohorts, out_dir=str(out_dir), **(settings | changes))


@pytest.fixture(scope="module")
def study(cohorts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies") / "study"
    assert design(arguments(cohorts, folder, repeats="3", singles=2, diagnoses=("Mass",))) == folder
    return folder


def test_a_study_is_whole(study):
    found = read_design(study)
    key = read_key(study, found)
    assert {path.stem for path in (study / IMAGES_FOLDER).iterdir()} == set(key) == set(found.image_sha256)
    assert {reader.group for reader in found.readers.values()} == {"consultant", "registrar"}
    assert all(len(reader.items) == 3 + 13 + 3 for reader in found.readers.values())
    assert {origin.cohort for origin in key.values()} == {"nih", "cgan"}
    assert found.plan["cohorts"][0]["splits"] == ["test"]
    assert found.plan["cohorts"][1]["generator"] == {"saved_model": "cgan/1"}
    assert found.plan["items"] == {"grid": 3, "pair": 8, "single": 2}
    assert found.plan["tests"] == {"real called real, and synthetic called synthetic": 10, "pairs right": 8}
    assert found.plan["power"]["kinds"]["pairs right"]["cases"] == 8
    assert "/" not in json.dumps(found.plan["settings"])  # no path of this machine
    assert "By going on you confirm" in found.consent


def test_the_key_and_the_links_are_secret(study):
    for name in ("key.json", "links.csv", LEAKS_FILE):
        assert stat.S_IMODE((study / name).stat().st_mode) == 0o600
    assert sorted(path.name for path in study.iterdir()) == [
        "design.json", IMAGES_FOLDER, "key.json", LEAKS_FILE, "links.csv",
    ]  # fmt: skip


def test_each_link_is_a_readers(study):
    found = read_design(study)
    with (study / "links.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["reader"] for row in rows] == list(found.readers)
    for row in rows:
        reader, token = found.readers[row["reader"]], row["path"].removeprefix("/r/")
        assert reader.group == row["group"]
        assert reader.token_sha256 == token_sha256(token)
        assert len(token) == 32
        assert token not in (study / "design.json").read_text()


def test_files_tell_nothing(study):
    facts = [path.stat() for path in (study / IMAGES_FOLDER).iterdir()]
    assert len({fact.st_size for fact in facts}) == 1
    assert len({fact.st_mtime_ns for fact in facts}) == 1
    leaks = json.loads((study / LEAKS_FILE).read_text())
    assert {leak["feature"]: leak["auc"] for leak in leaks["files"]}["file length"] == 0.5


def test_the_same_seed_gives_the_same_study_but_for_links(study, cohorts, tmp_path):
    design(arguments(cohorts, tmp_path / "again", repeats="3", singles=2, diagnoses=("Mass",)))
    first, second = read_design(study), read_design(tmp_path / "again")
    assert first != second
    for found in (first, second):
        for name, reader in found.readers.items():
            found.readers[name] = dataclasses.replace(reader, token_sha256="")
    assert first == second


def test_what_was_found_and_comes_next_is_printed(cohorts, tmp_path, capsys):
    design(arguments(cohorts, tmp_path / "study", crop=0.1, mask_corners=True, percentile_window=True))
    text = capsys.readouterr().out
    assert "real: nih, 64 images in test (32 px, 8 bits)" in text
    assert "9 cases x 3 readers" in text
    assert "10.0% of the width is cut off" in text
    assert "squares of 12% of the width are black" in text
    assert "each image is mapped to its own window" in text
    assert "files and order" in text
    assert f"next: python -m tfcxr.reader_study serve --study_dir={tmp_path / 'study'}" in text


def test_a_dry_run_writes_nothing(cohorts, tmp_path, capsys):
    assert design(arguments(cohorts, tmp_path / "study", dry_run=True)) is None
    assert list(tmp_path.iterdir()) == []
    text = capsys.readouterr().out
    assert "3 grids, 8 pairs for each of 3 readers" in text
    assert "power, if the true rate of correct answers is 60%" in text


def test_a_study_too_small_to_check_is_written(cohorts, tmp_path, capsys):
    design(arguments(cohorts, tmp_path / "study", grids=0, pairs=0, singles=4, training=0))
    assert "too few images to check the study for leaks" in capsys.readouterr().out
    assert len(read_design(tmp_path / "study").items) == 4


def test_answers_are_read_by_the_key(study):
    """Readers who answer everything by the key are right throughout, in every kind of item."""
    found = read_design(study)
    key = read_key(study, found)
    answers = []
    for name, reader in found.readers.items():
        for item in reader.items:
            sides = [key[image].is_synthetic for image in found.items[item].images]
            given = {"synthetic": sides} if len(sides) == 6 else {"real": sides.index(False) if False in sides else 0}
            if found.items[item].kind == "single":
                given = {"synthetic": sides[0], "confidence": 5}
            answers.append(Answer(f"{name} {item}", name, item, "final", given))
    judged = readings(found, key, answers)
    assert all(reading.is_correct for reading in judged)
    first = [reading for reading in judged if not reading.repeat_of]
    assert len(first) == 3 * (18 + 8 + 2)
    assert {reading.position for reading in first if reading.reader == "R01"} == set(range(13))
    again = [reading for reading in judged if reading.repeat_of]
    seen = {(reading.reader, reading.item, reading.case) for reading in first}
    assert {(reading.reader, reading.repeat_of, reading.case) for reading in again} <= seen


def test_timed_single_images(cohorts, tmp_path, capsys):
    design(arguments(cohorts, tmp_path / "study", grids=0, singles=10, staircase=True, blocks=("NORMAL", "PNEUMONIA")))
    found = read_design(tmp_path / "study")
    counted = [item for item in found.items.values() if not item.is_training and item.kind == "single"]
    assert len(counted) == 20
    assert all(item.is_staircase and item.exposure_seconds == 0.5 for item in counted)
    assert "16 pairs, 20 single images in blocks of NORMAL, PNEUMONIA" in capsys.readouterr().out


def test_a_study_is_never_written_over(study, cohorts):
    before = (study / "design.json").read_bytes()
    with pytest.raises(ValueError, match=r"study is not empty; .* name a new folder with --out_dir"):
        design(arguments(cohorts, study))
    assert (study / "design.json").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grids": 0, "pairs": 0}, "has no items; set one of --grids"),
        ({"staircase": True}, "are of single images; ask for some with --singles"),
        ({"exposure_seconds": 1.0}, "are of single images; ask for some with --singles"),
        ({"blocks": ("NORMAL", "NORMAL")}, "names a finding twice"),
        ({"pairs": 100}, r"needs \d+ real images, 64 are there \(NORMAL 32, PNEUMONIA 32\)"),
        ({"blocks": ("Mass",)}, "images with Mass, 0 are there"),
        ({"repeats": "1", "pairs": 0, "grids": 0, "singles": 8, "staircase": True}, "half of the 0 items"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(cohorts, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        design(arguments(cohorts, tmp_path / "study", **changes))
    assert list(tmp_path.iterdir()) == []


def test_cohorts_of_another_size_are_refused(cohorts, write_records, tmp_path):
    info = write_records(tmp_path / "small", {"train": 4}, is_synthetic=True)
    text = (tmp_path / "small/dataset_info.json").read_text().replace('"image_size": 32', '"image_size": 16')
    assert info.image_size == 32
    (tmp_path / "small/dataset_info.json").write_text(text)
    with pytest.raises(ValueError, match=r"images of 32 px, .* of 16 px; that alone could tell them apart"):
        design(arguments(cohorts | {"synthetic_dir": (str(tmp_path / "small"),)}, tmp_path / "study"))


def test_patients_of_the_training_are_not_shown(cohorts, write_records, tmp_path):
    facts = {"is_synthetic": True, "provenance": {"training_data": {"patient_keys_file": "training_patients.txt"}}}
    write_records(tmp_path / "cohort", {"train": 80}, encoding="png", images_a_patient=1, **facts)
    (tmp_path / "cohort/training_patients.txt").write_text("patient-test-0\npatient-test-1\n")
    folders = cohorts | {"synthetic_dir": (str(tmp_path / "cohort"),)}
    all_real = {"grids": 0, "training": 0, "pairs": 60}
    design(arguments(folders, tmp_path / "study", **all_real))
    found = read_design(tmp_path / "study")
    records = {origin.record for origin in read_key(tmp_path / "study", found).values() if not origin.is_synthetic}
    assert len(records) == 60  # all but those of two patients with two images each
    assert not records & {f"image-{number:04d}" for number in range(4, 8)}
    with pytest.raises(ValueError, match="needs 61 real images, 60 are there"):
        design(arguments(folders, tmp_path / "other", **(all_real | {"pairs": 61})))
    assert design(arguments(folders, tmp_path / "other", **(all_real | {"pairs": 61, "splits": ("test",)})))


def test_a_damaged_record_leaves_no_study(cohorts, tmp_path):
    folders = {}
    for flag, (source,) in cohorts.items():
        folder = shutil.copytree(source, tmp_path / flag)
        text = (folder / "dataset_info.json").read_text()
        (folder / "dataset_info.json").write_text(text.replace('"image_size": 32', '"image_size": 16'))
        folders[flag] = (str(folder),)
    with pytest.raises(ValueError, match=r"a record of .* is damaged: expected an image of 16 px"):
        design(arguments(folders, tmp_path / "out" / "study"))
    assert list((tmp_path / "out").iterdir()) == []


def test_the_consent_text_may_be_ones_own(cohorts, tmp_path):
    file = tmp_path / "consent.txt"
    file.write_text("Wir bitten Sie.\n\nDanke.\n", encoding="utf-8")
    design(arguments(cohorts, tmp_path / "study", consent_file=str(file)))
    assert read_design(tmp_path / "study").consent == "Wir bitten Sie.\n\nDanke."
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="is no UTF-8 text"):
        design(arguments(cohorts, tmp_path / "other", consent_file=str(file)))
    file.write_text(" \n")
    with pytest.raises(ValueError, match="is empty; readers must know"):
        design(arguments(cohorts, tmp_path / "other", consent_file=str(file)))
    with pytest.raises(FileNotFoundError, match="does not exist; leave it out"):
        design(arguments(cohorts, tmp_path / "other", consent_file=str(tmp_path / "nothing")))


def test_readers_by_number_or_group():
    assert reader_groups("8") == (("", 8),)
    assert reader_groups("consultant=3, registrar=5") == (("consultant", 3), ("registrar", 5))
    for text in ("", "0", "eight", "3,5", "consultant=", "a=1,,b=2", "-1"):
        with pytest.raises(ValueError, match="is no number of readers; write a number such as 8"):
            reader_groups(text)
    with pytest.raises(ValueError, match="names a group twice"):
        reader_groups("a=1,a=2")


def test_repeats_by_share_or_number():
    items = {"grid": 6, "pair": 20}
    assert repeat_counts("0", items) == {"grid": 0, "pair": 0}
    assert repeat_counts("0.2", items) == {"grid": 1, "pair": 4}
    assert repeat_counts("13", items) == {"grid": 3, "pair": 10}
    assert repeat_counts(".5", items) == {"grid": 3, "pair": 10}
    for text in ("14", "0.6", "-1", "some", ""):
        with pytest.raises(ValueError, match="must be a share from 0 to .5, or a number up to half of the 26 items"):
            repeat_counts(text, items)


def test_help_and_mistakes_start_no_heavy_library():
    program = (
        "import sys; from tfcxr.reader_study.__main__ import start\n"
        "try: start(['reader_study', 'design', *sys.argv[1:]])\n"
        "finally: print(sorted({'tensorflow', 'scipy', 'cv2', 'numpy'} & set(sys.modules)))"
    )
    for flag, status in (("--help", 0), ("--grid=3", 1)):
        found = subprocess.run([sys.executable, "-c", program, flag], capture_output=True, text=True, check=False)
        assert found.returncode == status
        assert found.stdout.splitlines()[-1] == "[]"
