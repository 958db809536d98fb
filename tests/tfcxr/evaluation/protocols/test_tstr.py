import dataclasses
import json
import math

import pytest

from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.classifier import make_classifier_config
from tfcxr.evaluation.protocols import tstr
from tfcxr.evaluation.protocols.tstr import TSTRSettings

QUICK = {"bootstrap_resamples": 50, "diversity_pairs": 20}


@pytest.fixture(scope="module")
def evaluation(disc_records, synthetic_records, tmp_path_factory) -> Evaluation:
    config = make_classifier_config("small_cnn", {"max_epochs": 2, "batch_size": 16, "dense_units": (8,)})
    return Evaluation(
        synthetic_dirs={"acgan": synthetic_records},
        real_dir=disc_records,
        out_dir=tmp_path_factory.mktemp("evaluation"),
        classifier=config,
        test_splits=("validation", "test"),
        classifier_seeds=(0,),
    )


def run(evaluation, **settings) -> tuple[dict, str]:
    """The part of report.json and the part of the page."""
    findings = tstr.run(evaluation, TSTRSettings(**QUICK | settings))
    return findings.report(), "".join(findings.parts)


@pytest.fixture(scope="module")
def report(evaluation) -> dict:
    return run(evaluation)[0]


def test_the_report_holds_every_arm_on_every_test_set(report):
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert list(report["tests"]) == ["validation", "test"]
    for test in report["tests"].values():
        assert list(test["arms"]) == ["real", "synthetic", "both"]
        assert list(test["ratios_to_real"]) == ["synthetic", "both"]
        for scores in test["arms"].values():
            low, high = scores["auc"]["interval"]
            assert 0 <= low <= high <= 1 and len(scores["auc"]["by_seed"]) == 1
            assert [row["support"] for row in scores["at_half"]["per_class"]] == [8, 8]
    expected = report["tests"]["test"]["arms"]
    ratio = report["tests"]["test"]["ratios_to_real"]["synthetic"]["auc"]["mean"]
    assert ratio == pytest.approx(expected["synthetic"]["auc"]["mean"] / expected["real"]["auc"]["mean"])
    assert f"a ratio of {ratio:.3f}" in report["verdict"][-2] or "weak" in report["verdict"][-2]


def test_both_sides_train_on_as_many_images_and_keep_patients_apart(report):
    sizes = {item["arm"]: (item["training_images"], item["validation_images"]) for item in report["trainings"]}
    assert [sum(size) for size in sizes.values()] == [48, 48, 96]
    assert all(0.2 <= validation / (training + validation) < 0.26 for training, validation in sizes.values())


def test_diversity_stands_beside_the_scores(report):
    assert [row["label"] for row in report["diversity"]] == ["NORMAL", "PNEUMONIA"]
    for row in report["diversity"]:
        assert 0.5 < row["ms_ssim_ratio"] < 2 and 0.3 < row["feature_distance_ratio"] < 3  # the same discs
        assert row["test_feature_distance"] is not None
    assert "synthetic images differ from each other" in report["verdict"][-1]


def test_cohorts_and_bootstrap_are_named(report):
    assert {len(cohort["sha256"]) for cohort in report["cohorts"].values() if cohort} == {64}
    assert set(report["cohorts"]) == {"synthetic", "real", "validation", "test: validation", "test: test"}
    assert report["bootstrap"] == {"unit": "patient", "resamples": 50, "seed": 0}
    assert report["is_patient_disjoint"] is True and report["seconds"] > 0


def test_finished_trainings_are_used_again(evaluation, report, trainings):
    again, _ = run(evaluation)
    assert trainings == [] and again["tests"] == report["tests"] and again["diversity"] == report["diversity"]


def test_a_killed_evaluation_continues_where_it_stopped(evaluation, trainings, monkeypatch, tmp_path):
    killed = dataclasses.replace(evaluation, out_dir=tmp_path, classifier_seeds=(0, 1))
    untouched = tstr.train_classifier

    def train_until_killed(*arguments):
        if len(trainings) == 2:
            raise KeyboardInterrupt
        return untouched(*arguments)

    monkeypatch.setattr(tstr, "train_classifier", train_until_killed)
    with pytest.raises(KeyboardInterrupt):
        run(killed, arms=("real", "synthetic"))
    (tmp_path / "arms" / "synthetic-seed0.json").unlink()  # as if killed between its two files
    monkeypatch.setattr(tstr, "train_classifier", untouched)
    trainings.clear()
    run(killed, arms=("real", "synthetic"))
    assert [seed for *_, seed in trainings] == [0, 1, 1]
    trainings.clear()
    slower = dataclasses.replace(killed.classifier, learning_rate=1e-4)
    run(dataclasses.replace(killed, classifier=slower), arms=("real",))
    assert len(trainings) == 2  # nothing made with other settings is used


