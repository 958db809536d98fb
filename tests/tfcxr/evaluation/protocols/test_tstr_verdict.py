"""Verdicts of hand-made scores: what a weak or strong classifier of real images lets one say of synthetic ones."""

import numpy as np
import pytest

from tfcxr.evaluation.metrics.classification import patient_resamples
from tfcxr.evaluation.protocols.tstr_verdict import verdict
from tfcxr.evaluation.scores import score_arm, shares_of_real

IMAGES = 400
POSITIVE = np.arange(IMAGES) % 2
NOISE = np.random.default_rng(0).permutation(IMAGES) / IMAGES  # the same for both arms


def arm_scores(skill: float, images: int = IMAGES):
    """Of a classifier whose scores are noise, moved up by `skill` for positive images."""
    score = ((NOISE + skill * POSITIVE) / 3)[:images].astype(np.float32)
    labels = np.eye(2, dtype=np.float32)[POSITIVE[:images]]
    resamples = patient_resamples(np.arange(images), 300, 0)
    return score_arm(("NORMAL", "SICK"), True, labels, [np.stack([1 - score, score], 1)], [[0.5]], resamples)


def test_of(real: float, synthetic: float, images: int = IMAGES) -> dict:
    arms = {"real": arm_scores(real, images), "synthetic": arm_scores(synthetic, images)}
    shares = {"synthetic": shares_of_real(arms["synthetic"], arms["real"])}
    return {"arms": {arm: scores.summary for arm, scores in arms.items()}, "shares_of_real": shares}


test_of.__test__ = False


@pytest.mark.parametrize("synthetic", [0.0, 0.6])
def test_a_weak_real_arm_says_nothing_whatever_the_synthetic_one_scores(synthetic):
    """Both at chance, whose AUCs have a ratio near 1, and a strong synthetic arm beside a real one at chance."""
    tests = {"test": test_of(0.0, synthetic)}
    real, made = (tests["test"]["arms"][arm]["auc"]["mean"] for arm in ("real", "synthetic"))
    assert 0.45 < real < 0.55 and (0.45 < made < 0.55 if synthetic == 0 else made > 0.8)
    share = tests["test"]["shares_of_real"]["synthetic"]["auc"]
    assert np.isnan(share["mean"]) and np.isnan(share["interval"]).all()
    (only,) = verdict("small_cnn", tests, [])
    assert only.startswith(
        "Nothing can be said about the synthetic images on real patients of test: even trained on real"
    )
    assert f"AUC {real:.3f}" in only and "the interval must begin at 0.6 or above" in only
    for way in ("more real training images", "longer training", "another --classifier", "more test patients"):
        assert way in only
    assert "ratio" not in only and "nan" not in only and "learns from" not in only


def test_a_strong_real_arm_beside_a_synthetic_one_at_chance():
    tests = {"test": test_of(0.6, 0.0)}
    arms, share = tests["test"]["arms"], tests["test"]["shares_of_real"]["synthetic"]["auc"]
    expected = (arms["synthetic"]["auc"]["mean"] - 0.5) / (arms["real"]["auc"]["mean"] - 0.5)
    assert share["mean"] == pytest.approx(expected) and abs(expected) < 0.15
    assert share["interval"][0] < 0 < share["interval"][1] < 0.3
    (only,) = verdict("small_cnn", tests, [])
    assert f"learns from synthetic images {expected:.3f} (" in only and "by AUC above chance (0.5)" in only
    assert only.endswith(": the synthetic images taught nothing that can be told from chance (0.5).")


def test_both_strong():
    tests = {"test": test_of(0.6, 0.3)}
    arms, share = tests["test"]["arms"], tests["test"]["shares_of_real"]["synthetic"]["auc"]
    ratio_of_aucs = arms["synthetic"]["auc"]["mean"] / arms["real"]["auc"]["mean"]
    assert 0.5 < share["mean"] < 0.75 < ratio_of_aucs, "a ratio of AUCs would flatter"
    assert 0.3 < share["interval"][0] < share["mean"] < share["interval"][1] < 1
    (only,) = verdict("small_cnn", tests, [])
    assert (
        only.startswith("On real patients of test, small_cnn learns from synthetic images 0.")
        and "chance (0.5);" in only
    )
    assert "told" not in only
    (alike,) = verdict("small_cnn", {"test": test_of(0.6, 0.6)}, [])
    assert "synthetic images 1.000 (1.000 to 1.000) of what" in alike
    assert alike.endswith(": no difference from real images can be told.")


def test_few_test_patients_are_a_weak_real_arm_too():
    test = test_of(0.3, 0.3, images=14)
    assert test["arms"]["real"]["auc"]["mean"] > 0.6 > test["arms"]["real"]["auc"]["interval"][0]
    assert verdict("small_cnn", {"test": test}, [])[0].startswith("Nothing can be said")


def test_what_says_nothing_comes_first_and_arms_that_were_not_asked_for_are_no_matter():
    weak, strong = test_of(0.0, 0.0), test_of(0.6, 0.6)
    first, second = verdict("small_cnn", {"other": strong, "test": weak}, [])
    assert "real patients of test: even" in first and second.startswith("On real patients of other")
    only_synthetic = {"arms": {"synthetic": weak["arms"]["synthetic"]}}
    (only,) = verdict("small_cnn", {"test": only_synthetic}, [])
    assert only.startswith("On real patients of test, small_cnn reaches AUC: synthetic 0.")


def test_a_collapsed_generator_is_named():
    rows = [{"ms_ssim_ratio": 0.9}, {"ms_ssim_ratio": 0.3}, {"ms_ssim_ratio": None}]
    (sentence,) = verdict("small_cnn", {}, rows)
    assert "0.30 times as much as real ones (1 - MS-SSIM, the least diverse class)" in sentence
    assert sentence.endswith(": the generator has collapsed.")
    assert "collapsed" not in verdict("small_cnn", {}, rows[:1])[0]
