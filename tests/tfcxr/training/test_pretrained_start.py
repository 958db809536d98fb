"""Runs that start from runs, by the command: what they record, and what they need when they are resumed."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from tfcxr.models.pretrained import StoredRun
from tfcxr.models.vanilla_gan import VanillaGANConfig
from tfcxr.train import train
from tfcxr.training.arguments import TrainArguments
from tfcxr.training.pretrained_start import patients_seen

TINY = ("generator_units=(16,32)", "discriminator_units=(32,16)", "latent_size=8")


@pytest.fixture
def start(disc_records, tmp_path):
    """A function: name of a run, its settings and flags -> trains it for one step."""

    def run(name, *settings, **flags):
        flags = {"model": "vanilla_gan", "steps": 1, "batch_size": 4, "sample_every": 9, "export": False} | flags
        paths = {"data_dir": str(disc_records), "run_dir": str(tmp_path / name), "export_dir": str(tmp_path / "saved")}
        train(TrainArguments(**(paths | flags), deterministic=False, settings=settings))
        return tmp_path / name

    return run


def patients_of(run_dir):
    return (run_dir / "training_patients.txt").read_text().split()


def weights_of(run_dir, step):
    with np.load(run_dir / "checkpoints" / f"step-{step:08d}.npz") as arrays:
        return dict(arrays)


@pytest.mark.thorough
def test_a_chain_of_runs_records_its_starts_and_all_patients(start, tmp_path):
    first = start("first", *TINY)
    second = start("second", f"pretrained={first}", "discriminator_learning_rate=1e-9", splits=("test",), export=True)
    digest = hashlib.sha256((first / "checkpoints" / "step-00000001.npz").read_bytes()).hexdigest()
    settings = json.loads((second / "config.json").read_text())["settings"]
    assert (settings["pretrained"], settings["pretrained_sha256"]) == ("first", digest)
    assert settings["generator_units"] == [16, 32], "taken over"
    card = (tmp_path / "saved" / "1" / "README.md").read_text()
    assert f"| started from | run first, checkpoint of SHA-256 {digest} |" in card
    assert "| trained before on | discs (made by the tests) |" in card
    assert str(tmp_path) not in card + (second / "config.json").read_text()
    before, after = weights_of(first, 1), weights_of(second, 1)
    np.testing.assert_allclose(after["discriminator/000"], before["discriminator/000"], atol=1e-7)

    own, of_first = {f"patient-test-{index}" for index in range(8)}, set(patients_of(first))
    assert of_first == {f"patient-train-{index}" for index in range(24)}
    assert set(patients_of(second)) == own | of_first
    assert len(patients_of(second)) == 32
    third = start("third", f"pretrained={second}", splits=("validation",))
    assert set(patients_of(third)) > own | of_first and len(patients_of(third)) == 40
    assert set(patients_of(tmp_path / "saved" / "1")) == own | of_first, "the export's"
    on = json.loads((third / "config.json").read_text())["data"]["pretrained_on"]
    assert on == "discs (made by the tests), discs (made by the tests)", "of the second and of the first"


@pytest.mark.thorough
def test_a_run_is_resumed_without_the_folder_it_started_from(start, tmp_path):
    first = start("first", *TINY)
    flags = {"splits": ("test",), "checkpoint_every": 1}
    whole = start("whole", f"pretrained={first}", steps=3, **flags)
    begun = start("begun", f"pretrained={first}", steps=1, **flags)
    seen = patients_of(begun)
    shutil.rmtree(first)
    start("begun", f"pretrained={first}", steps=2, resume=True, **flags)
    start("begun", steps=3, resume=True, **flags)
    assert patients_of(begun) == seen == patients_of(whole)
    expected, found = weights_of(whole, 3), weights_of(begun, 3)
    for name in expected.keys() - {"state_json"}:
        np.testing.assert_array_equal(expected[name], found[name], err_msg=name)
    with pytest.raises(ValueError, match="settings.pretrained was 'first', now '/elsewhere/other'"):
        start("begun", "pretrained=/elsewhere/other", steps=4, resume=True, **flags)
    with pytest.raises(FileNotFoundError, match="first is not a run folder"):
        start("new", f"pretrained={first}", **flags)


def test_another_number_of_labels_is_refused(start, tmp_path):
    labelled = start("labelled", *TINY, "conditional=True", "normalization=none")
    with pytest.raises(ValueError, match="label_count=2 of pretrained=labelled does not fit data set discs, which has"):
        start("one", f"pretrained={labelled}", labels=("NORMAL",))
    with pytest.raises(ValueError, match="conditional=False does not fit pretrained=labelled, whose networks have"):
        start("none", f"pretrained={labelled}", "conditional=False")
    assert not (tmp_path / "one").exists() and not (tmp_path / "none").exists()


def test_patients_that_are_not_known_are_not_made_up(caplog):
    def run(patients, salt):
        data = {"name": "discs", "salt_fingerprint": salt}
        return StoredRun("first", "vanilla_gan", VanillaGANConfig, {}, data, patients, {}, "")

    assert patients_seen(["b", "a"], "s", None) == ["b", "a"]
    assert patients_seen(["b", "a"], "s", run(("c", "a"), "s")) == ["b", "a", "c"]
    assert patients_seen(["b"], "s", run(None, "s")) is None
    assert patients_seen(["b"], "s", run(("c",), "t")) is None
    assert [r.getMessage() for r in caplog.records] == [
        "it is not known which patients the model of first has seen (its run has no training_patients.txt), so no "
        "training_patients.txt is written; an evaluation of the cohorts will say so",
        "it is not known which patients the model of first has seen (its keys have another salt), so no "
        "training_patients.txt is written; an evaluation of the cohorts will say so",
    ]
