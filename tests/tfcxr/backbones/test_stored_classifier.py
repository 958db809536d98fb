"""A classifier in a folder: what it gives, its gradient, other sizes, a new process, and what is refused."""

import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.backbones.stored_classifier import StoredClassifier, write_classifier

DESCRIPTION = {
    "labels": ["Mass", "Edema"],
    "is_single_label": False,
    "image_size": 16,
    "thresholds": {"Mass": 0.3, "Edema": None},
    "validation_auc": {"Mass": 0.8, "Edema": None},
}
IMAGES = np.random.default_rng(0).uniform(-1, 1, (3, 16, 16, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    image = keras.Input([16, 16, 1])
    hidden = keras.layers.Conv2D(4, 3, activation="tanh", kernel_initializer=keras.initializers.HeNormal(seed=1))(image)
    features = keras.layers.GlobalAveragePooling2D()(hidden)
    logits = keras.layers.Dense(2, kernel_initializer=keras.initializers.HeNormal(seed=2))(features)
    return keras.Model(image, [features, logits])


@pytest.fixture(scope="module")
def stored(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved_models") / "judge" / "1"
    return write_classifier(path, lambda image: network(image, training=False), network.variables, DESCRIPTION)


def test_it_gives_what_the_network_gave_and_what_was_written_of_it(network, stored):
    classifier = StoredClassifier(stored.parent)
    features, logits = network(IMAGES)
    np.testing.assert_allclose(classifier.features(IMAGES), features, atol=1e-6)
    np.testing.assert_allclose(classifier.logits(IMAGES), logits, atol=1e-6)
    np.testing.assert_allclose(classifier.probability(IMAGES), tf.sigmoid(logits), atol=1e-6)
    np.testing.assert_allclose(classifier.logits(np.repeat(IMAGES, 3, axis=-1)), logits, atol=1e-6)
    assert classifier.path == stored and classifier.label_names == ("Mass", "Edema")
    assert classifier.thresholds == {"Mass": 0.3, "Edema": None} and classifier.image_size == 16
    assert len(classifier.sha256) == 64


def test_exclusive_labels_have_a_softmax(network, tmp_path):
    path = write_classifier(
        tmp_path / "1", lambda image: network(image), network.variables, DESCRIPTION | {"is_single_label": True}
    )
    np.testing.assert_allclose(StoredClassifier(path).probability(IMAGES), tf.nn.softmax(network(IMAGES)[1]), atol=1e-6)


def test_a_gradient_reaches_images_of_any_size_in_a_graph(network, stored):
    classifier = StoredClassifier(stored)

    @tf.function
    def gradient_of(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(classifier.logits(images)[:, 0])
        return tape.gradient(total, images)

    images = tf.Variable(IMAGES)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(network(images)[1][:, 0])
    np.testing.assert_allclose(gradient_of(tf.constant(IMAGES)), tape.gradient(total, images), atol=1e-6)
    larger = tf.image.resize(IMAGES, [32, 32])
    assert np.abs(gradient_of(larger)).max() > 0 and gradient_of(larger).shape == larger.shape


def test_images_of_another_size_are_resized_inside(network, stored):
    larger = np.repeat(np.repeat(np.zeros_like(IMAGES) + 0.25, 2, axis=1), 2, axis=2)
    expected = network(np.full_like(IMAGES, 0.25))[1]
    np.testing.assert_allclose(StoredClassifier(stored).logits(larger), expected, atol=1e-6)


@pytest.mark.thorough
def test_it_loads_where_tfcxr_is_not_installed(network, stored, tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    code = (
        "import sys, numpy as np, tensorflow as tf; loaded = tf.saved_model.load(sys.argv[1]);"
        "out = loaded.signatures['serving_default'](image=tf.constant(np.load(sys.argv[2])));"
        "np.save(sys.argv[3], out['logits']); assert 'tfcxr' not in sys.modules"
    )
    arguments = [str(stored), str(tmp_path / "images.npy"), str(tmp_path / "logits.npy")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), network(IMAGES)[1], atol=1e-5)


def test_what_holds_no_classifier_is_refused(network, stored, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent does not exist; python -m tfcxr.train_classifier --out_dir="):
        StoredClassifier(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="holds no classifier; python -m tfcxr.train_classifier"):
        StoredClassifier(tmp_path)
    (tmp_path / "gan" / "1").mkdir(parents=True)
    (tmp_path / "gan" / "1" / "saved_model.pb").touch()
    with pytest.raises(FileNotFoundError, match="gan holds another SavedModel, no classifier; .* writes one to --out_"):
        StoredClassifier(tmp_path / "gan")
    with pytest.raises(ValueError, match="1 exists already; choose another folder"):
        write_classifier(stored, network, network.variables, DESCRIPTION)
    incomplete = {name: value for name, value in DESCRIPTION.items() if name != "thresholds"}
    with pytest.raises(ValueError, match="the description of a classifier has no 'thresholds'"):
        write_classifier(tmp_path / "new", network, network.variables, incomplete)
    with pytest.raises(ValueError, match="has thresholds of Mass, expected of its labels"):
        write_classifier(tmp_path / "new", network, network.variables, DESCRIPTION | {"thresholds": {"Mass": 0.1}})
    assert not (tmp_path / "new").exists()
    damaged = shutil.copytree(stored, tmp_path / "damaged")
    (damaged / "classifier.json").write_text(json.dumps({"labels": []}))
    with pytest.raises(ValueError, match="damaged holds a damaged classifier .*no 'is_single_label'.*; train it again"):
        StoredClassifier(damaged)
    shutil.copy(stored / "classifier.json", damaged)
    (damaged / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(ValueError, match="damaged holds a damaged classifier .*; train it again"):
        StoredClassifier(damaged)
