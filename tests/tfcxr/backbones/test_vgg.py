import numpy as np
import pytest
import tensorflow as tf

from tfcxr.backbones.vgg import VGG16_BLOCKS, VGG16Features

IMAGES = tf.random.stateless_normal([2, 16, 16, 3], [1, 2])


@pytest.fixture(scope="module")
def tiny():
    model = VGG16Features(blocks=((4, 4), (6,)))
    for layer in model.convolutions.values():
        layer.bias.assign(np.linspace(-0.3, 0.3, layer.bias.shape[0]))
    return model


def test_parts_are_numbered_as_torchvision_does():
    parts = VGG16Features(blocks=[[1 for _ in block] for block in VGG16_BLOCKS]).parts
    convolutions = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    assert [part for part in parts if part.startswith("conv")] == [f"conv{number}" for number in convolutions]
    assert [part for part in parts if part.startswith("relu")] == [f"relu{number + 1}" for number in convolutions]
    assert [part for part in parts if part.startswith("pool")] == [f"pool{number}" for number in (4, 9, 16, 23, 30)]
    assert len(parts) == 31


def test_activations_follow_one_another(tiny):
    found = tiny.activations(IMAGES, ["conv0", "relu1", "relu3", "pool4", "relu6"])
    kernel, bias = (tf.convert_to_tensor(value) for value in tiny.convolutions["0"].variables)
    np.testing.assert_allclose(found["conv0"], tf.nn.conv2d(IMAGES, kernel, 1, "SAME") + bias, atol=1e-5)
    np.testing.assert_array_equal(found["relu1"], tf.nn.relu(found["conv0"]))
    np.testing.assert_array_equal(found["pool4"], tf.nn.max_pool2d(found["relu3"], 2, 2, "VALID"))
    last = tf.nn.max_pool2d(found["relu6"], 2, 2, "VALID")
    np.testing.assert_array_equal(tiny(IMAGES), last)
    np.testing.assert_allclose(tiny.pooled(IMAGES), tf.reduce_mean(last, [1, 2]), atol=1e-6)
    assert tiny.feature_count == last.shape[-1] == 6


def test_nothing_later_is_computed(tiny):
    @tf.function
    def first(image):
        return tiny.activations(image, ["relu1"])["relu1"]

    operations = [operation.type for operation in first.get_concrete_function(IMAGES).graph.get_operations()]
    assert operations.count("Conv2D") == 1 and "MaxPool" not in operations


def test_grey_becomes_normalised_colours(tiny):
    grey = tf.zeros([1, 8, 8, 1])
    expected = (0.5 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(tiny.from_signed(grey)[0, 0, 0], expected, rtol=1e-5)


def test_wrong_parts_and_images_are_refused(tiny):
    with pytest.raises(ValueError, match="VGG-16 has no part 'relu2'; it has conv0, relu1, conv2"):
        tiny.activations(IMAGES, ["relu1", "relu2"])
    with pytest.raises(ValueError, match=r"takes images \[batch, height, width, 3\], got \(2, 16, 16, 1\)"):
        tiny(IMAGES[..., :1])
    with pytest.raises(ValueError, match="at least 4 pixels a side"):
        tiny(IMAGES[:, :3])
    with pytest.raises(ValueError, match="input_size must be a number of pixels or 0 for any, got -2"):
        VGG16Features(input_size=-2)
