"""Inception v3 (Szegedy et al. 2016), as torchvision has it and as pytorch-fid does (the network of the FID).

| | torchvision | pytorch-fid |
| --- | --- | --- |
| images | "imagenet", turned into (x - .5) / .5 inside | "unit", resized to 299 and turned into 2 x - 1 inside |
| mean of 3x3 in a block | by 9, also at the border | by the number of pixels inside the image |
| the last block's pooling | that mean | the largest of 3x3 |
| logits | 1000 of ImageNet | 1008 of TensorFlow's first Inception; pytorch-fid has, but does not use them |

Convolutions carry the names of the PyTorch modules. For inference only: normalised by the running statistics.
"""

from collections.abc import Iterator
from typing import Literal

import keras
import tensorflow as tf

from tfcxr.backbones.base import IMAGENET_DEVIATION, IMAGENET_MEAN, Backbone, global_mean
from tfcxr.layers.batch_normalization import NormalizedConvolution
from tfcxr.layers.initializers import initializer_seeds

EPSILON = 1e-3  # of every batch normalization
PUBLISHED_SIZE = 299
POOL, SHRINK = "pool", "shrink"  # 3x3 pooling of stride 1, and the largest of 3x3 with stride 2

# A block is a row of branches whose outputs are concatenated; a branch is a row of parts. A part is a pooling; a
# convolution (name, filters, kernel size), padded to keep the size, or of stride 2 without padding where its name is
# in HALVING; or a pair of convolutions of the same map, concatenated.


