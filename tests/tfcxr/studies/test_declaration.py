"""What studies' files say: their variants, their trainings, and settings that a user gives."""

import pathlib

import pytest

from tfcxr.config import make_config
from tfcxr.models import MODELS
from tfcxr.registry import load_plugin
from tfcxr.studies.declaration import find_study, read_training, read_variant, study_files, with_given

EXPERIMENTS = sorted((pathlib.Path(__file__).parents[3] / "experiments").glob("*.py"))


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
def test_settings_of_every_variant_fit_their_model(path):
    variants = load_plugin(str(path)).VARIANTS
    assert {"corrected", "smoke"} <= variants.keys()
    for variant in variants:
        models = list(models_of(read_variant(path, variant)))
        assert models
        for settings in models:
            model = settings["model"]
            if model.get("precision") == "auto":  # settled when a training starts
                model = model | {"precision": "float32"}
            make_config(MODELS[settings["model_name"]].config_class, model)


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


def test_every_study_is_found_by_its_name_or_path_and_the_nearest_is_offered(tmp_path, monkeypatch):
    assert [study_files()[path.stem] for path in EXPERIMENTS] == EXPERIMENTS
    assert find_study("singh2023").name == "singh2023.py"
    own = tmp_path / "mine.py"
    own.write_text("VARIANTS = {}")
    assert find_study(str(own)) == own
    with pytest.raises(ValueError, match="unknown study 'sing2023'; did you mean 'singh2023'"):
        find_study("sing2023")
    with pytest.raises(FileNotFoundError, match="singh203.py does not exist; did you mean 'singh2023'"):
        find_study("singh203.py")


SETTINGS = {
    "image_size": 64,
    "share": 0.5,
    "labels": ["A"],
    "is_paired": True,
    "cgan": {"model_name": "cgan", "model": {"dropout": 0.4}, "batch_size": 8},
    "classifier": {},
}


def test_settings_that_a_user_gives_win_and_the_variant_stays_as_it_was():
    given = (
        "image_size=32",
        "share=1",
        "labels=A,B",
        "cgan.steps=5",
        "cgan.model.ema_decay=0.9",
        "classifier.patience=1",
        "is_paired=FALSE",
    )
    found = with_given(SETTINGS, given)
    assert found["image_size"] == 32 and found["share"] == 1.0
    assert found["is_paired"] is False and found["classifier"] == {"patience": 1}
    assert found["labels"] == ["A", "B"]
    model = {"dropout": 0.4, "ema_decay": 0.9}
    assert found["cgan"] == {"model_name": "cgan", "model": model, "batch_size": 8, "steps": 5}
    assert SETTINGS["cgan"]["model"] == {"dropout": 0.4} and "steps" not in SETTINGS["cgan"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("image_sizes=32", "--set=image_sizes is no setting of the variant; did you mean 'image_size'"),
        ("cgn.steps=5", "--set=cgn.steps is no setting of the variant; did you mean 'cgan'"),
        ("cgan.stps=5", "--set=cgan.stps is no setting of the variant"),
        ("image_size=large", "--set=image_size expects a whole number such as 64, got 'large'"),
        ("share.x=1", "--set=share.x is no setting of the variant; valid names: none"),
    ],
)
def test_settings_that_a_variant_does_not_have_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        with_given(SETTINGS, (given,))


def test_a_variant_takes_over_what_it_extends(tmp_path):
    path = tmp_path / "paper.py"
    base = {"gan": {"model_name": "cgan", "model": {"dropout": 0.4}}, "runs": ["a", "b"], "size": 64}
    own = {"extends": "base", "gan": {"model": {"ema_decay": 0.0}}, "runs": ["a"]}
    path.write_text(f"VARIANTS = { ({'base': base, 'own': own, 'last': {'extends': 'own', 'size': 32}})!r}\n")
    joined = {"gan": {"model_name": "cgan", "model": {"dropout": 0.4, "ema_decay": 0.0}}, "runs": ["a"], "size": 64}
    assert read_variant(path, "base") == base and read_variant(path, "own") == joined
    assert read_variant(path, "last") == joined | {"size": 32}
    assert read_variant(path, "own/gan") == joined["gan"]
    path.write_text("VARIANTS = {'base': {}, 'own': {'extends': 'bas'}}\n")
    with pytest.raises(ValueError, match="variant 'own' extends 'bas'; did you mean 'base'"):
        read_variant(path, "own")
