"""Cohorts through a gate and a super-resolution model: pixels, provenance, going on after a kill, refusals."""

import dataclasses
import shutil

import numpy as np
import pytest

from tfcxr.data.pipeline import load_images
from tfcxr.data.records import read_dataset_info
from tfcxr.sampling.cohort import generate_cohort
from tfcxr.sampling.cohort_labels import counted_labels
from tfcxr.sampling.cohort_options import CohortOptions
from tfcxr.sampling.image_source import ImageSource
from tfcxr.serving.cascade import export_cascade
from tfcxr.serving.gate import TRY_STRIDE, Gate
from tfcxr.serving.loaded_model import LoadedModel, load_generating_model

pytestmark = pytest.mark.thorough

NAMES = ("NORMAL", "PNEUMONIA")
OPTIONS = CohortOptions(seed=1, batch_size=4, shard_images=6)


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def accepted_seed(read, image):
    return int(read.keys[image].rpartition("-")[2])


@pytest.fixture(scope="module")
def plan():
    return counted_labels({"NORMAL": 8, "PNEUMONIA": 6}, NAMES, True, seed=0)


@pytest.fixture(scope="module")
def gate(tiny_export, plan):
    """Passed by about half of the candidates."""
    model = LoadedModel(tiny_export)
    labels = plan.part(0, 14)
    return Gate(float(np.median(model.score(model.generate(np.arange(14) + 2**32, labels), labels))), 50)


