"""The changes of two studies: how far they go, what they leave, and that a seed and a number give the same ones."""

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data.published_augmentation import PUBLISHED_AUGMENTATIONS, PublishedAugmentation

STILL = PublishedAugmentation(flips=False)


def image(rows=4, size=17):
    return tf.random.stateless_uniform([rows, size, size, 1], [0, 1], -1.0, 1.0)


def number(value):
    return tf.constant(value, tf.int64)


@pytest.mark.parametrize("name", PUBLISHED_AUGMENTATIONS)
def test_the_number_and_the_seed_decide_and_the_range_stays(name):
    augment, images = PUBLISHED_AUGMENTATIONS[name], image()
    first = augment(images, number(3), seed=1)
    np.testing.assert_array_equal(first, augment(images, number(3), seed=1))
    assert not np.allclose(first, augment(images, number(4), seed=1))
    assert not np.allclose(first, augment(images, number(3), seed=2))
    assert first.shape == images.shape and np.abs(first).max() <= 1
    np.testing.assert_allclose(STILL(images, number(3), seed=1), images, atol=1e-6)


def test_flips_are_of_half_of_the_images():
    images = image(400, 4)
    flipped = PublishedAugmentation()(images, number(0), seed=0)
    is_flipped = (np.abs(flipped - images[:, :, ::-1]) < 1e-6).all(axis=(1, 2, 3))
    is_kept = (np.abs(flipped - images) < 1e-6).all(axis=(1, 2, 3))
    assert (is_flipped | is_kept).all() and 160 < is_flipped.sum() < 240


def test_a_turn_stays_within_ten_degrees_about_the_centre():
    size = 65
    line = np.full([64, size, size, 1], -1, np.float32)
    line[:, size // 2] = 1  # level, through the centre
    turned = PublishedAugmentation(rotation_degrees=10, flips=False)(tf.constant(line), number(0), seed=0).numpy()
    np.testing.assert_allclose(turned[:, size // 2, size // 2, 0], 1, atol=1e-3)
    heights = turned[:, :, -12, 0].argmax(axis=1) - size // 2
    degrees = np.degrees(np.arctan2(heights, 20))
    assert 6 < np.abs(degrees).max() < 12 and degrees.min() < -5 < 5 < degrees.max()
    assert turned.min() == -1, "black comes in over the edge"


def test_a_shift_is_at_most_a_tenth_of_the_side():
    size = 60
    dot = np.full([64, size, size, 1], -1, np.float32)
    dot[:, 28:33, 28:33] = 1
    moved = PublishedAugmentation(shift=0.1, flips=False)(tf.constant(dot), number(0), seed=0).numpy() + 1
    for other in (1, 2):
        weights = moved.sum(axis=(other, 3))
        centres = (weights * np.arange(size)).sum(axis=1) / weights.sum(axis=1)
        assert 4 < np.abs(centres - 30).max() <= 6.01
        assert centres.std() > 2


def test_brightness_multiplies_and_contrast_spreads_about_the_mean():
    grey = tf.fill([200, 4, 4, 1], 0.0)  # .5 of [0, 1]
    brighter = PublishedAugmentation(flips=False, brightness=0.1)(grey, number(0), seed=0).numpy() / 2 + 0.5
    assert 0.45 - 1e-6 <= brighter.min() < 0.46 and 0.54 < brighter.max() <= 0.55 + 1e-6
    same = PublishedAugmentation(flips=False, contrast=0.1)(grey, number(0), seed=0)
    np.testing.assert_allclose(same, grey, atol=1e-6)
    images = 0.5 * image(200, 8)
    spread = PublishedAugmentation(flips=False, contrast=0.1)(images, number(0), seed=0).numpy()
    ratios = spread.std(axis=(1, 2, 3)) / images.numpy().std(axis=(1, 2, 3))
    assert 0.9 - 1e-4 <= ratios.min() < 0.91 and 1.09 < ratios.max() <= 1.1 + 1e-4
