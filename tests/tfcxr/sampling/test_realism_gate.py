"""The gate: which candidate is kept, whatever the batches; what is noted; a threshold that nothing passes."""

import dataclasses
import itertools
import pathlib
import types

import numpy as np
import pytest

from tfcxr.config import make_config, to_plain
from tfcxr.models import MODELS
from tfcxr.sampling.label_plan import plan_counts, plan_unlabelled
from tfcxr.sampling.realism_gate import GateLog, RealismSearch
from tfcxr.serving.cascade_parts import TRY_STRIDE, RealismGate, check_critic
from tfcxr.serving.loaded_model import LoadedModel

NAMES = ("NORMAL", "PNEUMONIA")
FIRST_SEED = 7 * 2**32


class SeedModel:
    """Its images are scores, drawn at random of (seed, label); remembers how many rows it was asked for."""

    def __init__(self, label_names=NAMES, scale=1.0):
        self.description = types.SimpleNamespace(label_names=label_names)
        self.path = pathlib.Path("stub/1")
        self.scale = scale
        self.rows = []

    def value(self, seed, label):
        return np.random.default_rng([int(seed), int(np.argmax([*label, 0]))]).integers(0, 250)

    def draw(self, seed, label, truncation):
        self.rows.append(len(seed))
        values = [self.value(*row) for row in zip(seed, label, strict=True)]
        return np.array(values, np.uint8)[:, None, None, None] + np.zeros([1, 2, 2, 1], np.uint8)

    def score(self, image, label):
        return self.scale * image[:, 0, 0, 0] / np.float32(250)


def expected(model, gate, plan, image, first_seed=FIRST_SEED):
    """The kept candidate, tried one after the other."""
    for attempt in range(gate.max_tries):
        seed = first_seed + image + TRY_STRIDE * attempt
        value = model.value(seed, plan.labels(image, image + 1)[0])
        if np.float32(value) / np.float32(250) >= np.float32(gate.min_realism):
            return value, seed, attempt + 1
    raise AssertionError("choose another first seed")


@pytest.mark.parametrize("batch_size", [1, 3, 8, 500])
def test_the_first_candidate_of_each_image_that_passes_is_kept(batch_size):
    gate, plan, model = RealismGate(0.8, 200), plan_counts({"NORMAL": 20, "PNEUMONIA": 25}, NAMES, 0), SeedModel()
    found = list(RealismSearch(model, gate, plan, FIRST_SEED, 1.0, batch_size).accepted(range(4, 45)))
    kept = [(int(image.pixels[0, 0, 0]), image.seed, image.tries) for image in found]
    assert kept == [expected(model, gate, plan, image) for image in range(4, 45)]
    assert all(image.realism == image.pixels[0, 0, 0] / np.float32(250) for image in found)
    assert max(model.rows) <= batch_size and sum(model.rows) == sum(image.tries for image in found)  # none in vain


def test_batches_stay_full_while_there_are_images():
    model = SeedModel()
    list(
        RealismSearch(model, RealismGate(0.5), plan_counts({"NORMAL": 200}, NAMES, 0), 0, 1.0, 10).accepted(range(200))
    )
    assert np.mean(np.array(model.rows[:-10]) == 10) > 0.8


def test_few_images_wait_for_an_earlier_one():
    """One image that passes late holds up the others only so far."""
    model, plan = SeedModel(), plan_counts({"NORMAL": 500}, NAMES, 0)
    # the first row of a batch is the oldest image, which passes in the 60th batch; all others pass at once
    model.score = lambda image, label: np.float32(np.arange(len(image)) > 0) + np.float32(len(model.rows) == 60)
    for image in RealismSearch(model, RealismGate(), plan, 0, 1.0, 5).accepted(range(500)):
        assert image.tries == 60 and sum(model.rows) <= 60 + 4 * 5
        break


def test_the_first_try_is_the_ungated_image():
    everything = RealismSearch(SeedModel(), RealismGate(0.0, 1), plan_counts({"NORMAL": 9}, NAMES, 0), FIRST_SEED)
    assert [image.seed for image in everything.accepted(range(9))] == [FIRST_SEED + image for image in range(9)]


def test_candidates_are_never_shared():
    """The seeds at the edges of what two cohorts of neighbouring seeds can try."""
    edges = itertools.product((7, 8), (0, 1, TRY_STRIDE - 1), (0, 1, 2, 1022, 1023))
    seeds = [cohort * 2**32 + image + attempt * TRY_STRIDE for cohort, image, attempt in edges]
    assert len(set(seeds)) == len(seeds) and min(seeds) >= 7 * 2**32 and max(seeds) < 9 * 2**32


