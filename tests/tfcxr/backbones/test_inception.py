import numpy as np
import pytest
import tensorflow as tf

from tfcxr.backbones.inception import InceptionV3

ONES = tf.ones([1, 4, 4, 2])
pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def torchvision():
    return InceptionV3(classes=5)


@pytest.fixture(scope="module")
def pytorch_fid():
    return InceptionV3("pytorch_fid", classes=5, input_size=299)


def test_torchvision_divides_by_nine_at_the_border_too(torchvision):
    for block in ("Mixed_5b", "Mixed_6e", "Mixed_7c"):
        pooled = torchvision._pool(block, ONES)
        assert pooled.shape == ONES.shape
        np.testing.assert_allclose(pooled[0, 0, :, 0], np.array([4, 6, 6, 4]) / 9, rtol=1e-6)
        np.testing.assert_allclose(pooled[0, 1, 1], 1.0, rtol=1e-6)


def test_pytorch_fid_divides_by_what_is_inside_and_ends_with_the_largest(pytorch_fid):
    for block in ("Mixed_5b", "Mixed_6e", "Mixed_7b"):
        np.testing.assert_allclose(pytorch_fid._pool(block, ONES), ONES, rtol=1e-6)
    values = -1.0 - tf.reshape(tf.range(9.0), [1, 3, 3, 1])  # padding with zeros would win
    largest = pytorch_fid._pool("Mixed_7c", values)[0, :, :, 0]
    np.testing.assert_array_equal(largest, [[-1, -1, -2], [-1, -1, -2], [-4, -4, -5]])


def test_network_input_is_about_minus_one_to_one(torchvision, pytorch_fid):
    signed = tf.constant([-1.0, 0.2, 1.0])[None, :, None, None]
    for model in (torchvision, pytorch_fid):
        network_input = model.network_input(model.from_signed(signed))
        np.testing.assert_allclose(network_input, tf.repeat(signed, 3, -1), atol=1e-6)
    np.testing.assert_allclose(pytorch_fid.from_signed(signed)[0, :, 0, 1], [0.0, 0.6, 1.0], rtol=1e-6)


def test_input_is_taken_as_it_is_without_the_transformation(torchvision):
    torchvision.transform_input = False
    image = tf.random.stateless_normal([1, 4, 4, 3], [1, 2])
    np.testing.assert_array_equal(torchvision.network_input(image), image)
    torchvision.transform_input = True


def test_pytorch_fid_resizes_inside_without_antialiasing(pytorch_fid):
    image = tf.random.stateless_uniform([1, 512, 512, 3], [1, 2])
    sized = pytorch_fid.sized(image)
    assert sized.shape == (1, 299, 299, 3)
    # the centre of new row 1 is old 1.5 * 512 / 299 = 2.5686, between the centres 2.5 and 3.5 of rows 2 and 3
    share = 1.5 * 512 / 299 - 2.5
    expected = image[0, 2:4, 2:4, 0].numpy()
    expected = (1 - share) * expected[0] + share * expected[1]
    np.testing.assert_allclose(sized[0, 1, 1, 0], (1 - share) * expected[0] + share * expected[1], rtol=1e-4)


def test_shapes_and_the_smallest_image(torchvision):
    image = tf.random.stateless_normal([2, 75, 75, 3], [1, 2])
    shapes = {name: features.shape[1:] for name, features in torchvision.stages(image)}
    assert [shape[-1] for shape in shapes.values()] == [
        32, 32, 64, 64, 80, 192, 192, 256, 288, 288, 768, 768, 768, 768, 768, 1280, 2048, 2048,
    ]  # fmt: skip
    assert shapes["Mixed_7c"] == (1, 1, 2048)
    assert torchvision(image).shape == (2, 5)
    with pytest.raises(ValueError, match="InceptionV3 needs images of at least 75 pixels a side"):
        torchvision(image[:, :, :74])
    with pytest.raises(ValueError, match=r"InceptionV3 takes images \[batch, height, width, 3\]"):
        torchvision(image[..., :1])


def test_gradients_reach_the_images(torchvision):
    image = tf.random.stateless_normal([1, 75, 75, 3], [1, 2])
    with tf.GradientTape() as tape:
        tape.watch(image)
        features = torchvision.pooled(image)
    gradient = tape.gradient(features, image).numpy()
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="variant must be torchvision or pytorch_fid, got 'keras'"):
        InceptionV3("keras")
