"""Patients of a pattern each: a network learns to tell them apart, and claims cohorts that show them."""

import dataclasses

import cv2
import numpy as np
import pytest

from tfcxr.data.records import shard_name, write_dataset_info, write_shard
from tfcxr.data.schema import DatasetInfo, Record, SplitInfo, encode_record
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors import patient_network
from tfcxr.evaluation.extractors.classifier_config import make_classifier_config
from tfcxr.evaluation.extractors.patient_network import draw_pairs, images_by_patient
from tfcxr.evaluation.protocols import reidentification_verdict as verdict
from tfcxr.evaluation.protocols.reidentification import ReidentificationSettings, run

SETTINGS = ReidentificationSettings(
    steps=80, patients=16, augmentation=False, false_claims=0.05, resamples=100, pairs=3
)
PATIENTS = {"train": range(80), "test": range(100, 180)}


def picture(patient, number):
    """uint8 [32, 32]: a coarse pattern of the patient, the exposure and noise of the image."""
    pattern = np.random.default_rng(patient).uniform(60, 200, (4, 4))
    noise = np.random.default_rng([patient, number])
    image = cv2.resize(pattern, (32, 32), interpolation=cv2.INTER_CUBIC) * noise.uniform(0.9, 1.1)
    return np.clip(image + noise.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


def write(folder, patients, numbers=(0, 1), **facts):
    """Records of `numbers` images of the patients of each split."""
    folder.mkdir(parents=True)
    splits = {}
    for split, of_split in patients.items():
        records = [
            Record(picture(patient, number), f"{patient}-{number}", (), f"patient-{patient}")
            for patient in of_split
            for number in numbers
        ]
        shard = write_shard(folder / shard_name(split, 0, 1), [encode_record(record, "raw") for record in records])
        splits[split] = SplitInfo(len(records), len(of_split), {}, (shard,))
    images = sum(split.images for split in splits.values())
    info = DatasetInfo(
        **{
            "name": "patterns",
            "label_names": (),
            "is_single_label": False,
            "image_size": 32,
            "bits": 8,
            "encoding": "raw",
            "splits": splits,
            "images_read": images,
            "images_written": images,
            "rejected": {},
            "preprocessing": {},
            "source": {},
            "salt_fingerprint": "tests",
        }
        | facts
    )
    write_dataset_info(folder, info)
    return folder


def write_cohort(folder, patients, trained_on=PATIENTS["train"]):
    """A third image of each patient, as of a generator that was trained on `trained_on`."""
    provenance = {"training_data": {"patient_keys_file": "training_patients.txt", "salt_fingerprint": "tests"}}
    write(folder, {"train": patients}, numbers=(2,), is_synthetic=True, provenance=provenance)
    (folder / "training_patients.txt").write_text("\n".join(f"patient-{patient}" for patient in trained_on))
    return folder


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """A cohort that shows the training patients."""
    folder = tmp_path_factory.mktemp("patients")
    real = write(folder / "real" / "32", PATIENTS)
    copies = write_cohort(folder / "copies" / "32", PATIENTS["train"])
    config = make_classifier_config("small_cnn", {})
    return Evaluation({"copies": copies}, real, folder / "report", config)


@pytest.fixture(scope="module")
def findings(evaluation):
    return run(evaluation, SETTINGS)


@pytest.mark.thorough
def test_training_patients_are_recognised(findings):
    data = findings.report()
    assert data["same_patient_auc"]["interval"][0] > 0.9
    assert data["claimed"]["interval"][0] > 0.2 and data["images"] == 80
    assert data["searched_alike"]["training"] > data["searched_alike"]["held_out"]
    assert data["pairs"] == {"of one patient": 80, "of two patients": 800}
    assert "claimed for a patient the generator was trained on" in findings.verdict[0]
    assert "training patients are recognisable" in findings.verdict[0]
    assert "Best matches" in "".join(findings.parts)


@pytest.mark.thorough
def test_the_numbers(findings):
    data, scores = findings.report(), {score.metric: score for score in findings.scores}
    assert set(scores) == {"claimed", "same_patient_auc", "same_patient_found", "claimed_alike"}
    claimed = scores["claimed"]
    assert (claimed.value, claimed.of_real, claimed.images) == (data["claimed"]["mean"], 0.05, 80)
    assert claimed.low <= claimed.value <= claimed.high and claimed.is_headline
    assert scores["same_patient_auc"].images == 160 and scores["same_patient_auc"].split == "test"
    assert scores["claimed_alike"].of_real == data["searched_alike"]["held_out"]
    assert claimed.passport["extractor"]["sha256"] == data["network"]["weights_sha256"]


@pytest.mark.thorough
def test_strangers_are_not_claimed_and_the_network_is_kept(evaluation, findings, tmp_path, monkeypatch):
    monkeypatch.setattr(patient_network, "_train", lambda *arguments: pytest.fail("trained again"))
    strangers = write_cohort(tmp_path / "strangers" / "32", range(200, 300))
    found = run(dataclasses.replace(evaluation, synthetic_dirs={"strangers": strangers}), SETTINGS)
    assert "no more than chance" in found.verdict[0]
    assert found.report()["claimed"]["interval"][0] < 0.05 < findings.report()["claimed"]["mean"]
    assert found.report()["same_patient_auc"] == findings.report()["same_patient_auc"]


@pytest.mark.thorough
def test_only_patients_the_generator_saw_are_searched(evaluation, tmp_path):
    few = write_cohort(tmp_path / "few" / "32", PATIENTS["train"], trained_on=range(40))
    found = run(dataclasses.replace(evaluation, synthetic_dirs={"few": few}), SETTINGS)
    assert found.report()["training_images"] == 80
    none = write_cohort(tmp_path / "none" / "32", PATIENTS["train"], trained_on=range(900, 910))
    with pytest.raises(ValueError, match="trained on none of the patients of --train_splits=train"):
        run(dataclasses.replace(evaluation, synthetic_dirs={"none": none}), SETTINGS)


@pytest.mark.thorough
def test_a_low_ceiling_says_nothing(findings):
    data = findings.report() | {"same_patient_auc": {"mean": 0.55, "interval": [0.48, 0.62]}}
    first, _ = verdict.sentences(data)
    assert first.startswith("Nothing can be said") and "an AUC of 0.550 (0.480 to 0.620) only" in first
    data = findings.report() | {"same_patient_found": {"mean": 0.01, "interval": [0.0, 0.02]}}
    assert "recognises only 1.0% of the pairs of images of one held-out patient" in verdict.sentences(data)[0]
    data = findings.report()
    data["searched_alike"] = data["searched_alike"] | {"difference": {"mean": 0.0, "interval": [-0.1, 0.1]}}
    assert "likeness, not memory" in verdict.sentences(data)[0]


def test_one_image_per_patient_says_nothing(evaluation, tmp_path):
    real = write(tmp_path / "real" / "32", PATIENTS, numbers=(0,))
    found = run(dataclasses.replace(evaluation, real_dir=real), SETTINGS)
    (said,) = found.verdict
    assert said.startswith("Nothing can be said: every patient of --train_splits=train") and "has one image" in said
    assert not found.scores


def test_too_few_patients_or_images(evaluation):
    message = r"needs 81 patients with two or more images, but --train_splits=train of .* has 80; .*min_patients=80"
    with pytest.raises(ValueError, match=message):
        run(evaluation, dataclasses.replace(SETTINGS, min_patients=81))
    with pytest.raises(ValueError, match="at 1% false claims needs 100 held-out images, but 90 of --test_splits=test"):
        run(evaluation, dataclasses.replace(SETTINGS, images=90, false_claims=0.01))


def test_pairs():
    keys = np.array(["a"] * 30 + ["b", "b", "c", "d"])
    first, second, is_same = draw_pairs(keys, 0)
    assert is_same.sum() == 11 and len(is_same) == 121, "ten pairs of a at most, one of b"
    assert ((keys[first] == keys[second]) == is_same).all() and (first != second).all()
    assert [list(keys[rows]) for rows in images_by_patient(keys)] == [["a"] * 30, ["b", "b"]]


@pytest.mark.parametrize(
    ("name", "value"), [("steps", 0), ("patients", 1), ("false_claims", 0.5), ("min_patients", 4), ("resamples", 9)]
)
def test_settings_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        ReidentificationSettings(**{name: value})
