import dataclasses
import json
import shutil

import numpy as np
import pytest

from tfcxr.data.records import read_dataset_info, shard_name, write_dataset_info, write_shard
from tfcxr.data.schema import Record, encode_record
from tfcxr.protocols import PROTOCOLS, REPORT_FILES, distribution_distance, feature_extractor
from tfcxr.protocols.classifier import TrainedClassifier, build_classifier, make_classifier_config
from tfcxr.protocols.cohorts import load_comparison
from tfcxr.protocols.distance_measures import FeatureSet, compare, distances_of_draws
from tfcxr.protocols.feature_extractor import ready_extractor
from tfcxr.protocols.settings import EvaluationSettings


@pytest.fixture(scope="module")
def quick_settings(disc_records, synthetic_records, tmp_path_factory) -> EvaluationSettings:
    config = make_classifier_config("small_cnn", {"max_epochs": 2, "batch_size": 16, "dense_units": (8,)})
    return EvaluationSettings(
        synthetic_dir=synthetic_records,
        real_dir=disc_records,
        out_dir=tmp_path_factory.mktemp("distances"),
        classifier=config,
        test_splits=("validation", "test"),
        classifier_seeds=(0, 1),
    )


@pytest.fixture(scope="module")
def report(quick_settings) -> dict:
    return distribution_distance.run(quick_settings)


@pytest.fixture
def trainings(monkeypatch) -> list[tuple[int, int, int]]:
    """Replaces training by an untrained classifier, and notes (training images, validation images, seed) of each."""
    asked = []

    def train_nothing(config, images, labels, validation_images, validation_labels, is_single_label, seed, description):
        asked.append((len(images), len(validation_images), seed))
        model = build_classifier(config, images.shape[1], labels.shape[1], is_single_label, seed)
        model = type(model)(model.input, model.output[:2])
        return TrainedClassifier(model, {"loss": [0.5], "validation_loss": [0.6]}, best_epoch=1, seconds=1.0)

    monkeypatch.setattr(feature_extractor, "train_classifier", train_nothing)
    return asked


def of_set(report: dict, name: str) -> dict:
    return next(comparison for comparison in report["comparisons"] if comparison["set"] == name)


def test_every_set_has_score_floor_and_the_score_at_the_floors_size(quick_settings, report):
    assert json.loads((quick_settings.out_dir / "distances.json").read_text()) == report
    assert [(item["role"], item["set"]) for item in report["comparisons"]] == [
        ("training", "train"),
        ("test", "validation"),
        ("test", "test"),
    ]
    sizes = {
        item["set"]: (item["score"]["images"], item["floor"]["images"], item["at_floor_size"]["images"])
        for item in report["comparisons"]
    }
    assert sizes == {"train": (48, 24, 24), "validation": (16, 8, 8), "test": (16, 8, 8)}
    for item in report["comparisons"]:
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
    assert "leave open whether synthetic images differ" in report["verdict"][-1] or "weak" in report["verdict"][-1]


def test_labels_with_few_images_have_no_distance_of_their_own(report):
    assert report["has_synthetic_labels"] is True
    assert all(comparison["by_label"] == {} for comparison in report["comparisons"])


def test_labels_with_enough_images_have_one(quick_settings, trainings, monkeypatch, tmp_path):
    monkeypatch.setattr(distribution_distance, "MIN_CLASS_IMAGES", 20)
    report = distribution_distance.run(dataclasses.replace(quick_settings, out_dir=tmp_path))
    by_label = of_set(report, "train")["by_label"]
    assert {label: item["score"]["images"] for label, item in by_label.items()} == {"NORMAL": 24, "PNEUMONIA": 24}
    assert of_set(report, "test")["by_label"] == {}
    assert "NORMAL: synthetic" in (tmp_path / "distances.html").read_text()


def test_the_passport_names_extractor_data_and_software(quick_settings, report):
    extractor = report["extractor"]
    assert extractor["classifier"]["architecture"] == "small_cnn" and extractor["features"] == 256
    assert len(extractor["weights_sha256"]) == 64 and extractor["seed"] == 0
    assert set(extractor["auc"]) == {"training images", "validation", "test"}
    cohorts = report["passport"]["cohorts"]
    assert {len(cohort["sha256"]) for cohort in cohorts.values() if cohort} == {64}
    assert cohorts["training"]["preprocessing"] == {} and cohorts["validation"] is None
    assert set(report["passport"]["software"]) == {"tensorflow", "keras", "numpy"}
    page = (quick_settings.out_dir / "distances.html").read_text()
    assert extractor["weights_sha256"] in page and page.count("<img ") == 1 and "http" not in page


def test_few_images_for_the_features_are_said(report):
    assert "as few as 8 images for 256 features" in report["notices"][-1]


