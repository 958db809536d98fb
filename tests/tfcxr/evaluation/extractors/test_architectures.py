"""The classifiers of two studies: their layers, their settings, and MedFID's two phases."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.evaluation.extractors import architectures, classifier
from tfcxr.evaluation.extractors.architectures import Architecture
from tfcxr.evaluation.extractors.classifier import build_classifier, train_classifier, trunk_layers
from tfcxr.evaluation.extractors.classifier_config import make_classifier_config
from tfcxr.evaluation.labelled_images import LabelledImages


def kinds(model):
    return [type(layer).__name__ for layer in model.layers]


@pytest.mark.thorough
def test_densenet121_has_its_last_layer_replaced_and_nothing_else():
    config = make_classifier_config("densenet121", {})
    model = build_classifier(config, 32, 14, False, seed=0)
    assert model.get_layer("features").output.shape == (None, 1024)
    assert "Dropout" not in kinds(model) and kinds(model).count("Dense") == 1
    assert model.get_layer("logits").count_params() == 1024 * 14 + 14
    published = (config.learning_rate, config.augmentation, config.balance_classes, config.selects_by, config.schedule)
    assert published == (1e-3, "segal2021", "weights", "auc", "plateau")


@pytest.mark.thorough
def test_medfid_is_the_published_one():
    config = make_classifier_config("medfid", {})
    model = build_classifier(config, 64, 7, True, seed=0)
    resizing = next(layer for layer in model.layers if isinstance(layer, keras.layers.Resizing))
    assert resizing.output.shape == (None, 299, 299, 1) and resizing.antialias
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.units for layer in dense] == [2048] * 4 + [7]
    assert [layer.activation.__name__ for layer in dense[:4]] == ["relu"] * 4
    (dropout,) = (layer for layer in model.layers if isinstance(layer, keras.layers.Dropout))
    assert dropout.rate == 0.2 and dropout.input is model.get_layer("features").output
    assert model.get_layer("logits").input is dropout.output
    first = (config.optimizer, config.learning_rate, config.max_epochs)
    assert first == ("rmsprop", 1e-4, 50) and (config.fine_tuned_from, config.fine_tuning_epochs) == (249, 20)

    published = keras.applications.InceptionV3(include_top=False, weights=None, pooling="avg")
    expected = [(type(layer).__name__, layer.count_params()) for layer in published.layers]
    found = [(type(layer).__name__, layer.count_params()) for layer in trunk_layers(model)]
    assert found == expected[1:], "its input is layer 0"


def test_imagenet_weights_of_inception_see_what_keras_gives_them():
    scale, offset = architectures.MEDFID.imagenet_input
    expected = keras.applications.inception_v3.preprocess_input(np.full([1, 1, 1, 3], 102.0, np.float32))
    np.testing.assert_allclose(np.multiply(scale, 0.4) + offset, expected.ravel(), rtol=1e-5)


def tiny_trunk(images):
    hidden = keras.layers.BatchNormalization(name="first_statistics")(keras.layers.Conv2D(4, 3, name="frozen")(images))
    hidden = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, name="fine_tuned")(hidden))
    return keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(hidden))


@pytest.fixture
def tiny_medfid(monkeypatch):
    defaults = dict(architectures.MEDFID.defaults) | {
        "input_size": 24,
        "dense_units": (6, 5),
        "fine_tuned_from": 3,
        "max_epochs": 2,
        "fine_tuning_epochs": 3,
        "fine_tuning_rate": 1e-2,
        "batch_size": 8,
    }
    tiny = Architecture(tiny_trunk, defaults, architectures.relu_layers, True)
    monkeypatch.setattr(classifier, "CLASSIFIERS", {"medfid": tiny})
    return make_classifier_config("medfid", defaults)


@pytest.mark.thorough
def test_the_trunk_waits_for_the_second_phase(tiny_medfid, monkeypatch, tmp_path):
    random = np.random.default_rng(0)
    labels = np.eye(2, dtype=np.float32)[np.arange(24) % 2]
    images = random.integers(0, 120, (24, 12, 12, 1)) + (80 * labels[:, 1, None, None, None]).astype(int)
    data = LabelledImages(images.astype(np.uint8), labels)
    untrained = build_classifier(tiny_medfid, 12, 2, True, seed=0)
    fit, phases = classifier.fit_classifier, []

    def watched(network, *given, **keywords):
        found = fit(network, *given, **keywords)
        names = ("frozen", "first_statistics", "fine_tuned", "dense", "logits")
        layers = [next(layer for layer in network.layers if layer.name.startswith(name)) for name in names]
        first = [next(layer for layer in untrained.layers if layer.name.startswith(name)) for name in names]
        moved = [
            any(not np.array_equal(a, b) for a, b in zip(now.get_weights(), before.get_weights(), strict=True))
            for now, before in zip(layers, first, strict=True)
        ]
        phases.append((moved, float(given[0].learning_rate.numpy())))
        return found

    monkeypatch.setattr(classifier, "fit_classifier", watched)
    trained = train_classifier(tiny_medfid, data, data, True, seed=0, progress_dir=tmp_path)
    assert phases[0] == ([False, False, False, True, True], pytest.approx(1e-4))
    assert phases[1] == ([False, False, True, True, True], pytest.approx(1e-2))
    assert len(trained.fit.curves["loss"]) == 5 and 3 <= trained.fit.best_epoch <= 5
    probability, features = trained.predict(data.images)
    assert features.shape == (24, 5) and probability.shape == (24, 2)
    again = train_classifier(tiny_medfid, data, data, True, seed=0, progress_dir=tmp_path)
    np.testing.assert_array_equal(again.predict(data.images)[0], probability)


def test_a_trunk_with_fewer_layers_is_refused(tiny_medfid):
    data = LabelledImages(np.zeros([8, 12, 12, 1], np.uint8), np.eye(2, dtype=np.float32)[np.arange(8) % 2])
    config = dataclasses.replace(tiny_medfid, fine_tuned_from=249)
    with pytest.raises(ValueError, match="fine_tuned_from=249 leaves no layer to train: the trunk of medfid has 6"):
        train_classifier(config, data, data, True, seed=0)


@pytest.mark.thorough
def test_inception_trains_at_its_smallest_size():
    settings = {"input_size": 75, "dense_units": (8,), "max_epochs": 1, "fine_tuning_epochs": 1, "batch_size": 4}
    config = make_classifier_config("medfid", settings)
    data = LabelledImages(np.zeros([8, 32, 32, 1], np.uint8), np.eye(2, dtype=np.float32)[np.arange(8) % 2])
    trained = train_classifier(config, data, data, True, seed=0)
    assert trained.predict(data.images)[1].shape == (8, 8)
    with tf.GradientTape() as tape:
        image = tf.zeros([1, 32, 32, 1])
        tape.watch(image)
        total = tf.reduce_sum(trained.model(image)[1])
    assert tape.gradient(total, image).shape == image.shape
