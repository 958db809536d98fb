"""Every stage of every study runs, from raw images to the page, on a few phantom radiographs."""

import pathlib

import pytest

from tfcxr.studies.declaration import study_files
from tfcxr.study import StudyArguments, study


@pytest.mark.parametrize("name", sorted(study_files()))
def test_every_study_runs_from_raw_images_to_its_page(name, tmp_path, capsys):
    arguments = StudyArguments(names=(name,), variant="smoke", work_dir=str(tmp_path))
    page = study(arguments)
    lines = page.read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) > 6 and page.with_suffix(".html").is_file()
    missing = [row for row in rows if "none in " in row or "| no " in row]
    assert missing == []
    for word in {word.strip("|, ") for row in rows for word in row.split() if word.endswith("report.html")}:
        assert (page.parent / word).is_file(), word
    capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in pathlib.Path(tmp_path).rglob("*.tfrecord")}
    study(arguments)  # finished stages are skipped
    assert {path: path.stat().st_mtime_ns for path in pathlib.Path(tmp_path).rglob("*.tfrecord")} == before
