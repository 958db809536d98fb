"""Differentiable augmentation of real and fake images alike, for small data sets (Zhao et al. 2020, "DiffAugment").

The discriminator sees augmented images only, and gradients pass through to the generator, which learns the
distribution before augmentation. No flips: the heart is on the left.
"""

import tensorflow as tf

AUGMENTATIONS = ("brightness", "contrast", "translation", "cutout")
UNIFORMS_PER_IMAGE = 6  # random numbers that `augment` uses for one image


def augment(images: tf.Tensor, names: tuple[str, ...], uniform: tf.Tensor) -> tf.Tensor:
    """Applies the named augmentations in the order of `AUGMENTATIONS`.

    Args:
      images: float32 [batch, size, size, channels] in [-1, 1].
      names: of `AUGMENTATIONS`:
        brightness: adds up to a quarter of the range either way.
        contrast: scales about the image's mean by .5 to 1.5.
        translation: shifts by up to an eighth of the size either way; black comes in.
        cutout: blackens a square of half the size.
      uniform: float32 [batch, UNIFORMS_PER_IMAGE] in [0, 1), the randomness.

    Returns:
      float32 images of the same shape; values may leave [-1, 1].
    """
    size = images.shape[1]
    column = lambda index: tf.reshape(uniform[:, index], [-1, 1, 1, 1])  # noqa: E731
    if "brightness" in names:
        images += column(0) - 0.5
    if "contrast" in names:
        mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
        images = (images - mean) * (column(1) + 0.5) + mean
    if "translation" in names:
        reach = size // 8
        images = _translate(images, tf.floor(uniform[:, 2:4] * (2 * reach + 1)) - reach)
    if "cutout" in names:
        images = _cut_out(images, tf.floor(uniform[:, 4:6] * (size + 1)), size // 4)
    return images


def _translate(images: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Shifts each image by whole pixels, `shift` float32 [batch, 2] as (rows, columns)."""
    one, zero = tf.ones_like(shift[:, :1]), tf.zeros_like(shift[:, :1])
    transforms = tf.concat([one, zero, -shift[:, 1:], zero, one, -shift[:, :1], zero, zero], axis=1)
    shifted = tf.raw_ops.ImageProjectiveTransformV3(
        images=images + 1.0,
        transforms=transforms,
        output_shape=tf.constant(images.shape.as_list()[1:3]),
        interpolation="NEAREST",
        fill_mode="CONSTANT",
        fill_value=0.0,
    )
    return shifted - 1.0


def _cut_out(images: tf.Tensor, center: tf.Tensor, half_width: int) -> tf.Tensor:
    """Sets a square around `center`, float32 [batch, 2] in pixels, to -1."""
    positions = tf.range(images.shape[1], dtype=tf.float32)
    is_near = tf.abs(positions[None, None, :] - center[:, :, None]) < half_width
    is_cut = tf.logical_and(is_near[:, 0, :, None], is_near[:, 1, None, :])[..., None]
    return tf.where(is_cut, -1.0, images)
