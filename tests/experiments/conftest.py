"""What the tests of all studies share: every stage runs, from raw images to the page, on a few phantom radiographs."""

import pytest

from tfcxr.study import StudyArguments, study


@pytest.fixture
def run_smoke(tmp_path, capsys):
    """Runs a study's smoke variant twice; gives the lines of its page's tables."""

    def run(name):
        arguments = StudyArguments(names=(name,), variant="smoke", work_dir=str(tmp_path))
        page = study(arguments)
        rows = [line for line in page.read_text().splitlines() if line.startswith("| ")]
        assert len(rows) > 4 and page.with_suffix(".html").is_file()
        assert [row for row in rows if "none in " in row or "| no file " in row] == []
        for word in {word.strip("|, ") for row in rows for word in row.split() if word.endswith("report.html")}:
            assert (page.parent / word).is_file(), word
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tfrecord")}
        study(arguments)  # finished stages are skipped
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tfrecord")} == before
        capsys.readouterr()
        return rows

    return run
