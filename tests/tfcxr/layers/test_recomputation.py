"""Parts of a network that compute their inside again: the same values and derivatives, less memory."""

import functools
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.layers.equalized import EqualizedConvolution
from tfcxr.layers.pixel_normalization import pixel_normalization
from tfcxr.layers.recomputation import recomputed

CHANNELS = 8


def noise(*shape, seed=0):
    return tf.random.stateless_normal(shape, [seed, 1])


class Network:
    """Parts of two convolutions with noise between, then pixel normalization, and a mean at the end."""

    def __init__(self, part_count=3, is_on=True, dtype="float32", size=8, channels=CHANNELS):
        self.is_on, self.noise = is_on, noise(2, size, size, 1, seed=5)
        self.parts = [
            [EqualizedConvolution(channels, channels, 3, 10 * part + index, dtype=dtype) for index in (0, 1)]
            for part in range(part_count)
        ]
        self.weights = [weight for part in self.parts for layer in part for weight in layer.trainable_variables]

    def part(self, features, layers):
        features = layers[0](features) + tf.cast(self.noise, layers[0].compute_dtype)
        return pixel_normalization(layers[1](features))

    def __call__(self, features):
        for layers in self.parts:
            features = recomputed(functools.partial(self.part, layers=layers), layers, features, is_on=self.is_on)
        return tf.reduce_mean(tf.cast(tf.tanh(features), tf.float32), axis=[1, 2, 3])


def first_derivatives(network, features):
    """By the weights and the features."""
    with tf.GradientTape() as tape:
        tape.watch(features)
        total = tf.reduce_sum(network(features))
    return [total, *tape.gradient(total, [*network.weights, features])]


def second_derivatives(network, features):
    """Of a penalty on the gradient by the features, as R1 is one; by the weights and the features."""
    with tf.GradientTape() as outer:
        outer.watch(features)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(features)
            total = tf.reduce_sum(network(features))
        penalty = tf.reduce_sum(tf.square(tape.gradient(total, features)))
    return [penalty, *outer.gradient(penalty, [*network.weights, features])]


def in_a_condition(network, features):
    """As lazy penalties are computed: within one branch, after derivatives outside of it."""
    first = first_derivatives(network, features)
    second = lambda: second_derivatives(network, features)  # noqa: E731
    return first + tf.cond(tf.reduce_sum(features) < 1e9, second, lambda: [tf.zeros_like(value) for value in first])


def assert_close(found, expected, tolerance=1e-6):
    """Relative to the largest value of each tensor: sums that round in another order."""
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * float(tf.reduce_max(tf.abs(other))))


@pytest.mark.parametrize("derivatives", [first_derivatives, second_derivatives])
def test_derivatives_are_those_of_the_plain_call(derivatives):
    features = noise(2, 8, 8, CHANNELS)
    assert_close(derivatives(Network(), features), derivatives(Network(is_on=False), features))


