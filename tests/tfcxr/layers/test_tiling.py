import numpy as np
import pytest
import tensorflow as tf

from tfcxr.layers.tiling import enlarge_by_tiles

REACH = 3  # of the three convolutions of 3x3 below
CALLS = []


def enlarge(window):
    """Convolutions with zero padding, whose border is not like the inside, then pixels to 2x2 each."""
    CALLS.append(tuple(window.shape))
    for layer in range(3):
        channels = 4 if layer == 2 else 1
        kernel = tf.random.stateless_normal([3, 3, 1, channels], [layer, 0])
        window = tf.nn.conv2d(window, kernel, 1, "SAME")
    return tf.nn.depth_to_space(window, 2)


def by_tiles(images, tile_size=10, reach=REACH):
    return enlarge_by_tiles(enlarge, images, 2, reach, tile_size)


@pytest.mark.thorough
@pytest.mark.parametrize("size", [(10, 10), (4, 5), (1, 1), (23, 11), (17, 40), (11, 7), (6, 31)], ids=str)
def test_equals_one_pass_over_the_whole_image(size):
    images = tf.random.stateless_normal([2, *size, 1], [1, 2])
    whole = enlarge(images)
    CALLS.clear()
    tiled = by_tiles(images)
    assert all(max(shape[1:3]) <= 10 for shape in CALLS), "no window is larger than a tile"
    assert len(CALLS) == np.prod([max(1, -(-(length - 6) // 4)) for length in size])
    np.testing.assert_allclose(tiled, whole, atol=1e-4)  # values of about 10
    traced = tf.function(by_tiles, input_signature=[tf.TensorSpec([2, None, None, 1])])
    np.testing.assert_allclose(traced(images), whole, atol=1e-4)


def test_a_reach_that_is_too_short_shows_seams():
    image = tf.random.stateless_normal([1, 23, 30, 1], [1, 2])
    assert np.abs(by_tiles(image, reach=REACH - 1) - enlarge(image)).max() > 0.1


def test_tiles_that_see_nothing_in_full_are_refused():
    with pytest.raises(ValueError, match="tile_size must be above 6, twice the network's reach, got 6"):
        by_tiles(tf.zeros([1, 20, 20, 1]), tile_size=6)
