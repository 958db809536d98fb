"""A training that a network judges: its best, its end when it is flat, resuming, and what is refused."""

import json
import re
import types

import keras
import numpy as np
import pytest

from tfcxr.backbones.frozen_network import open_frozen_network
from tfcxr.train import train
from tfcxr.training import judge
from tfcxr.training.arguments import TrainArguments
from tfcxr.training.checkpoints import Checkpoints, read_state
from tfcxr.training.samples import flatness, quality

TINY = ("generator_units=8,8", "discriminator_units=8,8", "latent_size=8", "precision=float32")


def write_network(path, seed):
    image, kernel = keras.Input([32, 32, 1]), keras.initializers.GlorotUniform(seed)
    hidden = keras.layers.Conv2D(12, 7, strides=4, activation="relu", kernel_initializer=kernel)(image)
    keras.Model(image, keras.layers.GlobalAveragePooling2D()(hidden)).save(path)
    return str(path)


@pytest.fixture(scope="module")
def extractor(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("extractor") / "judge.keras", 0)


@pytest.fixture
def arguments(disc_records, tmp_path, monkeypatch, extractor):
    """A function: arguments of a tiny vanilla GAN in a run folder of `tmp_path`, judged at each step."""
    monkeypatch.chdir(tmp_path)

    def of(run_dir, **others):
        common = {"batch_size": 8, "log_every": 1, "sample_every": 1, "deterministic": False, "settings": TINY}
        common |= {"quality_extractor": extractor, "quality_images": 16, "checkpoint_every": 2, "export": False}
        return TrainArguments(model="vanilla_gan", data_dir=str(disc_records), run_dir=run_dir, **(common | others))

    return of


def lines(run_dir, *names):
    found = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [tuple(line[name] for name in names) for line in found if names[-1] in line]


def weights(run_dir):
    with np.load(Checkpoints(run_dir).find()) as arrays:
        return {name: arrays[name] for name in arrays.files if name != "state_json"}


@pytest.fixture
def falls_until(monkeypatch):
    """A function: KID is what its list says of step 1, 2, ...; windows are of two samples."""
    monkeypatch.setattr(flatness, "MIN_WINDOW", 2)

    def set_kids(kids):
        def score(self, generate, realism=None, counts=True):
            self.kids.append(kids[len(self.kids)])
            return {"kid": self.kids[-1], "coverage": 0.5} | self._real_values

        monkeypatch.setattr(quality.Quality, "score", score)

    return set_kids


@pytest.mark.thorough
def test_the_judge_changes_nothing_of_the_training_and_chooses_the_best(arguments, tmp_path):
    train(arguments("plain", steps=4, quality_extractor=None, quality_images=256))
    train(arguments("judged", steps=4))
    for name, value in weights(tmp_path / "plain").items():
        np.testing.assert_array_equal(value, weights(tmp_path / "judged")[name], err_msg=name)
    kids = lines(tmp_path / "judged", "step", "kid_real", "coverage", "coverage_real", "kid")
    best = read_state(Checkpoints(tmp_path / "judged").find("best"))
    assert (best["step"], best["best_distance"]) == min(
        ((line[0], line[-1]) for line in kids), key=lambda pair: pair[1]
    )
    assert read_state(Checkpoints(tmp_path / "judged").find())["quality"]["kid"] == [line[-1] for line in kids]
    assert "quality" not in read_state(Checkpoints(tmp_path / "plain").find())


@pytest.mark.thorough
def test_a_flat_training_ends_there_and_exports(arguments, tmp_path, falls_until, caplog):
    falls_until([0.9, 0.5, 0.4, 0.3, 0.3, 0.3, 0.3])
    with caplog.at_level("INFO", "absl"):
        version = train(arguments("run", steps=9, stop_when_flat=True, export=True, checkpoint_every=4))
    assert json.loads((tmp_path / version / "model.json").read_text())["steps"] == 6
    assert json.loads((tmp_path / "run/config.json").read_text())["steps"] == 6
    assert Checkpoints(tmp_path / "run").steps() == [4, 6], "the run's end, though it is not due"
    again = train(arguments("run", steps=9, stop_when_flat=True, export=True, checkpoint_every=4, resume=True))
    assert again.name == "2" and Checkpoints(tmp_path / "run").last_step() == 6, "it stays ended"
    assert train(arguments("run", steps=7, export=True, checkpoint_every=4, resume=True)).name == "3"
    assert Checkpoints(tmp_path / "run").steps() == [4, 7] and len(lines(tmp_path / "run", "step", "kid")) == 7


