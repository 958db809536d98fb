"""Augmentation for classifiers of radiographs, built on keras-cv, which no other file imports.

Each image is turned by up to 7 degrees, moved by up to 5 % and scaled by up to 10 % (patients stand differently),
and its brightness and contrast change a little (exposures differ). **No flips by default**: the heart lies on the
left, so a mirrored radiograph shows dextrocardia, and left and right findings would be confused.
"""

import dataclasses
from collections.abc import Callable

import keras_cv
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class AugmentationConfig:
    """Largest changes, each drawn uniformly for every image.

    Attributes:
      rotation_degrees: to either side. translation, zoom: shares of the image's side.
      brightness: share of the whole value range that is added or taken away.
      contrast: share by which the distance to the image's mean grows or shrinks.
      flip: mirrors half of the images left to right; only for tasks where the side means nothing.
    """

    rotation_degrees: float = 7.0
    translation: float = 0.05
    zoom: float = 0.1
    brightness: float = 0.05
    contrast: float = 0.1
    flip: bool = False

    def __post_init__(self) -> None:
        for name, limit in (
            ("rotation_degrees", 180),
            ("translation", 1),
            ("zoom", 1),
            ("brightness", 1),
            ("contrast", 1),
        ):
            if not 0 <= getattr(self, name) < limit:
                raise ValueError(
                    f"AugmentationConfig.{name} must be at least 0 and below {limit}, got {getattr(self, name)}"
                )


def make_augmentation(seed: int, config: AugmentationConfig | None = None) -> Callable[[tf.Tensor], tf.Tensor]:
    """Builds a function for `tf.data.Dataset.map`; it draws anew at each call.

    The draws follow from `seed` alone as long as the data set maps its batches one after another, that is without
    `num_parallel_calls`. Pixels that come in over the edge repeat the edge.

    Returns:
      a function from float32 images [batch, size, size, channels] in [-1, 1] to the same shape and range.
    """
    config = config or AugmentationConfig()
    try:
        tf.random.get_global_generator()  # keras-cv asks for it, although its draws follow from the seeds below
    except RuntimeError:  # a training in this process made operations deterministic
        tf.random.set_global_generator(tf.random.Generator.from_seed(seed))
    layers = keras_cv.layers
    turn = config.rotation_degrees / 360
    steps = [
        layers.RandomRotation((-turn, turn), fill_mode="nearest", seed=seed),
        layers.RandomTranslation(config.translation, config.translation, fill_mode="nearest", seed=seed + 1),
        layers.RandomZoom((-config.zoom, config.zoom), fill_mode="nearest", seed=seed + 2),
        layers.RandomBrightness(_SeededFactor(-config.brightness, config.brightness, seed + 3), value_range=(-1, 1)),
        layers.RandomContrast(value_range=(-1, 1), factor=config.contrast),
    ]
    steps[-1].factor = _SeededFactor(1 - config.contrast, 1 + config.contrast, seed + 4)
    if config.flip:
        steps.append(layers.RandomFlip("horizontal", seed=seed + 5))

    def augment(images: tf.Tensor) -> tf.Tensor:
        shape = images.shape
        for step in steps:
            images = step(images, training=True)
        return tf.ensure_shape(images, shape)

    return augment


class _SeededFactor(keras_cv.core.FactorSampler):
    """Uniform draws from a generator of its own: keras-cv's sampler mixes its seed with TensorFlow's global one."""

    def __init__(self, lower: float, upper: float, seed: int) -> None:
        self.lower, self.upper = lower, upper
        self.generator = tf.random.Generator.from_seed(seed)

    def __call__(self, shape=(), dtype="float32") -> tf.Tensor:
        return self.generator.uniform(shape, self.lower, self.upper, dtype)

    def get_config(self) -> dict[str, float]:
        return {"lower": self.lower, "upper": self.upper}
