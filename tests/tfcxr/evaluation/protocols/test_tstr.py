import dataclasses
import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tfcxr.evaluation import trainings as classifier_trainings
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.classifier_config import make_classifier_config
from tfcxr.evaluation.protocols import tstr
from tfcxr.evaluation.protocols.tstr import TSTRSettings
from tfcxr.evaluation.report.report import Findings

pytestmark = pytest.mark.thorough

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
def findings(evaluation) -> Findings:
    return tstr.run(evaluation, TSTRSettings(**QUICK))


@pytest.fixture(scope="module")
def report(findings) -> dict:
    return findings.report()


def test_the_report_holds_every_arm_on_every_test_set(findings, report):
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert list(report["tests"]) == ["validation", "test"]
    page = "".join(findings.parts)
    table = page[page.index("<h2>All test sets</h2>") : page.index("<h2>Real patients of")]
    assert table.count("<td>validation</td>") == table.count("<td>test</td>") == 2 * 4, "rules, arms"
    assert "macro precision" in table and "<th>AUC" in table
    for test in report["tests"].values():
        assert list(test["arms"]) == ["real", "synthetic", "both", "pretrained"]
        assert list(test["shares_of_real"]) == ["synthetic", "both", "pretrained"]
        for scores in test["arms"].values():
            low, high = scores["auc"]["interval"]
            assert 0 <= low <= high <= 1 and len(scores["auc"]["by_seed"]) == 1
            assert [row["support"] for row in scores["at_half"]["per_class"]] == [8, 8]
        share, real = test["shares_of_real"]["synthetic"]["auc"], scores_of(test, "real")
        if real["interval"][0] >= 0.6:
            expected = (scores_of(test, "synthetic")["mean"] - 0.5) / (real["mean"] - 0.5)
            assert share["mean"] == pytest.approx(expected)
        else:
            assert share == {"mean": None, "interval": [None, None]}
    assert sum(sentence.startswith("Nothing can be said") for sentence in report["verdict"]) == sum(
        scores_of(test, "real")["interval"][0] < 0.6 for test in report["tests"].values()
    )


def scores_of(test, arm):
    return test["arms"][arm]["auc"]


def test_both_sides_train_on_as_many_images_and_keep_patients_apart(report):
    sizes = {item["arm"]: (item["training_images"], item["validation_images"]) for item in report["trainings"]}
    assert [sum(size) for size in sizes.values()] == [48, 48, 96, 48]
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


def test_every_number_is_a_score(findings, report):
    rows = {(score.metric, score.subject, score.split, score.label, score.group): score for score in findings.scores}
    assert len(rows) == len(findings.scores)
    test = report["tests"]["test"]
    auc = rows["auc", "synthetic", "test", "", ""]
    assert auc.value == scores_of(test, "synthetic")["mean"] and auc.of_real == scores_of(test, "real")["mean"]
    assert [auc.low, auc.high] == scores_of(test, "synthetic")["interval"] and auc.images == 16
    assert auc.passport["test"] == test["sha256"] and auc.passport["classifier_seeds"] == [0]
    assert {(score.metric, score.subject) for score in findings.scores if score.is_headline} == {
        ("auc", "synthetic"),
        ("auc_share_of_real", "synthetic"),
    }
    assert ("balanced_accuracy_at_youden", "pretrained", "test", "", "") in rows
    at_half = {arm: scores["at_half"] for arm, scores in test["arms"].items()}
    macro = rows["macro_f1_at_half", "synthetic", "test", "", ""]
    assert (macro.value, macro.of_real) == tuple(at_half[arm]["macro"]["f1"]["mean"] for arm in ("synthetic", "real"))
    recall = rows["recall_at_half", "synthetic", "test", "NORMAL", ""]
    of_class = at_half["synthetic"]["per_class"][0]
    assert recall.value == of_class["recall"] and [recall.low, recall.high] == of_class["intervals"]["recall"]
    assert rows["gan_test", "real", "", "", ""].value == report["gan_test"]["auc"]["mean"]
    assert rows["gan_test", "real", "", "", ""].of_real == scores_of(report["tests"]["validation"], "real")["mean"]


def test_a_real_trained_classifier_reads_the_labels_of_the_cohort(findings, report):
    low, high = report["gan_test"]["auc"]["interval"]
    assert low <= report["gan_test"]["auc"]["mean"] <= high and list(report["gan_test"]["auc_by_label"]) == [
        "PNEUMONIA"
    ]
    assert "<h2>GAN-test</h2>" in "".join(findings.parts)


def test_predictions_lie_beside_the_report(evaluation, report):
    with np.load(evaluation.out_dir / "predictions" / "acgan-test.npz") as kept:
        assert kept["labels"].shape == (16, 2) and kept["label_names"].tolist() == ["NORMAL", "PNEUMONIA"]
        assert np.bincount(kept["patients"]).tolist() == [2] * 8, "positions, not keys"
        for arm in ("real", "synthetic", "both", "pretrained"):
            (probability,) = kept[arm]
            auc = roc_auc_score(kept["labels"][:, 1], probability[:, 1])
            assert auc == pytest.approx(scores_of(report["tests"]["test"], arm)["mean"])


