"""Experiment files: their variants, their commands, and what happens when they are stopped."""

import dataclasses
import importlib.util
import json
import pathlib

import pytest

from tfcxr import command_line, experiment
from tfcxr.config import make_config, parse_settings
from tfcxr.evaluation.extractors.classifier_config import make_classifier_config
from tfcxr.evaluation.protocols import PROTOCOLS
from tfcxr.experiment import Command, ExperimentArguments, command, read_training, read_variant, run_commands
from tfcxr.models import MODELS
from tfrecords_builder.commands import COMMANDS

EXPERIMENTS = sorted((pathlib.Path(__file__).parents[2] / "experiments").glob("*.py"))
FLAGS = {
    "woloszyn2025_cgan_srgan": {"only_labels": ("Mass",)},
    "li2025_transfer_pggan": {"pretrained": "runs/pggan", "critic": "saved_models/densenet/1"},
}


@pytest.fixture
def paper(tmp_path):
    path = tmp_path / "paper.py"
    path.write_text('raise SystemExit("the file was run")\nVARIANTS = {"corrected": {"model": {"latent_size": 7}}}\n')
    return path


def test_settings_are_read_without_running_the_file(paper):
    assert read_variant(paper, "corrected") == {"model": {"latent_size": 7}}


def test_unknown_variant_names_the_nearest(paper):
    with pytest.raises(ValueError, match="no variant 'corected'; did you mean 'corrected'"):
        read_variant(paper, "corected")


def test_missing_file_names_its_neighbours(paper):
    with pytest.raises(FileNotFoundError, match=r"papr.py does not exist; did you mean '.*paper.py'"):
        read_variant(paper.with_name("papr.py"), "corrected")


@pytest.mark.parametrize("text", ["x = 1", "VARIANTS = {f(): 1}", "VARIANTS = {"])
def test_file_without_literal_variants_is_refused(tmp_path, text):
    path = tmp_path / "wrong.py"
    path.write_text(text)
    with pytest.raises(ValueError, match="no literal dictionary VARIANTS"):
        read_variant(path, "corrected")


def models_of(settings):
    """The dictionaries of a variant that describe a model."""
    if "model_name" in settings:
        yield settings
        return
    for value in settings.values():
        if isinstance(value, dict):
            yield from models_of(value)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.name)
@pytest.mark.parametrize("variant", ["as_published", "corrected"])
def test_settings_of_every_experiment_fit_their_model(path, variant):
    models = list(models_of(read_variant(path, variant)))
    assert models
    for settings in models:
        make_config(MODELS[settings["model_name"]].config_class, settings["model"])


def test_one_of_several_models_is_read_by_its_path(tmp_path):
    path = tmp_path / "paper.py"
    path.write_text('VARIANTS = {"as_published": {"cgan": {"model": {"latent_size": 7}}}}\n')
    assert read_variant(path, "as_published/cgan") == {"model": {"latent_size": 7}}
    with pytest.raises(ValueError, match="no variant 'as_published/cgn'; did you mean 'cgan'"):
        read_variant(path, "as_published/cgn")


def test_all_that_a_variant_says_of_training_is_taken_and_the_rest_is_named(tmp_path):
    path = tmp_path / "paper.py"
    cgan = {"model_name": "cgan", "model": {"latent_size": 7}, "steps": 50, "sample_every": 5, "batch_size": 8}
    path.write_text(f"VARIANTS = { ({'one': cgan | {'images': 100}, 'two': {'cgan': cgan, 'images': 9}})!r}\n")
    training = read_training(path, "one")
    assert (training.model, training.settings, training.others) == ("cgan", {"latent_size": 7}, ("images",))
    assert training.flags == {"model": "cgan", "steps": 50, "batch_size": 8, "sample_every": 5}
    assert read_training(path, "two/cgan").others == ()
    with pytest.raises(ValueError, match="'two' of .* describes no single model; choose one: --variant=two/cgan"):
        read_training(path, "two")


def test_a_path_into_something_else_than_settings_is_refused(paper):
    with pytest.raises(ValueError, match="no variant 'corrected/model/latent_size/x'; valid names: none"):
        read_variant(paper, "corrected/model/latent_size/x")


def test_a_command_has_its_flags_and_settings():
    made = command(
        "tfcxr.evaluate",
        protocols=["tstr", "distances"],
        out_dir=pathlib.Path("reports"),
        overwrite=True,
        extractor_dir=None,
        settings={"blocks": (0, 1), "tstr": {"images": 5, "arms": "real,both"}},
    )
    flags = ["--protocols=tstr,distances", "--out_dir=reports", "--overwrite"]
    settings = ["--set=blocks=(0, 1)", "--set=tstr.images=5", "--set=tstr.arms=real,both"]
    assert made == Command(("-m", "tfcxr.evaluate", *flags, *settings), pathlib.Path("reports"), "report.json")


def test_records_are_finished_when_the_last_size_is(tmp_path):
    made = command("tfrecords_builder", out_dir=tmp_path, image_sizes=[32, 64])
    (tmp_path / "32").mkdir()
    (tmp_path / "32" / "dataset_info.json").write_text("{}")
    assert not made.is_finished() and command("tfcxr.generate", out_dir=tmp_path).is_finished()
    (tmp_path / "64").mkdir()
    (tmp_path / "64" / "dataset_info.json").write_text("{}")
    assert made.is_finished()


