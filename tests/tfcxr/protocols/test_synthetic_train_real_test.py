import dataclasses
import json
import math

import pytest

from tfcxr.protocols import PROTOCOLS, synthetic_train_real_test
from tfcxr.protocols.classifier import TrainedClassifier, build_classifier, make_classifier_config
from tfcxr.protocols.settings import EvaluationSettings


@pytest.fixture(scope="module")
def quick_settings(disc_records, synthetic_records, tmp_path_factory) -> EvaluationSettings:
    config = make_classifier_config("small_cnn", {"max_epochs": 2, "batch_size": 16, "dense_units": (8,)})
    return EvaluationSettings(
        synthetic_dir=synthetic_records,
        real_dir=disc_records,
        out_dir=tmp_path_factory.mktemp("evaluation"),
        classifier=config,
        test_splits=("validation", "test"),
        classifier_seeds=(0,),
        bootstrap_resamples=50,
        diversity_pairs=20,
    )


@pytest.fixture(scope="module")
def report(quick_settings) -> dict:
    return synthetic_train_real_test.run(quick_settings)


@pytest.fixture
def trainings(monkeypatch) -> list[tuple[int, int]]:
    """Replaces training by an untrained classifier, and notes (images, seed) of each."""
    asked = []

    def train_nothing(config, images, labels, validation_images, validation_labels, is_single_label, seed, description):
        asked.append((len(images), seed))
        model = build_classifier(config, images.shape[1], labels.shape[1], is_single_label, seed)
        model = type(model)(model.input, model.output[:2])
        return TrainedClassifier(model, {"loss": [0.5], "validation_loss": [0.6]}, best_epoch=1, seconds=1.0)

    monkeypatch.setattr(synthetic_train_real_test, "train_classifier", train_nothing)
    return asked


def test_the_report_holds_every_arm_on_every_test_set(quick_settings, report):
    assert json.loads((quick_settings.out_dir / "report.json").read_text()) == report
    assert list(report["tests"]) == ["validation", "test"]
    for test in report["tests"].values():
        assert list(test["arms"]) == ["real", "synthetic", "both"]
        assert list(test["auc_ratio_to_real"]) == ["synthetic", "both"]
        for scores in test["arms"].values():
            low, high = scores["auc"]["interval"]
            assert 0 <= low <= high <= 1 and len(scores["auc"]["by_seed"]) == 1
            assert [row["support"] for row in scores["at_half"]["per_class"]] == [8, 8]
    expected = report["tests"]["test"]["arms"]
    ratio = report["tests"]["test"]["auc_ratio_to_real"]["synthetic"]["mean"]
    assert ratio == pytest.approx(expected["synthetic"]["auc"]["mean"] / expected["real"]["auc"]["mean"])
    assert f"a ratio of {ratio:.3f}" in report["verdict"][-2] or "weak" in report["verdict"][-2]


def test_both_sides_train_on_as_many_images_and_keep_patients_apart(report):
    sizes = {item["arm"]: (item["training_images"], item["validation_images"]) for item in report["trainings"]}
    assert [sum(size) for size in sizes.values()] == [48, 48, 96]
    assert all(0.2 <= validation / (training + validation) < 0.26 for training, validation in sizes.values())


def test_diversity_stands_beside_the_scores(report):
    assert [row["label"] for row in report["diversity"]] == ["NORMAL", "PNEUMONIA"]
    for row in report["diversity"]:
        assert 0.5 < row["diversity_ratio"] < 2 and 0.3 < row["feature_distance_ratio"] < 3  # the same discs
        assert row["test_feature_distance"] is not None
    assert "synthetic images differ from each other" in report["verdict"][-1]


def test_the_passport_names_data_settings_and_software(quick_settings, report):
    passport = report["passport"]
    assert passport["classifier"]["architecture"] == "small_cnn"
    assert {len(cohort["sha256"]) for cohort in passport["cohorts"].values() if cohort} == {64}
    assert passport["bootstrap"] == {"unit": "patient", "resamples": 50, "seed": 0}
    assert set(passport["software"]) == {"tensorflow", "keras", "numpy"}
    assert report["is_patient_disjoint"] is True and report["seconds"]["training"] > 0


