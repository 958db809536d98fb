import urllib.error

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.backbones.content_features import VGG19_LAYERS, saved_model_features, vgg19_features

IMAGES = tf.random.stateless_uniform([2, 32, 32, 1], [3, 4], -1.0, 1.0)


def gradient_by_images(features, images=IMAGES):
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(features(images))
    return tape.gradient(total, images).numpy()


@pytest.fixture(scope="module")
def vgg19():
    """Keras's VGG19 with random weights and biases, in place of ImageNet's."""
    network = keras.applications.VGG19(include_top=False, weights=None)
    generator = np.random.default_rng(0)
    for variable in network.variables:
        spread = np.sqrt(2 / max(1, np.prod(variable.shape[:-1]))) if len(variable.shape) > 1 else 0.5
        variable.assign(generator.normal(0, spread, variable.shape))
    return network


@pytest.fixture(scope="module")
def weights_file(vgg19, tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg19.weights.h5"
    vgg19.save_weights(path)
    return str(path)


@pytest.mark.parametrize("layer", ["block2_conv2", "block5_conv4"])
def test_vgg19_equals_keras_on_prepared_images(vgg19, weights_file, layer):
    """Keras's own preparation of three equal channels, and its activation put behind our features."""
    features = vgg19_features(layer, weights_file)(IMAGES).numpy()
    prepared = keras.applications.vgg19.preprocess_input((IMAGES.numpy().repeat(3, axis=-1) + 1) * 127.5)
    expected = keras.Model(vgg19.input, vgg19.get_layer(layer).output)(prepared).numpy()
    assert features.min() < 0 < expected.max(), "before the activation"
    np.testing.assert_allclose(np.maximum(features, 0), expected, atol=1e-4 * expected.max())


def test_colours_are_reversed_as_caffe_has_them(vgg19, weights_file):
    colours = tf.random.stateless_uniform([1, 16, 16, 3], [5, 6], -1.0, 1.0)
    features = vgg19_features("block1_conv1", weights_file)(colours).numpy()
    prepared = keras.applications.vgg19.preprocess_input((colours.numpy() + 1) * 127.5)
    expected = keras.Model(vgg19.input, vgg19.get_layer("block1_conv1").output)(prepared).numpy()
    np.testing.assert_allclose(np.maximum(features, 0), expected, atol=1e-2)  # of about 500


def test_random_weights_follow_their_seed_and_pass_gradients():
    first, same, other = (vgg19_features("block2_conv1", "random", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first(IMAGES), same(IMAGES))
    assert not np.allclose(first(IMAGES), other(IMAGES))
    assert np.all(gradient_by_images(first).any(axis=(1, 2, 3)))


def test_bfloat16_is_close_and_returns_float32():
    exact = vgg19_features("block3_conv4", "random")(IMAGES).numpy()
    rounded = vgg19_features("block3_conv4", "random", "mixed_bfloat16")(IMAGES)
    assert rounded.dtype == tf.float32
    assert keras.config.dtype_policy().name == "float32", "the process keeps its own policy"
    assert 0 < np.abs(rounded - exact).mean() < 0.02 * np.abs(exact).mean()


def test_weights_that_cannot_be_had_are_never_replaced(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", fail)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path), raising=False)
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path), raising=False)
    with pytest.raises(FileNotFoundError, match="could not be downloaded .*no route.*set content_weights to a file"):
        vgg19_features("block1_conv1", "imagenet")
    with pytest.raises(FileNotFoundError, match="content_weights is 'absent.h5', but there is no such file"):
        vgg19_features("block1_conv1", "absent.h5")
    other = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input([3]), keras.layers.Dense(2)]).save_weights(other)
    with pytest.raises(ValueError, match="other.weights.h5 does not hold Keras weights of VGG19 without its top"):
        vgg19_features("block1_conv1", str(other))


def test_a_file_that_lacks_weights_is_refused(tmp_path, vgg19):
    path = tmp_path / "part.weights.h5"
    keras.Model(vgg19.input, vgg19.get_layer("block5_conv1").output).save_weights(path)
    with pytest.raises(ValueError, match="does not hold Keras weights of VGG19 without its top"):
        vgg19_features("block5_conv4", str(path))


