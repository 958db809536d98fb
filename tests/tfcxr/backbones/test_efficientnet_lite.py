import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.backbones.efficientnet_lite import EPSILON, EfficientNetLite
from tfcxr.backbones.frozen_maps import open_frozen_maps
from tfcxr.backbones.stored_backbone import write_saved_model

TINY = {"filters": (4, 3, 4, 5, 6, 7, 8, 9, 10), "repeats": (1, 2, 1, 1, 1, 2, 1), "classes": 5}
MAPS = {"stride_4": (16, 24), "stride_8": (8, 30), "stride_16": (4, 42), "stride_32": (2, 10)}


@pytest.fixture(scope="module")
def network():
    """With statistics that are no start values."""
    network, draw = EfficientNetLite(**TINY), np.random.default_rng(0)
    for variable in network.variables:
        if "kernel" not in variable.path:
            variable.assign(draw.uniform(0.5, 1.5, variable.shape))
    return network


@pytest.fixture(scope="module")
def image():
    return tf.random.stateless_uniform([2, 64, 64, 3], [1, 2], -1.0, 1.0)


def by_keras(part, features):
    """What Keras's own layers make of the weights of a `NormalizedKernel`."""
    layer = keras.layers.DepthwiseConv2D if part.is_depthwise else keras.layers.Conv2D
    shape = part.kernel.shape
    counts = () if part.is_depthwise else (shape[-1],)
    convolution = layer(*counts, shape[0], strides=part.stride, padding="same", use_bias=False)
    normalization = keras.layers.BatchNormalization(epsilon=EPSILON)
    for built, weights in ((convolution, [part.kernel]), (normalization, part.norm.variables)):
        built.build(features.shape)
        built.set_weights([np.asarray(weight) for weight in weights])
        features = built(features)
    return tf.clip_by_value(features, 0.0, 6.0) if part.is_activated else features


def test_network_is_that_of_keras_layers(network, image):
    features = by_keras(network.stem, image)
    for block in network.blocks:
        new = features if block.expand is None else by_keras(block.expand, features)
        new = by_keras(block.project, by_keras(block.depthwise, new))
        features = features + new if block.is_residual else new
    expected = tf.reduce_mean(by_keras(network.head, features), axis=[1, 2])
    np.testing.assert_allclose(network.pooled(image), expected, rtol=1e-3, atol=1e-4)
    assert [block.is_residual for block in network.blocks] == [False, False, True, *[False] * 4, True, False]
    assert network(image).shape == (2, 5)


def test_maps_are_the_last_activations_at_each_size(network, image):
    found = network.maps(image)
    assert {name: (value.shape[1], value.shape[-1]) for name, value in found.items()} == MAPS
    assert network.map_channels == {name: channels for name, (_, channels) in MAPS.items()}
    assert all(float(tf.reduce_min(value)) >= 0.0 and float(tf.reduce_max(value)) <= 6.0 for value in found.values())


def test_other_stages_and_small_images_are_refused(network):
    with pytest.raises(ValueError, match="has 7 stages: expected as many repeats and two more filters, got 2 and 9"):
        EfficientNetLite(TINY["filters"], (1, 2))
    with pytest.raises(ValueError, match="needs images of at least 32 pixels a side"):
        network(tf.zeros([1, 16, 16, 3]))


def test_exported_maps_serve_a_critic(network, image, tmp_path):
    write_saved_model(network, tmp_path / "lite")
    maps = open_frozen_maps(f"{tmp_path / 'lite'}:layers=stride_4,stride_16", image_size=32, size=64)
    assert (maps.names, maps.shapes) == (("stride_4", "stride_16"), ((16, 24), (4, 42)))
    grey = image[..., :1]
    with tf.GradientTape() as tape:
        tape.watch(grey)
        fine, coarse = tf.function(maps.compute)(grey)
        total = tf.reduce_sum(fine) + tf.reduce_sum(coarse)
    expected = network.maps(network.from_signed(grey))
    np.testing.assert_allclose(fine, expected["stride_4"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(coarse, expected["stride_16"], rtol=1e-4, atol=1e-5)
    assert np.abs(tape.gradient(total, grey)).max() > 0
