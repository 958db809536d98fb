"""Stages of a study: their commands, what is skipped and resumed, and what is refused."""

import dataclasses
import importlib
import pathlib

import pytest

from tfcxr import command_line
from tfcxr.config import parse_settings
from tfcxr.evaluation.extractors.classifier_config import make_classifier_config
from tfcxr.evaluation.protocols import PROTOCOLS
from tfcxr.registry import load_plugin
from tfcxr.studies.declaration import read_variant, study_files
from tfcxr.studies.stages import RESULTS, Stage, Study, run_apart, run_here, run_stages, seconds_of, time_text
from tfrecords_builder.commands import COMMANDS as BUILDER_COMMANDS

WRITE = "import sys, pathlib; p = pathlib.Path(sys.argv[1]); p.write_text(p.read_text() + 'x' if p.exists() else 'x')"
GIVEN = {"li2025": {"pretrained": "runs/pggan", "critic": "saved_models/densenet/1"}}


@pytest.fixture
def study(tmp_path):
    return Study(pathlib.Path("mine.py"), "corrected", {}, tmp_path / "raw", tmp_path / "work")


def writing(study, name, program=WRITE):
    return Stage(name, ("-c", program, str(study.folder / name)), study.folder, name, minutes=1.0)


def test_a_stage_has_its_flags_and_settings(study):
    made = study.stage(
        "judge",
        "tfcxr.evaluate",
        protocols=["tstr", "distances"],
        out_dir=pathlib.Path("reports"),
        overwrite=True,
        extractor_dir=None,
        labels=[],
        settings={"blocks": (0, 1), "tstr": {"images": 5, "arms": "real,both"}, "classifier": {}},
    )
    flags = ["--protocols=tstr,distances", "--out_dir=reports", "--overwrite"]
    settings = ["--set=blocks=(0, 1)", "--set=tstr.images=5", "--set=tstr.arms=real,both"]
    words = ("-m", "tfcxr.evaluate", *flags, *settings)
    assert made == Stage("judge", words, pathlib.Path("reports"), "report.json")


def test_records_are_finished_when_the_last_size_is(study, tmp_path):
    made = study.stage("build", "tfrecords_builder", out_dir=tmp_path, image_sizes=[32, 64])
    for size, is_finished in ((32, False), (64, True)):
        (tmp_path / str(size)).mkdir()
        (tmp_path / str(size) / "dataset_info.json").write_text("{}")
        assert made.is_finished() == is_finished


def test_a_training_has_what_its_variant_says_and_is_resumed(study):
    described = {"model_name": "cgan", "model": {"dropout": 0.4}, "steps": 50, "batch_size": 8}
    words = study.train("first", described, data_dir="records", steps=5, settings={"dropout": 0.1}).words
    assert set(words[2:]) == {
        *("--model=cgan", "--batch_size=8", "--steps=5", "--data_dir=records", "--resume", "--set=dropout=0.1"),
        "--set=precision=float32",
        *(f"--run_dir={study.folder}/first", f"--export_dir={study.folder}/saved_models/first"),
    }


def test_stages_run_in_order_once_and_end_at_a_failure(study, capsys):
    study.folder.mkdir(parents=True)
    first, failing = writing(study, "first"), writing(study, "second", "raise SystemExit(3)")
    with pytest.raises(SystemExit) as failure:
        run_stages(study, [first, failing, writing(study, "third")])
    assert failure.value.code == 3
    said = capsys.readouterr().err
    assert "second ended with status 3, for the reason above; mend it, and the study goes on there" in said
    with pytest.raises(SystemExit, match="second is not finished; run the study again to resume it"):
        run_stages(study, [first, writing(study, "second", "raise SystemExit(3)")], lambda words: 0)
    assert (study.folder / "first").read_text() == "x" and not (study.folder / "third").exists()
    assert seconds_of(study, first) >= 0 and seconds_of(study, failing) is None


def test_a_failure_that_is_a_result_does_not_end_the_study(study):
    study.folder.mkdir(parents=True)
    gate = dataclasses.replace(writing(study, "gate", "raise SystemExit(1)"), may_fail=True)
    run_stages(study, [gate, writing(study, "last")])
    assert (study.folder / "last").exists() and seconds_of(study, gate) is None
    run_stages(study, [gate, writing(study, "last")], lambda words: pytest.fail("it was tried again"))
    other = dataclasses.replace(writing(study, "other gate", "raise SystemExit(3)"), may_fail=True)
    with pytest.raises(SystemExit, match="3"):
        run_stages(study, [other])


