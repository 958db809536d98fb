import csv
import dataclasses
import hashlib
import io
import json
import sqlite3
import stat
import subprocess
import zipfile

import pytest

from tfcxr.reader_study.answers import Answer, AnswerStore
from tfcxr.reader_study.commands.export import ExportArguments, export
from tfcxr.reader_study.design_file import ANSWERS_FILE, LINKS_FILE, read_design, read_key, write_study
from tfcxr.reader_study.export.archive import copy_answers, write_archive
from tfcxr.reader_study.export.csv_tables import harmless
from tfcxr.reader_study.export.export import export_study
from tfcxr.reader_study.readings import Reading, readings

MARK = {"x": 0.1, "y": 0.2, "width": 0.3, "height": 0.4}
VIEWPORT = {"width": 1920, "height": 1080, "pixel_ratio": 1.5, "zoom": 2.0, "exposure_seconds": 0.5}
COMMENT = '=HYPERLINK("http://elsewhere")\nribs, "odd"'
SINGLE = {"synthetic": False, "confidence": 4, "diagnoses": ["Effusion", "Mass"], "marks": [MARK], "comment": COMMENT}
GRID = [True, False, False, True, True, False]
ANSWERS = [
    Answer("1", "R1", "", "consent"),
    Answer("2", "R1", "training", "final", {"synthetic": True, "confidence": 3}, 2.0),
    Answer("3", "R1", "grid", "shown", {"synthetic": "a note"}),
    Answer("4", "R1", "grid", "final", {"synthetic": GRID}, 9.0),
    Answer("5", "R1", "pair", "final", {"real": 1}, 3.5, "2026-11-29T12:00:00", "tab", VIEWPORT | {"simulated": True}),
    Answer("6", "R1", "single", "final", SINGLE, None, viewport=VIEWPORT),
]


@pytest.fixture
def study(tmp_path, design, key):
    """A study with answers, one comment a formula."""
    folder = tmp_path / "study"
    (folder / "images").mkdir(parents=True)
    for image in key:
        (folder / "images" / f"{image}.png").write_bytes(image.encode() * 100)
    sums = {image: hashlib.sha256(image.encode() * 100).hexdigest() for image in key}
    design = dataclasses.replace(design, image_sha256=sums)
    write_study(folder, design, key)
    (folder / LINKS_FILE).write_text("reader,group,path\nR1,registrar,/r/token R1\nR2,registrar,/r/token R2\n")
    with AnswerStore(folder, design) as store:
        for answer in ANSWERS:
            store.add(answer)
    return folder


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def given(cell):
    """A text cell as it was given, as the dictionary says."""
    return cell.removeprefix("'")


def test_every_raw_row_is_exported(study, tmp_path):
    exported = export_study(study, tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "answers.csv")
    assert exported.answers == len(rows) == 6
    assert [row["request"] for row in rows] == list("123456")
    grid = [rows[3][f"synthetic_{place}"] for place in range(1, 7)]
    assert grid == ["true", "false", "false", "true", "true", "false"]
    assert rows[2]["synthetic_1"] == "" and rows[2]["answer_json"] == '{"synthetic": "a note"}'
    assert (rows[4]["kind"], rows[4]["real"], rows[4]["elapsed_seconds"]) == ("pair", "1", "3.5")
    assert (rows[4]["tab"], rows[4]["block"], rows[4]["simulated"]) == ("tab", "Effusion", "true")
    assert (rows[5]["synthetic_1"], rows[5]["synthetic_2"], rows[5]["confidence"]) == ("false", "", "4")
    assert (rows[5]["viewport_width"], rows[5]["zoom"], rows[5]["exposure_seconds"]) == ("1920", "2.0", "0.5")
    assert rows[5]["diagnoses"] == "Effusion; Mass" and json.loads(rows[5]["marks"]) == [MARK]
    assert rows[5]["elapsed_seconds"] == "" and rows[5]["simulated"] == "false"
    assert (rows[0]["kind"], rows[0]["is_training"], rows[1]["is_training"]) == ("", "", "true")
    assert {row["group"] for row in rows} == {"registrar"} and all(row["server_time"] for row in rows)
    assert [json.loads(row["answer_json"]) for row in rows] == [answer.answer for answer in ANSWERS]
    assert [json.loads(row["viewport_json"]) for row in rows] == [answer.viewport for answer in ANSWERS]


