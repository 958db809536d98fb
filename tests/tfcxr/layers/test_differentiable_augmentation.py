import numpy as np
import pytest
import tensorflow as tf

from tfcxr.layers.differentiable_augmentation import AUGMENTATIONS, UNIFORMS_PER_IMAGE, augment

IMAGES = tf.random.stateless_uniform([6, 16, 16, 1], [0, 0], -1.0, 1.0)
UNIFORM = tf.random.stateless_uniform([6, UNIFORMS_PER_IMAGE], [1, 1])


def test_nothing_named_changes_nothing():
    np.testing.assert_array_equal(augment(IMAGES, (), UNIFORM), IMAGES)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_gradient_of_a_sum_counts_the_pixels_that_remain(name):
    with tf.GradientTape() as tape:
        tape.watch(IMAGES)
        augmented = augment(IMAGES, (name,), UNIFORM)
        total = tf.reduce_sum(augmented)
    gradient = tape.gradient(total, IMAGES).numpy()
    assert not np.array_equal(augmented, IMAGES)
    if name in ("translation", "cutout"):
        assert set(np.unique(gradient)) == {0.0, 1.0}
        kept = (gradient == 1).sum()
        assert kept == (augmented.numpy() != -1).sum()
    else:
        np.testing.assert_allclose(gradient.sum(), gradient.size, rtol=1e-4)


def test_translation_by_hand():
    uniform = np.full((6, UNIFORMS_PER_IMAGE), 0.5, np.float32)
    uniform[:, 2], uniform[:, 3] = 0.999, 0.0  # two rows down, two columns left at 16 px
    moved = augment(IMAGES, ("translation",), tf.constant(uniform)).numpy()
    np.testing.assert_allclose(moved[:, 2:, :-2], IMAGES[:, :-2, 2:], atol=1e-6)
    np.testing.assert_array_equal(moved[:, :2], -1)
    np.testing.assert_array_equal(moved[:, :, -2:], -1)


def test_brightness_by_hand():
    uniform = tf.concat([tf.ones([6, 1]) * 0.75, UNIFORM[:, 1:]], axis=1)
    np.testing.assert_allclose(augment(IMAGES, ("brightness",), uniform), IMAGES + 0.25, atol=1e-6)


def test_contrast_keeps_the_mean():
    changed = augment(IMAGES, ("contrast",), UNIFORM)
    np.testing.assert_allclose(tf.reduce_mean(changed, [1, 2, 3]), tf.reduce_mean(IMAGES, [1, 2, 3]), atol=1e-5)
