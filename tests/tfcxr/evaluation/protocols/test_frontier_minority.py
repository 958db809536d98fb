"""Few real images of a rare label, synthetic ones added, and all real ones as the ceiling."""

import numpy as np
import pytest

from tfcxr.evaluation import trainings as classifier_trainings
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.classifier_config import make_classifier_config
from tfcxr.evaluation.protocols import frontier, frontier_minority
from tfcxr.evaluation.protocols.frontier import FrontierSettings
from tfcxr.evaluation.protocols.frontier_minority import MinorityMix, keep_positives
from tfcxr.evaluation.protocols.frontier_minority_page import page_parts, report_scores, sentences
from tfcxr.evaluation.trainings import Training


@pytest.fixture
def evaluation(disc_records, synthetic_records, tmp_path) -> Evaluation:
    return Evaluation(
        synthetic_dirs={"acgan": synthetic_records},
        real_dir=disc_records,
        out_dir=tmp_path,
        classifier=make_classifier_config("small_cnn", {"max_epochs": 2, "batch_size": 8, "dense_units": (8,)}),
        validation_splits=("validation",),
        classifier_seeds=(0, 1),
    )


def settings(**changes) -> FrontierSettings:
    given = {"minority": "PNEUMONIA", "real_positives": (6,), "ratios": (0.0, 2.0, 9.0), "bootstrap_resamples": 50}
    return FrontierSettings(**given | changes)


@pytest.mark.thorough
def test_few_positives_stay_synthetic_ones_are_added_and_all_are_the_ceiling(evaluation, trainings, monkeypatch):
    learned, train = [], classifier_trainings.train_classifier

    def note(config, training, *arguments, **how):
        learned.append(training.labels.sum(axis=0).astype(int).tolist())
        return train(config, training, *arguments, **how)

    monkeypatch.setattr(classifier_trainings, "train_classifier", note)
    findings = frontier.run(evaluation, settings())
    assert learned == [[6, 6], [6, 18], [24, 24]] * 2, "NORMAL, PNEUMONIA: every patient here has one image of each"
    assert "40 images of PNEUMONIA, so these are left out: 6 real + 54 synthetic PNEUMONIA" in findings.notices[-1]
    report = findings.report()
    assert report["kept_positives"] == {"6": [6, 6], "24": [24, 24]}
    cells = report["tests"]["test"]["cells"]
    assert [cell["name"] for cell in cells] == [
        "6 real + 0 synthetic PNEUMONIA",
        "6 real + 12 synthetic PNEUMONIA",
        "all 24 real PNEUMONIA",
    ]
    assert all(0 <= cell[name]["mean"] <= 1 for cell in cells for name in ("auc", "sensitivity", "specificity"))
    page = "".join(findings.parts)
    assert page.count("<img") == 1 and "24 (all)" in page and "16 test images, 8 of them with PNEUMONIA" in page
    learned.clear()
    again = frontier.run(evaluation, settings())
    assert learned == [] and again.report() == report, "all were kept"
    with pytest.raises(ValueError, match="real_positives=24 must be fewer than the 24 images of PNEUMONIA"):
        frontier.run(evaluation, settings(real_positives=(24,)))
    with pytest.raises(ValueError, match="frontier.minority=PNEUMONA is no label here; did you mean 'PNEUMONIA'"):
        frontier.run(evaluation, settings(minority="PNEUMONA"))


def test_whole_patients_stay_or_go():
    patients = np.array(["a", "a", "b", "c", "c", "c", "d", "e", "e"])
    is_positive = np.array([0, 1, 1, 1, 1, 1, 0, 0, 1], bool)
    for seed in range(20):
        is_kept = keep_positives(is_positive, patients, 2, seed)
        assert is_kept[6], "who does not have it stays"
        assert not is_kept[patients == "c"].any(), "three images do not fit"
        assert (is_kept & is_positive).sum() == 2
        assert all(len(set(is_kept[patients == name])) == 1 for name in "abcde")
    draws = {tuple(keep_positives(is_positive, patients, 1, seed)) for seed in range(20)}
    assert len(draws) == 3, "a, b or e"


class Test:
    labels = np.eye(2, dtype=np.float32)[np.arange(200) % 2]
    patient_keys = np.arange(200).astype(str)


class Sides:
    is_single_label = True


def training_of(skill: float) -> list[Training]:
    noise = np.random.default_rng(0).normal(size=200)
    score = 1 / (1 + np.exp(-noise - skill * (Test.labels[:, 1] - 0.5)))
    return [Training(None, {"thresholds": [0.5]}, {"test": np.stack([1 - score, score], 1).astype(np.float32)})]


def test_scores_are_of_the_label_alone_and_gains_of_the_same_patients():
    mixes = {MinorityMix("SICK", 50): 0.5, MinorityMix("SICK", 50, 1.0): 2.0, MinorityMix("SICK", 50, 2.0): 0.5}
    mixes[MinorityMix("SICK", 100, is_ceiling=True)] = 3.0
    cells = frontier_minority._score(
        Sides, Test, "test", {mix: training_of(skill) for mix, skill in mixes.items()}, 1, 300
    )
    alone, better, alike, ceiling = cells
    probability, is_sick = training_of(2.0)[0].predictions["test"][:, 1], Test.labels[:, 1] == 1
    assert better["sensitivity"]["mean"] == pytest.approx((probability[is_sick] >= 0.5).mean())
    assert better["specificity"]["mean"] == pytest.approx((probability[~is_sick] < 0.5).mean())
    assert better["gain"]["mean"] == pytest.approx(better["auc"]["mean"] - alone["auc"]["mean"])
    assert better["gain"]["interval"][0] > 0 and better["gain"]["adjusted_p"] == pytest.approx(4 / 301)
    assert alike["gain"]["mean"] == 0 and alike["gain"]["adjusted_p"] == 1 and "gain" not in ceiling
    (said,) = sentences("SICK", "test", cells)
    assert "50 real images of SICK teach AUC 0." in said and "50 synthetic ones add 0." in said
    assert "a gain (p 0.013); all 100 real ones teach AUC 0." in said
    assert "; all 100 real ones" in sentences("SICK", "test", [alone, ceiling])[0]
    test = {"images": 200, "positives": {"SICK": 100}, "cells": cells}
    rows = {(row.metric, row.subject): row for row in report_scores("SICK", "test", test, {})}
    gain = rows["minority_auc_gain", "50 real + 50 synthetic SICK"]
    assert gain.of_real == pytest.approx(ceiling["auc"]["mean"] - alone["auc"]["mean"]), "what all real images gain"
    assert [key for key, row in rows.items() if row.is_headline] == [
        ("minority_auc_gain", "50 real + 100 synthetic SICK")
    ]
    page = "".join(page_parts("SICK", {"test": test}))
    assert page.count("<tr>") == 5 and "100 (all)" in page


def test_a_test_split_without_the_label_is_refused(evaluation, trainings, monkeypatch):
    of_one_class = np.eye(2, dtype=np.float32)[np.zeros(16, int)]
    load = frontier.load_cohorts

    def load_healthy(*arguments):
        cohorts = load(*arguments)
        object.__setattr__(cohorts.tests["test"], "labels", of_one_class)
        return cohorts

    monkeypatch.setattr(frontier, "load_cohorts", load_healthy)
    with pytest.raises(ValueError, match="--test_splits=test of .* does not hold images with and without PNEUMONIA"):
        frontier.run(evaluation, settings())
    assert trainings == []