def test_cohorts_of_one_folder_share_the_real_arm(evaluation, report, trainings):
    other = dataclasses.replace(evaluation, synthetic_dirs={"other": evaluation.synthetic_dir})
    again, _ = run(other, arms=("real", "synthetic"))
    assert [seed for *_, seed in trainings] == [0], "the synthetic arm of the other cohort"
    assert again["tests"]["test"]["arms"]["real"] == report["tests"]["test"]["arms"]["real"]
    assert again["gan_test"] == report["gan_test"], "kept weights see the same images alike"


def test_pretrained_goes_on_from_the_synthetic_arm(evaluation, report, trainings, monkeypatch, tmp_path):
    shutil.copytree(evaluation.out_dir, tmp_path / "copy")
    evaluation, asked = dataclasses.replace(evaluation, out_dir=tmp_path / "copy"), []
    train_classifier = classifier_trainings.train_classifier

    def note(config, *arguments, start=None, **how):
        asked.append((config.max_epochs, config.learning_rate, start))
        return train_classifier(config, *arguments, start=start, **how)

    monkeypatch.setattr(classifier_trainings, "train_classifier", note)
    run(evaluation, arms=("pretrained",), fine_tuning_epochs=1, fine_tuning_rate=0.5)
    kept = evaluation.out_dir / "arms" / "acgan-synthetic-48-seed0.weights.h5"
    assert asked == [(1, 0.5e-3, kept)], "the synthetic arm is kept"


def test_finished_trainings_are_used_again(evaluation, report, trainings):
    again, _ = run(evaluation)
    assert trainings == [] and again["tests"] == report["tests"] and again["diversity"] == report["diversity"]


def test_a_killed_evaluation_continues_where_it_stopped(evaluation, trainings, monkeypatch, tmp_path):
    killed = dataclasses.replace(evaluation, out_dir=tmp_path, classifier_seeds=(0, 1))
    untouched = classifier_trainings.train_classifier

    def train_until_killed(*arguments, **how):
        if len(trainings) == 2:
            raise KeyboardInterrupt
        return untouched(*arguments, **how)

    monkeypatch.setattr(classifier_trainings, "train_classifier", train_until_killed)
    with pytest.raises(KeyboardInterrupt):
        run(killed, arms=("real", "synthetic"))
    (tmp_path / "arms" / "acgan-synthetic-48-seed0.json").unlink()  # as if killed between its two files
    monkeypatch.setattr(classifier_trainings, "train_classifier", untouched)
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


def test_images_are_as_many_as_asked_for(evaluation, trainings, tmp_path):
    report, page = run(dataclasses.replace(evaluation, out_dir=tmp_path), images=16, arms=("both",))
    assert report["images_per_side"] == 16 and "<td>32</td>" in page
    with pytest.raises(ValueError, match="tstr.images=49 were asked for on each side, but --real_dir=.* holds 48"):
        run(evaluation, images=49)


def test_a_cohort_may_give_more_images_than_there_are_real_ones(evaluation, trainings, tmp_path):
    request = dataclasses.replace(evaluation, out_dir=tmp_path)
    findings = tstr.run(request, TSTRSettings(synthetic_images=64, arms=("real", "synthetic", "both"), **QUICK))
    report = findings.report()
    assert [learned + kept_back for learned, kept_back, _ in trainings] == [48, 64, 112]
    assert (report["images_per_side"], report["synthetic_images"]) == (48, 64)
    assert "64 synthetic and 48 real training images" in findings.introduction
    gan_test = next(score for score in findings.scores if score.metric == "gan_test")
    assert gan_test.images == gan_test.passport["synthetic_images"] == 64
    with pytest.raises(ValueError, match="tstr.synthetic_images=81 were asked for, but --synthetic_dir=.* holds 80"):
        run(request, synthetic_images=81)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ("fake",)}, "unknown arm 'fake' in tstr.arms; valid names: real, synthetic, both, pret"),
        ({"arms": ()}, "tstr.arms expects one or more different values"),
        ({"arms": ("real", "real")}, "tstr.arms expects one or more different values"),
        ({"images": -1}, "tstr.images must be 0 or more, got -1"),
        ({"bootstrap_resamples": 0}, "tstr.bootstrap_resamples must be 1 or more, got 0"),
        ({"fine_tuning_rate": 0.0}, "tstr.fine_tuning_rate must be above 0 and at most 1, got 0"),
        ({"fine_tuning_epochs": -1}, "tstr.fine_tuning_epochs must be 0 or more, got -1"),
        ({"diversity_pairs": 0}, "tstr.diversity_pairs must be 1 or more, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        TSTRSettings(**changes)
