"""A stored classifier as --extractor=NAME=FOLDER: features, and probabilities where its labels are the asked ones."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.backbones.stored_classifier import StoredClassifier, write_classifier
from tfcxr.data.pipeline import from_pixels, load_images
from tfcxr.evaluation.cohorts import Cohorts, load_cohort
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.extractors import open_extractors


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    image = keras.Input([16, 16, 1])
    features = keras.layers.Dense(5, kernel_initializer=keras.initializers.HeNormal(seed=1))(
        keras.layers.Flatten()(image)
    )
    logits = keras.layers.Dense(2, kernel_initializer=keras.initializers.HeNormal(seed=2))(features)
    network = keras.Model(image, [features, logits])
    description = {
        "labels": ["PNEUMONIA", "NORMAL"],
        "is_single_label": True,
        "image_size": 16,
        "thresholds": {"PNEUMONIA": 0.5, "NORMAL": 0.5},
        "validation_auc": {"PNEUMONIA": None, "NORMAL": None},
    }
    path = tmp_path_factory.mktemp("saved_models") / "medfid" / "1"
    return write_classifier(path, lambda image: tuple(network(image)), network.variables, description)


def open_one(stored, disc_records, tmp_path, labels=("NORMAL", "PNEUMONIA")):
    evaluation = Evaluation({"acgan": tmp_path}, disc_records, tmp_path, extractors=(f"medfid={stored.parent}",))
    test = load_cohort(disc_records, evaluation.real_info, ["test"], ("NORMAL", "PNEUMONIA"))
    (extractor,) = open_extractors(evaluation, Cohorts(labels, True, {}, test, None, {}, (), ()))
    return extractor, test


def test_features_and_probabilities_in_the_order_that_was_asked_for(stored, disc_records, tmp_path):
    extractor, test = open_one(stored, disc_records, tmp_path)
    images = from_pixels(tf.constant(load_images(disc_records, "test").images))
    expected = StoredClassifier(stored).outputs(images)
    found = extractor.read_cohort(test)
    np.testing.assert_allclose(found["features"], expected["features"], atol=1e-4)
    np.testing.assert_allclose(found["probability"], expected["probability"].numpy()[:, ::-1], atol=1e-5)
    assert extractor.is_classifier and extractor.name == "medfid"
    assert extractor.passport["sha256"] == StoredClassifier(stored).sha256 and extractor.passport["input_size"] == 16
    assert list((tmp_path / "features").glob("medfid-*.json")), "kept for later evaluations"


def test_other_labels_give_features_alone(stored, disc_records, tmp_path):
    extractor, test = open_one(stored, disc_records, tmp_path, labels=("NORMAL", "COVID"))
    assert not extractor.is_classifier and set(extractor.read_cohort(test)) == {"features"}
