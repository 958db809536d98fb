"""DenseNet (Huang et al. 2017, "Densely Connected Convolutional Networks"), as torchvision and TorchXRayVision have it.

    network = DenseNet(channels=1, classes=18, value_range="xrv")      # DenseNet-121 of TorchXRayVision
    features = network.pooled(network.from_signed(images))             # [batch, 1024]

Layers carry the names of the PyTorch modules.
"""

from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf

from tfcxr.backbones.base import Backbone, global_mean
from tfcxr.layers.batch_normalization import BatchNormalization, Convolution, NormalizedConvolution
from tfcxr.layers.initializers import initializer_seeds

DENSENET121_BLOCKS = (6, 12, 24, 16)


class DenseLayer(keras.layers.Layer):
    """Appends `growth_rate` channels: float [batch, height, width, inputs] -> [..., inputs + growth_rate]."""

    def __init__(
        self, inputs: int, growth_rate: int, bottleneck_size: int, seeds: Iterator[int], name: str, **keywords
    ) -> None:
        super().__init__(name=name, **keywords)
        width = bottleneck_size * growth_rate
        self.norm1 = BatchNormalization(inputs, name="norm1")
        self.conv1 = NormalizedConvolution(inputs, width, 1, next(seeds), name="conv1")  # with norm2 and its ReLU
        self.conv2 = Convolution(width, growth_rate, 3, next(seeds), padding=1, name="conv2")
        self.built = True

    def call(self, features: tf.Tensor, training: bool = False) -> tf.Tensor:
        new = tf.nn.relu(self.norm1(features, training=training))
        new = self.conv2(self.conv1(new, training=training))
        return tf.concat([features, new], axis=-1)


class Transition(keras.layers.Layer):
    """Half the channels and half the size, rounded down: float [b, h, w, inputs] -> [b, h / 2, w / 2, inputs / 2]."""

    def __init__(self, inputs: int, seeds: Iterator[int], name: str, **keywords) -> None:
        super().__init__(name=name, **keywords)
        self.norm = BatchNormalization(inputs, name="norm")
        self.conv = Convolution(inputs, inputs // 2, 1, next(seeds), name="conv")
        self.built = True

    def call(self, features: tf.Tensor, training: bool = False) -> tf.Tensor:
        features = tf.nn.relu(self.norm(features, training=training))
        # published the other way round: a 1x1 convolution and a mean of pixels change places, for a quarter of the work
        return self.conv(tf.nn.avg_pool2d(features, 2, 2, "VALID"))


class DenseNet(Backbone):
    """Float32 images [batch, height, width, channels] in `value_range` -> logits float32 [batch, classes].

    Args:
      growth_rate: channels that each dense layer appends.
      block_config: dense layers of each block.
      initial_filters: of the first convolution.
      bottleneck_size: width inside a dense layer, in growth rates.
      classes: of the classifier, 0 for none.
      channels: of the images.
      value_range: "xrv" ([-1024, 1024]) or another of `VALUE_RANGES`.
      input_size: to which `pooled` and `call` resize images, as TorchXRayVision does (224) in its own `features2` and
        `forward`; `features` never does. 0 for none.
      op_thresholds: TorchXRayVision's operating points, one per class, NaN where unknown; kept beside the weights.
      seed: of the weights.
    """

    def __init__(
        self,
        growth_rate: int = 32,
        block_config: Sequence[int] = DENSENET121_BLOCKS,
        initial_filters: int = 64,
        bottleneck_size: int = 4,
        classes: int = 18,
        channels: int = 1,
        value_range: str = "xrv",
        input_size: int = 0,
        op_thresholds: Sequence[float] = (),
        seed: int = 0,
        **keywords,
    ) -> None:
        super().__init__(channels, value_range, input_size, **keywords)
        if op_thresholds and len(op_thresholds) != classes:
            raise ValueError(f"op_thresholds needs one number for each of {classes} classes, got {len(op_thresholds)}")
        seeds = initializer_seeds(seed)
        self.op_thresholds = tuple(op_thresholds)
        self.classes = classes
        # conv0 and a pooling round a half size up, the transitions round it down
        self.smallest_size = 4 * 2 ** (len(block_config) - 1) - 3
        # with norm0 and its ReLU
        self.conv0 = NormalizedConvolution(channels, initial_filters, 7, next(seeds), stride=2, padding=3, name="conv0")
        self.blocks, self.transitions, width = [], [], initial_filters
        for block, layers in enumerate(block_config, start=1):
            dense_layers = []
            for layer in range(1, layers + 1):
                name = f"block{block}_layer{layer}"
                dense_layers.append(DenseLayer(width, growth_rate, bottleneck_size, seeds, name))
                width += growth_rate
            self.blocks.append(dense_layers)
            if block < len(block_config):
                self.transitions.append(Transition(width, seeds, f"transition{block}"))
                width //= 2
        self.norm5 = BatchNormalization(width, name="norm5")
        self.feature_count = width
        if classes:
            draw = keras.initializers.GlorotUniform(seed=next(seeds))
            self.classifier = keras.layers.Dense(classes, kernel_initializer=draw, dtype="float32", name="classifier")
            self.classifier.build([None, width])
        self.built = True

    def call(self, image: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.classify(self.pooled(image, training=training))

    def pooled(self, image: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Means over the map, float32 [batch, feature_count].

        Args:
          training: normalizes by batch statistics, which move the running ones.

        Raises:
          ValueError: other channels, images too small, or not square where they are resized.
        """
        return global_mean(tf.nn.relu(self.features(self.sized(image), training=training)))

    def classify(self, pooled: tf.Tensor) -> tf.Tensor:
        """Features of `pooled`, after the ReLU -> logits float32 [batch, classes]."""
        return self.classifier(pooled)

    def features(self, image: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The map before the last ReLU, float [batch, height / 32, width / 32, feature_count] for four blocks.

        Raises:
          ValueError: other channels, or images too small.
        """
        features = image
        for _, part in self.stages(image, training=training):
            features = part
        return features

    def stages(self, image: tf.Tensor, training: bool = False) -> Iterator[tuple[str, tf.Tensor]]:
        """PyTorch's name of each part and its output: relu0, pool0, denseblock1, transition1 ... norm5."""
        features = self.conv0(self.checked(image), training=training)
        yield "relu0", features
        # nothing is below 0 after the ReLU, so zeros around never win
        features = tf.nn.max_pool2d(tf.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "VALID")
        yield "pool0", features
        for block, layers in enumerate(self.blocks, start=1):
            for layer in layers:
                features = layer(features, training=training)
            yield f"denseblock{block}", features
            if block <= len(self.transitions):
                features = self.transitions[block - 1](features, training=training)
                yield f"transition{block}", features
        yield "norm5", self.norm5(features, training=training)
