"""What the networks of `tfcxr.backbones` share: value ranges, sizes, the mean over a map."""

import abc
import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from tfcxr.backbones.bilinear_resize import resize_antialiased
from tfcxr.layers.channels import with_channels

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of red, green and blue in [0, 1]
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
NOT_SQUARE = "images that are resized must be square"


@dataclasses.dataclass(frozen=True)
class ValueRange:
    """What values a network was trained on.

    Attributes:
      text: in words.
      from_signed: float32 images [batch, height, width, channels] in [-1, 1] -> in this range.
    """

    text: str
    from_signed: Callable[[tf.Tensor], tf.Tensor]


VALUE_RANGES = {
    "xrv": ValueRange("[-1024, 1024]", lambda image: image * 1024.0),
    "imagenet": ValueRange(
        "ImageNet-normalised: [0, 1] minus (0.485, 0.456, 0.406), over (0.229, 0.224, 0.225)",
        lambda image: ((image + 1.0) / 2.0 - tf.constant(IMAGENET_MEAN)) / tf.constant(IMAGENET_DEVIATION),
    ),
    "unit": ValueRange("[0, 1]", lambda image: (image + 1.0) / 2.0),
    "signed": ValueRange("[-1, 1]", lambda image: image),
}


class Backbone(keras.Model, abc.ABC):
    """A network that makes features of images, and logits where it has a classifier.

    Networks take float32 images [batch, height, width, channels] in `value_range`, not in the [-1, 1] of the rest of
    tfcxr: `from_signed` converts. They normalize by the running statistics unless told `training=True`. Made inside
    `precision_scope("mixed_bfloat16")` they compute in bfloat16.

    Attributes:
      channels: of the images that it takes.
      value_range: of `VALUE_RANGES`.
      input_size: `pooled` and `call` resize images of another size to this one; 0 takes them as they are.
      smallest_size: of an image, in pixels.
      feature_count: width of the features of `pooled`.
      classes: of the classifier, 0 for none.
    """

    smallest_size = 1
    feature_count = 0
    classes = 0

    def __init__(self, channels: int, value_range: str, input_size: int = 0, **keywords) -> None:
        super().__init__(autocast=False, **keywords)
        if value_range not in VALUE_RANGES:
            raise ValueError(f"value_range expects one of {', '.join(VALUE_RANGES)}, got {value_range!r}")
        if value_range == "imagenet" and channels != 3:
            raise ValueError(f"ImageNet's mean and deviation are of three channels, got a network of {channels}")
        if input_size < 0:
            raise ValueError(f"input_size must be a number of pixels or 0 for any, got {input_size}")
        self.channels = channels
        self.value_range = value_range
        self.input_size = input_size

    def from_signed(self, image: tf.Tensor) -> tf.Tensor:
        """float32 [batch, height, width, 1 or 3] in [-1, 1] -> what the network takes; grey is repeated for colours."""
        image = with_channels(image, self.channels)
        return VALUE_RANGES[self.value_range].from_signed(tf.cast(image, tf.float32))

    @abc.abstractmethod
    def pooled(self, image: tf.Tensor) -> tf.Tensor:
        """Images in `value_range` -> features float32 [batch, feature_count]."""

    def sized(self, image: tf.Tensor) -> tf.Tensor:
        """The image in `input_size`, by `resize_antialiased`.

        Raises:
          ValueError: an image to be resized is not square.
        """
        if not self.input_size:
            return image
        height, width = image.shape[1:3]
        if None in (height, width):  # known only when it runs
            sizes = tf.shape(image)
            with tf.control_dependencies([tf.debugging.assert_equal(sizes[1], sizes[2], NOT_SQUARE)]):
                image = tf.identity(image)
        elif height != width:
            raise ValueError(f"{NOT_SQUARE}, got {height} x {width} pixels; crop or pad them")
        return resize_antialiased(image, self.input_size)

    def checked(self, image: tf.Tensor) -> tf.Tensor:
        """The image.

        Raises:
          ValueError: other channels, or images too small for a single value at the end.
        """
        image = tf.convert_to_tensor(image)
        if image.shape.rank != 4 or image.shape[-1] != self.channels:
            raise ValueError(
                f"{type(self).__name__} takes images [batch, height, width, {self.channels}], got {image.shape}; "
                "from_signed converts grey and colours"
            )
        if min(size or self.smallest_size for size in image.shape[1:3]) < self.smallest_size:
            raise ValueError(
                f"{type(self).__name__} needs images of at least {self.smallest_size} pixels a side, got {image.shape}"
            )
        return image


def global_mean(features: tf.Tensor) -> tf.Tensor:
    """Mean over the map: float [batch, height, width, channels] -> float32 [batch, channels]."""
    size = features.shape[1:3]
    if size.is_fully_defined():  # faster than a reduction
        return tf.cast(tf.nn.avg_pool2d(features, size, 1, "VALID")[:, 0, 0], tf.float32)
    return tf.reduce_mean(tf.cast(features, tf.float32), axis=[1, 2])
