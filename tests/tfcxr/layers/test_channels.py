import numpy as np
import tensorflow as tf

from tfcxr.layers.channels import with_channels

GREY = tf.random.stateless_normal([2, 3, 4, 1], [0, 1])


def test_grey_is_repeated_and_comes_back():
    three = with_channels(GREY, 3)
    np.testing.assert_array_equal(three, np.repeat(GREY, 3, axis=-1))
    np.testing.assert_allclose(with_channels(three, 1), GREY, rtol=1e-6)
    assert with_channels(three, 3) is three and with_channels(GREY, 1) is GREY


def test_three_channels_are_averaged():
    colours = tf.constant([1.0, 2.0, 6.0])[None, None, None]
    np.testing.assert_allclose(with_channels(colours, 1), [[[[3.0]]]])
