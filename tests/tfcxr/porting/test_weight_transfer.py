"""Moving arrays into variables: layouts, and all or nothing."""

import hashlib
import re

import keras
import numpy as np
import pytest

from tfcxr.porting.weight_transfer import (
    Target,
    convolution_kernel,
    dense_kernel,
    layer_targets,
    transfer,
    unchanged,
)


@pytest.fixture
def layers():
    """A convolution of 3 channels to 4 and a dense layer of 4 to 2."""
    convolution, dense = keras.layers.Conv2D(4, 3), keras.layers.Dense(2)
    convolution.build([None, 5, 5, 3])
    dense.build([None, 4])
    return convolution, dense


def targets_of(layers):
    return layer_targets(layers[0], "conv") | layer_targets(layers[1], "fc", dense_kernel)


@pytest.fixture
def state():
    generator = np.random.default_rng(0)
    shapes = {"conv.weight": [4, 3, 3, 3], "conv.bias": [4], "fc.weight": [2, 4], "fc.bias": [2]}
    return {key: generator.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}


def test_layouts_are_turned_as_the_layers_read_them(layers, state):
    """The layers then compute what the checkpoint's own layouts say, written out as sums."""
    transfer(state, targets_of(layers))
    image = np.random.default_rng(1).normal(size=[1, 3, 3, 3]).astype(np.float32)
    convolved = np.einsum("bhwi,oihw->bo", image, state["conv.weight"]) + state["conv.bias"]
    np.testing.assert_allclose(layers[0](image)[:, 0, 0], convolved, rtol=1e-5, atol=1e-5)
    expected = convolved @ state["fc.weight"].T + state["fc.bias"]
    np.testing.assert_allclose(layers[1](convolved), expected, rtol=1e-5, atol=1e-5)
    assert unchanged(state["fc.bias"]) is state["fc.bias"]
    assert convolution_kernel(state["conv.weight"]).shape == (3, 3, 3, 4)


def test_the_report_names_every_key_and_its_checksum_is_of_the_weights(layers, state):
    more = {"steps": np.array(3), "norm.num_batches": np.array(1)}
    ignored = {"steps": "a counter", "*.num_batches": "counts batches"}
    report = transfer(more | state, targets_of(layers), ignored)
    assert report.used == tuple(state)
    assert report.ignored == {"steps": "a counter", "norm.num_batches": "counts batches"}
    assert report.parameter_count == 4 * 27 + 4 + 8 + 2
    digest = hashlib.sha256()
    for key, array in state.items():
        digest.update(f"{key}|{','.join(map(str, array.shape))}|".encode() + array.tobytes())
    assert report.sha256 == digest.hexdigest()
    strided = {key: np.asfortranarray(array.astype(np.float64)) for key, array in state.items()}
    assert transfer(strided, targets_of(layers)).sha256 == report.sha256, "neither dtype nor memory order matters"
    state["fc.bias"] = state["fc.bias"] + 1e-6
    assert transfer(state, targets_of(layers)).sha256 != report.sha256


def test_everything_that_does_not_fit_is_listed_and_nothing_is_moved(layers, state):
    before = [np.asarray(variable).copy() for layer in layers for variable in layer.variables]
    del state["conv.bias"]
    state["conv.weight"] = np.zeros([4, 5, 3, 3], np.float32)
    state["fc.weight"] = np.zeros([2], np.float32)
    state["fc.bias"][1] = np.nan
    state["other"] = np.zeros(1)
    expected = (
        "the weights of the critic do not fit, so nothing was loaded; keys 1 missing: conv.bias; 1 without a place: "
        "other; 2 of another shape: conv.weight has shape (4, 5, 3, 3) (for Keras (3, 3, 5, 4)) where the network has "
        "(3, 3, 3, 4), fc.weight has shape (2,) where the network has (4, 2); 1 with values that are not finite: "
        "fc.bias"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        transfer(state, targets_of(layers), name="critic")
    after = [np.asarray(variable) for layer in layers for variable in layer.variables]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_in_float32(layers, state, value):
    state["fc.weight"] = state["fc.weight"].astype(np.float64)
    state["fc.weight"][0, 0] = value
    with pytest.raises(ValueError, match="1 with values that are not finite: fc.weight$"):
        transfer(state, targets_of(layers))


def test_long_lists_end_with_a_count():
    variable = keras.Variable(np.zeros(1, np.float32))
    with pytest.raises(
        ValueError, match="12 missing: a0, a1, .*, a9 and 2 more; 11 without a place: b0, .* and 1 more"
    ):
        transfer({f"b{i}": np.zeros(1) for i in range(11)}, {f"a{i}": Target(variable) for i in range(12)})
