"""VGG-16's convolutions (Simonyan, Zisserman 2015), as torchvision has them."""

from collections.abc import Collection

import keras
import tensorflow as tf

from tfcxr.backbones.base import Backbone, global_mean
from tfcxr.layers.initializers import initializer_seeds, kernel_initializer

VGG16_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # filters of each convolution


class VGG16Features(Backbone):
    """Float32 images [batch, height, width, 3] in the range "imagenet" -> the last map [b, h / 32, w / 32, 512].

    Parts are numbered as torchvision does: `convK`, then `reluK` with the next number, and a pooling after each block
    takes a number too: conv0 relu1 conv2 relu3 pool4 conv5 ... conv28 relu29 pool30.

    Attributes:
      convolutions: number -> layer.
    """

    smallest_size = 32
    feature_count = 512

    def __init__(self, input_size: int = 0, blocks: Collection[tuple[int, ...]] = VGG16_BLOCKS, seed: int = 0) -> None:
        """`blocks` may be smaller in tests.

        Raises:
          ValueError: a negative `input_size`.
        """
        super().__init__(3, "imagenet", input_size, name="vgg16_features")
        seeds = initializer_seeds(seed)
        self.parts, self.convolutions, inputs = [], {}, 3
        for block in blocks:
            for filters in block:
                number = len(self.parts)
                draw, name = kernel_initializer("he", next(seeds)), f"conv{number}"
                convolution = keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer=draw, name=name)
                convolution.build([None, None, None, inputs])
                self.convolutions[str(number)] = convolution
                self.parts += [name, f"relu{number + 1}"]
                inputs = filters
            self.parts.append(f"pool{len(self.parts)}")
        self.smallest_size, self.feature_count = 2 ** len(blocks), inputs
        self.built = True

    def call(self, image: tf.Tensor) -> tf.Tensor:
        last = self.parts[-1]
        return self.activations(image, [last])[last]

    def pooled(self, image: tf.Tensor) -> tf.Tensor:
        """Mean of the last map after its pooling, float32 [batch, 512]."""
        return global_mean(self(self.sized(image)))

    def activations(self, image: tf.Tensor, names: Collection[str]) -> dict[str, tf.Tensor]:
        """Outputs of the named parts, float [batch, height, width, filters]; nothing later is computed.

        Raises:
          ValueError: an unknown name, other channels, or images too small.
        """
        if unknown := sorted(set(names) - set(self.parts)):
            raise ValueError(f"VGG-16 has no part {unknown[0]!r}; it has {', '.join(self.parts)}")
        features, found = self.checked(image), {}
        for part in self.parts:
            if len(found) == len(set(names)):
                break
            if part.startswith("conv"):
                features = self.convolutions[part.removeprefix("conv")](features)
            elif part.startswith("relu"):
                features = tf.nn.relu(features)
            else:
                features = tf.nn.max_pool2d(features, 2, 2, "VALID")
            if part in names:
                found[part] = features
        return found
