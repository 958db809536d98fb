import dataclasses
import json
import shutil

import numpy as np
import pytest

from tfcxr.data.records import read_dataset_info, shard_name, write_dataset_info, write_shard
from tfcxr.data.schema import Record, encode_record
from tfcxr.evaluation.cohorts import load_cohorts
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.classifier_config import make_classifier_config
from tfcxr.evaluation.metrics import metrics_of
from tfcxr.evaluation.metrics.frechet_distance import FRECHET
from tfcxr.evaluation.metrics.metric import FeatureDistance
from tfcxr.evaluation.protocols import distance_verdict, distances
from tfcxr.evaluation.protocols.distances import DistanceSettings


@pytest.fixture(scope="module")
def evaluation(disc_records, synthetic_records, tmp_path_factory) -> Evaluation:
    config = make_classifier_config("small_cnn", {"max_epochs": 2, "batch_size": 16, "dense_units": (8,)})
    return Evaluation(
        synthetic_dirs={"acgan": synthetic_records},
        real_dir=disc_records,
        out_dir=tmp_path_factory.mktemp("distances"),
        classifier=config,
        test_splits=("validation", "test"),
        classifier_seeds=(0, 1),
    )


def run(evaluation, images=0) -> dict:
    return distances.run(evaluation, DistanceSettings(images)).report()


@pytest.fixture(scope="module")
def findings(evaluation):
    return distances.run(evaluation, DistanceSettings())


@pytest.fixture(scope="module")
def report(findings) -> dict:
    return findings.report()


def of_set(report: dict, name: str) -> dict:
    return next(
        comparison for comparison in report["extractors"]["trained"]["comparisons"] if comparison["set"] == name
    )


def test_every_set_has_score_floor_and_the_score_at_the_floors_size(report):
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert [(item["role"], item["set"]) for item in report["extractors"]["trained"]["comparisons"]] == [
        ("training", "train"),
        ("test", "validation"),
        ("test", "test"),
    ]
    sizes = {
        item["set"]: (item["score"]["images"], item["floor"]["images"], item["at_floor_size"]["images"])
        for item in report["extractors"]["trained"]["comparisons"]
    }
    assert sizes == {"train": (48, 24, 24), "validation": (16, 8, 8), "test": (16, 8, 8)}
    for item in report["extractors"]["trained"]["comparisons"]:
        for row in (item["score"], item["floor"], item["at_floor_size"]):
            for name in ("frechet", "kernel"):
                low, high = row[name]["interval"]
                assert low <= row[name]["mean"] <= high
    assert of_set(report, "train")["real_training_images"] is None
    assert of_set(report, "test")["real_training_images"]["images"] == 16


def test_copies_of_the_real_images_are_no_further_than_the_floor(report):
    """The cohort holds the very discs; its 80 are drawn from all splits."""
    train = of_set(report, "train")
    assert train["at_floor_size"]["frechet"]["mean"] < train["floor"]["frechet"]["interval"][1]
    assert (
        report["verdict"][0].startswith("Nothing can be said of how far")
        and "16 images per side" in report["verdict"][0]
    )


def test_labels_with_few_images_have_no_distance_of_their_own(report):
    assert report["has_synthetic_labels"] is True
    assert all(comparison["by_label"] == {} for comparison in report["extractors"]["trained"]["comparisons"])


@pytest.mark.thorough
def test_labels_with_enough_images_have_one(evaluation, trainings, monkeypatch, tmp_path):
    monkeypatch.setattr(distances, "MIN_TELLING_IMAGES", 20)
    findings = distances.run(dataclasses.replace(evaluation, out_dir=tmp_path), DistanceSettings())
    report = findings.report()
    of_label = [score for score in findings.scores if score.label == "NORMAL" and score.metric == "frechet"]
    assert [(score.split, score.images, score.is_headline) for score in of_label] == [("train", 12, False)]
    by_label = of_set(report, "train")["by_label"]
    assert {label: item["score"]["images"] for label, item in by_label.items()} == {"NORMAL": 24, "PNEUMONIA": 24}
    assert of_set(report, "test")["by_label"] == {}
    assert "NORMAL: synthetic" in "".join(findings.parts)


def test_extractor_and_cohorts_are_named(findings, report):
    extractor = report["extractors"]["trained"]["passport"]
    assert extractor["classifier"]["architecture"] == "small_cnn" and extractor["features"] == 256
    assert len(extractor["sha256"]) == 64 and extractor["seed"] == 0
    assert set(report["extractors"]["trained"]["auc"]) == {"training images", "validation", "test"}
    cohorts = report["cohorts"]
    assert {len(cohort["sha256"]) for cohort in cohorts.values() if cohort} == {64}
    assert cohorts["real"]["preprocessing"] == {} and cohorts["validation"] is None
    page = "".join(findings.parts)
    assert extractor["sha256"] in findings.introduction and page.count("<img ") == 1
    assert "The Frechet distance depends on the number" in page and "spread over 100 subsets" in page
    assert page.count(FRECHET.meaning) == 3 and page.count("Real against real: ") == 3 * len(
        metrics_of(FeatureDistance)
    ), "the floor of each set"


