"""`tfcxr.read` and `tfcxr.load`, and that `import tfcxr` takes no time."""

import subprocess
import sys

import numpy as np
import pytest

import tfcxr
from tfcxr.generate import GenerateArguments, generate


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
    images = model.generate(labels=["PNEUMONIA"], count=70, seed=1)
    assert images.shape == (70, 32, 32, 1) and images.dtype == np.uint8
    np.testing.assert_array_equal(model.generate("PNEUMONIA", count=3, seed=1), images[:3])
    assert (model.generate("NORMAL", count=3, seed=1) != images[:3]).any()
    assert (model.generate("PNEUMONIA", count=3, seed=2) != images[:3]).any()


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
    assert "has no attribute 'lod'; public names: Generator, Radiographs, load, read" in done.stderr
