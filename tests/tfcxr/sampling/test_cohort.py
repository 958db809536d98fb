"""Cohorts: what is written, going on after a kill, constant memory, refusals."""

import dataclasses
import pathlib
import tracemalloc

import cv2
import numpy as np
import pytest

from tfcxr.data.pipeline import load_images
from tfcxr.data.records import read_dataset_info, shard_paths
from tfcxr.sampling.cohort import generate_cohort
from tfcxr.sampling.cohort_labels import counted_labels
from tfcxr.sampling.cohort_options import CohortOptions
from tfcxr.sampling.cohort_preview import write_cohort_preview
from tfcxr.serving.cascade import LUMA
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.model_card import read_description

NAMES = ("NORMAL", "PNEUMONIA")


class StubModel:
    """Draws flat images whose grey is their seed's, without TensorFlow, and remembers the batches."""

    def __init__(self, version_dir, **facts):
        self.description = dataclasses.replace(read_description(version_dir), **facts)
        self.path = pathlib.Path("stub/1")
        self.batches = []
        self.fails_after = None

    def generate(self, seed, label, truncation):
        if self.fails_after is not None and sum(self.batches) >= self.fails_after:
            raise KeyboardInterrupt
        self.batches.append(len(seed))
        size, channels = self.description.image_size, self.description.channels
        images = np.zeros([len(seed), size, size, channels], np.uint8)
        return images + (seed % 256).astype(np.uint8)[:, None, None, None]

    def training_patients(self):
        return None


def plan_of(normal, pneumonia):
    return counted_labels({"NORMAL": normal, "PNEUMONIA": pneumonia}, NAMES, True, seed=0)


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_cohort_reads_like_real_data(tiny_export, tmp_path):
    model, plan = LoadedModel(tiny_export), plan_of(13, 8)
    returned = generate_cohort(model, plan, tmp_path / "cohort", CohortOptions(seed=2, batch_size=4, shard_images=9))
    data_dir = tmp_path / "cohort" / "32"
    info = read_dataset_info(data_dir)
    assert info == returned and info.is_synthetic and info.splits["train"].patients == 21
    assert [shard.images for shard in info.splits["train"].shards] == [9, 9, 3]
    assert info.splits["train"].labels["PNEUMONIA"] == {"positive": 8, "negative": 13, "unknown": 0}
    assert len(shard_paths(data_dir, info, "train", verify_checksums=True)) == 3
    read = load_images(data_dir, "train")
    seeds = 2 * 2**32 + np.arange(21)
    np.testing.assert_array_equal(read.labels, plan.part(0, 21))
    np.testing.assert_array_equal(read.images, model.generate(seeds, plan.part(0, 21)))
    prefix = f"synthetic-{model.description.weights_sha256[:8]}-"
    assert read.keys.tolist() == [f"{prefix}{seed}" for seed in seeds]
    assert len(set(read.patient_keys)) == 21
    assert (data_dir / "training_patients.txt").read_text() == "patient-a\npatient-b\n"
    assert not (tmp_path / "cohort" / "unfinished_cohort").exists()


def test_the_provenance_leads_back_to_the_model(tiny_export, tmp_path):
    model = LoadedModel(tiny_export)
    options = CohortOptions(seed=1, truncation=0.7)
    info = generate_cohort(model, plan_of(2, 1), tmp_path, options)
    provenance = info.provenance
    assert provenance["saved_model"] == "tiny/1" and str(tiny_export.parent) not in info.to_json()
    assert provenance["weights_sha256"] == model.description.weights_sha256
    assert (provenance["first_seed"], provenance["last_seed"]) == (2**32, 2**32 + 2)
    assert provenance["label_plan"]["counts"] == {"NORMAL": 2, "PNEUMONIA": 1}
    assert (provenance["truncation"], provenance["acceptance_rate"]) == (0.7, 1.0)
    assert provenance["training_data"]["patient_keys_file"] == "training_patients.txt"
    assert info.notice == "Synthetic radiographs drawn by tiny version 1, not patients. Discs, not radiographs."
    assert info.source["licence"] == "made by the tests" and info.salt_fingerprint == "tests"


