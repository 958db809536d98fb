"""SRGAN (Ledig et al. 2017): an image 2, 4 or 8 times as large, trained on real images and their smaller averages.

    crop of a real image, its area average -> residual generator -> the crop again
                                              discriminator      -> real or generated

It reads no labels and no z. `super_resolve` takes images of any size, window by window without seams.

Differs from the paper: grey; the generator adds to the bicubic enlargement, so that training starts from it; no batch
normalization (Wang et al. 2018, section 3.1; in the generator it is a setting); the discriminator ends in a mean over
its last feature map (the published dense layers are a setting); the pixel error is absolute (Lim et al. 2017).
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, Literal

import keras
import tensorflow as tf

from tfcxr.backbones.content_features import FeatureNetwork, saved_model_features, vgg19_features
from tfcxr.config import check_range
from tfcxr.data.pipeline import from_pixels, to_pixels
from tfcxr.layers.channels import with_channels
from tfcxr.layers.initializers import initializer_seeds, kernel_initializer
from tfcxr.layers.leaky_relu import LEAKY_SLOPE, leaky_relu
from tfcxr.layers.normalization import normalization
from tfcxr.layers.tiling import enlarge_by_tiles
from tfcxr.losses.adversarial import ADVERSARIAL_LOSSES
from tfcxr.models.base import AdversarialModel, probability_means
from tfcxr.models.model_config import AdversarialConfig

SCALES = (2, 4, 8)
LARGEST_CROP = 128  # pixels, where none is set
SMALLEST_CROP = 16  # pixels; the discriminator halves it four times
TILE_PIXELS = 512  # height and width of a window of `super_resolve`, in pixels of the enlarged image
BICUBIC_REACH = 2  # pixels to each side that the bicubic enlargement depends on
RESIDUAL_SCALE = 0.1  # of the last layer's output, so that Adam's first step, the same for all its weights, is small
VGG_SCALE = 1.0 / 12.75  # of VGG's features, so that their error compares with that of pixels (Ledig, section 3.2)


@dataclasses.dataclass(frozen=True)
class SRGANConfig(AdversarialConfig):
    """Settings of the SRGAN; `image_size` is that of the records, the large images.

    Attributes:
      scale: how many times larger the output is: 2, 4 or 8.
      crop_size: pixels of the square of a large image that is trained on; 0 is `image_size`, at most 128.
      residual_blocks: 16 in Ledig et al.
      filters: channels of the generator's features.
      kernel_size: of the generator's first and last convolution.
      normalization: in the generator: "none", or "batch" as Ledig et al.
      activation: in the generator: "leaky_relu" (slope .2), or "prelu" as Ledig et al.
      discriminator_filters: channels of the first convolution, doubled three times; 64 in Ledig et al.
      discriminator_dense_units: 0 scores the mean over the last feature map; 1024 is the dense layer of Ledig et al.
      content_loss: compares the output with the real image beyond pixels: "pixel" by nothing, "vgg19" by features of
        VGG19, "saved_model" by features of any exported classifier.
      pixel_error: "absolute" or "squared" (Ledig et al.).
      pixel_weight: of the pixel error; beside VGG's features Ledig et al. have 0, Wang et al. 2018 .01.
      content_weight: of the squared error of features.
      content_layer: of VGG19, see `vgg19_features`.
      content_weights: of VGG19, see `vgg19_features`.
      content_model: folder of the SavedModel, see `saved_model_features`.
      content_range: of the SavedModel, see `saved_model_features`.
      content_output: of the SavedModel, see `saved_model_features`.
      adversarial_loss: name in `losses.adversarial`.
      adversarial_weight: of the generator's adversarial loss.
      warmup_steps: first steps, in which the pixel error alone moves the generator and the discriminator rests (Ledig
        et al. start from such a network, SRResNet).
    """

    generator_learning_rate: float = 2e-4
    discriminator_learning_rate: float = 1e-4
    beta_1: float = 0.9
    scale: int = 4
    crop_size: int = 0
    residual_blocks: int = 8
    filters: int = 64
    kernel_size: int = 9
    normalization: Literal["none", "batch"] = "none"
    activation: Literal["leaky_relu", "prelu"] = "leaky_relu"
    discriminator_filters: int = 32
    discriminator_dense_units: int = 0
    content_loss: Literal["pixel", "vgg19", "saved_model"] = "pixel"
    pixel_error: Literal["absolute", "squared"] = "absolute"
    pixel_weight: float = 1.0
    content_weight: float = 1.0
    content_layer: str = "block5_conv4"
    content_weights: str = "imagenet"
    content_model: str = ""
    content_range: Literal["-1..1", "0..1", "0..255"] = "-1..1"
    content_output: str = ""
    adversarial_loss: Literal["log", "least_squares", "hinge"] = "log"
    adversarial_weight: float = 1e-3
    warmup_steps: int = 500

    network_settings = (
        *AdversarialConfig.network_settings,
        "scale",
        "residual_blocks",
        "filters",
        "kernel_size",
        "normalization",
        "activation",
        "discriminator_filters",
        "discriminator_dense_units",
    )
    trains_in_bfloat16 = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale not in SCALES:
            raise ValueError(f"scale must be one of {', '.join(map(str, SCALES))}, got {self.scale}")
        crop = self.training_crop
        if crop % self.scale or not SMALLEST_CROP <= crop <= self.image_size:
            raise ValueError(
                f"crop_size must be a multiple of scale {self.scale} from {SMALLEST_CROP} to image_size "
                f"{self.image_size}, got {crop}"
            )
        check_range(self, "residual_blocks", "filters", "kernel_size", "discriminator_filters", minimum=1)
        check_range(self, "warmup_steps", "discriminator_dense_units", minimum=0)
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {self.kernel_size}")
        if self.content_loss == "saved_model" and not self.content_model:
            raise ValueError("content_loss=saved_model needs content_model, the folder of a SavedModel; got none")

    @classmethod
    def tiny_settings(cls) -> tuple[dict[str, Any], ...]:
        networks = {"residual_blocks": 1, "filters": 8, "kernel_size": 3, "discriminator_filters": 4}
        return (networks | {"image_size": 32, "crop_size": 16, "warmup_steps": 0},)

    def for_inference(self) -> "SRGANConfig":
        return dataclasses.replace(self, precision="float32", content_loss="pixel")  # loads no feature network

    @property
    def training_crop(self) -> int:
        """Pixels of the square that is trained on."""
        return self.crop_size or min(LARGEST_CROP, self.image_size)

    @property
    def reach(self) -> int:
        """Pixels of the small image to each side that a pixel of the output depends on, at most."""
        edge = self.kernel_size // 2
        stages = int(math.log2(self.scale))
        blocks = 2 * self.residual_blocks + 1
        upsampling = sum(0.5**stage for stage in range(stages))
        network = math.ceil(edge + blocks + upsampling + edge / self.scale)
        return max(network, BICUBIC_REACH) + 1  # one more, as a large pixel does not begin where a small one does


def average_down(images: tf.Tensor, scale: int) -> tf.Tensor:
    """Area averages, float32 [batch, height / scale, width / scale, channels], as the builder makes smaller records."""
    return tf.nn.avg_pool2d(images, scale, scale, "VALID")


def enlarge_bicubic(images: tf.Tensor, scale: int) -> tf.Tensor:
    """Bicubic enlargement (Keys 1981), float32 [batch, height * scale, width * scale, channels]; may leave [-1, 1]."""
    return tf.image.resize(images, scale * tf.shape(images)[1:3], "bicubic")


class Generator(keras.Model):
    """float32 images [batch, h, w, channels] in [-1, 1] -> float32 [batch, h * scale, w * scale, channels].

    The output is linear: it may leave [-1, 1]. An untrained generator is the bicubic enlargement.
    """

    def __init__(self, config: SRGANConfig, seed: int) -> None:
        super().__init__()
        self.scale = config.scale
        seeds, filters = initializer_seeds(seed), config.filters
        self.first = _convolution(filters, config.kernel_size, seeds)
        self.first_activation = _activation(config)
        # the second convolution of a block starts small, so that deep sums keep their size (Wang et al. 2018)
        self.blocks = [
            keras.Sequential(
                [
                    _convolution(filters, 3, seeds),
                    *_normalization(config),
                    _activation(config),
                    _convolution(filters, 3, seeds, variance=0.02),
                    *_normalization(config),
                ]
            )
            for _ in range(config.residual_blocks)
        ]
        self.after_blocks = keras.Sequential([_convolution(filters, 3, seeds), *_normalization(config)])
        stages = range(int(math.log2(config.scale)))
        self.upsampling = [_convolution(4 * filters, 3, seeds) for _ in stages]
        self.upsampling_activations = [_activation(config) for _ in stages]
        self.last = keras.layers.Conv2D(
            config.channels, config.kernel_size, padding="same", kernel_initializer="zeros", name="last"
        )

    def call(self, image: tf.Tensor, training: bool = False) -> tf.Tensor:
        features = first = self.first_activation(self.first(image))  # [batch, h, w, filters]
        for block in self.blocks:
            features += block(features, training=training)
        features = first + self.after_blocks(features, training=training)
        for convolution, activation in zip(self.upsampling, self.upsampling_activations, strict=True):
            # sub-pixel convolution (Shi et al. 2016): [batch, h, w, 4 * filters] -> [batch, 2 h, 2 w, filters]
            features = activation(tf.nn.depth_to_space(convolution(features), 2))
        residual = RESIDUAL_SCALE * tf.cast(self.last(features), tf.float32)
        return enlarge_bicubic(tf.cast(image, tf.float32), self.scale) + residual


class Discriminator(keras.Model):
    """float32 images in [-1, 1] -> realism logits float32 [batch, 1]; figure 4 of Ledig et al."""

    def __init__(self, config: SRGANConfig, seed: int) -> None:
        super().__init__()
        seeds, filters, units = initializer_seeds(seed), config.discriminator_filters, config.discriminator_dense_units
        draw = lambda: kernel_initializer("he", next(seeds))  # noqa: E731
        self.convolutions = [
            keras.layers.Conv2D(filters << (layer // 2), 3, 1 + layer % 2, "same", kernel_initializer=draw())
            for layer in range(8)
        ]
        self.dense = keras.layers.Dense(units, kernel_initializer=draw()) if units else None
        glorot = kernel_initializer("glorot", next(seeds))
        self.realism = keras.layers.Dense(1, kernel_initializer=glorot, dtype="float32")

    def call(self, image: tf.Tensor) -> tf.Tensor:
        features = image
        for convolution in self.convolutions:  # every second one halves the size
            features = leaky_relu(convolution(features))
        if self.dense is None:
            return self.realism(tf.reduce_mean(tf.cast(features, tf.float32), axis=[1, 2]))
        flat = tf.reshape(features, [-1, math.prod(features.shape[1:])])
        return self.realism(leaky_relu(self.dense(flat)))


def _convolution(filters: int, kernel_size: int, seeds: Iterator[int], variance: float = 2.0) -> keras.layers.Layer:
    initializer = keras.initializers.VarianceScaling(variance, "fan_in", seed=next(seeds))
    return keras.layers.Conv2D(filters, kernel_size, padding="same", kernel_initializer=initializer)


def _normalization(config: SRGANConfig) -> list[keras.layers.Layer]:
    return [normalization("batch")] if config.normalization == "batch" else []


def _activation(config: SRGANConfig) -> keras.layers.Layer:
    if config.activation == "prelu":
        return keras.layers.PReLU(shared_axes=[1, 2])
    return keras.layers.LeakyReLU(negative_slope=LEAKY_SLOPE)


class SRGAN(AdversarialModel):
    """Super-resolution; one training step moves the generator and, after the warm-up, the discriminator once each."""

    config_class = SRGANConfig
    generator_class = Generator
    discriminator_class = Discriminator
    kind = "super_resolution"
    metric_names = (
        "pixel_error",
        "content",
        "generator_adversarial",
        "discriminator_adversarial",
        "real_score",
        "fake_score",
    )

    def __init__(self, config: SRGANConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        # a plain function, which Keras does not track: frozen weights are neither trained, saved nor exported
        self._features = _make_features(config, seed)

    def generator_inputs(self) -> tf.Tensor:
        size = self.config.training_crop // self.config.scale
        return tf.zeros([1, size, size, self.config.channels])

    def discriminator_inputs(self) -> tf.Tensor:
        size = self.config.training_crop
        return tf.zeros([1, size, size, self.config.channels])

    def super_resolve(self, image: tf.Tensor, tile_size: int = 0) -> tf.Tensor:
        """Enlarges whole images, two at a time and window by window; the windows leave no trace.

        Always two, the last of an odd number beside a grey one: so an image comes out the same in any batch. Not one:
        TensorFlow's oneDNN computes a batch of one by other kernels, 14 times as long per image (64 -> 256 px).

        Args:
          image: float32 [batch, height, width, channels] in [-1, 1], of any size.
          tile_size: largest height and width of a window, in pixels of `image`, above twice `config.reach`. By default
            a window's output has 512 pixels, or more so that at most half of a window is overlap. Larger is faster and
            needs more memory.

        Returns:
          float32 [batch, height * scale, width * scale, channels] in [-1, 1].

        Raises:
          ValueError: windows too small for the network's reach.
        """
        config = self.config
        tile_size = tile_size or max(TILE_PIXELS // config.scale, 4 * config.reach)

        def resolve(images: tf.Tensor) -> tf.Tensor:
            network = lambda window: self.sampling_generator(window, training=False)  # noqa: E731
            large = enlarge_by_tiles(network, images, config.scale, config.reach, tile_size)
            return tf.clip_by_value(large, -1.0, 1.0)

        rows, height, width = tf.unstack(tf.shape(image)[:3])
        pairs = tf.maximum((rows + 1) // 2, 1)  # a loop needs one turn
        filled = tf.pad(image, [[0, 2 * pairs - rows], [0, 0], [0, 0], [0, 0]])
        large = tf.map_fn(
            resolve,
            tf.reshape(filled, [pairs, 2, height, width, config.channels]),
            fn_output_signature=tf.TensorSpec([2, None, None, config.channels], tf.float32),
            parallel_iterations=1,
        )
        return tf.reshape(large, [2 * pairs, height * config.scale, width * config.scale, config.channels])[:rows]

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step on {"image" [batch, size, size, 1 or channels] in [-1, 1]}; labels are not read.

        The crops are enlarged and scored once; both networks' gradients are taken before either moves.
        """
        config = self.config
        real = self._crop(data["image"])
        # rounded to whole grey levels, as a small image is stored
        low = from_pixels(to_pixels(average_down(real, config.scale)))
        with tf.GradientTape() as tape:
            fake = self.generator(low, training=True)  # [batch, crop, crop, channels]
        is_warm = self.step.value >= config.warmup_steps
        if config.warmup_steps:
            fake_gradient, discriminator_gradients, values = tf.cond(
                is_warm, lambda: self._both_gradients(real, fake), lambda: self._pixel_gradients(real, fake)
            )
        else:
            fake_gradient, discriminator_gradients, values = self._both_gradients(real, fake)
        generator_gradients = tape.gradient(fake, self.generator.trainable_variables, output_gradients=fake_gradient)
        self.apply_gradients(self.discriminator, discriminator_gradients)
        if config.warmup_steps:
            # steps of zero gradients change nothing; not counted, they do not spoil Adam's correction of its start
            steps = self.discriminator_optimizer.iterations
            steps.assign(tf.where(is_warm, steps.value, tf.zeros_like(steps.value)))
        self.apply_gradients(self.generator, generator_gradients)
        self.update_average()
        return self.record_means(values)

    def _crop(self, image: tf.Tensor) -> tf.Tensor:
        """A square at a random place of each image."""
        config, crop = self.config, self.config.training_crop
        image = with_channels(image, config.channels)
        places = config.image_size - crop + 1
        if places == 1:
            return image
        corners = tf.cast(self.uniform([image.shape[0], 2], stream=0) * places, tf.int32)
        positions = corners[:, :, None] + tf.range(crop)  # [batch, rows and columns, crop]
        rows = tf.gather(image, positions[:, 0], axis=1, batch_dims=1)
        return tf.gather(rows, positions[:, 1], axis=2, batch_dims=1)

    def _pixel_error(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        distance = tf.abs if self.config.pixel_error == "absolute" else tf.square
        return tf.reduce_mean(distance(fake - real))

    def _pixel_gradients(self, real: tf.Tensor, fake: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor], dict]:
        """What `_both_gradients` returns, of the pixel error alone; zeros for the discriminator."""
        with tf.GradientTape() as tape:
            tape.watch(fake)
            pixel_error = self._pixel_error(real, fake)
        still = [tf.zeros(variable.shape) for variable in self.discriminator.trainable_variables]
        values = dict.fromkeys(self.metric_names, tf.constant(0.0))
        values |= {"pixel_error": pixel_error, "content": pixel_error}
        return tape.gradient(pixel_error, fake), still, values

    def _both_gradients(self, real: tf.Tensor, fake: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor], dict]:
        """The generator's gradient by its output, the discriminator's by its weights, and the values to record."""
        config, loss = self.config, ADVERSARIAL_LOSSES[self.config.adversarial_loss]
        real_features = None if self._features is None else self._features(real)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(fake)
            fake_logits, real_logits = self.discriminator(fake), self.discriminator(real)
            discriminator_adversarial = loss.discriminator(real_logits, fake_logits)
            generator_adversarial = loss.generator(fake_logits)
            pixel_error = self._pixel_error(real, fake)
            content = config.pixel_weight * pixel_error
            if self._features is not None:
                content += config.content_weight * tf.reduce_mean(tf.square(self._features(fake) - real_features))
            generator_total = content + config.adversarial_weight * generator_adversarial
        values = {
            "pixel_error": pixel_error,
            "content": content,
            "generator_adversarial": generator_adversarial,
            "discriminator_adversarial": discriminator_adversarial,
        }
        fake_gradient = tape.gradient(generator_total, fake)
        discriminator_gradients = tape.gradient(discriminator_adversarial, self.discriminator.trainable_variables)
        return fake_gradient, discriminator_gradients, values | probability_means(real_logits, fake_logits)


def _make_features(config: SRGANConfig, seed: int) -> FeatureNetwork | None:
    if config.content_loss == "vgg19":
        features = vgg19_features(config.content_layer, config.content_weights, config.precision, seed)
        return lambda image: VGG_SCALE * features(image)
    if config.content_loss == "saved_model":
        return saved_model_features(config.content_model, config.content_range, config.content_output)
    return None