def test_an_unlabelled_cohort_is_measured_and_told_from_real_images(quick_settings, report, noise_cohort, tmp_path):
    settings = dataclasses.replace(quick_settings, synthetic_dir=noise_cohort, out_dir=tmp_path)
    settings = dataclasses.replace(settings, extractor_dir=quick_settings.out_dir / "extractor")
    of_discs, report = report, distribution_distance.run(settings)
    assert report["has_synthetic_labels"] is False
    assert report["extractor"]["weights_sha256"] == of_discs["extractor"]["weights_sha256"]
    assert not (tmp_path / "extractor").exists()
    for comparison in report["comparisons"]:
        assert comparison["at_floor_size"]["frechet"]["mean"] > 2 * comparison["floor"]["frechet"]["mean"]
        assert comparison["at_floor_size"]["kernel"]["mean"] > comparison["floor"]["kernel"]["interval"][1]
    assert any("the extractor tells synthetic images from real ones" in sentence for sentence in report["verdict"])


def test_a_report_that_is_there_is_kept_and_replaced_with_the_kept_extractor(quick_settings, report, trainings):
    with pytest.raises(ValueError, match="already holds distances.json; choose another --out_dir or set --overwrite"):
        distribution_distance.run(quick_settings)
    again = distribution_distance.run(dataclasses.replace(quick_settings, overwrite=True))
    assert trainings == []
    assert again["comparisons"] == report["comparisons"]  # features of the reloaded weights are the same to the bit
    assert again["extractor"] == report["extractor"]


def test_an_extractor_is_kept_until_something_it_depends_on_changes(quick_settings, trainings, tmp_path, caplog):
    comparison = load_comparison(quick_settings)
    request = {
        "folder": tmp_path,
        "config": quick_settings.classifier,
        "seed": 0,
        "real": comparison.real,
        "validation": None,
        "label_names": comparison.label_names,
        "is_single_label": True,
    }
    first = ready_extractor(**request)
    assert trainings == [(38, 10, 0)]
    assert ready_extractor(**request).facts == first.facts and len(trainings) == 1
    with caplog.at_level("INFO", logger="absl"):
        other = ready_extractor(**request | {"seed": 5})
    assert "holds no extractor of these data and settings (1 of others): training one" in caplog.text
    assert other.facts["weights_sha256"] != first.facts["weights_sha256"]
    ready_extractor(**request | {"validation": comparison.tests["validation"]})
    slower = dataclasses.replace(quick_settings.classifier, learning_rate=1e-4)
    ready_extractor(**request | {"config": slower})
    assert trainings == [(38, 10, 0), (38, 10, 5), (48, 16, 0), (38, 10, 0)]
    again = ready_extractor(**request)  # the first one is still there
    assert len(trainings) == 4
    images = comparison.real.images[:5]
    np.testing.assert_array_equal(again.features(images), first.features(images))
    facts = next(path for path in tmp_path.glob("*.json") if first.facts["key"][:16] in path.name)
    with np.load(facts.with_suffix(".npz")) as arrays:
        damaged = [array + 1 for array in arrays.values()]
    np.savez(facts.with_suffix(".npz"), *damaged)
    assert ready_extractor(**request).facts == first.facts and len(trainings) == 5
    facts.unlink()  # killed between its two files
    assert ready_extractor(**request).facts == first.facts and len(trainings) == 6


def test_patients_of_training_and_test_are_kept_apart_or_the_report_is_marked(quick_settings, trainings, tmp_path):
    settings = dataclasses.replace(quick_settings, out_dir=tmp_path, test_splits=("train",))
    with pytest.raises(ValueError, match="24 of the 24 patients of split 'train' are also in the training data"):
        distribution_distance.run(settings)
    assert trainings == []
    report = distribution_distance.run(dataclasses.replace(settings, allow_shared_patients=True))
    assert (
        report["is_patient_disjoint"] is False and "NOT patient-disjoint" in (tmp_path / "distances.html").read_text()
    )


def test_data_that_cannot_be_compared_are_refused(
    quick_settings, disc_records, synthetic_records, copy_as_synthetic, copy_records, trainings, tmp_path
):
    other_size = copy_as_synthetic(tmp_path / "other_size", image_size=64)
    other_labels = copy_as_synthetic(tmp_path / "other_labels", label_names=("NORMAL", "EFFUSION"))
    nobody = copy_as_synthetic(tmp_path / "nobody", provenance={})
    unlabelled = copy_records(tmp_path / "unlabelled", label_names=(), is_single_label=False)
    refused = [
        ({"synthetic_dir": other_size}, "holds images of 32 px, .* of 64 px; give one size"),
        ({"synthetic_dir": other_labels}, "labels differ"),
        ({"synthetic_dir": nobody}, "does not say on which patients its generator was trained"),
        ({"synthetic_dir": disc_records}, "--synthetic_dir=.* holds real images"),
        ({"real_dir": synthetic_records}, "--real_dir=.* holds synthetic images"),
        ({"real_dir": unlabelled, "synthetic_dir": other_labels}, "has no labels to train a feature extractor on"),
        ({"test_splits": ("tset",)}, "has no split 'tset'"),
        ({"distance_images": 7}, "--distance_images must be 0, or 8 or more, got 7"),
        ({"distance_images": 17}, r"--distance_images=17 were asked for on each side, but .* \(validation\) holds 16"),
    ]
    for changes, message in refused:
        with pytest.raises(ValueError, match=message):
            distribution_distance.run(dataclasses.replace(quick_settings, out_dir=tmp_path / "eval", **changes))
    nowhere = dataclasses.replace(quick_settings, out_dir=tmp_path / "eval", real_dir=tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="data folder .* does not exist"):
        distribution_distance.run(nowhere)
    assert trainings == [] and not (tmp_path / "eval").exists()


