import dataclasses

import numpy as np
import pytest

from tfcxr.evaluation import trainings as classifier_trainings
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.classifier_config import make_classifier_config
from tfcxr.evaluation.metrics.nearest_neighbours import Nearest
from tfcxr.evaluation.protocols import frontier
from tfcxr.evaluation.protocols.frontier import FrontierSettings, Mix
from tfcxr.evaluation.protocols.frontier_verdict import report_scores, sentences
from tfcxr.evaluation.report.plots import frontier_plot
from tfcxr.evaluation.trainings import Training

FEW = {"ratios": (0.0, 1.0, 2.0), "real_images": (12, 0), "bootstrap_resamples": 50}


@pytest.fixture
def evaluation(disc_records, synthetic_records, tmp_path) -> Evaluation:
    return Evaluation(
        synthetic_dirs={"acgan": synthetic_records},
        real_dir=disc_records,
        out_dir=tmp_path,
        classifier=make_classifier_config("small_cnn", {"max_epochs": 5, "batch_size": 8, "dense_units": (8,)}),
        validation_splits=("validation",),
        classifier_seeds=(0,),
    )


def run(evaluation, **settings):
    return frontier.run(evaluation, FrontierSettings(**FEW | settings))


@pytest.mark.thorough
def test_every_mix_is_trained_once_and_what_the_cohort_lacks_is_said(evaluation, trainings):
    findings = run(evaluation)
    expected = [12, 24, 36, 48, 96]  # 48 + 2 x 48 would need 96 of 80 synthetic images
    assert [count for count, *_ in trainings] == expected
    assert "the cohort has 80 images, so these are left out: 48 real + 96 synthetic" in findings.notices[-1]
    cells = findings.report()["tests"]["test"]["cells"]
    assert [(cell["real_images"], cell["synthetic_images"]) for cell in cells] == [
        (12, 0),
        (12, 12),
        (12, 24),
        (48, 0),
        (48, 48),
    ]
    assert all(
        0 < cell["gain"]["adjusted_p"] <= 1 and cell["gain"]["p"] <= cell["gain"]["adjusted_p"]
        for cell in cells
        if cell["ratio"]
    )
    page = "".join(findings.parts)
    assert page.count("<img") == 1 and "early stopping" in page and ">nan" not in page
    trainings.clear()
    again = run(evaluation)
    assert trainings == [] and again.report() == findings.report(), "all were kept"
    run(dataclasses.replace(evaluation, synthetic_dirs={"other": evaluation.synthetic_dir}))
    assert [count for count, *_ in trainings] == [24, 36, 96], "real images alone serve every cohort"


@pytest.mark.thorough
def test_equal_steps_are_those_of_the_real_images(evaluation, trainings, monkeypatch):
    asked, train = [], classifier_trainings.train_classifier

    def note(config, training, *arguments, steps_per_epoch=None, **how):
        asked.append((len(training.images), config.patience, steps_per_epoch))
        return train(config, training, *arguments, **how)

    monkeypatch.setattr(classifier_trainings, "train_classifier", note)
    run(evaluation, real_images=(48,), ratios=(0.0, 1.0), compute=("early_stopping", "equal_steps"))
    patience = evaluation.classifier.patience
    assert asked == [(48, patience, None), (48, 5, 6), (96, patience, None), (96, 5, 6)]


@pytest.mark.thorough
def test_draws_of_a_seed_hold_smaller_ones_and_the_same_real_patients_validate(evaluation, trainings):
    kept_back = dataclasses.replace(evaluation, validation_splits=(), classifier_seeds=(3,))
    run(kept_back, real_images=(20,))
    assert [validation for _, validation, _ in trainings] == [trainings[0][1]] * 3
    assert [count - trainings[0][0] for count, *_ in trainings] == [0, 20, 40], "whole ratios are added"

    class Side:
        images = range(50)

    small, large = (frontier._drawn(Side, count, 0) for count in (10, 30))
    assert set(small) < set(large) and len(set(large)) == 30
    assert set(small) != set(frontier._drawn(Side, 10, 1))


class Test:
    labels = np.eye(2, dtype=np.float32)[np.arange(100) % 2]
    patient_keys = np.arange(100).astype(str)


class Sides:
    label_names, is_single_label, tests = ("NORMAL", "SICK"), True, {"test": Test}  # noqa: RUF012


def training_of(skill: float) -> list[Training]:
    noise = np.random.default_rng(0).normal(size=100)
    score = 1 / (1 + np.exp(-noise - skill * Test.labels[:, 1]))
    return [Training(None, {"thresholds": [0.5]}, {"test": np.stack([1 - score, score], 1).astype(np.float32)})]


