import numpy as np
import pytest
import tensorflow as tf

from tfcxr.layers.resample import average_pixels, blur, downsample, repeat_pixels, upsample

TAPS = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64.0


def filtered(padded):
    """The filter at every place where it fits, by loops in float64: [batch, height, width, channels]."""
    batch, height, width, channels = padded.shape
    result = np.zeros([batch, height - 3, width - 3, channels])
    for row in range(height - 3):
        for column in range(width - 3):
            window = padded[:, row : row + 4, column : column + 4]
            result[:, row, column] = np.einsum("bijc,ij->bc", window, TAPS)
    return result


def framed(images, before, after):
    return np.pad(np.float64(images), [[0, 0], [before, after], [before, after], [0, 0]])


def make_images(height, width, channels=3):
    return tf.random.stateless_normal([2, height, width, channels], [1, 2])


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_blur_is_the_filter(padding):
    images = make_images(7, 6)
    expected = 4.0 * filtered(framed(images, padding, padding))
    np.testing.assert_allclose(blur(images, padding, gain=4.0), expected, atol=1e-6)


def test_downsampling_filters_then_keeps_every_second_pixel():
    images = make_images(8, 6)
    expected = filtered(framed(images, 1, 1))[:, ::2, ::2]
    assert expected.shape == (2, 4, 3, 3)
    np.testing.assert_allclose(downsample(images), expected, atol=1e-6)


def test_upsampling_puts_zeros_between_pixels_then_filters():
    images = make_images(4, 3)
    spread = np.zeros([2, 8, 6, 3])
    spread[:, ::2, ::2] = images
    np.testing.assert_allclose(upsample(images), 4.0 * filtered(framed(spread, 2, 1)), atol=1e-6)


def test_flat_images_stay_flat_inside():
    flat = tf.ones([1, 8, 8, 1])
    np.testing.assert_allclose(upsample(flat)[0, 1:-1, 1:-1], 1.0, atol=1e-6)
    np.testing.assert_allclose(downsample(flat)[0, 1:-1, 1:-1], 1.0, atol=1e-6)


@pytest.mark.parametrize("resample", [lambda images: blur(images, 1), downsample, upsample], ids=["blur", "down", "up"])
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16], ids=["float32", "bfloat16"])
def test_gradient_of_the_gradient_exists(resample, dtype):
    images = tf.cast(make_images(4, 4), dtype)
    with tf.GradientTape() as outer:
        outer.watch(images)
        with tf.GradientTape() as inner:
            inner.watch(images)
            total = tf.reduce_sum(resample(images) ** 3)
        norm = tf.reduce_sum(inner.gradient(total, images) ** 2)
    second = outer.gradient(norm, images)
    assert second.dtype == dtype
    assert np.isfinite(np.float32(second)).all() and np.any(np.float32(second))


def test_repeated_and_averaged_pixels_by_hand():
    images = make_images(2, 3)
    repeated = repeat_pixels(images)
    np.testing.assert_array_equal(repeated, np.repeat(np.repeat(images, 2, axis=1), 2, axis=2))
    np.testing.assert_allclose(average_pixels(repeated), images, rtol=1e-6)
    blocks = make_images(4, 6).numpy()
    np.testing.assert_allclose(average_pixels(blocks), blocks.reshape(2, 2, 2, 3, 2, 3).mean(axis=(2, 4)), atol=1e-6)


def test_the_gradient_of_repeated_pixels_is_the_sum_over_each_block():
    images, weights = make_images(3, 2), make_images(6, 4)
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(weights * repeat_pixels(images))
    expected = weights.numpy().reshape(2, 3, 2, 2, 2, 3).sum(axis=(2, 4))
    np.testing.assert_allclose(tape.gradient(total, images), expected, rtol=1e-5)