def test_too_few_images_or_patients_are_refused(quick_settings, disc_records, trainings, tmp_path):
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
        settings = dataclasses.replace(quick_settings, test_dir=folder, test_splits=("test",), out_dir=tmp_path / "e")
        with pytest.raises(ValueError, match=message):
            distribution_distance.run(settings)
    assert trainings == []


def feature_set(seed: int, images: int, shift: float = 0.0, a_patient: int = 1) -> FeatureSet:
    rows = np.random.default_rng(seed).normal(size=[images, 6]).astype(np.float32) + shift
    return FeatureSet(rows, np.zeros([images, 0]), np.arange(images) // a_patient)


def test_score_and_floor_of_known_distributions():
    alike = compare(feature_set(0, 400), feature_set(1, 400))
    shifted = compare(feature_set(0, 400, shift=1.0), feature_set(1, 400), feature_set(2, 600))
    assert alike["floor"] == shifted["floor"] and alike["floor"]["images"] == 200
    assert alike["at_floor_size"]["frechet"]["mean"] < alike["floor"]["frechet"]["interval"][1]
    assert alike["score"]["frechet"]["mean"] < alike["at_floor_size"]["frechet"]["mean"]  # it falls with the number
    low, high = shifted["score"]["frechet"]["interval"]
    assert low < 6.0 < high + 0.1 and high - low < 2.5  # six features shifted by 1
    low, high = shifted["at_floor_size"]["kernel"]["interval"]
    assert low < shifted["score"]["kernel"]["mean"] < high  # the kernel distance does not
    assert shifted["real_training_images"]["frechet"]["mean"] < 0.2


def test_a_small_cohort_is_compared_at_its_own_number():
    compared = compare(feature_set(0, 50), feature_set(1, 400))
    assert compared["at_floor_size"] == compared["score"]
    assert compared["score"]["images"] == compared["floor"]["images"] == 50
    capped = compare(feature_set(0, 50), feature_set(1, 400), images=20)
    assert capped["score"]["images"] == 20


def test_halves_never_share_a_patient():
    """With all images of a patient alike, halves that shared patients would be nearly equal."""
    rows = np.repeat(np.random.default_rng(0).normal(size=[20, 6]).astype(np.float32), 20, axis=0)
    by_patient = FeatureSet(rows, np.zeros([400, 0]), np.repeat(np.arange(20), 20))
    by_image = FeatureSet(rows, np.zeros([400, 0]), np.arange(400))
    floors = [compare(feature_set(1, 400), real)["floor"]["frechet"]["mean"] for real in (by_patient, by_image)]
    assert floors[0] > 5 * floors[1]


def test_distances_of_draws_are_one_a_draw_and_follow_the_shift():
    real = feature_set(0, 300).rows
    near = distances_of_draws([feature_set(seed, 100).rows for seed in range(1, 6)], real)
    far = distances_of_draws([feature_set(seed, 100, shift=0.5).rows for seed in range(11, 16)], real)
    for name in ("frechet", "kernel"):
        assert near[name].shape == (5,) and near[name].max() < far[name].min()
    again = distances_of_draws([feature_set(1, 100).rows], real)
    assert again["frechet"][0] == near["frechet"][0] and again["kernel"][0] == near["kernel"][0]


@pytest.mark.parametrize(
    ("sizes", "real", "message"),
    [
        ([], 20, "draws of one number of images, got no draw"),
        ([20, 30], 40, r"draws of one number of images, got \[20, 30\]"),
        ([20, 20], 19, "at least as many real images as a draw has, 20, got 19"),
    ],
)
def test_draws_that_do_not_compare_are_refused(sizes, real, message):
    with pytest.raises(ValueError, match=message):
        distances_of_draws([feature_set(0, size).rows for size in sizes], feature_set(1, real).rows)


def test_is_registered_with_files_of_its_own():
    assert PROTOCOLS["distribution_distance"] is distribution_distance.run
    files = [name for pair in REPORT_FILES.values() for name in pair]
    assert set(REPORT_FILES) == set(PROTOCOLS) and len(set(files)) == len(files)