def test_first_derivatives_have_the_same_bits():
    features = noise(2, 8, 8, CHANNELS)
    pairs = zip(first_derivatives(Network(), features), first_derivatives(Network(is_on=False), features), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


@pytest.mark.thorough
def test_a_graph_with_a_condition_has_the_same_derivatives():
    graph = tf.function(in_a_condition, autograph=False)
    features = noise(2, 8, 8, CHANNELS)
    assert_close(graph(Network(), features), in_a_condition(Network(is_on=False), features))


def test_third_derivatives_are_right_too():
    """tanh'' and tanh''' by hand."""
    values = tf.constant([0.3, -0.7])
    with tf.GradientTape() as third:
        third.watch(values)
        with tf.GradientTape() as second:
            second.watch(values)
            with tf.GradientTape() as first:
                first.watch(values)
                results = recomputed(tf.tanh, [], values)
            slopes = first.gradient(results, values)
        curvatures = second.gradient(slopes, values)
    tanh = np.tanh([0.3, -0.7])
    np.testing.assert_allclose(curvatures, -2 * tanh * (1 - tanh**2), rtol=1e-5)
    np.testing.assert_allclose(third.gradient(curvatures, values), (1 - tanh**2) * (6 * tanh**2 - 2), rtol=1e-5)


def test_several_inputs_and_results_and_an_unused_one():
    left, right, unused = (noise(2, 4, 4, 1, seed=seed) for seed in range(3))
    inputs = [left, right, unused]

    def both(left, right, unused):
        return left * right, tf.sin(left)

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        product, sine = recomputed(both, [], *inputs)
    np.testing.assert_array_equal(product, left * right)
    np.testing.assert_allclose(tape.gradient(sine, left), tf.cos(left), rtol=1e-6)
    of_left, of_right, of_unused = tape.gradient([product, sine], inputs)
    np.testing.assert_allclose(of_left, right + tf.cos(left), rtol=1e-6)
    np.testing.assert_allclose(of_right, left, rtol=1e-6)
    np.testing.assert_array_equal(of_unused, tf.zeros_like(unused))


def test_frozen_layers_pass_gradients_on_and_take_none():
    features = noise(2, 8, 8, CHANNELS)
    networks = [Network(is_on=is_on) for is_on in (True, False)]
    for network in networks:
        for layer in network.parts[1]:
            layer.trainable = False
        network.weights = [weight for layers in network.parts[::2] for layer in layers for weight in layer.weights]
    assert_close(*(first_derivatives(network, features) for network in networks))


def test_bfloat16_stays_bfloat16():
    features = tf.cast(noise(2, 8, 8, CHANNELS), tf.bfloat16)
    found, expected = (
        first_derivatives(Network(is_on=is_on, dtype="mixed_bfloat16"), features) for is_on in (True, False)
    )
    assert [value.dtype for value in found] == [value.dtype for value in expected]
    assert_close(*([tf.cast(value, tf.float32) for value in values] for values in (found, expected)), tolerance=1e-2)


@pytest.mark.parametrize("layer", [keras.layers.Dropout(0.5, seed=1), keras.layers.BatchNormalization()])
def test_what_changes_variables_is_refused(layer):
    features = noise(2, 4, 4, 3)
    layer.build(features.shape)
    with pytest.raises(ValueError, match="must change no variable, but .* changed; leave dropout and batch norm"):
        recomputed(lambda features: layer(features, training=True), [layer], features)
    assert recomputed(lambda features: layer(features, training=False), [layer], features).shape == features.shape


def test_a_layer_that_is_left_out_is_noticed():
    first, second = (EqualizedConvolution(3, 3, 3, seed) for seed in (1, 2))
    with pytest.raises(TypeError, match="function uses variables"):
        recomputed(lambda features: second(first(features)), [first], noise(2, 4, 4, 3))


MEASURE = """
import tensorflow as tf
from tests_of_recomputation import Network, first_derivatives, noise, second_derivatives

for derivatives in (first_derivatives, second_derivatives):
    for is_on in (True, False):
        network, features = Network(6, is_on, size=64, channels=16), noise(2, 64, 64, 16)
        graph = tf.function(lambda features: derivatives(network, features), autograph=False)
        graph(features)  # traces
        before = tf.config.experimental.get_memory_info("CPU:0")["current"]
        tf.config.experimental.reset_memory_stats("CPU:0")
        graph(features)
        print((tf.config.experimental.get_memory_info("CPU:0")["peak"] - before) / 2**20)
"""


@pytest.mark.thorough
def test_less_memory_is_held(tmp_path):
    """Of six parts on maps of 512 KiB. In a process of its own, where nothing else is held."""
    shutil.copy(__file__, tmp_path / "tests_of_recomputation.py")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    environment = os.environ | {"TF_NUM_INTEROP_THREADS": "1", "PYTHONPATH": path}
    process = subprocess.run([sys.executable, "-c", MEASURE], env=environment, capture_output=True, text=True)
    first, first_plain, second, second_plain = map(float, process.stdout.split())
    assert first < 0.6 * first_plain
    assert second < 0.6 * second_plain
