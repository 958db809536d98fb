import numpy as np
import pytest
import tensorflow as tf

from tfcxr.backbones.densenet import DenseNet
from tfcxr.precision import precision_scope

TINY = {"growth_rate": 4, "block_config": (2, 2), "initial_filters": 8, "bottleneck_size": 2, "classes": 3}
IMAGES = 1024 * tf.random.stateless_uniform([2, 32, 32, 1], [1, 2], -1.0, 1.0)


def make_model(**settings):
    """A tiny network, every weight and statistic drawn."""
    model = DenseNet(**(TINY | settings))
    generator = np.random.default_rng(0)
    for variable in model.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(generator.uniform(0.05, 1.6, variable.shape))
        elif variable.name != "kernel":
            variable.assign(generator.normal(0, 0.3, variable.shape))
    model.conv0.kernel.assign(model.conv0.kernel / 1024)
    return model


@pytest.fixture(scope="module")
def tiny():
    """One model for all tests that leave its weights as they are."""
    return make_model()


def published(model, image, training=False):
    """The network as the paper and PyTorch's programs have it, part by part."""

    def norm(layer, x):
        mean, variance = layer.moving_mean, layer.moving_variance
        if training:  # without tf.nn.moments, whose second derivative is wrong
            mean = tf.reduce_mean(x, [0, 1, 2])
            variance = tf.reduce_mean(tf.square(x - mean), [0, 1, 2])
        return (x - mean) / tf.sqrt(variance + 1e-5) * layer.gamma + layer.beta

    def convolve(layer, x, stride=1, padding=0):
        x = tf.pad(x, [[0, 0], [padding, padding], [padding, padding], [0, 0]])
        return tf.nn.conv2d(x, tf.convert_to_tensor(layer.kernel), stride, "VALID")

    x = tf.nn.relu(norm(model.conv0.norm, convolve(model.conv0, image, 2, 3)))
    x = tf.nn.max_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=-1e9), 3, 2, "VALID")
    for block, layers in enumerate(model.blocks):
        for layer in layers:
            new = convolve(layer.conv1, tf.nn.relu(norm(layer.norm1, x)))
            x = tf.concat([x, convolve(layer.conv2, tf.nn.relu(norm(layer.conv1.norm, new)), 1, 1)], axis=-1)
        if block < len(model.transitions):
            transition = model.transitions[block]
            x = tf.nn.avg_pool2d(convolve(transition.conv, tf.nn.relu(norm(transition.norm, x))), 2, 2, "VALID")
    return norm(model.norm5, x)


@pytest.mark.parametrize("pixels", [32, 27])
def test_features_are_those_of_the_published_order(tiny, pixels):
    image = IMAGES[:, :pixels, :pixels]
    expected = published(tiny, image).numpy()
    np.testing.assert_allclose(tiny.features(image), expected, atol=1e-5 * np.abs(expected).max())
    activated = tf.reduce_mean(tf.nn.relu(expected), [1, 2])
    np.testing.assert_allclose(tiny.pooled(image), activated, atol=1e-4)
    logits = tf.matmul(activated, tiny.classifier.kernel) + tiny.classifier.bias
    np.testing.assert_allclose(tiny(image), logits, atol=1e-4)


def test_batch_statistics_move_every_norm_and_nothing_else_moves():
    model = make_model()
    model.trainable = False
    before = {id(variable): variable.numpy() for variable in model.variables}
    model(IMAGES)
    assert all(np.array_equal(before[id(variable)], variable.numpy()) for variable in model.variables)
    trained, inferred = model.pooled(IMAGES, training=True), model.pooled(IMAGES)
    assert not np.allclose(trained, inferred, atol=0.01)
    moved = [variable for variable in model.variables if not np.array_equal(before[id(variable)], variable.numpy())]
    statistics = [variable for variable in model.variables if variable.name.startswith("moving_")]
    assert len(statistics) == 2 * 11
    assert {id(variable) for variable in moved} == {id(variable) for variable in statistics}