def test_readings_are_exported_whole(study, tmp_path):
    exported = export_study(study, tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "readings.csv")
    design = read_design(study)
    found = readings(design, read_key(study, design), ANSWERS)
    assert exported.readings == len(rows) == len(found) == 8
    assert set(rows[0]) == {field.name for field in dataclasses.fields(Reading)} | {"is_correct"}
    for row, reading in zip(rows, found, strict=True):
        assert (row["case"], row["is_correct"]) == (reading.case, str(reading.is_correct).lower())
        assert row["rating"] == ("" if reading.rating is None else str(reading.rating))
        assert given(row["comment"]) == reading.comment
    assert json.loads(rows[-1]["marks"]) == [[0.1, 0.2, 0.3, 0.4]]
    assert rows[-1]["rating"] == "-4"  # a number stays one, although it begins with -


def test_every_column_is_in_the_dictionary(study, tmp_path):
    export_study(study, tmp_path / "out")
    entries = rows_of(tmp_path / "out" / "data_dictionary.csv")
    for name in ("answers.csv", "readings.csv"):
        heading = next(csv.reader((tmp_path / "out" / name).open()))
        assert heading == [entry["column"] for entry in entries if entry["file"] == name]
    assert {entry["type"] for entry in entries} == {"text", "number", "integer", "boolean", "JSON"}
    assert all(entry["meaning"].endswith(".") for entry in entries)
    units = {entry["column"]: entry["unit"] for entry in entries}
    assert units["elapsed_seconds"] == units["seconds"] == units["exposure_seconds"] == "seconds"
    assert all(entry["allowed_values"] for entry in entries if entry["type"] in ("boolean", "integer"))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", " =1+1", "\t=1", "\r=1", "'=1", "'quoted'"])
def test_formulas_become_text(text):
    assert harmless(text) == "'" + text
    assert given(harmless(text)) == text


@pytest.mark.parametrize("text", ["", "ribs = odd", "a-b", "3", " left"])
def test_other_text_stays(text):
    assert harmless(text) == text == given(harmless(text))


def test_comment_is_no_formula_and_stays_whole(study, tmp_path):
    export_study(study, tmp_path / "out")
    for name in ("answers.csv", "readings.csv"):
        cell = rows_of(tmp_path / "out" / name)[-1]["comment"]
        assert cell.startswith("'=") and given(cell) == COMMENT


def test_archive_is_whole_and_checks_itself(study, tmp_path):
    (study / "report").mkdir()
    (study / "report" / "report.html").write_text("<p>report</p>")
    exported = export_study(study, tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "out" / "study.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
        assert tuple(archive.namelist()) == exported.archived
    images = [f"images/{name}.png" for name in "abcdef"]
    csvs = ["answers.csv", "data_dictionary.csv", "readings.csv"]
    files = sorted(["answers.sqlite", "design.json", "key.json", "report/report.html", *images, *csvs])
    assert exported.archived == (*files, "SHA256SUMS")
    unpacked = tmp_path / "unpacked"
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=unpacked, check=True, capture_output=True)
    assert (unpacked / "answers.csv").read_bytes() == (tmp_path / "out" / "answers.csv").read_bytes()
    design = read_design(unpacked)
    assert read_key(unpacked, design) and (unpacked / "images" / "a.png").read_bytes() == b"a" * 100
    with AnswerStore(unpacked, design) as store:
        assert [row.request for row in store.rows()] == list("123456")


def test_answers_in_the_archive_are_one_file(study, tmp_path):
    export_study(study, tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "out" / "study.zip") as archive:
        archive.extract(ANSWERS_FILE, tmp_path)
    connection = sqlite3.connect(f"file:{tmp_path / ANSWERS_FILE}?mode=ro&immutable=1", uri=True)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert connection.execute("SELECT count(*) FROM answers").fetchone() == (6,)
    connection.close()


