"""The command: what it writes and prints, that it resumes, and what it refuses."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.backbones.frozen_network import open_frozen_network
from tfcxr.backbones.stored_classifier import StoredClassifier
from tfcxr.data.pipeline import from_pixels, load_images
from tfcxr.evaluation.extractors.epoch_selection import EpochSelection
from tfcxr.models.pggan import PGGAN, PGGANConfig
from tfcxr.train_classifier import TrainClassifierArguments, train_classifier

QUICK = ("max_epochs=3", "batch_size=8", "dense_units=(8,)", "selects_by=auc", "schedule=plateau")


def arguments(disc_records, out_dir, **given):
    defaults = {"classifier": "small_cnn", "settings": QUICK, "resamples": 50}
    return TrainClassifierArguments(data_dir=str(disc_records), out_dir=str(out_dir), **(defaults | given))


@pytest.fixture(scope="module")
def out_dir(disc_records, tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("saved_models") / "small"
    train_classifier(arguments(disc_records, out_dir))
    return out_dir


def test_a_stored_classifier_its_scores_and_its_predictions_are_written(out_dir, disc_records):
    stored = StoredClassifier(out_dir)
    assert stored.label_names == ("NORMAL", "PNEUMONIA") and stored.is_single_label and stored.image_size == 32
    test = load_images(disc_records, "test")
    with np.load(out_dir / "1" / "predictions_test.npz") as predictions:
        probability = stored.probability(from_pixels(tf.constant(test.images)))
        np.testing.assert_allclose(predictions["small_cnn"][0], probability, atol=1e-5)
        np.testing.assert_array_equal(predictions["labels"], test.labels)
    scores = json.loads((out_dir / "1" / "scores.json").read_text())["auc"]
    assert set(scores) == {"validation", "test"} and scores["test"]["images"] == 16
    description = stored.description
    assert description["validation_auc"]["NORMAL"] == scores["validation"]["labels"]["NORMAL"]["mean"]
    assert all(0 < threshold < 1 for threshold in stored.thresholds.values())
    assert description["settings"]["architecture"] == "small_cnn" and description["seed"] == 0
    assert description["data"]["name"] == "discs" and len(description["fit"]["curves"]["validation_auc"]) == 3
    assert [entry.name for entry in out_dir.iterdir()] == ["1"], "nothing unfinished is left"
    learned_from = {
        *load_images(disc_records, "train").patient_keys,
        *load_images(disc_records, "validation").patient_keys,
    }
    assert set((out_dir / "1" / "training_patients.txt").read_text().split()) == learned_from
    network = open_frozen_network(f"{out_dir / '1' / 'network.keras'}:layer=features")
    np.testing.assert_allclose(
        network.features(test.images), stored.features(from_pixels(tf.constant(test.images))), atol=1e-4
    )


def test_the_same_command_prints_again_and_another_is_refused(out_dir, disc_records, capsys):
    assert train_classifier(arguments(disc_records, out_dir)) == out_dir / "1"
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == ["AUC", "NORMAL", "PNEUMONIA", "macro", "wrote"]
    with pytest.raises(ValueError, match="classifier of other settings: seed was 0, now 1; choose another --out_dir"):
        train_classifier(arguments(disc_records, out_dir, seed=1))


@pytest.mark.thorough
def test_a_stopped_training_resumes_to_the_same_classifier(out_dir, disc_records, tmp_path, monkeypatch):
    save = EpochSelection.save

    def save_and_stop(self, *given):
        save(self, *given)
        if self.epochs == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EpochSelection, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train_classifier(arguments(disc_records, tmp_path))
    with pytest.raises(ValueError, match="unfinished holds a classifier of other settings: settings.max_epochs was 3"):
        train_classifier(arguments(disc_records, tmp_path, settings=("max_epochs=4", *QUICK[1:])))
    train_classifier(arguments(disc_records, tmp_path))
    images = tf.random.stateless_uniform([4, 32, 32, 1], [0, 0], -1, 1)
    np.testing.assert_array_equal(StoredClassifier(tmp_path).logits(images), StoredClassifier(out_dir).logits(images))


@pytest.mark.thorough
def test_a_discriminator_is_trained_from_its_run(disc_records, tmp_path, monkeypatch, capsys):
    from tfcxr.training import run_folder

    model = PGGAN(PGGANConfig(image_size=32, latent_size=8, filters=(8, 8, 8, 4)), seed=3)
    run = run_folder.RunConfig("pggan", {}, (), 0, 4, 7, {})
    monkeypatch.setattr(run_folder, "load_model", lambda run_dir, checkpoint: (model, run, {"step": 7}))
    (tmp_path / "training_patients.txt").write_text("patient-test-0\npatient-train-1\n")
    given = {"classifier": "discriminator", "run_dir": str(tmp_path)}
    given["settings"] = ("max_epochs=1", "batch_size=8", "learning_rate=3e-3")
    before = [np.asarray(variable).copy() for variable in model.variables]
    train_classifier(arguments(disc_records, tmp_path / "out", **given))
    assert "the GAN was trained on 1 of the 8 patients of split 'test'" in capsys.readouterr().out
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    stored = StoredClassifier(tmp_path / "out")
    assert stored.description["run"]["step"] == 7 and stored.description["run"]["model"] == "pggan"
    image = tf.random.stateless_uniform([3, 32, 32, 1], [0, 0], -1, 1)
    assert stored.features(image).shape == (3, 8) and np.abs(stored.logits(image)).max() > 0
    small = PGGAN(PGGANConfig(image_size=16, latent_size=8, filters=(8, 8, 4)), seed=3)
    monkeypatch.setattr(run_folder, "load_model", lambda run_dir, checkpoint: (small, run, {"step": 7}))
    with pytest.raises(ValueError, match="the run's discriminator reads images of 16 px, the data are of 32 px"):
        train_classifier(arguments(disc_records, tmp_path / "other", **given))


def test_what_cannot_be_trained_is_refused(disc_records, write_records, tmp_path):
    with pytest.raises(ValueError, match="--classifier=discriminator and --run_dir, .* go together; give both"):
        arguments(disc_records, tmp_path, classifier="discriminator")
    with pytest.raises(ValueError, match="go together"):
        arguments(disc_records, tmp_path, run_dir="runs/pggan")
    with pytest.raises(ValueError, match="names a split twice; training, validation and test need splits of"):
        train_classifier(arguments(disc_records, tmp_path, test_splits=("train",)))
    with pytest.raises(ValueError, match="--labels=NORMAL leaves a single one of the exclusive classes"):
        train_classifier(arguments(disc_records, tmp_path, labels=("NORMAL",)))
    with pytest.raises(ValueError, match="no split 'held_out'|split 'held_out'"):
        train_classifier(arguments(disc_records, tmp_path, test_splits=("held_out",)))
    with pytest.raises(FileNotFoundError):
        train_classifier(arguments(tmp_path / "absent", tmp_path))
    write_records(tmp_path / "made" / "32", {"train": 8}, is_synthetic=True)
    with pytest.raises(ValueError, match="holds synthetic images .*; train a classifier on real patients"):
        train_classifier(arguments(tmp_path / "made", tmp_path / "x"))
    (tmp_path / "taken" / "1").mkdir(parents=True)
    with pytest.raises(ValueError, match="1 exists already and is no classifier; choose another --out_dir"):
        train_classifier(arguments(disc_records, tmp_path / "taken"))
