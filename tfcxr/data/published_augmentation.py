"""How two studies change the training images of their classifiers; every draw follows from a seed and a number.

- `segal2021` (Segal et al. 2021): turned by up to 10 degrees, flipped left to right half of the time, brightness and
  contrast times .9 to 1.1.
- `chetty2023` (Chetty 2023): moved in both directions by up to 10 % of its side, which is ours to choose, and flipped
  left to right half of the time.

Segal et al. also jitter saturation and hue by .1. On the three equal channels of a grey image both are the identity, so
there is nothing to do. The order is turn, flip, brightness, contrast; torchvision draws the order of the last two. Both
studies flip although the heart lies on the left: a flipped radiograph shows dextrocardia.
"""

import dataclasses
import math

import tensorflow as tf

BLACK = -1.0  # what comes in over the edge, as in torchvision


@dataclasses.dataclass(frozen=True)
class PublishedAugmentation:
    """Largest changes, each drawn uniformly for every image.

    Attributes:
      rotation_degrees: to either side, about the centre.
      shift: share of the side, in both directions.
      flips: left to right, half of the images.
      brightness: share by which the values in [0, 1] grow or shrink.
      contrast: share by which the distance to the image's mean grows or shrinks.
    """

    rotation_degrees: float = 0.0
    shift: float = 0.0
    flips: bool = True
    brightness: float = 0.0
    contrast: float = 0.0

    def __call__(self, images: tf.Tensor, number: tf.Tensor, seed: int) -> tf.Tensor:
        """Changes float32 images [batch, size, size, 1] in [-1, 1]; shape and range stay.

        Args:
          number: int64 scalar, another one for each batch.
          seed: of the draws; the same number and seed give the same changes.
        """
        rows, size = images.shape[0], images.shape[1]

        def draw(stream: int, largest: float) -> tf.Tensor:
            at = tf.stack([tf.constant(8 * seed + stream, tf.int64), tf.cast(number, tf.int64)])
            return tf.random.stateless_uniform([rows], at, -largest, largest)

        if self.rotation_degrees or self.shift:
            angle = draw(0, math.radians(self.rotation_degrees))
            images = _moved(images, angle, draw(1, self.shift * size), draw(2, self.shift * size))
        if self.flips:
            images = tf.where(draw(3, 1.0)[:, None, None, None] < 0, images[:, :, ::-1], images)
        unit = (images + 1.0) / 2.0
        if self.brightness:
            unit = tf.clip_by_value(unit * (1.0 + draw(4, self.brightness))[:, None, None, None], 0.0, 1.0)
        if self.contrast:
            mean = tf.reduce_mean(unit, axis=[1, 2, 3], keepdims=True)
            factor = (1.0 + draw(5, self.contrast))[:, None, None, None]
            unit = tf.clip_by_value(mean + factor * (unit - mean), 0.0, 1.0)
        return 2.0 * unit - 1.0


PUBLISHED_AUGMENTATIONS = {
    "segal2021": PublishedAugmentation(rotation_degrees=10.0, brightness=0.1, contrast=0.1),
    "chetty2023": PublishedAugmentation(shift=0.1),
}


def _moved(images: tf.Tensor, angle: tf.Tensor, down: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Turned by angles in radians about the centre, then moved by pixels; float32 [batch] each, bilinear."""
    centre = (images.shape[1] - 1) / 2.0
    cosine, sine = tf.cos(angle), tf.sin(angle)
    zero = tf.zeros_like(angle)
    # output (x, y) -> input, the inverse of what the image is moved by
    x, y = -centre - right, -centre - down
    rows = [cosine, -sine, centre + cosine * x - sine * y, sine, cosine, centre + sine * x + cosine * y, zero, zero]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack(rows, axis=1),
        output_shape=tf.constant(images.shape[1:3].as_list()),
        fill_value=BLACK,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
