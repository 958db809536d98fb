"""The command: what it lists and refuses, and that finished stages are not run again."""

import json

import pytest

from tfcxr.studies.declaration import study_files
from tfcxr.study import StudyArguments, study

STUDY = """
from tfcxr.studies.page import Row
from tfcxr.studies.stages import Stage

VARIANTS = {"corrected": {"dataset": "mine", "first": 1, "minutes": {"one": 30.0}}}


def stages(study):
    write = "import pathlib, sys; pathlib.Path(sys.argv[1]).parent.mkdir(parents=True, exist_ok=True);"
    write += "pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
    return [
        Stage(name, ("-c", write, str(study.folder / name), str(study.settings["first"])), study.folder, name, minutes)
        for name, minutes in (("one", 30.0), ("two", None))
    ]


def rows(study):
    return [Row("Table 1", "accuracy", 0.85, "two")]
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    path = tmp_path / f"study_{tmp_path.name}.py"  # a module's name is given once per process
    path.write_text(f'"""A study of my own."""\n{STUDY}')
    monkeypatch.syspath_prepend(tmp_path)
    return path


def arguments(own, tmp_path, **given):
    (tmp_path / "raw").mkdir(exist_ok=True)
    return StudyArguments(names=(str(own),), raw_dir=str(tmp_path / "raw"), work_dir=str(tmp_path / "work"), **given)


def test_a_study_of_ones_own_runs_to_its_page_and_is_not_run_again(own, tmp_path, capsys):
    page = study(arguments(own, tmp_path))
    assert "| Table 1 | accuracy | 0.85 | two |  |  |" in page.read_text().splitlines()
    assert "A study of my own." in page.with_suffix(".html").read_text()
    state = json.loads((tmp_path / "work/corrected/study.json").read_text())
    assert list(state) == ["one", "two"] and all(entry["seconds"] >= 0 for entry in state.values())
    before = (tmp_path / "work/corrected/one").stat().st_mtime_ns
    study(arguments(own, tmp_path))
    assert (tmp_path / "work/corrected/one").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="holds 'one' of other settings: .* begun with 1, now it has 2; choose"):
        study(arguments(own, tmp_path, settings=("first=2",)))


def test_a_dry_run_lists_commands_and_estimates_and_runs_nothing(own, tmp_path, capsys):
    assert study(arguments(own, tmp_path, dry_run=True)) is None
    printed = capsys.readouterr().out
    assert " 1. one (about 30 minutes)\n    python -c " in printed and " 2. two (time unknown)" in printed
    assert "left: about 30 minutes on two processor cores, and 1 stages whose time nobody has measured" in printed
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"names": ()}, "expected one study, got 0; there are .*singh2023"),
        ({"names": ("singh2024",), "raw_dir": "."}, "unknown study 'singh2024'; did you mean 'singh2023'"),
        ({"names": ("singh2023",)}, "--raw_dir is required: the raw data of chest_xray_pneumonia, .*smoke needs none"),
        (
            {"names": ("singh2023",), "variant": "corect", "raw_dir": "."},
            "no variant 'corect'; did you mean 'corrected'",
        ),
        ({"names": ("singh2023",), "raw_dir": "nowhere"}, "--raw_dir=nowhere does not exist; expected the folder"),
        ({"names": ("li2025",), "raw_dir": "."}, "give --set=pretrained=RUN_FOLDER and --set=critic=FOLDER"),
        (
            {"names": ("li2025",), "raw_dir": ".", "variant": "cpu"},
            "give --set=pretraining_raw_dir=FOLDER, or --set=pretrained=RUN_FOLDER",
        ),
    ],
)
def test_what_a_user_got_wrong_is_one_sentence(given, message, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        study(StudyArguments(work_dir=str(tmp_path), **given))
    assert not list(tmp_path.iterdir())


def test_there_are_the_five_studies():
    assert set(study_files()) >= {"singh2023", "woloszyn2025", "segal2021", "li2025", "chetty2023"}