@pytest.mark.thorough
@pytest.mark.parametrize("training", [False, True])
def test_slope_of_a_gradient_penalty_is_that_of_the_published_order(training):
    model = make_model()

    def penalty_and_slope(features_of):
        with tf.GradientTape() as outer:
            outer.watch(IMAGES)
            with tf.GradientTape() as inner:
                inner.watch(IMAGES)
                total = tf.reduce_sum(tf.sin(tf.reduce_mean(features_of(IMAGES), [1, 2])))
            penalty = tf.reduce_sum(tf.square(1024.0 * inner.gradient(total, IMAGES)))
        return penalty, outer.gradient(penalty, IMAGES).numpy()

    penalty, slope = penalty_and_slope(tf.function(lambda image: model.features(image, training=training)))
    expected_penalty, expected = penalty_and_slope(lambda image: published(model, image, training))
    assert float(penalty) == pytest.approx(float(expected_penalty), rel=1e-4)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(slope, expected, atol=1e-3 * np.abs(expected).max())


def test_values_and_channels_are_converted(tiny):
    signed = tf.constant([-1.0, 0.0, 0.5, 1.0])[None, :, None, None]
    np.testing.assert_array_equal(tiny.from_signed(signed)[0, :, 0, 0], [-1024, 0, 512, 1024])
    np.testing.assert_array_equal(tiny.from_signed(tf.repeat(signed, 3, -1)), tiny.from_signed(signed))
    colours = DenseNet(**(TINY | {"channels": 3, "value_range": "imagenet"}))
    expected = (np.array([0.0, 0.5, 0.75, 1.0])[:, None] - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(colours.from_signed(signed)[0, :, 0], expected, rtol=1e-5)
    assert colours(colours.from_signed(IMAGES / 1024)).shape == (2, 3)


def test_pooled_features_are_of_resized_images_and_maps_are_not():
    model, resizing = make_model(), make_model(input_size=24)
    expected = model.pooled(tf.image.resize(IMAGES, [24, 24], antialias=True))
    np.testing.assert_allclose(resizing.pooled(IMAGES), expected, atol=1e-4)
    np.testing.assert_array_equal(resizing.features(IMAGES), model.features(IMAGES))
    with pytest.raises(ValueError, match="images that are resized must be square, got 32 x 30 pixels"):
        resizing.pooled(IMAGES[:, :, :30])


def test_bfloat16_is_close(tiny):
    with precision_scope("mixed_bfloat16"):
        rounded = make_model()
    assert all(variable.dtype == "float32" for variable in rounded.variables)
    assert rounded.features(IMAGES).dtype == tf.bfloat16
    exact, found = tiny.pooled(IMAGES), rounded.pooled(IMAGES)
    assert found.dtype == tf.float32
    assert 0 < np.abs(found - exact).mean() < 0.05 * np.abs(exact).mean()


def test_weights_are_saved_and_read_again(tiny, tmp_path):
    tiny.save_weights(tmp_path / "tiny.weights.h5")
    other = DenseNet(**TINY, seed=5)
    assert not np.allclose(other(IMAGES), tiny(IMAGES))
    other.load_weights(tmp_path / "tiny.weights.h5")
    np.testing.assert_array_equal(other(IMAGES), tiny(IMAGES))


def test_the_smallest_image_gives_one_value():
    model = DenseNet(**(TINY | {"block_config": (1, 1, 1, 1)}))
    assert model.features(tf.zeros([1, 29, 40, 1])).shape[1:3] == (1, 1)
    with pytest.raises(ValueError, match=r"DenseNet needs images of at least 29 pixels a side, got \(1, 40, 28, 1\)"):
        model.features(tf.zeros([1, 40, 28, 1]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"value_range": "bytes"}, "value_range expects one of xrv, imagenet, unit, signed, got 'bytes'"),
        ({"value_range": "imagenet"}, "three channels, got a network of 1"),
        ({"input_size": -1}, "input_size must be a number of pixels or 0 for any, got -1"),
        ({"op_thresholds": (0.5,)}, "op_thresholds needs one number for each of 3 classes, got 1"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DenseNet(**(TINY | settings))


def test_wrong_images_are_refused(tiny):
    with pytest.raises(ValueError, match=r"DenseNet takes images \[batch, height, width, 1\], got \(2, 32, 32, 3\)"):
        tiny(tf.repeat(IMAGES, 3, -1))
    with pytest.raises(ValueError, match=r"got \(32, 32, 1\); from_signed converts"):
        tiny(IMAGES[0])