def test_a_stage_that_a_signal_ends_says_so(study, capsys):
    study.folder.mkdir(parents=True)
    with pytest.raises(SystemExit) as failure:
        run_stages(study, [writing(study, "first", "import os; os.kill(os.getpid(), 9)")], run_apart)
    assert failure.value.code == 137
    assert "was stopped by signal 9; the same command resumes the study there" in capsys.readouterr().err


def test_a_folder_of_other_settings_is_refused_and_one_that_was_moved_is_not(study, tmp_path):
    study.folder.mkdir(parents=True)
    run_stages(study, [writing(study, "first")])
    other = Stage("first", ("-c", WRITE, str(study.folder / "first"), "--steps=5"), study.folder, "first")
    with pytest.raises(ValueError, match="holds 'first' of other settings: .* now it has --steps=5; choose another"):
        run_stages(study, [other])
    moved = Study(study.path, study.variant, {}, study.raw_dir, tmp_path / "moved")
    study.work_dir.rename(moved.work_dir)
    run_stages(moved, [writing(moved, "first")])
    (moved.folder / "study.json").write_text("{")
    with pytest.raises(ValueError, match="study.json is damaged .* choose another --work_dir"):
        run_stages(moved, [writing(moved, "first")])


def test_raw_data_of_another_set_are_refused_once_something_is_built(study, tmp_path):
    other = Study(study.path, study.variant, {}, tmp_path / "other", study.work_dir)
    flags = {"out_dir": study.records, "image_sizes": [32]}
    with pytest.raises(SystemExit):
        run_stages(study, [study.stage("build", "tfrecords_builder", raw_dir=study.raw_dir, **flags)], lambda words: 5)
    built = other.stage("build", "tfrecords_builder", raw_dir=other.raw_dir, **flags)
    with pytest.raises(SystemExit):  # a wrong folder that left nothing may be given again
        run_stages(other, [built], lambda words: 5)
    first = study.stage("build", "tfrecords_builder", raw_dir=study.raw_dir, **flags)
    study.records.mkdir()
    with pytest.raises(ValueError, match="begun with --raw_dir=.*/other, now it has --raw_dir=.*/raw; choose another"):
        run_stages(study, [first])


def test_a_command_runs_here_too(capsys):
    assert run_here(("-m", "tfrecords_builder", "verify", "nowhere")) == 1
    assert run_here(("-m", "tfcxr.describe", "nothing")) == 1
    assert "unknown name 'nothing'" in capsys.readouterr().err


def test_an_estimate_is_of_all_stages_whose_names_begin_so(study):
    measured = dataclasses.replace(study, settings={"minutes": {"generate cgan": 2, "generate": 0.2}})
    names = ("generate cgan@100", "generate acgan", "train cgan")
    found = [measured.stage(name, "tfcxr.generate", out_dir=study.folder / "cohort").minutes for name in names]
    assert found == [2, 0.2, None]


def test_times_are_said_in_words():
    assert [time_text(minutes) for minutes in (0.5, 25, 210, 17280)] == [
        "30 seconds",
        "25 minutes",
        "3.5 hours",
        "12 days",
    ]


@pytest.mark.parametrize("name", sorted(study_files()))
def test_every_command_of_every_variant_reads_its_flags(name, tmp_path):
    path = study_files()[name]
    module = load_plugin(str(path))
    for variant in module.VARIANTS:
        settings = read_variant(path, variant)
        settings |= {key: value for key, value in GIVEN.get(name, {}).items() if variant != "smoke"}
        chosen = Study(path, variant, settings, tmp_path / "raw", tmp_path)
        made = module.stages(chosen)
        assert len({stage.name for stage in made}) == len(made)
        assert hasattr(module, "table") or module.rows(chosen)
        for stage in made:
            option, program, *flags = stage.words
            assert option == "-m"
            if program == "tfrecords_builder":
                command = flags.pop(0) if not flags[0].startswith("-") else "build"
                function = BUILDER_COMMANDS[command]
            else:
                function = getattr(importlib.import_module(program), program.removeprefix("tfcxr."))
            arguments, _ = command_line.parse(function, [program, *flags])
            if program == "tfcxr.evaluate":
                check_settings(arguments)


def check_settings(arguments):
    """Raises where a setting of an evaluation is of another name or type than its protocol's or the classifier's."""
    by_prefix = {}
    for setting, value in parse_settings(arguments.settings).items():
        prefix, _, name = setting.partition(".")
        by_prefix.setdefault(prefix, {})[name] = value
    make_classifier_config(arguments.classifier, by_prefix.pop("classifier", {}))
    for prefix, settings in by_prefix.items():
        assert prefix in arguments.protocols
        PROTOCOLS[prefix].make_settings(settings)


def test_every_result_names_a_command():
    assert all(importlib.util.find_spec(module.split()[0]) for module in RESULTS)