def test_unknown_layers_are_refused_with_the_nearest():
    assert len(VGG19_LAYERS) == 16 and VGG19_LAYERS[-1] == "block5_conv4"
    with pytest.raises(ValueError, match="no convolution 'block5_conv5'; did you mean 'block5_conv4'"):
        vgg19_features("block5_conv5", "random")


def export_classifier(folder, input_shape, **outputs):
    image = keras.Input(input_shape, name="picture")
    hidden = keras.layers.Conv2D(4, 3, activation="relu", kernel_initializer=keras.initializers.HeNormal(1))(image)
    pooled = keras.layers.GlobalAveragePooling2D()(hidden)
    heads = {name: keras.layers.Dense(units, name=name)(pooled) for name, units in outputs.items()}
    network = keras.Model(image, heads if len(heads) > 1 else next(iter(heads.values())))
    network.export(folder, verbose=False)
    return network


def test_any_classifier_by_its_signature(tmp_path):
    network = export_classifier(tmp_path / "grey", [None, None, 1], label=3, age=1)
    for name in ("age", "label"):
        features = saved_model_features(tmp_path / "grey", "0..255", name)
        expected = network((IMAGES + 1) * 127.5)[name]
        np.testing.assert_allclose(features(IMAGES), expected, rtol=1e-4, atol=1e-4)
    assert gradient_by_images(features).any()
    assert saved_model_features(tmp_path / "grey")(IMAGES).shape == (2, 1), "the first output by name"
    with pytest.raises(ValueError, match="has no output 'lable'; did you mean 'label'"):
        saved_model_features(tmp_path / "grey", "0..255", "lable")


def test_size_and_channels_are_fitted_to_the_classifier(tmp_path):
    network = export_classifier(tmp_path / "fixed", [24, 20, 3], label=3)
    features = saved_model_features(tmp_path / "fixed", "0..1")
    resized = tf.repeat(tf.image.resize(IMAGES, [24, 20]), 3, axis=-1) / 2 + 0.5
    np.testing.assert_allclose(features(IMAGES), network(resized), atol=1e-5)
    assert gradient_by_images(features).any()


def test_a_model_without_a_signature_is_called(tmp_path):
    class Blur(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1], tf.float32)])
        def __call__(self, images):
            return tf.nn.avg_pool2d(images, 2, 2, "VALID")

    tf.saved_model.save(Blur(), str(tmp_path / "blur"))
    features = saved_model_features(tmp_path / "blur")
    np.testing.assert_allclose(features(IMAGES), tf.nn.avg_pool2d(IMAGES, 2, 2, "VALID"), atol=1e-6)
    np.testing.assert_allclose(gradient_by_images(features), 0.25)


@pytest.mark.parametrize(
    ("specs", "function", "message"),
    [
        (
            [tf.TensorSpec([None, 8, 8, 1], tf.uint8)],
            lambda i: tf.cast(i, tf.float32),
            "takes uint8 .*expected one float",
        ),
        ([tf.TensorSpec([None, 64])], lambda i: i, r"takes float32 \(None, 64\); expected one float tensor"),
        ([tf.TensorSpec([None, 8, 8, 1])], lambda i: tf.cast(tf.argmax(i, 1), tf.float32), "no finite gradient"),
        ([tf.TensorSpec([], name="a"), tf.TensorSpec([], name="b")], lambda a, b: a + b, "takes the inputs a, b"),
        (None, None, "neither a signature serving_default nor a call"),
    ],
)
def test_models_that_cannot_score_images_are_refused(tmp_path, specs, function, message):
    module = tf.Module()
    if specs:
        module.run = tf.function(function, input_signature=specs)
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.run if specs else None)
    with pytest.raises(ValueError, match=message):
        saved_model_features(tmp_path / "m")


def test_range_and_path_are_checked(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no SavedModel: it has no saved_model.pb"):
        saved_model_features(tmp_path)
    with pytest.raises(ValueError, match=r"value_range expects one of -1..1, 0..1, 0..255, got '0..2'"):
        saved_model_features(tmp_path, "0..2")
