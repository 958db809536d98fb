"""`tfcxr.read` and `tfcxr.load`, and that `import tfcxr` takes no time."""

import json
import subprocess
import sys

import numpy as np
import pytest

import tfcxr
from tfcxr.generate import GenerateArguments, generate
from tfcxr.serving.cascade import export_cascade
from tfcxr.serving.gate import Gate


@pytest.fixture(scope="module")
def cohort(tiny_export, tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("cohort")
    counts = ("NORMAL=3", "PNEUMONIA=2")
    generate(GenerateArguments(saved_model=str(tiny_export), out_dir=str(out_dir), counts=counts, seed=4))
    return out_dir / "32"


def test_a_cohort_as_arrays(cohort):
    images, labels, patients = cohort_read = tfcxr.read(cohort)
    assert images.shape == (5, 32, 32) and images.dtype == np.uint8
    assert labels.sum(axis=0).tolist() == [3, 2] and len(set(patients)) == 5
    assert cohort_read.label_names == ("NORMAL", "PNEUMONIA") and cohort_read.is_synthetic


def test_splits_are_chosen_by_name(disc_records):
    assert len(tfcxr.read(disc_records, "validation").images) == 16
    both = tfcxr.read(disc_records, ["train", "validation"])
    assert len(both.images) > 16 and not both.is_synthetic
    with pytest.raises(ValueError, match="has no split 'valid'"):
        tfcxr.read(disc_records, "valid")


def test_images_of_a_label_by_seed(tiny_export):
    model = tfcxr.load(tiny_export.parent)
    images = model.generate(labels=["PNEUMONIA"], count=70, seed=1).images
    assert images.shape == (70, 32, 32, 1) and images.dtype == np.uint8
    np.testing.assert_array_equal(model.generate("PNEUMONIA", count=3, seed=1), images[:3])
    assert (model.generate("NORMAL", count=3, seed=1) != images[:3]).any()
    assert (model.generate("PNEUMONIA", count=3, seed=2) != images[:3]).any()


def test_generated_images_know_where_they_come_from(tiny_export):
    model = tfcxr.load(tiny_export)
    made = model.generate("PNEUMONIA", count=3, seed=2, truncation=0.5)
    assert made.seeds.tolist() == [2 * 2**32, 2 * 2**32 + 1, 2 * 2**32 + 2]
    assert made.labels.tolist() == [[0, 1]] * 3 and made.labels.dtype == np.float32
    assert json.loads(json.dumps(made.facts)) == made.facts
    assert (made.facts["synthetic"], made.facts["saved_model"], made.facts["truncation"]) == (True, "tiny/1", 0.5)
    assert made.facts["weights_sha256"] == model.model.description.weights_sha256
    again = model.model.generate(made.seeds, made.labels, made.facts["truncation"])
    np.testing.assert_array_equal(again, made.images)
    assert len(made) == 3 and np.asarray(made).shape == (3, 32, 32, 1) and made[0].shape == (32, 32, 1)
    np.testing.assert_array_equal(np.stack([*made]), made)
    assert np.array(made, np.float32).dtype == np.float32


def test_images_of_ones_own_z_and_scores(tiny_export, unlabelled_export):
    model = tfcxr.load(tiny_export)
    images = model.latent(np.zeros([70, 8]), "NORMAL")
    assert images.shape == (70, 32, 32, 1) and images.dtype == np.float32 and np.abs(images).max() <= 1
    np.testing.assert_array_equal(images[0], model.latent(np.zeros([1, 8]), np.array([[1, 0]]))[0])
    made = model.generate("NORMAL", count=3)
    scores = model.score(made)
    assert set(scores) == {"realism", "label_probability"} and scores["label_probability"].shape == (3, 2)
    np.testing.assert_array_equal(scores["realism"], model.model.score(made.images, made.labels))
    np.testing.assert_array_equal(model.score(made.images[..., 0])["realism"], scores["realism"])
    unlabelled = tfcxr.load(unlabelled_export)
    assert unlabelled.latent(np.zeros([2, 8])).shape == (2, 32, 32, 1)
    assert unlabelled.score(unlabelled.generate(count=2))["realism"].shape == (2,)


def test_what_does_not_fit_z_and_scores_is_said(tiny_export):
    model = tfcxr.load(tiny_export)
    with pytest.raises(ValueError, match=r"takes z of the shape \[images, 8\], got \[3, 4\]"):
        model.latent(np.zeros([3, 4]), "NORMAL")
    with pytest.raises(ValueError, match=r"labels need a row for each of 3 images, got the shape \[2, 2\]"):
        model.latent(np.zeros([3, 8]), np.zeros([2, 2]))
    with pytest.raises(ValueError, match="scores uint8 images of 32 x 32 pixels and 1 channel.*got float32 of"):
        model.score(np.zeros([1, 32, 32, 1], np.float32))
    with pytest.raises(ValueError, match="needs labels, one or more of NORMAL, PNEUMONIA"):
        model.generate(count=2)


@pytest.mark.thorough
def test_a_cascade_has_neither_latents_nor_scores_and_a_gate(tiny_export, tmp_path):
    cascade = tfcxr.load(export_cascade(tiny_export, None, tmp_path / "open", Gate(0.0, 2)))
    plain = tfcxr.load(tiny_export).generate("NORMAL", count=2, seed=1)
    np.testing.assert_array_equal(cascade.generate("NORMAL", count=2, seed=1), plain)
    with pytest.raises(ValueError, match="open/1 is a cascade with generate, .*cannot generate_from_latent; give the"):
        cascade.latent(np.zeros([1, 8]), "NORMAL")
    with pytest.raises(ValueError, match="open/1 is a cascade with generate, .*cannot score; give the export of a gen"):
        cascade.score(plain)
    closed = tfcxr.load(export_cascade(tiny_export, None, tmp_path / "closed", Gate(1.0, 2)))
    with pytest.raises(ValueError, match="2 of 2 images did not pass the gate of .*closed/1 in 2 tries; give another"):
        closed.generate("NORMAL", count=2)


def test_the_card_is_at_hand(tiny_export, tmp_path):
    model = tfcxr.load(tiny_export)
    assert model.card == (tiny_export / "README.md").read_text() and "# tiny, version 1" in model.card
    model.model.path = tmp_path
    with pytest.raises(FileNotFoundError, match="has no model card, README.md; export the model again"):
        _ = model.card


def test_the_same_images_as_the_command(tiny_export, cohort):
    model, images = tfcxr.load(tiny_export), tfcxr.read(cohort)
    for name, column in zip(images.label_names, images.labels.T, strict=True):
        made = model.generate(name, count=5, seed=4)[..., 0]
        np.testing.assert_array_equal(images.images[column == 1], made[column == 1])


def test_labels_that_the_model_does_not_have(tiny_export):
    with pytest.raises(ValueError, match="the model has no label 'Effusion'"):
        tfcxr.load(tiny_export).generate(labels=["Effusion"])
    with pytest.raises(ValueError, match="so NORMAL.PNEUMONIA cannot be generated"):
        tfcxr.load(tiny_export).generate(labels=["NORMAL", "PNEUMONIA"])


def test_import_is_instant_and_an_unknown_name_lists_the_public_ones():
    code = "import sys, tfcxr; assert not {'tensorflow', 'numpy'} & set(sys.modules); tfcxr.lod"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "has no attribute 'lod'; public names: GeneratedImages, Generator, Radiographs, load, read" in done.stderr
