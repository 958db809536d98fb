import keras
import numpy as np
import tensorflow as tf

from tfcxr.layers.normalization import normalization

FEATURES = tf.random.stateless_normal([4, 3, 3, 5], [0, 1]) * 2.0 + 1.0


def test_batch_statistics_arrive_within_a_short_training():
    layer = normalization("batch", epsilon=3.0)
    mean, variance = np.mean(FEATURES, axis=(0, 1, 2)), np.var(FEATURES, axis=(0, 1, 2))
    np.testing.assert_allclose(layer(FEATURES, training=True), (FEATURES - mean) / np.sqrt(variance + 3.0), atol=1e-4)
    np.testing.assert_allclose(layer.moving_mean, 0.1 * mean, rtol=1e-4)
    assert normalization("batch").epsilon == 1e-5


def test_layer_normalization_is_by_pixel_and_none_changes_nothing():
    normalized = normalization("layer")(FEATURES).numpy()
    np.testing.assert_allclose(normalized.mean(axis=-1), 0.0, atol=1e-5)
    assert isinstance(normalization("layer"), keras.layers.LayerNormalization)
    nothing = normalization("none")
    np.testing.assert_array_equal(nothing(FEATURES, training=True), FEATURES)
    assert nothing.variables == []