def test_the_log_sums_up_by_label():
    plan = plan_counts({"NORMAL": 2, "PNEUMONIA": 1}, NAMES, 0)
    tries_of = {0: [3, 1], 1: [4]}  # by row of the plan
    log, other = GateLog(), GateLog()
    for image, row in enumerate(plan.order):
        (log if image < 2 else other).add(types.SimpleNamespace(tries=tries_of[row].pop(0), realism=0.9 + image / 100))
    log.extend(GateLog.from_json(other.to_json()))
    summary = log.summary(RealismGate(0.9, 5), plan, NAMES)
    assert (summary["accepted"], summary["tries"], summary["acceptance_rate"]) == (3, 8, 3 / 8)
    assert summary["images_by_tries"] == {"1": 1, "3": 1, "4": 1}
    assert summary["tries_by_label"] == {"NORMAL": {"images": 2, "tries": 4}, "PNEUMONIA": {"images": 1, "tries": 4}}
    assert summary["realism"] == {"minimum": 0.9, "mean": pytest.approx(0.91), "maximum": 0.92}


def test_the_log_counts_joint_labels_with_each_and_none_apart():
    plan = dataclasses.replace(
        plan_unlabelled(3), rows=np.array([[1, 1], [0, 0]], np.float32), order=np.array([0, 1, 0])
    )
    summary = GateLog([1, 2, 4], [0.9] * 3).summary(RealismGate(), plan, NAMES)
    both = {"images": 2, "tries": 5}
    assert summary["tries_by_label"] == {"NORMAL": both, "PNEUMONIA": both, "no label": {"images": 1, "tries": 2}}
    unlabelled = GateLog([1, 2, 4], [0.9] * 3).summary(RealismGate(), plan_unlabelled(3), ())
    assert unlabelled["tries_by_label"] == {"no label": {"images": 3, "tries": 7}}


def test_a_threshold_that_nothing_passes_ends():
    model = SeedModel(scale=0.5)
    plan = plan_counts({"PNEUMONIA": 30}, NAMES, 0)
    seeds = FIRST_SEED + TRY_STRIDE * np.arange(12)
    best = max(model.value(seed, [0, 1]) for seed in seeds) / 500
    with pytest.raises(
        ValueError,
        match=f"no image of PNEUMONIA reached realism 0.9 in 12 tries, the best had {best:.3g}; finished shards are "
        "kept: the same command with a higher --max_tries goes on .* lower --min_realism .* train the model longer",
    ):
        list(RealismSearch(model, RealismGate(0.9, 12), plan, FIRST_SEED, 1.0, 4).accepted(range(30)))
    assert model.rows == [4] * 12


def test_a_score_that_is_nan_is_told():
    model = SeedModel(scale=float("nan"))
    with pytest.raises(ValueError, match="the critic of stub/1 scored an image NaN"):
        list(RealismSearch(model, RealismGate(), plan_counts({"NORMAL": 3}, NAMES, 0)).accepted(range(3)))


def test_a_gate_is_checked():
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"min_realism must be in \[0, 1\], got"):
            RealismGate(value)
    for tries in (0, 1025):
        with pytest.raises(ValueError, match=f"max_tries must be from 1 to 1024, got {tries}"):
            RealismGate(0.9, tries)


def test_a_critic_that_cannot_judge_one_image(tiny_export, tiny_enlarger, caplog):
    with pytest.raises(ValueError, match="enlarger/1 has no critic .no signature 'score'.*draw without min_realism"):
        check_critic(LoadedModel(tiny_enlarger), RealismGate())
    model = LoadedModel(tiny_export)
    check_critic(model, RealismGate())
    assert not caplog.records
    settings = model.description.settings | {"minibatch_stddev": True}
    model.description = dataclasses.replace(model.description, settings=settings)
    with pytest.raises(ValueError, match="compares the images of a request with each other"):
        check_critic(model, RealismGate())


@pytest.mark.parametrize(
    ("name", "settings", "is_probability"),
    [
        ("acgan", {"adversarial_loss": "least_squares"}, True),
        ("cgan", {"adversarial_loss": "minimax"}, True),
        ("cgan", {"adversarial_loss": "hinge"}, False),
        ("vanilla_gan", {}, True),
        ("wgan_gp", {}, False),
        ("stylegan2", {}, True),
        ("pggan", {}, False),
        ("transfer_pggan", {"pretrained": "elsewhere"}, False),
    ],
)
def test_a_critic_that_only_ranks_is_said(tiny_export, caplog, name, settings, is_probability):
    model = LoadedModel(tiny_export)
    settings = to_plain(make_config(MODELS[name].config_class, settings))
    model.description = dataclasses.replace(model.description, model=name, settings=settings)
    check_critic(model, RealismGate())
    assert ("does not train probabilities" in caplog.text) is not is_probability
