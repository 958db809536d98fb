import importlib
import importlib.util
import pathlib
import re

import pytest

from tfcxr import command_line
from tfcxr.config import make_config
from tfcxr.experiment import Stage, claim_folder, read_training, read_variant, run_stages
from tfcxr.models import MODELS

EXPERIMENTS = sorted((pathlib.Path(__file__).parents[2] / "experiments").glob("*.py"))


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "paper.py"
    path.write_text('raise SystemExit("the file was run")\nVARIANTS = {"corrected": {"model": {"latent_size": 7}}}\n')
    return path


def test_settings_are_read_without_running_the_file(experiment):
    assert read_variant(experiment, "corrected") == {"model": {"latent_size": 7}}


def test_unknown_variant_names_the_nearest(experiment):
    with pytest.raises(ValueError, match="no variant 'corected'; did you mean 'corrected'"):
        read_variant(experiment, "corected")


def test_missing_file_names_its_neighbours(experiment):
    with pytest.raises(FileNotFoundError, match=r"papr.py does not exist; did you mean '.*paper.py'"):
        read_variant(experiment.with_name("papr.py"), "corrected")


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


def test_a_folder_of_other_settings_is_refused_and_kept(tmp_path):
    claim_folder(tmp_path, {"variant": "corrected", "steps": 5})
    claim_folder(tmp_path, {"variant": "corrected", "steps": 5})
    with pytest.raises(ValueError, match="holds results of other settings: steps was 5, now 6; choose another"):
        claim_folder(tmp_path, {"variant": "corrected", "steps": 6})
    (tmp_path / "experiment.json").write_text("{")
    with pytest.raises(ValueError, match="experiment.json is damaged"):
        claim_folder(tmp_path, {"variant": "corrected", "steps": 5})


def test_stages_run_in_order_once_and_end_at_a_failure(tmp_path):
    write = (
        "import sys, pathlib; p = pathlib.Path(sys.argv[1]); p.write_text(p.read_text() + 'x' if p.exists() else 'x')"
    )
    first, second = tmp_path / "first", tmp_path / "second"
    done = Stage(("-c", write, str(first)), first)
    run_stages([done])
    with pytest.raises(SystemExit, match="is not finished; run the experiment again to go on"):
        run_stages([done, Stage(("-c", "pass"), second)])
    with pytest.raises(SystemExit) as failure:
        run_stages([done, Stage(("-c", "raise SystemExit(3)"), second), Stage(("-c", write, str(second)), second)])
    assert failure.value.code == 3
    assert first.read_text() == "x"
    assert not second.exists()


STAGES = {
    "singh2023_acgan_vgg16.py": lambda module, folder: module.stages("corrected", "raw", folder),
    "woloszyn2025_cgan_srgan.py": lambda module, folder: module.stages(
        "corrected", "chestxray8", "raw", ["Mass"], ["128", "512"], folder
    ),
    "chetty2023_small_data.py": lambda module, folder: module.stages("corrected", "raw", 64, folder),
    "segal2021_pggan.py": lambda module, folder: module.stages("cpu", "nih_chestxray14", "raw", folder),
    "li2025_transfer_pggan.py": lambda module, folder: (
        module.preparation("cpu", "nih_chestxray14", "raw", "other", folder)
        + module.tuning("cpu", folder / "run", folder / "critic", folder)
    ),
}


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.name)
def test_every_stage_gives_its_command_flags_that_it_knows(path, tmp_path):
    """By the names that the command's source defines, since a stage takes minutes or hours."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    root = path.parents[1]
    for stage in STAGES[path.name](module, tmp_path):
        assert stage.command[0] == "-m"
        name = stage.command[1]
        source = root / ("tfrecords_builder/commands/build.py" if name == "tfrecords_builder" else f"{name}.py")
        source = source if source.is_file() else root.joinpath(*name.split(".")).with_suffix(".py")
        known = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', source.read_text(encoding="utf-8")))
        if not known:  # a command of a dataclass of arguments
            known = set(command_line.flag_names(getattr(importlib.import_module(name), name.split(".")[-1])))
        given = {argument.split("=")[0].removeprefix("--") for argument in stage.command[2:]}
        assert given <= known, f"{name} has no flags {sorted(given - known)}"
