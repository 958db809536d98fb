"""Any .keras file or SavedModel as an extractor: sizes, channels, values, layers, and what is refused."""

import json
import re
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.backbones import frozen_network
from tfcxr.backbones.frozen_network import open_frozen_network
from tfcxr.data.stored_images import read_batches
from tfcxr.precision import has_bfloat16

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 1), np.uint8)


def network(size=16, channels=3, last=None):
    image = keras.Input([size, size, channels])
    hidden = keras.layers.Conv2D(4, 3, name="convolution")(image)
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(hidden)
    return keras.Model(image, (last or keras.layers.Dense(2, name="logits"))(pooled))


@pytest.fixture
def keras_file(tmp_path):
    model = network()
    model.save(tmp_path / "net.keras")
    return tmp_path / "net.keras", model


def expected_input(values):
    grey = IMAGES.astype(np.float32) / 127.5 - 1
    resized = tf.image.resize(grey, [16, 16], "bicubic", antialias=True)
    return tf.repeat(resized, 3, axis=-1) if values == "signed" else tf.repeat((resized + 1) / 2, 3, axis=-1)


@pytest.mark.parametrize("values", ["signed", "unit"])
def test_images_are_resized_and_scaled_and_the_last_pooling_is_read(keras_file, values):
    path, model = keras_file
    found = open_frozen_network(f"{path}:values={values}")
    pooled = keras.Model(model.inputs, model.get_layer("pooled").output)
    np.testing.assert_allclose(found.features(IMAGES), pooled(expected_input(values)), atol=1e-5)
    assert found.passport["layer"] == "pooled" and found.passport["input_size"] == 16
    assert found.passport["channels"] == 3 and found.passport["resize"] == "bicubic, antialiased"
    assert len(found.passport["sha256"]) == 64


def test_a_layer_by_name(keras_file):
    path, model = keras_file
    np.testing.assert_allclose(
        open_frozen_network(f"{path}:layer=logits").features(IMAGES), model(expected_input("signed")), atol=1e-5
    )
    with pytest.raises(ValueError, match="has no layer 'logit'; did you mean 'logits'"):
        open_frozen_network(f"{path}:layer=logit")
    with pytest.raises(ValueError, match=r"gives \[14, 14, 4\] values per image, expected one row"):
        open_frozen_network(f"{path}:layer=convolution").features(IMAGES)


def test_a_saved_model_of_any_size(tmp_path):
    class Grey(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1], tf.float32, "picture")])
        def __call__(self, picture):
            return {"features": tf.reduce_mean(picture, axis=[1, 2]), "other": tf.zeros([1, 1])}

    tf.saved_model.save(module := Grey(), str(tmp_path / "grey" / "1"), signatures=module.__call__)
    found = open_frozen_network(str(tmp_path / "grey"))
    means = IMAGES.astype(np.float32).mean(axis=(1, 2)) / 127.5 - 1
    np.testing.assert_allclose(found.features(IMAGES), means, atol=1e-5)
    assert found.passport["layer"] == "features" and found.passport["input_size"] is None
    with pytest.raises(ValueError, match="has no output 'feature'; did you mean 'features'"):
        open_frozen_network(f"{tmp_path / 'grey'}:layer=feature")


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16")
def test_bfloat16_is_near_and_says_so(keras_file):
    path, _ = keras_file
    exact, fast = (open_frozen_network(f"{path}:precision={name}") for name in ("float32", "bfloat16"))
    expected, found = exact.features(IMAGES), fast.features(IMAGES)
    assert 0 < np.abs(found - expected).max() < 0.02 * np.abs(expected).max(), "other numbers, near them"
    np.testing.assert_array_equal(exact.features(IMAGES), expected, "later graphs are as before")
    assert exact.passport == fast.passport | {"precision": "float32"}


def test_bfloat16_is_refused_where_it_would_be_slow(keras_file, monkeypatch):
    monkeypatch.setattr(frozen_network, "has_bfloat16", lambda: False)
    with pytest.raises(ValueError, match="precision=bfloat16 is for processors that have it, and this one has not"):
        open_frozen_network(f"{keras_file[0]}:precision=bfloat16")
    with pytest.raises(ValueError, match="precision=float16 is unknown; did you mean 'bfloat16'"):
        open_frozen_network(f"{keras_file[0]}:precision=float16")


def test_large_images_are_read_few_at_a_time(keras_file, monkeypatch):
    path, _ = keras_file
    expected, asked = open_frozen_network(str(path)).features(IMAGES), []
    monkeypatch.setattr(frozen_network, "IMAGE_PIXELS", 2 * 32**2)
    monkeypatch.setattr(
        frozen_network, "read_batches", lambda images, rows: asked.append(rows) or read_batches(images, rows)
    )
    np.testing.assert_allclose(open_frozen_network(str(path)).features(IMAGES), expected, atol=1e-6)
    assert asked == [2]


def test_features_that_are_not_finite(tmp_path):
    model = network(last=keras.layers.Rescaling(float("inf"), name="broken"))
    model.save(tmp_path / "nan.keras")
    with pytest.raises(ValueError, match="nan.keras gives NaN or infinite features for 5 of 5 images"):
        open_frozen_network(f"{tmp_path / 'nan.keras'}:layer=broken").features(IMAGES)


@pytest.mark.parametrize(
    "foreign",
    [
        {"module": "os", "class_name": "system"},
        {"module": "os", "class_name": "system", "registered_name": "Functional"},
        {"module": "builtins", "class_name": "eval"},
        {"module": "keras.utils", "class_name": "get_file"},
        {"module": "keras.layers", "class_name": "Dense", "registered_name": "mine>Dense"},
    ],
)
def test_a_file_with_code_is_not_loaded(tmp_path, foreign):
    network(last=keras.layers.Lambda(lambda x: x)).save(tmp_path / "code.keras")
    with pytest.raises(
        ValueError, match="code.keras needs keras.layers.Lambda, which is not Keras's own or could run code"
    ):
        open_frozen_network(str(tmp_path / "code.keras"))
    network().save(tmp_path / "foreign.keras")
    with zipfile.ZipFile(tmp_path / "foreign.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    config["config"]["layers"][1] |= foreign
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / "foreign.keras", "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(
        ValueError, match="needs " + re.escape(f"{foreign['module']}.{foreign['class_name']}, which is not Keras's own")
    ):
        open_frozen_network(str(tmp_path / "foreign.keras"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{path}:size=3", "'size=3' is no option of a frozen network; "),
        ("{path}:values=sined", "values=sined is unknown; did you mean 'signed'"),
        ("{folder}/none.keras", "none.keras is neither a .keras file nor the folder of a SavedModel"),
        ("{folder}/text.keras", "text.keras is no .keras file: File is not a zip file"),
    ],
)
def test_what_is_no_network(keras_file, text, message):
    path, _ = keras_file
    (path.parent / "text.keras").write_text("no network")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        open_frozen_network(text.format(path=path, folder=path.parent))


@pytest.mark.parametrize(
    ("shape", "message"),
    [((16, 8, 1), "16 x 8 pixels; they must be square"), ((16, 16, 2), "of 2 channels; they must")],
)
def test_inputs_that_no_radiograph_fits(tmp_path, shape, message):
    image = keras.Input(shape)
    keras.Model(image, keras.layers.GlobalMaxPooling2D()(image)).save(tmp_path / "odd.keras")
    with pytest.raises(ValueError, match=message):
        open_frozen_network(str(tmp_path / "odd.keras"))