def test_shared_patients_mark_the_report(evaluation, trainings, tmp_path):
    shared = dataclasses.replace(evaluation, out_dir=tmp_path, test_splits=("train",), allow_shared_patients=True)
    report, _ = run(shared, arms=("real",))
    assert report["is_patient_disjoint"] is False
    assert "24 of the 24 patients of split 'train' are also in the training data" in report["shared_patients"][0]


def test_given_validation_patients_end_every_arm(evaluation, trainings, tmp_path):
    given = dataclasses.replace(evaluation, out_dir=tmp_path, validation_splits=("validation",), test_splits=("test",))
    report, page = run(given, arms=("both", "real"))
    assert [count for count, *_ in trainings] == [96, 48]
    assert {item["validation_images"] for item in report["trainings"]} == {16}
    assert "the same real validation patients" in page.replace("\n", " ")


def test_a_weak_classifier_is_named(evaluation, trainings, tmp_path):
    report, _ = run(dataclasses.replace(evaluation, out_dir=tmp_path), arms=("real",))
    real = [test["arms"]["real"]["auc"]["mean"] for test in report["tests"].values()]
    assert sum("is itself weak" in sentence for sentence in report["verdict"]) == sum(auc < 0.7 for auc in real)
    assert not any(math.isnan(auc) for auc in real)


def test_images_are_as_many_as_asked_for(evaluation, trainings, tmp_path):
    report, page = run(dataclasses.replace(evaluation, out_dir=tmp_path), images=16, arms=("both",))
    assert report["images_per_side"] == 16 and "<td>32</td>" in page
    with pytest.raises(ValueError, match="tstr.images=49 were asked for on each side, but --real_dir=.* holds 48"):
        run(evaluation, images=49)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ("fake",)}, "unknown arm 'fake' in tstr.arms; valid names: real, synthetic, both"),
        ({"arms": ()}, "tstr.arms expects one or more different values"),
        ({"arms": ("real", "real")}, "tstr.arms expects one or more different values"),
        ({"images": -1}, "tstr.images must be 0 or more, got -1"),
        ({"bootstrap_resamples": 0}, "tstr.bootstrap_resamples must be 1 or more, got 0"),
        ({"diversity_pairs": 0}, "tstr.diversity_pairs must be 1 or more, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        TSTRSettings(**changes)


def test_a_ratio_to_nothing_is_words():
    auc = {"mean": 0.5, "interval": [0.4, 0.6]}
    tests = {
        "test": {
            "arms": {"synthetic": {"auc": auc}, "real": {"auc": {"mean": 0.0, "interval": [0.0, 0.0]}}},
            "ratios_to_real": {"synthetic": {"auc": {"mean": math.nan, "interval": [math.nan, math.nan]}}},
        }
    }
    first, second = tstr.verdict("small_cnn", tests, [])
    assert "real ones 0.000 (0.000 to 0.000): there is no ratio to an AUC of 0." in first
    assert "is itself weak on test" in second
    tests["test"]["arms"]["real"]["auc"] = {"mean": math.nan, "interval": [math.nan, math.nan]}
    (only,) = tstr.verdict("small_cnn", tests, [])
    assert "real ones unknown" in only and "nan" not in only


def test_a_collapsed_generator_is_named():
    rows = [{"ms_ssim_ratio": 0.9}, {"ms_ssim_ratio": 0.3}, {"ms_ssim_ratio": None}]
    (sentence,) = tstr.verdict("small_cnn", {}, rows)
    assert "0.30 times as much as real ones (1 - MS-SSIM, the least diverse class)" in sentence
    assert sentence.endswith(": the generator has collapsed.")
    assert "collapsed" not in tstr.verdict("small_cnn", {}, rows[:1])[0]
