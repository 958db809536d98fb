"""What an earlier version wrote still reads, see version_0_1/README.md."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from tfcxr.data.pipeline import load_images
from tfcxr.data.records import read_patient_keys
from tfcxr.serving.cascade import export_cascade
from tfcxr.serving.gate import Gate
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.train import TrainArguments, train
from tfcxr.training.run_folder import load_model

EARLIER = pathlib.Path(__file__).with_name("version_0_1")
SEEDS = np.arange(4)


@pytest.fixture(scope="module")
def expected():
    with np.load(EARLIER / "expected.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def labels(expected):
    return np.eye(len(expected["first_label"]), dtype=np.float32)[: len(SEEDS)]


def test_a_data_folder(expected):
    data = load_images(EARLIER / "records", "train")
    np.testing.assert_array_equal(data.images[0], expected["first_image"])
    np.testing.assert_array_equal(data.labels[0], expected["first_label"])
    trained_on = (EARLIER / "run" / "training_patients.txt").read_text().split()
    assert read_patient_keys(EARLIER / "records", "train") == trained_on


def test_an_export_gives_the_same_pictures_and_scores(expected, labels):
    model = LoadedModel(EARLIER / "saved_model")
    assert hasattr(model.saved_model, "draw"), "what that version called `generate`"
    image = model.generate(SEEDS, labels)
    assert np.std(expected["image"]) > 1
    # another kind of processor may round a pixel to the next grey level
    assert np.abs(image.astype(int) - expected["image"]).max() <= 1
    np.testing.assert_allclose(model.score(image, labels), expected["score"], atol=1e-4)


@pytest.mark.thorough
def test_an_export_of_one_truncation_for_all_images_becomes_a_cascade(labels, tmp_path):
    generator = EARLIER / "saved_model"
    cascade = LoadedModel(export_cascade(generator, None, tmp_path / "cascade", Gate(None, 1)))
    expected = LoadedModel(generator).generate(SEEDS, labels, truncation=0.5)
    np.testing.assert_array_equal(cascade.generate(SEEDS, labels, truncation=0.5), expected)


def test_a_run_folder_generates_the_same_pictures(expected, labels):
    model, run, state = load_model(EARLIER / "run")
    assert (run.settings["minibatch_stddev"], state["step"]) == (True, 3)
    image = np.asarray(model.generate(SEEDS, labels))
    assert np.abs((image + 1) * 127.5 - expected["image"]).max() < 1


@pytest.mark.thorough
def test_a_run_is_resumed(expected, tmp_path):
    shutil.copytree(EARLIER / "run", tmp_path / "run")
    settings = ("generator_filters=16", "discriminator_filters=4", "latent_size=4", "minibatch_stddev=True")
    settings += ("generator_learning_rate=.02", "r1_interval=2")
    arguments = TrainArguments(
        data_dir=str(EARLIER / "records"),
        run_dir=str(tmp_path / "run"),
        batch_size=8,
        steps=5,
        log_every=1,
        settings=settings,
        export=False,
        resume=True,
    )
    train(arguments)
    with np.load(tmp_path / "run" / "checkpoints" / "step-00000005.npz") as arrays:
        found = arrays["generator/000"]
    with np.load(EARLIER / "run" / "checkpoints" / "step-00000003.npz") as arrays:
        start = arrays["generator/000"]
    # Adam divides by the gradients' size, so where a gradient is rounding noise another processor may move its weight
    # the other way; over all weights both trainings must have gone the same way
    ours, theirs = (found - start).ravel(), (expected["generator_000_at_step_5"] - start).ravel()
    assert np.abs(ours).max() > 1e-2, "two steps move the weights"
    assert ours @ theirs > 0.5 * np.linalg.norm(ours) * np.linalg.norm(theirs)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines if "r1" in line] == [1, 2, 3, 4, 5]