@pytest.fixture(scope="module")
def cohort(tiny_export, tiny_enlarger, plan, gate, tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("cohort")
    generate_cohort(LoadedModel(tiny_export), plan, out_dir, OPTIONS, gate, LoadedModel(tiny_enlarger))
    return out_dir


def test_images_passed_the_gate_and_were_enlarged(cohort, tiny_export, plan, gate):
    read, model, tries = load_images(cohort / "64", "train"), LoadedModel(tiny_export), []
    np.testing.assert_array_equal(read.labels, plan.part(0, 14))
    for image in range(14):
        label = plan.part(image, image + 1)
        attempt, rest = divmod(accepted_seed(read, image) - (2**32 + image), TRY_STRIDE)
        assert rest == 0 and attempt >= 0
        seeds = 2**32 + image + TRY_STRIDE * np.arange(attempt + 1)
        small = model.generate(seeds, label.repeat(attempt + 1, axis=0))
        is_passed = model.score(small, label.repeat(attempt + 1, axis=0)) >= np.float32(gate.min_realism)
        assert is_passed[-1] and not is_passed[:-1].any()
        np.testing.assert_array_equal(read.images[image], small[-1].repeat(2, axis=0).repeat(2, axis=1))
        tries.append(attempt + 1)
    recorded = read_dataset_info(cohort / "64").provenance["realism_gate"]
    assert recorded["tries"] == sum(tries) > 14
    assert recorded["images_by_tries"] == {str(n): tries.count(n) for n in sorted(set(tries))}
    of_label = np.array(tries) @ plan.part(0, 14)
    assert recorded["tries_by_label"] == {
        name: {"images": images, "tries": int(count)}
        for name, images, count in zip(NAMES, (8, 6), of_label, strict=True)
    }
    assert recorded["realism"]["minimum"] >= np.float32(gate.min_realism)


def test_the_provenance_names_both_models(cohort, tiny_export, gate):
    info = read_dataset_info(cohort / "64")
    provenance = info.provenance
    assert (info.image_size, info.name, info.is_synthetic) == (64, "tiny_enlarger", True)
    assert (provenance["saved_model"], provenance["model"]) == ("tiny/1 and enlarger/1", "cascade")
    small, large = provenance["generator"], provenance["super_resolution"]
    assert small["weights_sha256"] == LoadedModel(tiny_export).description.weights_sha256
    assert (large["saved_model"], large["scale"], large["steps"]) == ("enlarger/1", 2, 9)
    assert (small["training_data"]["name"], large["training_data"]["name"]) == ("discs", "large discs")
    assert provenance["realism_gate"]["min_realism"] == gate.min_realism
    assert provenance["acceptance_rate"] == 14 / provenance["realism_gate"]["tries"]
    assert provenance["training_data"]["patient_keys_file"] == "training_patients.txt"
    assert (cohort / "64" / "training_patients.txt").read_text() == "patient-a\npatient-b\npatient-c\n"
    assert info.notice == (
        "Synthetic radiographs drawn by tiny version 1 and enlarger version 1, not patients. "
        "Discs, not radiographs. Large discs."
    )


def test_killed_it_goes_on_to_the_same_bytes(cohort, tiny_export, tiny_enlarger, plan, gate, tmp_path, monkeypatch):
    model, large = LoadedModel(tiny_export), LoadedModel(tiny_enlarger)
    super_resolve, batches = large.super_resolve, []

    def until_killed(image):
        batches.append(image)
        if len(batches) > 2:
            raise KeyboardInterrupt
        return super_resolve(image)

    monkeypatch.setattr(large, "super_resolve", until_killed)
    with pytest.raises(KeyboardInterrupt):
        generate_cohort(model, plan, tmp_path, OPTIONS, gate, large)
    assert len(list((tmp_path / "64").iterdir())) == 1  # one whole shard, nothing half-written
    monkeypatch.undo()
    generate_cohort(model, plan, tmp_path, OPTIONS, gate, large)
    assert content(tmp_path) == content(cohort)


def test_nothing_passes_and_more_tries_go_on(tiny_export, plan, gate, tmp_path):
    model, few = LoadedModel(tiny_export), dataclasses.replace(gate, max_tries=1)
    with pytest.raises(ValueError, match=r"no image of (NORMAL|PNEUMONIA) reached realism .* in 1 tries, the best had"):
        generate_cohort(model, plan, tmp_path / "cut", CohortOptions(seed=1, shard_images=1), few)
    assert not (tmp_path / "cut" / "32" / "dataset_info.json").exists()
    with pytest.raises(ValueError, match="unfinished cohort of another min_realism;"):
        generate_cohort(model, plan, tmp_path / "cut", CohortOptions(seed=1, shard_images=1), Gate(0.0))
    with pytest.raises(ValueError, match="unfinished cohort of another min_realism;"):
        generate_cohort(model, plan, tmp_path / "cut", CohortOptions(seed=1, shard_images=1))
    generate_cohort(model, plan, tmp_path / "cut", CohortOptions(seed=1, shard_images=1), gate)
    generate_cohort(model, plan, tmp_path / "whole", CohortOptions(seed=1, shard_images=1), gate)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


@pytest.fixture(scope="module")
def cascade(tiny_export, tiny_enlarger, gate, tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("saved_models") / "cascade"
    return load_generating_model(export_cascade(tiny_export, tiny_enlarger, out_dir, gate))


def test_an_exported_cascade_makes_the_same_cohort(cohort, cascade, plan, tmp_path, monkeypatch):
    info = generate_cohort(cascade, plan, tmp_path / "cohort", OPTIONS)
    pair = read_dataset_info(cohort / "64")
    assert [shard.sha256 for shard in info.splits["train"].shards] == [
        shard.sha256 for shard in pair.splits["train"].shards
    ]
    assert info.provenance["saved_model"] == "cascade/1"
    for name in ("weights_sha256", "generator", "super_resolution", "acceptance_rate", "training_data"):
        assert info.provenance[name] == pair.provenance[name]
    for name in ("tries", "images_by_tries", "tries_by_label", "max_tries"):
        assert info.provenance["realism_gate"][name] == pair.provenance["realism_gate"][name]
    call = cascade.call
    refusing = lambda *names, **inputs: call(*names, **inputs) | {"is_accepted": np.zeros(4, bool)}  # noqa: E731
    monkeypatch.setattr(cascade, "call", refusing)
    with pytest.raises(ValueError, match="in 50 tries, .*: export .*cascade/1 again with a lower min_realism or"):
        generate_cohort(cascade, plan, tmp_path / "none", OPTIONS)


def test_a_score_that_is_nan_is_told(tiny_export, plan, gate, monkeypatch):
    model = LoadedModel(tiny_export)
    outputs = model.outputs

    def with_nan(name, **inputs):
        found = outputs(name, **inputs)
        return found if name == "generate" else {"realism": found["realism"] * np.nan}

    monkeypatch.setattr(model, "outputs", with_nan)
    with pytest.raises(ValueError, match="the discriminator of .*tiny/1 scored an image NaN: the model left"):
        list(ImageSource(model, gate).images(plan, range(3), 0, 1.0, 4))


def test_without_a_gate_every_image_is_enlarged(tiny_export, tiny_enlarger, plan, tmp_path):
    model = LoadedModel(tiny_export)
    info = generate_cohort(model, plan, tmp_path, OPTIONS, super_resolution=LoadedModel(tiny_enlarger))
    read = load_images(tmp_path / "64", "train")
    assert [accepted_seed(read, image) for image in range(14)] == list(range(2**32, 2**32 + 14))
    drawn = model.generate(2**32 + np.arange(14), plan.part(0, 14))
    np.testing.assert_array_equal(read.images, drawn.repeat(2, axis=1).repeat(2, axis=2))
    assert info.provenance["acceptance_rate"] == 1.0 and "realism_gate" not in info.provenance


def test_a_model_without_patients_leaves_the_cohort_without(tiny_export, tiny_enlarger, plan, tmp_path):
    copy = shutil.copytree(tiny_enlarger, tmp_path / "copy")
    (copy / "training_patients.txt").unlink()
    large = LoadedModel(copy)
    info = generate_cohort(LoadedModel(tiny_export), plan, tmp_path / "cohort", OPTIONS, super_resolution=large)
    assert not (tmp_path / "cohort" / "64" / "training_patients.txt").exists()
    assert "patient_keys_file" not in info.provenance["training_data"]
    missing = info.provenance["training_data"]["patient_keys_missing"]
    assert missing == "enlarger/1 without a record of training patients"


def test_what_does_not_fit_is_refused(tiny_export, tiny_enlarger, cascade, plan, gate, tmp_path):
    model, large = LoadedModel(tiny_export), LoadedModel(tiny_enlarger)
    with pytest.raises(ValueError, match="expected an exported super-resolution model"):
        ImageSource(model, None, model)
    with pytest.raises(ValueError, match="has no discriminator"):
        ImageSource(large, gate)
    for arguments in ((gate, None), (None, large)):
        with pytest.raises(ValueError, match="is a cascade: its gate and its super-resolution model are inside"):
            ImageSource(cascade, *arguments)
    with pytest.raises(ValueError, match="a cohort with a gate holds at most 4194304 images, got 4194305"):
        ImageSource(model, gate).check_count(TRY_STRIDE + 1)
    ImageSource(model).check_count(TRY_STRIDE + 1)
    large.description = dataclasses.replace(large.description, scale=4)
    with pytest.raises(ValueError, match=r"enlarger/1 made images \(4, 64, 64, 1\) of 4, expected 128 x 128 pixels"):
        generate_cohort(model, plan, tmp_path / "cohort", OPTIONS, super_resolution=large)
