"""Endless shuffled batches for a classifier, from any step on, so that a resumed training sees what it would have."""

from collections.abc import Callable

import tensorflow as tf

from tfcxr.data.pipeline import from_pixels
from tfcxr.data.published_augmentation import PUBLISHED_AUGMENTATIONS
from tfcxr.evaluation.labelled_images import LabelledImages

PARALLEL_READS = 4  # batches that are decoded at once

Scale = Callable[[tf.Tensor], tf.Tensor]  # images in [-1, 1] -> what a network takes


def unchanged(image: tf.Tensor) -> tf.Tensor:
    """The image, for networks that take [-1, 1]."""
    return image


def training_batches(
    data: LabelledImages, batch_size: int, scale: Scale, seed: int, augmentation: str, first_step: int = 0
) -> tf.data.Dataset:
    """(scaled image, label) of `batch_size` rows each, in an order that is drawn anew whenever all images were seen.

    The draws follow from the seed and the step; those of augmentation "small" only where the first step is 0.

    Args:
      augmentation: "none", "small", or a name of `PUBLISHED_AUGMENTATIONS`.
      first_step: how many batches were seen already.
    """
    images, labels, count = data.images, tf.constant(data.labels), len(data.images)
    per_pass = count // batch_size

    def positions(number: tf.Tensor) -> tf.Tensor:
        """Of the images of a batch by its number."""
        order = tf.random.experimental.stateless_shuffle(
            tf.range(count, dtype=tf.int64), tf.stack([tf.constant(seed, tf.int64), number // per_pass])
        )
        start = (number % per_pass) * batch_size
        return tf.ensure_shape(order[start : start + batch_size], [batch_size])

    def read(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        chosen = positions(number)
        pixels = tf.numpy_function(images.__getitem__, [chosen], tf.as_dtype(images.dtype))
        return tf.ensure_shape(pixels, [batch_size, *images.shape[1:]]), tf.gather(labels, chosen), number

    batches = tf.data.Dataset.counter(first_step)
    batches = batches.map(read, num_parallel_calls=PARALLEL_READS, deterministic=True)
    if augmentation in PUBLISHED_AUGMENTATIONS:
        augment = PUBLISHED_AUGMENTATIONS[augmentation]
        batches = batches.map(lambda pixels, label, number: (scale(augment(from_pixels(pixels), number, seed)), label))
        return batches.prefetch(2)
    batches = batches.map(lambda pixels, label, _: (from_pixels(pixels), label))
    if augmentation == "small":
        from tfcxr.data.augment import make_augmentation  # here, because importing keras-cv takes seconds

        change = make_augmentation(seed)
        batches = batches.map(lambda image, label: (change(image), label))
    return batches.map(lambda image, label: (scale(image), label)).prefetch(2)