@pytest.mark.thorough
def test_a_resumed_training_ends_at_the_same_step_with_the_same_bits(arguments, tmp_path, falls_until):
    falls_until([0.9, 0.5, 0.4, 0.3, 0.3, 0.3, 0.3])
    train(arguments("whole", steps=9, stop_when_flat=True))
    train(arguments("parts", steps=3, stop_when_flat=True))
    Checkpoints(tmp_path / "parts").find().unlink()  # as if killed after the sample of step 3
    train(arguments("parts", steps=9, stop_when_flat=True, resume=True))
    assert (tmp_path / "whole/metrics.jsonl").read_bytes() == (tmp_path / "parts/metrics.jsonl").read_bytes()
    for name, value in weights(tmp_path / "whole").items():
        np.testing.assert_array_equal(value, weights(tmp_path / "parts")[name], err_msg=name)
    states = [read_state(Checkpoints(tmp_path / run).find()) for run in ("whole", "parts")]
    assert states[0] == states[1] and states[0]["step"] == 6


@pytest.mark.thorough
def test_a_best_of_another_measure_is_never_compared(arguments, tmp_path, caplog):
    train(arguments("run", steps=2, quality_extractor=None, quality_images=256))
    with caplog.at_level("WARNING", "absl"):
        train(arguments("run", steps=4, resume=True))
    kids = [kid for (kid,) in lines(tmp_path / "run", "kid")]
    assert read_state(Checkpoints(tmp_path / "run").find())["best_distance"] == min(kids) and len(kids) == 2
    other = write_network(tmp_path / "other.keras", 1)
    before = (tmp_path / "run/config.json").read_bytes()
    for given, message in (
        (
            {"quality_extractor": None, "quality_images": 256},
            "chooses its best checkpoint by KID; resume it with ",
        ),
        ({"quality_extractor": other}, "by another KID: sha256 was .*, now .*; resume it with the same --quality_extr"),
        (
            {"validation_splits": ("test",)},
            r"splits was \['train', 'validation'\], now \['train', 'test'\]",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            train(arguments("run", steps=5, resume=True, **given))
    assert (tmp_path / "run/config.json").read_bytes() == before


def test_flags_that_do_not_fit_are_refused(arguments, tmp_path, extractor):
    srgan = {"model": "srgan", "settings": ("residual_blocks=1", "filters=8", "discriminator_filters=4")}
    for given, message in (
        (
            {"quality_extractor": None, "stop_when_flat": True},
            "--quality_images and --stop_when_flat would have no ",
        ),
        ({"validation_splits": ("dev",)}, "with --quality_extractor is measured .* discs has no split 'dev'; choose"),
        ({"quality_extractor": "none.keras"}, "none.keras is neither a .keras file nor the folder of a SavedModel"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            train(arguments("run", **given))
    with pytest.raises(ValueError, match="but srgan enlarges real ones and is measured by SSIM; leave it out"):
        train(TrainArguments(data_dir=arguments("run").data_dir, quality_extractor=extractor, steps=1, **srgan))
    assert not (tmp_path / "run").exists() and not (tmp_path / "runs").exists()


def test_the_critic_is_no_judge(extractor):
    sha256 = open_frozen_network(extractor).passport["sha256"]
    judged = types.SimpleNamespace(measure={"sha256": sha256})
    judge._refuse_critic(judged, {"critic_sha256": "", "latent_size": 8})
    with pytest.raises(ValueError, match=re.escape("the network that the model learns from (critic_sha256)")):
        judge._refuse_critic(judged, {"critic_sha256": sha256})