def test_few_images_for_the_features_are_said(report):
    assert "as few as 8 images for 256 features" in report["notices"][-1]


@pytest.mark.thorough
def test_an_unlabelled_cohort_is_measured_and_told_from_real_images(
    evaluation, report, noise_cohort, tmp_path, monkeypatch
):
    monkeypatch.setattr(distance_verdict, "MIN_TELLING_IMAGES", 16)  # all that the test split holds
    changed = dataclasses.replace(evaluation, synthetic_dirs={"noise": noise_cohort}, out_dir=tmp_path)
    changed = dataclasses.replace(changed, extractor_dir=evaluation.out_dir / "extractor")
    of_discs, report = report, run(changed)
    assert report["has_synthetic_labels"] is False
    assert report["extractors"]["trained"]["passport"] == of_discs["extractors"]["trained"]["passport"]
    assert not (tmp_path / "extractor").exists()
    for comparison in report["extractors"]["trained"]["comparisons"]:
        assert comparison["at_floor_size"]["frechet"]["mean"] > 2 * comparison["floor"]["frechet"]["mean"]
        assert comparison["at_floor_size"]["kernel"]["mean"] > comparison["floor"]["kernel"]["interval"][1]
    assert report["verdict"][0].startswith("The features of small_cnn tell synthetic images from real patients of")


@pytest.mark.thorough
def test_the_kept_extractor_gives_the_same_numbers(evaluation, report, trainings):
    again = run(evaluation)
    assert trainings == []
    assert (
        again["extractors"]["trained"]["comparisons"] == report["extractors"]["trained"]["comparisons"]
    )  # features of the reloaded weights are the same to the bit
    assert again["extractors"]["trained"] == report["extractors"]["trained"]


@pytest.mark.thorough
def test_patients_of_training_and_test_are_kept_apart_or_the_report_is_marked(evaluation, trainings, tmp_path):
    changed = dataclasses.replace(evaluation, out_dir=tmp_path, test_splits=("train",))
    with pytest.raises(ValueError, match="24 of the 24 patients of split 'train' are also in the training data"):
        run(changed)
    assert trainings == []
    report = run(dataclasses.replace(changed, allow_shared_patients=True))
    assert report["is_patient_disjoint"] is False and "in the training data" in report["shared_patients"][0]


def test_data_that_cannot_be_compared_are_refused(
    evaluation, disc_records, synthetic_records, copy_as_synthetic, copy_records, trainings, tmp_path
):
    other_size = copy_as_synthetic(tmp_path / "other_size", image_size=64)
    other_labels = copy_as_synthetic(tmp_path / "other_labels", label_names=("NORMAL", "EFFUSION"))
    nobody = copy_as_synthetic(tmp_path / "nobody", provenance={})
    unlabelled = copy_records(tmp_path / "unlabelled", label_names=(), is_single_label=False)
    refused = [
        ({"synthetic_dirs": {"a": other_size}}, "holds images of 32 px, .* of 64 px; give one size"),
        ({"synthetic_dirs": {"a": other_labels}}, "labels differ"),
        ({"synthetic_dirs": {"a": nobody}}, "does not say on which patients its generator was trained"),
        ({"synthetic_dirs": {"a": disc_records}}, "--synthetic_dir=.* holds real images"),
        ({"real_dir": synthetic_records}, "--real_dir=.* holds synthetic images"),
        ({"real_dir": unlabelled}, "--train_splits=train of .* has no labels, so nothing can be learned"),
        ({"test_splits": ("tset",)}, "has no split 'tset'"),
    ]
    for changes, message in refused:
        with pytest.raises(ValueError, match=message):
            run(dataclasses.replace(evaluation, out_dir=tmp_path / "eval", **changes))
    with pytest.raises(ValueError, match="distances.images must be 0, or 8 or more, got 7"):
        DistanceSettings(7)
    with pytest.raises(ValueError, match=r"distances.images=17 were asked for .* but .* \(validation\) holds 16"):
        run(dataclasses.replace(evaluation, out_dir=tmp_path / "eval"), images=17)
    nowhere = dataclasses.replace(evaluation, out_dir=tmp_path / "eval", real_dir=tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="data folder .* does not exist"):
        run(nowhere)
    assert trainings == [] and not (tmp_path / "eval").exists()