def test_gains_are_tested_on_the_same_patients_and_adjusted():
    mixes = {Mix(50, 0.0, "equal_steps"): 1.0, Mix(50, 1.0, "equal_steps"): 2.5, Mix(50, 2.0, "equal_steps"): 1.01}
    cells = frontier._score(Sides, "test", {mix: training_of(skill) for mix, skill in mixes.items()}, 400)
    alone, better, alike = cells
    assert alone["gain"] == {"mean": 0.0, "interval": [0.0, 0.0]}
    assert better["gain"]["mean"] == pytest.approx(better["score"]["mean"] - alone["score"]["mean"])
    assert better["gain"]["p"] == pytest.approx(2 / 401) and better["gain"]["adjusted_p"] == pytest.approx(4 / 401)
    assert better["gain"]["interval"][0] > 0 and alike["gain"]["adjusted_p"] > 0.05
    assert np.isnan(better["gain"]["p_by_seed"]), "one seed says nothing of others"
    (said,) = sentences("test", cells)
    assert said.startswith(
        "On real patients of test, 50 synthetic images add 0.165 (0.108 to 0.232) to the AUC 0.810 ("
    )
    assert said.endswith(" of 50 real ones, by equal steps: a gain (p 0.010).")
    assert "no gain can be told" in sentences("test", [alone, alike])[0]
    assert "nothing can be said" in sentences("test", [alone])[0]
    rows = report_scores("test", {"images": 100, "cells": cells}, {"version": 1})
    assert [(row.metric, row.subject) for row in rows if row.is_headline] == [
        ("auc_gain", "50 real + 100 synthetic, equal steps")
    ]
    assert len(rows) == 5 and {row.of_real for row in rows if row.metric == "auc"} == {alone["score"]["mean"]}
    cells = [cell | {"copies": 0.0, "exposed": 0.0} for cell in cells]
    assert frontier_plot(cells, "AUC").startswith(b"\x89PNG")


def test_training_images_that_have_a_near_copy_are_counted_once():
    class Side:
        images = range(10)

    class Both:
        real = only_synthetic = Side

    copies = Nearest(np.where(np.arange(10) < 4, 0.1, np.inf), np.array([7, 7, 2, 1, 5, 5, 5, 5, 5, 5]))
    found = frontier._exposed(Both, copies, 10, (0,))
    assert found == {"copies": pytest.approx(0.4), "exposed": pytest.approx(0.3)}
    assert frontier._exposed(Both, copies, 0, (0,)) == {"copies": 0.0, "exposed": 0.0}


def test_copies_of_training_images_are_seen(evaluation, trainings, disc_records):
    """The cohort of the tests holds all training images."""
    (cell,) = [cell for cell in run(evaluation, real_images=(0,)).report()["tests"]["test"]["cells"] if cell["ratio"]]
    assert cell["exposed"] > 0.3 and cell["copies"] > 0.3


def test_what_cannot_be_trained_is_refused(evaluation, trainings):
    with pytest.raises(ValueError, match="frontier.real_images=49 were asked for, but the training splits hold 48"):
        run(evaluation, real_images=(49,))
    with pytest.raises(ValueError, match=r"a draw of 1 real images \(seed 0\) holds no (NORMAL|PNEUMONIA)"):
        run(evaluation, real_images=(1,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratios": (1.0,)}, "frontier.ratios needs 0, what real images teach alone"),
        ({"ratios": (0.0, -1.0)}, "ratios must be at least 0"),
        ({"real_images": ()}, "frontier.real_images expects different values"),
        ({"real_images": (20, 20)}, "frontier.real_images expects different values"),
        ({"compute": ("forever",)}, r"unknown compute \['forever'\]; valid names: early_stopping, equal_steps"),
        ({"bootstrap_resamples": 0}, "bootstrap_resamples must be at least 1"),
        ({"real_positives": (9,)}, "frontier.real_positives would have no effect with no frontier.minority; leave it"),
        ({"minority": "A", "real_images": (9,)}, "frontier.real_images would have no effect with frontier.minority=A"),
        (
            {"minority": "A", "compute": ("equal_steps",)},
            "frontier.compute would have no effect with frontier.minority",
        ),
        ({"minority": "A", "real_positives": (9, 9)}, "frontier.real_positives expects different values"),
        ({"minority": "A", "real_positives": (0,)}, "real_positives must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        FrontierSettings(**changes)
