import dataclasses
import shutil

import keras
import numpy as np
import pytest

from tfcxr.evaluation.extractors import architectures
from tfcxr.evaluation.extractors.classifier import build_classifier, open_classifier, train_classifier
from tfcxr.evaluation.extractors.classifier_config import make_classifier_config
from tfcxr.evaluation.extractors.initial_weights import load_initial_weights
from tfcxr.evaluation.labelled_images import LabelledImages

SMALL = {"dense_units": (8,), "max_epochs": 1, "batch_size": 8}


def build(labels=2, seed=0, initial_weights="") -> keras.Model:
    """A small classifier with its initial weights."""
    config = make_classifier_config("small_cnn", SMALL | {"initial_weights": initial_weights})
    model = build_classifier(config, 32, labels, True, seed)
    if initial_weights:
        load_initial_weights(model, initial_weights, architectures.SMALL_CNN)
    return model


def kernels(model) -> list[np.ndarray]:
    return [layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")]


@pytest.mark.parametrize("name", ["first.weights.h5", "first.keras"])
def test_a_classifier_of_the_same_labels_starts_from_all_weights_others_from_the_trunk(tmp_path, name):
    first, path = build(), str(tmp_path / name)
    first.save(path) if name.endswith(".keras") else first.save_weights(path)
    for one, other in zip(build(2, 1, path).get_weights(), first.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for index, kernel in enumerate(kernels(build(3, 1, path))):
        expected = kernels(first) if index < 4 else kernels(build(3, 1))
        np.testing.assert_array_equal(kernel, expected[index])


@pytest.mark.thorough
def test_a_training_starts_from_what_another_has_learned(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (16, 32, 32, 1)).astype(np.uint8)
    data, path = LabelledImages(images, np.eye(2, dtype=np.float32)[np.arange(16) % 2]), tmp_path / "a.weights.h5"
    first = train_classifier(make_classifier_config("small_cnn", SMALL), data, data, True, 0)
    first.save(path)
    still = make_classifier_config("small_cnn", SMALL | {"learning_rate": 1e-9, "initial_weights": str(path)})
    started = train_classifier(still, data, data, True, seed=1, steps_per_epoch=5)
    for one, other in zip(kernels(started.model), kernels(first.model), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    opened = open_classifier(still, path, first.fit, 32, 2, True)
    np.testing.assert_array_equal(opened.predict(images)[0], first.predict(images)[0])


def test_results_depend_on_what_a_file_holds_not_on_where_it_lies(tmp_path):
    build().save_weights(tmp_path / "a.weights.h5")
    build(seed=1).save_weights(tmp_path / "c.weights.h5")
    shutil.copy(tmp_path / "a.weights.h5", tmp_path / "b.weights.h5")
    first, second, third = (
        make_classifier_config("small_cnn", {"initial_weights": str(tmp_path / f"{name}.weights.h5")}).identity
        for name in "abc"
    )
    assert first == second != third and len(first["initial_weights"]) == 64


def test_imagenet_weights_get_the_values_they_were_trained_on(monkeypatch):
    """With constants in place of the published weights, which are not here."""
    stored = keras.applications.VGG16(include_top=False, weights=None)
    stored.set_weights([np.full_like(weight, 0.01) for weight in stored.get_weights()])
    model = build_classifier(make_classifier_config("vgg16", {"initial_weights": "imagenet"}), 32, 2, True, 0)
    load_initial_weights(model, "imagenet", dataclasses.replace(architectures.VGG16, imagenet=lambda: stored))
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    np.testing.assert_array_equal(first.kernel, np.full([3, 3, 3, 64], 0.01, np.float32))
    white = keras.Model(model.input, first.input)(np.ones([1, 32, 32, 1], np.float32))
    expected = keras.applications.vgg16.preprocess_input(np.full([1, 1, 1, 3], 255.0, np.float32))
    np.testing.assert_allclose(white[0, 0, 0], expected.ravel(), rtol=1e-5)


def test_imagenet_weights_of_densenet_see_what_keras_gives_them():
    scale, offset = architectures.DENSENET121.imagenet_input
    expected = keras.applications.densenet.preprocess_input(np.full([1, 1, 1, 3], 102.0, np.float32))
    np.testing.assert_allclose(np.multiply(scale, 0.4) + offset, expected.ravel(), rtol=1e-5)


def test_imagenet_weights_that_cannot_be_fetched_say_where_to_put_them():
    def offline():
        raise Exception("URL fetch failure on https://host/vgg16_notop.h5: None -- no network")

    with pytest.raises(ValueError, match=r"into ~/.keras/models .*https://host/vgg16_notop.h5"):
        load_initial_weights(build(), "imagenet", dataclasses.replace(architectures.VGG16, imagenet=offline))


def test_a_trunk_that_is_a_layer_of_another_network_is_found(tmp_path):
    inputs = keras.Input([32, 32, 3])
    trunk = keras.Model(inputs, architectures.small_cnn(inputs))
    pictures = keras.Input([32, 32, 3])
    whole = keras.Model(pictures, keras.layers.Dense(7)(trunk(keras.layers.Rescaling(1 / 255)(pictures))))
    whole.save(tmp_path / "nested.keras")
    started = kernels(build(initial_weights=str(tmp_path / "nested.keras")))
    np.testing.assert_array_equal(started[3], kernels(trunk)[3])


def test_what_cannot_be_a_start_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no ImageNet weights of small_cnn; choose --classifier=vgg16, dense"):
        make_classifier_config("small_cnn", {"initial_weights": "imagenet"})
    with pytest.raises(ValueError, match=r"expects imagenet, FILE.keras or FILE.weights.h5, got weights.npz"):
        make_classifier_config("small_cnn", {"initial_weights": "weights.npz"})
    with pytest.raises(FileNotFoundError, match=r"initial_weights=no.keras: there is no such file"):
        make_classifier_config("small_cnn", {"initial_weights": "no.keras"})
    other = tmp_path / "other.keras"
    inputs = keras.Input([32, 32, 3])
    keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(keras.layers.Conv2D(7, 3)(inputs))).save(other)
    with pytest.raises(ValueError, match=r"other.keras does not hold the trunk of small_cnn: expected .* 20 weights"):
        build(initial_weights=str(other))
    damaged = tmp_path / "damaged.weights.h5"
    damaged.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"damaged.weights.h5 cannot be read"):
        build(initial_weights=str(damaged))
