import json
import subprocess
import sys

import pytest

from tfcxr.reader_study.answers import Answer, AnswerStore
from tfcxr.reader_study.commands.simulate import SimulateArguments, simulate
from tfcxr.reader_study.server.app import create_app
from tfcxr.reader_study.server.study_server import StudyServer
from tfcxr.reader_study.statistics.analysis import ANALYSES, Analysis, Estimate

HELP = """
import atexit, sys
from tfcxr.reader_study.__main__ import start
atexit.register(lambda: print(sorted({"httpx", "scipy", "tensorflow"} & set(sys.modules))))
start(["reader_study", "simulate", "--help"])
"""


@pytest.fixture
def pairs_analysis(monkeypatch):
    def pairs(found):
        return Analysis("Pairs", (), numbers={"pairs_right": Estimate(0.5, 0.0, 1.0, 1)})

    monkeypatch.setitem(ANALYSES, "pairs", pairs)


def test_answered_copy_is_left_and_the_study_stays_empty(study, tmp_path, capsys):
    folder, design, _ = study
    simulate(SimulateArguments(study_dir=str(folder), out_dir=str(tmp_path / "out"), seed=5, skill=50.0))
    printed = capsys.readouterr().out
    assert "3 simulated readers answered 18 items" in printed and "all 57 acknowledged rows are stored" in printed
    assert "pairs_right: 1.000 in this study, 1.000 over all readers" in printed
    assert f"report --study_dir={tmp_path / 'out'}" in printed
    assert not (folder / "answers.sqlite").exists()
    with AnswerStore(tmp_path / "out", design) as store:
        assert len(store.rows()) == 57


def test_without_out_dir_nothing_is_kept(study, tmp_path, monkeypatch, capsys):
    folder, _, _ = study
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    simulate(SimulateArguments(study_dir=str(folder)))
    assert "next:" not in capsys.readouterr().out and not list((tmp_path / "temporary").iterdir())


def test_running_server_is_answered(study, capsys):
    folder, design, _ = study
    with StudyServer(create_app(folder)) as server:
        simulate(SimulateArguments(study_dir=str(folder), server=server.address + "/"))
    assert "57 acknowledged rows are stored" in capsys.readouterr().out


@pytest.mark.thorough
def test_coverage_is_printed_and_written(study, pairs_analysis, tmp_path, capsys):
    folder, design, _ = study
    simulate(SimulateArguments(study_dir=str(folder), out_dir=str(tmp_path), studies=2, analyses=("pairs",)))
    written = json.loads((tmp_path / "coverage.json").read_text())
    assert written["intervals"]["pairs/pairs_right"]["covered"] == 2 and written["passes_through_server"]
    assert written["design_checksum"] == design.checksum
    assert "100.0 % (15.8-100.0)" in capsys.readouterr().out  # .025 ** (1 / 2)


def test_coverage_without_server_needs_no_links(study, pairs_analysis, capsys):
    folder, _, _ = study
    (folder / "links.csv").unlink()
    simulate(SimulateArguments(study_dir=str(folder), studies=3, without_server=True, analyses=("pairs",)))
    assert "pairs/pairs_right" in capsys.readouterr().out


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"studies": 3, "workers": 4}, "--workers would have no effect: --studies runs"),
        ({"without_server": True}, "--without_server would have no effect: they are of --studies"),
        ({"server": "127.0.0.1:8600"}, "--server must be a URL such as"),
        ({"server": "http://127.0.0.1:8600", "out_dir": "out"}, "give one of them"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(study, fields, message):
    with pytest.raises(ValueError, match=message):
        simulate(SimulateArguments(study_dir=str(study[0]), **fields))


def test_study_of_people_is_refused_before_a_server_is_asked(study):
    folder, design, _ = study
    with AnswerStore(folder, design) as store:
        store.add(Answer("1", "R1", "", "consent"))
    with pytest.raises(ValueError, match="answers of people"):
        simulate(SimulateArguments(study_dir=str(folder), server="http://127.0.0.1:9"))


def test_missing_study_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="reader_study design makes one"):
        simulate(SimulateArguments(study_dir=str(tmp_path)))


def test_help_waits_for_no_library():
    printed = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True).stdout
    assert "--time_constant" in printed and printed.endswith("[]\n")
