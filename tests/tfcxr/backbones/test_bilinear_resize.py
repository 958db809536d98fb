import numpy as np
import pytest
import tensorflow as tf

from tfcxr.backbones.bilinear_resize import resize_antialiased, triangle_weights


@pytest.mark.parametrize(("size", "new", "channels"), [((40, 33), 24, 1), ((9, 12), 24, 3), ((61, 61), 7, 3)])
def test_equals_tensorflow(size, new, channels):
    image = tf.random.stateless_normal([2, *size, channels], [1, 2])
    expected = tf.image.resize(image, [new, new], "bilinear", antialias=True)
    np.testing.assert_allclose(resize_antialiased(image, new), expected, atol=1e-5)


def test_halving_by_hand():
    # a triangle of half width 2 around the middle between two pixels: .75 and .25 of each side's two, over 2
    weights = triangle_weights(8, 4).numpy()
    np.testing.assert_allclose(weights[1], [0, 0.125, 0.375, 0.375, 0.125, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(weights[0], np.array([3, 3, 1, 0, 0, 0, 0, 0]) / 7, atol=1e-6)


def test_the_same_size_is_the_same_image():
    image = tf.ones([1, 8, 8, 1])
    assert resize_antialiased(image, 8) is image


@pytest.mark.thorough
def test_has_a_second_derivative_and_takes_any_size_in_a_graph():
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1])])
    def slope_of_penalty(image):
        with tf.GradientTape() as outer:
            outer.watch(image)
            with tf.GradientTape() as inner:
                inner.watch(image)
                total = tf.reduce_sum(resize_antialiased(image, 4) ** 3)
            penalty = tf.reduce_sum(inner.gradient(total, image) ** 2)
        return penalty, outer.gradient(penalty, image)

    image = tf.random.stateless_normal([1, 9, 9, 1], [1, 2])
    _, slope = slope_of_penalty(image)
    direction = slope / tf.norm(slope)
    high, low = (slope_of_penalty(image + step * direction)[0] for step in (0.01, -0.01))
    assert float(high - low) / 0.02 == pytest.approx(float(tf.norm(slope)), rel=0.01)