def _block_a(pool_filters: int) -> tuple:
    return (
        (("branch1x1", 64, 1),),
        (("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)),
        (("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)),
        (POOL, ("branch_pool", pool_filters, 1)),
    )


def _block_c(width: int) -> tuple:
    return (
        (("branch1x1", 192, 1),),
        (("branch7x7_1", width, 1), ("branch7x7_2", width, (1, 7)), ("branch7x7_3", 192, (7, 1))),
        (
            ("branch7x7dbl_1", width, 1),
            ("branch7x7dbl_2", width, (7, 1)),
            ("branch7x7dbl_3", width, (1, 7)),
            ("branch7x7dbl_4", width, (7, 1)),
            ("branch7x7dbl_5", 192, (1, 7)),
        ),
        (POOL, ("branch_pool", 192, 1)),
    )


BLOCK_B = (
    (("branch3x3", 384, 3),),
    (("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)),
    (SHRINK,),
)
BLOCK_D = (
    (("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3)),
    (
        ("branch7x7x3_1", 192, 1),
        ("branch7x7x3_2", 192, (1, 7)),
        ("branch7x7x3_3", 192, (7, 1)),
        ("branch7x7x3_4", 192, 3),
    ),
    (SHRINK,),
)
BLOCK_E = (
    (("branch1x1", 320, 1),),
    (("branch3x3_1", 384, 1), (("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1)))),
    (
        ("branch3x3dbl_1", 448, 1),
        ("branch3x3dbl_2", 384, 3),
        (("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1))),
    ),
    (POOL, ("branch_pool", 192, 1)),
)
BLOCKS = {
    "Mixed_5b": _block_a(32),
    "Mixed_5c": _block_a(64),
    "Mixed_5d": _block_a(64),
    "Mixed_6a": BLOCK_B,
    "Mixed_6b": _block_c(128),
    "Mixed_6c": _block_c(160),
    "Mixed_6d": _block_c(160),
    "Mixed_6e": _block_c(192),
    "Mixed_7a": BLOCK_D,
    "Mixed_7b": BLOCK_E,
    "Mixed_7c": BLOCK_E,
}
HALVING = {"Mixed_6a.branch3x3", "Mixed_6a.branch3x3dbl_3", "Mixed_7a.branch3x3_2", "Mixed_7a.branch7x7x3_4"}
STEM = (  # name, filters, kernel size, stride, padding; or the name of a pooling
    ("Conv2d_1a_3x3", 32, 3, 2, 0),
    ("Conv2d_2a_3x3", 32, 3, 1, 0),
    ("Conv2d_2b_3x3", 64, 3, 1, 1),
    "maxpool1",
    ("Conv2d_3b_1x1", 80, 1, 1, 0),
    ("Conv2d_4a_3x3", 192, 3, 1, 0),
    "maxpool2",
)


class InceptionV3(Backbone):
    """Float32 images [batch, height, width, 3] -> logits float32 [batch, classes].

    Args:
      variant: "torchvision" or "pytorch_fid", see the module's table.
      classes: of the last layer.
      transform_input: of torchvision: images come ImageNet-normalised, as for its other networks, and are turned
        into (x - .5) / .5, on which the weights were trained. Without, they must be that already.
      input_size: to which `pooled` and `call` resize images: torchvision's does not by itself, pytorch-fid's does to
        299, bilinear without antialiasing. 0 for none.
      seed: of the weights.

    Attributes:
      convolutions: PyTorch's name, such as "Mixed_5b.branch1x1" -> layer.
    """

    smallest_size = 75
    feature_count = 2048

    def __init__(
        self,
        variant: Literal["torchvision", "pytorch_fid"] = "torchvision",
        classes: int = 1000,
        transform_input: bool = True,
        input_size: int = 0,
        seed: int = 0,
        **keywords,
    ) -> None:
        if variant not in ("torchvision", "pytorch_fid"):
            raise ValueError(f"variant must be torchvision or pytorch_fid, got {variant!r}")
        super().__init__(3, "imagenet" if variant == "torchvision" else "unit", input_size, **keywords)
        self.variant = variant
        self.classes = classes
        self.transform_input = transform_input
        self.convolutions = {}
        seeds, channels = initializer_seeds(seed), 3
        for part in STEM:
            if isinstance(part, tuple):
                name, filters, size, stride, padding = part
                self._add(name, channels, filters, size, stride, padding, next(seeds))
                channels = filters
        for name, block in BLOCKS.items():
            channels = self._add_block(name, block, channels, seeds)
        draw = keras.initializers.GlorotUniform(seed=next(seeds))
        self.fc = keras.layers.Dense(classes, kernel_initializer=draw, dtype="float32", name="fc")
        self.fc.build([None, channels])
        self.built = True

    def call(self, image: tf.Tensor) -> tf.Tensor:
        return self.classify(self.pooled(image))

    def pooled(self, image: tf.Tensor) -> tf.Tensor:
        """Means over the last map, float32 [batch, 2048].

        Raises:
          ValueError: other channels, images too small, or not square where torchvision's are resized.
        """
        return global_mean(self.features(self.sized(image)))

    def classify(self, pooled: tf.Tensor) -> tf.Tensor:
        """Features of `pooled` -> logits float32 [batch, classes]."""
        return self.fc(pooled)

    def features(self, image: tf.Tensor) -> tf.Tensor:
        """The last map, float [batch, 8, 8, 2048] for images of 299 pixels, which are not resized here."""
        features = image
        for _, part in self.stages(image):
            features = part
        return features

    def sized(self, image: tf.Tensor) -> tf.Tensor:
        """The image in `input_size`."""
        if self.variant == "torchvision" or not self.input_size:
            return super().sized(image)
        return tf.image.resize(image, [self.input_size, self.input_size])  # bilinear, without antialiasing

    def network_input(self, image: tf.Tensor) -> tf.Tensor:
        """What the first convolution reads: about [-1, 1], in the compute dtype."""
        if self.variant == "pytorch_fid":
            image = 2.0 * image - 1.0
        elif self.transform_input:
            deviation, mean = tf.constant(IMAGENET_DEVIATION), tf.constant(IMAGENET_MEAN)
            image = image * (deviation / 0.5) + (mean - 0.5) / 0.5
        return tf.cast(image, self.compute_dtype)

    def stages(self, image: tf.Tensor) -> Iterator[tuple[str, tf.Tensor]]:
        """PyTorch's name of each part and its output: Conv2d_1a_3x3 ... maxpool2, Mixed_5b ... Mixed_7c."""
        features = self.network_input(self.checked(image))
        for part in STEM:
            if isinstance(part, tuple):
                name = part[0]
                features = self.convolutions[name](features)
            else:
                name, features = part, tf.nn.max_pool2d(features, 3, 2, "VALID")
            yield name, features
        for name, block in BLOCKS.items():
            features = tf.concat([self._branch(name, branch, features) for branch in block], axis=-1)
            yield name, features

    def _branch(self, block: str, branch: tuple, features: tf.Tensor) -> tf.Tensor:
        for part in branch:
            if part == SHRINK:
                features = tf.nn.max_pool2d(features, 3, 2, "VALID")
            elif part == POOL:
                features = self._pool(block, features)
            else:
                maps = [self.convolutions[f"{block}.{name}"](features) for name, _, _ in _convolutions(part)]
                features = maps[0] if len(maps) == 1 else tf.concat(maps, axis=-1)
        return features

    def _pool(self, block: str, features: tf.Tensor) -> tf.Tensor:
        if self.variant == "torchvision":  # zeros beyond the border count
            return tf.nn.avg_pool2d(tf.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 1, "VALID")
        if block == "Mixed_7c":
            return tf.nn.max_pool2d(features, 3, 1, "SAME")
        return tf.nn.avg_pool2d(features, 3, 1, "SAME")

    def _add_block(self, block: str, branches: tuple, inputs: int, seeds: Iterator[int]) -> int:
        """Makes the convolutions of a block and returns the channels of its output."""
        outputs = 0
        for branch in branches:
            channels = inputs
            for part in branch:
                if part in (POOL, SHRINK):
                    continue
                for name, filters, size in _convolutions(part):
                    is_halving = f"{block}.{name}" in HALVING
                    height, width = (size, size) if isinstance(size, int) else size
                    padding = (0, 0) if is_halving else (height // 2, width // 2)
                    stride = 2 if is_halving else 1
                    self._add(f"{block}.{name}", channels, filters, (height, width), stride, padding, next(seeds))
                channels = sum(filters for _, filters, _ in _convolutions(part))
            outputs += channels
        return outputs

    def _add(self, name, inputs, filters, size, stride, padding, seed) -> None:
        self.convolutions[name] = NormalizedConvolution(
            inputs, filters, size, seed, stride, padding, epsilon=EPSILON, name=name.replace(".", "_")
        )


def _convolutions(part: tuple) -> tuple:
    """A part that is one convolution, or a pair of them, as a row of convolutions."""
    return (part,) if isinstance(part[0], str) else part