def test_same_study_gives_the_same_bytes(study, tmp_path):
    for name in ("first", "second"):
        export_study(study, tmp_path / name)
    for name in ("study.zip", "answers.csv", "readings.csv", "data_dictionary.csv"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_entries_have_one_time_and_are_the_owners(study, tmp_path):
    export_study(study, tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "out" / "study.zip") as archive:
        for entry in archive.infolist():
            assert entry.date_time == (1980, 1, 1, 0, 0, 0) and entry.compress_type == zipfile.ZIP_STORED
            assert stat.S_IMODE(entry.external_attr >> 16) == 0o600


def test_no_token_is_exported(study, tmp_path):
    export_study(study, tmp_path / "out")
    export(ExportArguments(study_dir=str(study), out_dir=str(tmp_path / "out"), preregistration=True))
    for path in (tmp_path / "out").iterdir():  # the archive is not compressed, so its text can be searched
        assert b"token R1" not in path.read_bytes() and b"/r/" not in path.read_bytes(), path


def test_answers_of_a_running_server_are_exported(study, tmp_path):
    """Rows that are in the write-ahead log alone."""
    with AnswerStore(study, read_design(study)) as store:
        store.add(Answer("7", "R2", "", "consent"))
        assert export_study(study, tmp_path / "out").answers == 7
        store.add(Answer("8", "R2", "training", "final", {"synthetic": True, "confidence": 3}))
        assert len(store.rows()) == 8


@pytest.mark.parametrize("name", ["study.zip", "answers.csv", "readings.csv", "data_dictionary.csv"])
def test_nothing_is_overwritten(study, tmp_path, name):
    (tmp_path / name).write_text("earlier")
    with pytest.raises(ValueError, match=f"{name} exists, and an export is never overwritten"):
        export_study(study, tmp_path)
    assert (tmp_path / name).read_text() == "earlier" and not (tmp_path / "out").exists()


def test_existing_archive_is_refused(study, tmp_path):
    (tmp_path / "study.zip").write_text("earlier")
    with pytest.raises(ValueError, match="an archive is never overwritten"):
        write_archive(study, read_design(study), tmp_path / "study.zip", study / ANSWERS_FILE, {})


def test_changed_or_missing_image_is_refused(study, tmp_path):
    (study / "images" / "c.png").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"c.png was changed after the study was designed"):
        export_study(study, tmp_path / "out")
    (study / "images" / "c.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"c.png is missing"):
        export_study(study, tmp_path / "out")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_study_without_answers_is_refused(tmp_path, design, key):
    write_study(tmp_path, design, key)
    with pytest.raises(FileNotFoundError, match="nobody has answered yet"):
        export_study(tmp_path, tmp_path / "out")
    AnswerStore(tmp_path, design).close()
    with pytest.raises(ValueError, match="no answers yet; --preregistration exports its plan"):
        export_study(tmp_path, tmp_path / "out")


def test_damaged_answers_are_refused(tmp_path):
    (tmp_path / ANSWERS_FILE).write_bytes(b"no database at all, though long enough to be one" * 40)
    with pytest.raises(ValueError, match="cannot be read .*restore it from a copy"):
        copy_answers(tmp_path, tmp_path / "copy.sqlite")


def test_missing_study_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="reader_study design makes one"):
        export_study(tmp_path, tmp_path / "out")


def test_command_says_what_it_wrote(study, tmp_path, capsys):
    export(ExportArguments(study_dir=str(study), out_dir=str(tmp_path / "out")))
    printed = capsys.readouterr().out
    assert "6 raw rows, 8 readings, and study.zip of 13 files" in printed and "data-use terms" in printed


def test_csv_reads_back_with_quotes_and_lines():
    text = io.StringIO()
    csv.writer(text).writerow([harmless(COMMENT)])
    assert given(next(csv.reader(io.StringIO(text.getvalue())))[0]) == COMMENT