def test_a_report_that_is_there_is_kept_and_replaced_from_kept_trainings(quick_settings, report, trainings):
    with pytest.raises(ValueError, match="already holds a report; choose another --out_dir or set --overwrite"):
        synthetic_train_real_test.run(quick_settings)
    again = synthetic_train_real_test.run(dataclasses.replace(quick_settings, overwrite=True))
    assert trainings == [] and again["tests"] == report["tests"] and again["diversity"] == report["diversity"]


def test_a_killed_evaluation_goes_on_where_it_stopped(quick_settings, trainings, monkeypatch, tmp_path):
    settings = dataclasses.replace(
        quick_settings, out_dir=tmp_path, classifier_seeds=(0, 1), arms=("real", "synthetic")
    )
    untouched = synthetic_train_real_test.train_classifier

    def train_until_killed(*arguments, **named):
        if len(trainings) == 2:
            raise KeyboardInterrupt
        return untouched(*arguments, **named)

    monkeypatch.setattr(synthetic_train_real_test, "train_classifier", train_until_killed)
    with pytest.raises(KeyboardInterrupt):
        synthetic_train_real_test.run(settings)
    assert not (tmp_path / "report.json").exists()
    (tmp_path / "arms" / "synthetic-seed0.json").unlink()  # as if killed between its two files
    monkeypatch.setattr(synthetic_train_real_test, "train_classifier", untouched)
    trainings.clear()
    synthetic_train_real_test.run(settings)
    assert [seed for _, seed in trainings] == [0, 1, 1]
    trainings.clear()
    slower = dataclasses.replace(settings.classifier, learning_rate=1e-4)
    changed = dataclasses.replace(settings, classifier=slower, overwrite=True, arms=("real",))
    synthetic_train_real_test.run(changed)
    assert len(trainings) == 2  # nothing made with other settings is used


def test_shared_patients_mark_the_report(quick_settings, trainings, tmp_path):
    settings = dataclasses.replace(
        quick_settings, out_dir=tmp_path, test_splits=("train",), allow_shared_patients=True, arms=("real",)
    )
    report = synthetic_train_real_test.run(settings)
    assert report["is_patient_disjoint"] is False
    assert "24 of the 24 patients of split 'train' are also in the training data" in report["shared_patients"][0]
    assert "NOT patient-disjoint" in (tmp_path / "report.html").read_text()


def test_given_validation_patients_judge_every_arm(quick_settings, trainings, tmp_path):
    settings = dataclasses.replace(
        quick_settings,
        out_dir=tmp_path,
        validation_splits=("validation",),
        test_splits=("test",),
        arms=("both", "real"),
    )
    report = synthetic_train_real_test.run(settings)
    assert [count for count, _ in trainings] == [96, 48]
    assert {item["validation_images"] for item in report["trainings"]} == {16}
    assert "the same real validation patients" in (tmp_path / "report.html").read_text().replace("\n", " ")


def test_a_weak_judge_is_named(quick_settings, trainings, tmp_path):
    settings = dataclasses.replace(quick_settings, out_dir=tmp_path, arms=("real",))
    report = synthetic_train_real_test.run(settings)
    real = [test["arms"]["real"]["auc"]["mean"] for test in report["tests"].values()]
    assert sum("is itself weak" in sentence for sentence in report["verdict"]) == sum(auc < 0.7 for auc in real)
    assert not any(math.isnan(auc) for auc in real)


def test_a_ratio_to_nothing_is_words(quick_settings):
    auc = {"mean": 0.5, "interval": [0.4, 0.6]}
    tests = {
        "test": {
            "arms": {"synthetic": {"auc": auc}, "real": {"auc": {"mean": 0.0, "interval": [0.0, 0.0]}}},
            "auc_ratio_to_real": {"synthetic": {"mean": math.nan, "interval": [math.nan, math.nan]}},
        }
    }
    first, second = synthetic_train_real_test._verdict(quick_settings, tests, [])
    assert "real ones 0.000 (0.000 to 0.000): there is no ratio to an AUC of 0." in first
    assert "is itself weak on test" in second
    tests["test"]["arms"]["real"]["auc"] = {"mean": math.nan, "interval": [math.nan, math.nan]}
    (only,) = synthetic_train_real_test._verdict(quick_settings, tests, [])
    assert "real ones unknown" in only and "nan" not in only


def test_registered_protocols_are_functions():
    assert PROTOCOLS["synthetic_train_real_test"] is synthetic_train_real_test.run
