import numpy as np
import tensorflow as tf

from tfcxr.layers.pixel_normalization import pixel_normalization


def test_mean_square_of_the_channels_becomes_one():
    rows = tf.constant([[3.0, 4.0], [0.3, -0.4], [0.0, 0.0]])
    normalized = pixel_normalization(rows).numpy()
    np.testing.assert_allclose(normalized[:2], [[0.848528, 1.131371], [0.848528, -1.131371]], rtol=1e-5)
    np.testing.assert_array_equal(normalized[2], 0)
    np.testing.assert_allclose(
        pixel_normalization(tf.constant([[1e-4, 0.0]])), [[1e-4 / np.sqrt(1.5e-8), 0]], rtol=1e-5
    )


def test_bfloat16_stays_and_its_mean_square_is_taken_in_float32():
    features = tf.random.stateless_normal([2, 3, 3, 300], [0, 1])
    rounded = pixel_normalization(tf.cast(features, tf.bfloat16))
    assert rounded.dtype == tf.bfloat16
    np.testing.assert_allclose(np.float32(rounded), pixel_normalization(features), atol=0.03)