def test_too_few_images_or_patients_are_refused(evaluation, disc_records, trainings, tmp_path):
    for name, images, patients, message in (
        ("images", 6, 6, r"needs 8 images of 4 patients or more, but .* \(test\) holds 6 of 6"),
        ("patients", 12, 3, r"needs 8 images of 4 patients or more, but .* \(test\) holds 12 of 3"),
    ):
        folder = tmp_path / name
        shutil.copytree(disc_records, folder)
        image = np.zeros((32, 32), np.uint8)
        records = [Record(image, f"i{i}", (1.0, 0.0), f"patient-{i % patients}") for i in range(images)]
        for path in folder.glob("test-*"):
            path.unlink()
        shard = write_shard(folder / shard_name("test", 0, 1), [encode_record(record, "raw") for record in records])
        info = read_dataset_info(folder)
        split = dataclasses.replace(info.splits["test"], images=images, patients=patients, shards=(shard,))
        write_dataset_info(folder, dataclasses.replace(info, splits={**info.splits, "test": split}))
        changed = dataclasses.replace(evaluation, test_dirs={"": folder}, test_splits=("test",), out_dir=tmp_path / "e")
        with pytest.raises(ValueError, match=message):
            run(changed)
    assert trainings == []


@pytest.mark.thorough
def test_several_extractors_stand_side_by_side(evaluation, tmp_path):
    changed = dataclasses.replace(evaluation, extractors=("pixels", "trained"), out_dir=tmp_path)
    findings = distances.run(
        dataclasses.replace(changed, extractor_dir=evaluation.out_dir / "extractor"), DistanceSettings()
    )
    found = findings.report()["extractors"]
    assert list(found) == ["pixels", "trained"]
    assert found["pixels"]["auc"] == {} and found["pixels"]["passport"]["input_size"] == 32
    score = found["pixels"]["comparisons"][0]["score"]
    assert {"frechet", "kernel", "feature_precision", "feature_recall", "density", "coverage"} <= set(score)
    page = "".join(findings.parts)
    assert "Test: validation, by pixels" in page and "Test: validation, by trained" in page


def test_every_number_is_a_score_beside_that_of_real_images(findings, report):
    scores = findings.scores
    metrics = {metric.name for metric in metrics_of(FeatureDistance)}
    assert {(score.split, score.metric) for score in scores if score.extractor} == {
        (split, metric) for split in ("train", "validation", "test") for metric in metrics
    }
    headlines = [(score.metric, score.split, score.images) for score in scores if score.is_headline]
    assert headlines == [("frechet", "validation", 8), ("kernel", "validation", 8)]
    first, of_set_ = next(score for score in scores if score.is_headline), of_set(report, "validation")
    assert [first.value, [first.low, first.high]] == list(of_set_["at_floor_size"]["frechet"].values())
    assert first.of_real == of_set_["floor"]["frechet"]["mean"]
    assert first.passport["real"] == report["cohorts"]["test: validation"]["sha256"]
    assert first.passport["extractor"] == report["extractors"]["trained"]["passport"]
    assert {score.metric: score.passport.get("k") for score in scores if score.metric in ("coverage", "kernel")} == {
        "coverage": 5,
        "kernel": None,
    }


def test_images_are_compared_without_an_extractor_too(findings, report):
    found = report["of_images"]["test"]
    assert found["images"] == 8
    assert 0 <= found["floor"]["sliced_wasserstein"]["mean"] < 2 * found["score"]["sliced_wasserstein"]["mean"]
    of_images = [score for score in findings.scores if score.metric == "sliced_wasserstein"]
    assert [(score.split, score.extractor) for score in of_images] == [("train", ""), ("validation", ""), ("test", "")]
    assert "Images alone, without an extractor" in "".join(findings.parts)


@pytest.mark.thorough
def test_groups_of_patients_have_distances_of_their_own(evaluation, tmp_path, monkeypatch):
    """Odd patients are women; the cohort does not say whom it shows."""

    def load(request, names):
        cohorts = load_cohorts(request, names)
        (name, test), *_ = cohorts.tests.items()
        nobody = np.full(len(test.images), "")
        is_woman = np.array([int(key.rpartition("-")[2]) % 2 == 1 for key in test.patient_keys])
        groups = {"sex": np.where(is_woman, "F", "M"), "age": nobody, "view": nobody}
        return dataclasses.replace(cohorts, tests={name: dataclasses.replace(test, groups=groups)})

    monkeypatch.setattr(distances, "load_cohorts", load)
    monkeypatch.setattr(distances, "MIN_TELLING_IMAGES", 20)
    request = dataclasses.replace(
        evaluation,
        out_dir=tmp_path,
        extractors=("pixels",),
        train_splits=("test",),
        test_splits=("train",),
        allow_shared_patients=True,
    )
    findings = distances.run(request, DistanceSettings())
    training, test = findings.report()["extractors"]["pixels"]["comparisons"]
    assert training["by_group"] == {} and list(test["by_group"]) == ["sex=F", "sex=M"]
    assert test["by_group"]["sex=F"]["score"]["images"] < test["score"]["images"]
    scores = [score for score in findings.scores if score.metric == "frechet" and score.split == "train"]
    assert {score.group for score in scores} == {"", "sex=F", "sex=M"}
    assert [score.group for score in scores if score.is_headline] == [""]
    assert "patients of one group" in "".join(findings.parts)