def test_interrupted_it_goes_on_to_the_same_bytes(tiny_export, tmp_path):
    options, plan = CohortOptions(batch_size=5, shard_images=10), plan_of(20, 15)
    generate_cohort(StubModel(tiny_export), plan, tmp_path / "whole", options)
    model = StubModel(tiny_export)
    model.fails_after = 25
    with pytest.raises(KeyboardInterrupt):
        generate_cohort(model, plan, tmp_path / "cut", options)
    with pytest.raises(FileNotFoundError, match="did not finish"):
        read_dataset_info(tmp_path / "cut" / "32")
    assert len(list((tmp_path / "cut" / "32").iterdir())) == 2  # two whole shards, nothing half-written
    (tmp_path / "cut" / "32" / ".partial-1-train").write_bytes(b"left by a kill")
    model.fails_after, model.batches = None, []
    generate_cohort(model, plan, tmp_path / "cut", options)
    assert sum(model.batches) == 15  # only the unfinished shards are drawn
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_a_shard_altered_meanwhile_is_drawn_again(tiny_export, tmp_path):
    options, plan = CohortOptions(batch_size=5, shard_images=10), plan_of(10, 5)
    generate_cohort(StubModel(tiny_export), plan, tmp_path / "whole", options)
    model = StubModel(tiny_export)
    model.fails_after = 10
    with pytest.raises(KeyboardInterrupt):
        generate_cohort(model, plan, tmp_path / "cut", options)
    next((tmp_path / "cut" / "32").glob("*.tfrecord")).write_bytes(b"altered")
    generate_cohort(StubModel(tiny_export), plan, tmp_path / "cut", options)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_an_unfinished_cohort_of_other_arguments_is_kept(tiny_export, tmp_path):
    model = StubModel(tiny_export)
    model.fails_after = 5
    with pytest.raises(KeyboardInterrupt):
        generate_cohort(model, plan_of(6, 6), tmp_path, CohortOptions(batch_size=5))
    with pytest.raises(ValueError, match="holds an unfinished cohort of another labels, seed; run its command again"):
        generate_cohort(model, plan_of(6, 7), tmp_path, CohortOptions(batch_size=5, seed=1))


def test_a_folder_in_use_is_refused(tiny_export, tmp_path):
    generate_cohort(StubModel(tiny_export), plan_of(2, 1), tmp_path)
    before = content(tmp_path)
    with pytest.raises(FileExistsError, match="already holds a data set at 32 px; remove it or choose another"):
        generate_cohort(StubModel(tiny_export), plan_of(2, 1), tmp_path)
    assert content(tmp_path) == before
    (tmp_path / "32" / "dataset_info.json").unlink()
    with pytest.raises(FileExistsError, match="holds shards, but no dataset_info.json and no unfinished cohort"):
        generate_cohort(StubModel(tiny_export), plan_of(2, 1), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="is a file, expected a folder"):
        generate_cohort(StubModel(tiny_export), plan_of(2, 1), tmp_path / "file")


def test_memory_does_not_grow_with_the_count(tiny_export, tmp_path):
    peaks = {}
    for images in (1500, 5000):  # both files are larger than what is hashed at once
        model, plan = StubModel(tiny_export), plan_of(images, 0)
        tracemalloc.start()
        generate_cohort(model, plan, tmp_path / str(images), CohortOptions(batch_size=50, shard_images=100_000))
        peaks[images] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert max(model.batches) == 50
    assert peaks[5000] < peaks[1500] + 200_000  # bytes; the 3,500 images more are 3.6 MB


def test_three_channels_become_grey_by_luma(tiny_export, tmp_path):
    model = StubModel(tiny_export, channels=3)
    colours = np.random.default_rng(0).integers(256, size=(3, 32, 32, 3), dtype=np.uint8)
    model.generate = lambda seed, label, truncation: colours
    info = generate_cohort(model, plan_of(3, 0), tmp_path)
    stored = load_images(tmp_path / "32", "train").images[..., 0]
    np.testing.assert_array_equal(stored, np.rint(colours @ np.array(LUMA)).astype(np.uint8))
    assert "luma" in info.preprocessing["grey"]


def test_options_are_checked():
    with pytest.raises(ValueError, match="the cohort's seed must be from 0"):
        CohortOptions(seed=-1)
    for truncation in (0.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="truncation must be above 0"):
            CohortOptions(truncation=truncation)
    with pytest.raises(ValueError, match="batches and shards need an image each, got 0 and 2000"):
        CohortOptions(batch_size=0)


def test_the_preview_has_a_row_a_label(tiny_export, tmp_path):
    generate_cohort(StubModel(tiny_export), plan_of(9, 3), tmp_path)
    picture = cv2.imread(str(write_cohort_preview(tmp_path / "32")))
    one_row = cv2.imread(str(write_cohort_preview(write_only_normal(tiny_export, tmp_path / "normal"))))
    assert picture.shape[0] == 2 * one_row.shape[0] and picture.shape[1] == one_row.shape[1] > 8 * 32


def write_only_normal(tiny_export, folder):
    generate_cohort(StubModel(tiny_export), plan_of(9, 0), folder)
    return folder / "32"
