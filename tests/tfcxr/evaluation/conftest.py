"""Cohorts to evaluate: the tests' 32-px discs, and copies of them whose description says otherwise."""

import dataclasses
import pathlib
import shutil
from collections.abc import Callable

import numpy as np
import pytest

from tfcxr.data.records import read_dataset_info, shard_name, write_dataset_info, write_shard
from tfcxr.data.schema import Record, SplitInfo, encode_record
from tfcxr.evaluation.extractors.classifier import TrainedClassifier, build_classifier
from tfcxr.evaluation.extractors.fitting import Fit


@pytest.fixture(scope="session")
def copy_records(disc_records: pathlib.Path) -> Callable[..., pathlib.Path]:
    """Copies the discs to a folder, changing fields of their description."""

    def copy(folder: pathlib.Path, **changes) -> pathlib.Path:
        shutil.copytree(disc_records, folder)
        write_dataset_info(folder, dataclasses.replace(read_dataset_info(folder), **changes))
        return folder

    return copy


@pytest.fixture(scope="session")
def copy_as_synthetic(copy_records) -> Callable[..., pathlib.Path]:
    """Copies the discs as a cohort of a generator that was trained on the patients of `training_patients`."""

    def copy(folder: pathlib.Path, training_patients=("patient-train-0",), **changes) -> pathlib.Path:
        provenance = {"model": "acgan", "training_data": {"patient_keys_file": "training_patients.txt"}}
        copy_records(folder, **{"is_synthetic": True, "name": "acgan", "provenance": provenance} | changes)
        (folder / "training_patients.txt").write_text("\n".join(training_patients))
        return folder

    return copy


@pytest.fixture(scope="session")
def synthetic_records(copy_as_synthetic, tmp_path_factory) -> pathlib.Path:
    """A cohort of 80 32-px discs. Do not change it."""
    return copy_as_synthetic(tmp_path_factory.mktemp("cohort") / "32")


@pytest.fixture(scope="session")
def noise_cohort(tmp_path_factory: pytest.TempPathFactory, disc_records: pathlib.Path) -> pathlib.Path:
    """70 unlabelled images of noise, as of a generator that learned nothing."""
    folder = tmp_path_factory.mktemp("noise") / "32"
    generator = np.random.default_rng(0)
    records = [
        Record(generator.integers(0, 256, (32, 32)).astype(np.uint8), f"noise-{index}", (), f"noise-{index}")
        for index in range(70)
    ]
    folder.mkdir()
    shard = write_shard(folder / shard_name("train", 0, 1), [encode_record(record, "raw") for record in records])
    provenance = {"model": "vanilla_gan", "training_data": {"patient_keys_file": "training_patients.txt"}}
    (folder / "training_patients.txt").write_text("patient-train-0")
    info = dataclasses.replace(
        read_dataset_info(disc_records),
        label_names=(),
        is_single_label=False,
        splits={"train": SplitInfo(70, 70, {}, (shard,))},
        images_read=70,
        images_written=70,
        is_synthetic=True,
        provenance=provenance,
    )
    write_dataset_info(folder, info)
    return folder


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """Replaces training by an untrained classifier, and notes (training images, validation images, seed) of each."""
    asked = []

    def train_nothing(config, training, validation, is_single_label, seed, description, **how):
        asked.append((len(training.images), len(validation.images), seed))
        size, labels = training.images.shape[1], training.labels.shape[1]
        model = build_classifier(config, size, labels, is_single_label, seed)
        fit = Fit({"loss": [0.5], "validation_loss": [0.6]}, best_epoch=1, seconds=1.0)
        return TrainedClassifier(type(model)(model.input, model.output[:2]), fit)

    for module in ("trainings", "extractors.feature_extractor"):
        monkeypatch.setattr(f"tfcxr.evaluation.{module}.train_classifier", train_nothing)
    return asked