@pytest.mark.parametrize("part", ["", "gan"])
def test_a_training_has_what_its_variant_says_and_is_resumed(tmp_path, part):
    path, model = tmp_path / "paper.py", {"model_name": "cgan", "steps": 50, "batch_size": 8}
    path.write_text(f"VARIANTS = { ({'one': {part: model} if part else model})!r}")
    arguments = ExperimentArguments(variant="one", raw_dir="raw", work_dir="work")
    words = experiment.training(str(path), arguments, "first", part, data_dir="records", steps=5).words
    assert set(words[2:]) == {
        *(f"--experiment={path}", f"--variant={'one/gan' if part else 'one'}", "--model=cgan", "--batch_size=8"),
        *("--steps=5", "--data_dir=records", "--resume", "--run_dir=work/one/first"),
        "--export_dir=work/one/saved_models/first",
    }


def test_a_folder_of_other_settings_is_refused_and_kept(tmp_path, paper):
    arguments = ExperimentArguments(raw_dir="raw", work_dir=str(tmp_path))
    for _ in range(2):
        experiment.run(paper, arguments, {"splits": "train=1"}, [])
    stored = tmp_path / "corrected" / "experiment.json"
    assert json.loads(stored.read_text()) == {"splits": "train=1", "model": {"latent_size": 7}}
    with pytest.raises(ValueError, match="holds results of other settings: splits was 'train=1', now 'a=1'; choose"):
        experiment.run(paper, arguments, {"splits": "a=1"}, [])
    stored.write_text("{")
    with pytest.raises(ValueError, match="experiment.json is damaged"):
        experiment.run(paper, arguments, {"splits": "train=1"}, [])


def test_a_part_of_a_variant_is_refused():
    with pytest.raises(ValueError, match="--variant expects a whole variant such as corrected, got 'corrected/srgan'"):
        ExperimentArguments(variant="corrected/srgan", raw_dir="raw", work_dir="work")


def test_commands_run_in_order_once_and_end_at_a_failure(tmp_path):
    write = (
        "import sys, pathlib; p = pathlib.Path(sys.argv[1]); p.write_text(p.read_text() + 'x' if p.exists() else 'x')"
    )
    first, second = tmp_path / "first", tmp_path / "second"
    done = Command(("-c", write, str(first)), tmp_path, "first")
    run_commands([done])
    with pytest.raises(SystemExit, match="second is not finished; run the experiment again to resume"):
        run_commands([done, Command(("-c", "pass"), tmp_path, "second")])
    failing = Command(("-c", "raise SystemExit(3)"), tmp_path, "second")
    with pytest.raises(SystemExit) as failure:
        run_commands([done, failing, Command(("-c", write, str(second)), tmp_path, "second")])
    assert failure.value.code == 3
    assert first.read_text() == "x"
    assert not second.exists()


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands_of(module, variant, folder):
    """Every command that a variant runs."""
    (arguments_class,) = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, ExperimentArguments) and value is not ExperimentArguments
    ]
    flags = FLAGS.get(module.__name__, {})
    arguments = arguments_class(variant=variant, raw_dir="raw", work_dir=str(folder), **flags)
    lists = [getattr(module, name) for name in ("commands", "preparation", "tuning") if hasattr(module, name)]
    return [each for make in lists for each in make(arguments)]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.name)
def test_every_command_of_every_variant_reads_its_flags(path, tmp_path):
    module = load(path)
    for variant in module.VARIANTS:
        for each in commands_of(module, variant, tmp_path):
            option, name, *flags = each.words
            assert option == "-m"
            function = COMMANDS["build"] if name == "tfrecords_builder" else load_command(name)
            arguments, _ = command_line.parse(function, [name, *flags])
            if name == "tfcxr.evaluate":
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


def load_command(name):
    return getattr(importlib.import_module(name), name.removeprefix("tfcxr."))


def test_pretraining_is_part_of_a_transfer_that_is_given_no_generator(tmp_path):
    module = load(next(path for path in EXPERIMENTS if path.stem == "li2025_transfer_pggan"))
    arguments = module.LiArguments(raw_dir="raw", pretraining_raw_dir="other", work_dir=str(tmp_path))
    assert [each.words[1] for each in module.preparation(arguments)] == ["tfrecords_builder"] * 2 + ["tfcxr.train"]
    assert f"--set=pretrained={tmp_path}/cpu/pretrained" in module.tuning(arguments)[0].words
    with pytest.raises(ValueError, match="give --pretrained, a run folder of tfcxr.port, or with --variant=cpu"):
        dataclasses.replace(arguments, pretraining_raw_dir=None)
    with pytest.raises(ValueError, match="give --critic, a folder that tfcxr.port wrote"):
        module.LiArguments(variant="corrected", raw_dir="raw", pretrained="run", work_dir=str(tmp_path))


@pytest.mark.parametrize("sizes", [("128",), ("128", "large")])
def test_a_cascade_needs_two_sizes(sizes):
    module = load(next(path for path in EXPERIMENTS if path.stem == "woloszyn2025_cgan_srgan"))
    with pytest.raises(ValueError, match="--sizes expects two numbers such as 128,512, got 128"):
        module.WoloszynArguments(raw_dir="raw", sizes=sizes)
