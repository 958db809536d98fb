"""Exports at steps: which are made, that training does not notice, resuming, and what is refused."""

import json
import pathlib

import pytest

from tfcxr.train import train
from tfcxr.training.arguments import TrainArguments
from tfcxr.training.exports import check_export_steps, parse_export_steps

TINY = ("generator_units=8,8", "discriminator_units=8,8", "latent_size=8", "precision=float32")


@pytest.fixture
def arguments(disc_records, tmp_path, monkeypatch):
    """A function: arguments of a tiny vanilla GAN in a run folder, in `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def of(run_dir, **others):
        common = {"batch_size": 8, "log_every": 1, "sample_every": 100, "deterministic": False, "settings": TINY}
        return TrainArguments(model="vanilla_gan", data_dir=str(disc_records), run_dir=run_dir, **(common | others))

    return of


def versions(folder):
    return {path.name: json.loads((path / "model.json").read_text()) for path in folder.iterdir()}


@pytest.mark.thorough
def test_a_version_for_each_step_and_the_same_training(arguments, tmp_path):
    steps = {"steps": 4, "export_steps": ("3", "1")}
    assert train(arguments("with", **steps)) == pathlib.Path("saved_models/with/4")
    exported = versions(tmp_path / "saved_models" / "with")
    assert {name: model["steps"] for name, model in exported.items()} == {"1": 1, "3": 3, "4": 4}
    assert len({model["weights_sha256"] for model in exported.values()}) == 3
    assert (tmp_path / "saved_models/with/1/training_patients.txt").read_text().count("patient-train-") == 24
    assert train(arguments("without", steps=4)).name == "1"
    metrics = [(tmp_path / run / "metrics.jsonl").read_bytes() for run in ("with", "without")]
    assert metrics[0] == metrics[1], "exports change no later step"
    plain = versions(tmp_path / "saved_models" / "without")["1"]
    assert plain["weights_sha256"] == exported["4"]["weights_sha256"]


@pytest.mark.thorough
def test_a_resumed_training_keeps_versions_that_are_there(arguments, tmp_path):
    train(arguments("run", steps=2, export_steps=("1", "2"), checkpoint_every=1))
    before = (tmp_path / "saved_models/run/1/model.json").stat().st_mtime_ns
    assert train(arguments("run", steps=2, export_steps=("1", "2"), resume=True)).name == "2"
    assert (tmp_path / "saved_models/run/1/model.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="saved_models/run holds version 1 of another run; choose another"):
        train(arguments("other", steps=2, export_steps=("1",), export_dir="saved_models/run"))
    assert not (tmp_path / "other").exists()


def test_steps_that_cannot_be_are_refused(arguments, tmp_path):
    for texts, wrong in ((("2", "x"), "x"), (("0",), "0"), (("5", "5"), "5"), (("-1",), "-1")):
        with pytest.raises(ValueError, match=f"expects different steps from 1 such as .*, got '{wrong}'"):
            parse_export_steps(texts)
    assert parse_export_steps(("400", "20")) == (20, 400) and parse_export_steps(()) == ()
    with pytest.raises(ValueError, match="--export_steps=9 is never reached: training ends at step 4"):
        check_export_steps((2, 9), 4, tmp_path, is_resumed=False)
    with pytest.raises(ValueError, match="--export_steps would have no effect: --noexport exports nothing"):
        train(arguments("run", steps=2, export=False, export_steps=("1",)))
