"""EfficientNet-Lite (Tan, Le 2019, without squeeze-and-excitation and with ReLU6, as Google's "lite" models of 2020).

    network = EfficientNetLite(repeats=(1, 2, 2, 3, 3, 4, 1))          # Lite0
    maps = network.maps(network.from_signed(images))                   # from fine to coarse

Small for what it knows of ImageNet: Sauer et al. 2021 took Lite1 as the eye of their Projected GANs. For inference
only: normalised by the running statistics.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfcxr.backbones.base import Backbone, global_mean
from tfcxr.layers.batch_normalization import BatchNormalization
from tfcxr.layers.initializers import initializer_seeds, kernel_initializer

EPSILON = 1e-3  # of every batch normalization
LITE0_FILTERS = (32, 16, 24, 40, 80, 112, 192, 320, 1280)  # of the first convolution, each stage, the last convolution
LITE0_REPEATS = (1, 2, 2, 3, 3, 4, 1)  # blocks of each stage
KERNEL_SIZES = (3, 3, 5, 3, 5, 5, 3)  # of each stage's depthwise convolutions
STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of each stage's first block
EXPANSIONS = (1, 6, 6, 6, 6, 6, 6)  # channels inside a block, in its inputs


class NormalizedKernel(keras.layers.Layer):
    """A convolution without a bias and batch normalization in one: float [b, h, w, inputs] -> [b, h', w', filters].

    Padded as TensorFlow's "same", unevenly where the stride is 2.

    Args:
      inputs: channels.
      filters: channels; 0 is depthwise, as many as `inputs`.
      kernel_size: pixels.
      stride: pixels.
      is_activated: ReLU6 follows.
      seed: of the weights.
    """

    def __init__(
        self, inputs: int, filters: int, kernel_size: int, stride: int, is_activated: bool, seed: int, name: str
    ) -> None:
        super().__init__(name=name)
        self.stride, self.is_depthwise, self.is_activated = stride, not filters, is_activated
        shape = (kernel_size, kernel_size, inputs, filters or 1)
        self.kernel = self.add_weight(shape, kernel_initializer("he", seed), name="kernel", autocast=False)
        self.norm = BatchNormalization(filters or inputs, EPSILON, name="norm")
        self.built = True

    def call(self, features: tf.Tensor) -> tf.Tensor:
        scale, offset = self.norm.scale_and_offset()
        if self.is_depthwise:
            kernel = tf.cast(self.kernel * scale[:, None], features.dtype)
            features = tf.nn.depthwise_conv2d(features, kernel, [1, self.stride, self.stride, 1], "SAME")
        else:
            kernel = tf.cast(self.kernel * scale, features.dtype)
            features = tf.nn.conv2d(features, kernel, self.stride, "SAME")
        features = tf.nn.bias_add(features, tf.cast(offset, features.dtype))
        return tf.nn.relu6(features) if self.is_activated else features


class InvertedBottleneck(keras.layers.Layer):
    """Expanded by 1x1, convolved depthwise, projected by 1x1 (Sandler et al. 2018), its input added if it fits."""

    def __init__(
        self, inputs: int, filters: int, kernel_size: int, stride: int, expansion: int, seeds: list[int], name: str
    ) -> None:
        super().__init__(name=name)
        width = inputs * expansion
        self.expand = None
        if expansion > 1:
            self.expand = NormalizedKernel(inputs, width, 1, 1, True, seeds[0], "expand")
        self.depthwise = NormalizedKernel(width, 0, kernel_size, stride, True, seeds[1], "depthwise")
        self.project = NormalizedKernel(width, filters, 1, 1, False, seeds[2], "project")
        self.is_residual = stride == 1 and inputs == filters
        self.stride = stride
        self.built = True

    def expanded(self, features: tf.Tensor) -> tf.Tensor:
        return features if self.expand is None else self.expand(features)

    def call(self, features: tf.Tensor, expanded: tf.Tensor) -> tf.Tensor:
        """`expanded` is what `expanded(features)` gave."""
        new = self.project(self.depthwise(expanded))
        return features + new if self.is_residual else new


class EfficientNetLite(Backbone):
    """Float32 images [batch, height, width, 3] in [-1, 1] -> logits float32 [batch, classes].

    Args:
      filters: of the first convolution, of each stage, and of the last convolution.
      repeats: blocks of each stage.
      classes: of the classifier, 0 for none.
      input_size: to which `pooled` and `call` resize images; 0 for none.
      seed: of the weights.

    Attributes:
      map_channels: of what `maps` gives.
    """

    smallest_size = 32

    def __init__(
        self,
        filters: Sequence[int] = LITE0_FILTERS,
        repeats: Sequence[int] = LITE0_REPEATS,
        classes: int = 1000,
        input_size: int = 0,
        seed: int = 0,
    ) -> None:
        """
        Raises:
          ValueError: not one number for each of the seven stages.
        """
        super().__init__(3, "signed", input_size)
        if len(repeats) != len(STRIDES) or len(filters) != len(STRIDES) + 2:
            raise ValueError(
                f"an EfficientNet-Lite has {len(STRIDES)} stages: expected as many repeats and two more filters, got "
                f"{len(repeats)} and {len(filters)}"
            )
        seeds = initializer_seeds(seed)
        first, *stages, last = filters
        self.stem = NormalizedKernel(3, first, 3, 2, True, next(seeds), "stem")
        self.blocks, inputs, total_stride = [], first, 2
        self.map_channels = {}
        for width, count, kernel_size, stride, expansion in zip(
            stages, repeats, KERNEL_SIZES, STRIDES, EXPANSIONS, strict=True
        ):
            for repeat in range(count):
                draws = [next(seeds) for _ in range(3)]
                shape = (inputs, width, kernel_size, 1 if repeat else stride, expansion)
                self.blocks.append(InvertedBottleneck(*shape, draws, f"block{len(self.blocks)}"))
                if self.blocks[-1].stride > 1:
                    self.map_channels[f"stride_{total_stride}"] = inputs * expansion
                    total_stride *= stride
                inputs = width
        self.head = NormalizedKernel(inputs, last, 1, 1, True, next(seeds), "head")
        del self.map_channels["stride_2"]
        self.map_channels[f"stride_{total_stride}"] = last
        self.classes, self.feature_count = classes, last
        if classes:
            draw = keras.initializers.GlorotUniform(seed=next(seeds))
            self.classifier = keras.layers.Dense(classes, kernel_initializer=draw, dtype="float32", name="classifier")
            self.classifier.build([None, last])
        self.built = True

    def call(self, image: tf.Tensor) -> tf.Tensor:
        return self.classify(self.pooled(image))

    def features(self, image: tf.Tensor) -> tf.Tensor:
        """The last map, float [batch, height / 32, width / 32, feature_count]."""
        return self.maps(image)["stride_32"]

    def pooled(self, image: tf.Tensor) -> tf.Tensor:
        """Means over the last map, float32 [batch, feature_count]."""
        return global_mean(self.features(self.sized(image)))

    def classify(self, features: tf.Tensor) -> tf.Tensor:
        """`pooled` features -> logits float32 [batch, classes]."""
        return self.classifier(features)

    def maps(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """The last activations at a quarter, an eighth, a 16th and a 32nd of the size, by "stride_4" to "stride_32".

        They are wide: what a block expands to before its stride, and the last convolution's.
        """
        features, last = self.stem(self.checked(image)), []
        for block in self.blocks:
            expanded = block.expanded(features)
            if block.stride > 1:
                last.append(expanded)
            features = block(features, expanded)
        return dict(zip(self.map_channels, [*last[1:], self.head(features)], strict=True))
