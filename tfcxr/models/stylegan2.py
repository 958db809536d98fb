"""StyleGAN2: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN".

Adaptive augmentation for small data sets is an option: Karras et al. 2020, "Training Generative Adversarial Networks
with Limited Data", whose appendix C has the label inputs too.

The defaults are the `auto` configuration of the authors' PyTorch program. Differs from it: both networks' gradients
are taken on one and the same fake batch before either moves, while there the generator moves first and the
discriminator then scores fresh fakes; a lazy penalty's gradient, times its interval, joins the main loss's in one Adam
step, while there it takes a step of its own with adjusted settings; and the data are not mirrored.

Layers carry the names of that program (b8, conv0, affine ...), so that its checkpoints can be read into them. All
weights are made at construction; each layer says `built`, or Keras would trace every `call` an extra time to find out.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import keras
import tensorflow as tf

from tfcxr.backbones.frozen_maps import FrozenMaps
from tfcxr.config import check_names, check_range
from tfcxr.layers import differentiable_augmentation
from tfcxr.layers.adaptive_augmentation import (
    AUGMENTATION_NAMES,
    NORMALS_PER_IMAGE,
    RADIOGRAPH_SAFE,
    UNIFORMS_PER_IMAGE,
    adaptive_augment,
    next_probability,
)
from tfcxr.layers.channels import with_channels
from tfcxr.layers.differentiable_augmentation import AUGMENTATIONS
from tfcxr.layers.equalized import EqualizedConvolution, EqualizedDense
from tfcxr.layers.initializers import initializer_seeds
from tfcxr.layers.minibatch_stddev import append_channel, minibatch_stddev, update_typical_deviation
from tfcxr.layers.modulated_convolution import StyleConvolution, ToImage
from tfcxr.layers.pixel_normalization import pixel_normalization
from tfcxr.layers.recomputation import RECOMPUTATION_ADVICE, recomputed
from tfcxr.layers.resample import upsample
from tfcxr.losses.adversarial import ADVERSARIAL_LOSSES
from tfcxr.losses.penalties import add_gradients, is_due, lazy_gradients, path_length_penalty
from tfcxr.models.base import probability_means
from tfcxr.models.model_config import GANConfig
from tfcxr.models.projected_discriminator import ProjectedDiscriminator
from tfcxr.models.projected_gan import PairedDiscriminator, ProjectedConfig, ProjectedGAN

BASE_SIZE = 4  # pixels of the first feature map
EMA_IMAGES_PER_BATCH = 312.5  # half-life of the averaged generator in images, per image of a batch: 10,000 of 32
AVERAGE_STYLE_RATE = 0.005  # how far the average w moves per step


@dataclasses.dataclass(frozen=True)
class StyleGAN2Config(ProjectedConfig):
    """Settings of StyleGAN2. Where 0 or None means auto, the value follows the authors' rule.

    Attributes:
      generator_learning_rate: 0 is auto: .0025, and .002 at 1024 px and above.
      discriminator_learning_rate: likewise.
      ema_decay: 0 keeps no averaged generator; other values are not read.
      ema_half_life: 0 is auto: 312.5 batches.
      style_size: length of w.
      mapping_layers: dense layers from z and the embedded label to w; the authors' `auto` has 2, their `paper`
        settings 8.
      discriminator_mapping_layers: dense layers from the embedded label to the discriminator's projection, read where
        the model is conditional; 0 projects on the embedding itself. The authors' program has 8 whatever
        `mapping_layers` is.
      channel_base: channels of the features are this over the size in pixels; 0 is auto: 16384 up to 256 px, 32768
        above.
      channel_max: most channels of the features.
      convolution_clamp: largest magnitude of a convolution's output, 0 sets no bound. The authors' program has 256
        unless it trains in float32 alone.
      adversarial_loss: "log", non-saturating (Goodfellow et al. 2014, section 3); "hinge" (Lim, Ye 2017).
      deviation_group_size: images whose minibatch stddev is measured together; 1 compares none.
      r1_gamma: weight of R1; None is auto: .0002 * pixels / batch; 0 is none.
      r1_interval: steps between two lazy applications of R1.
      path_length_weight: of path length regularization, 0 is none.
      path_length_interval: steps between two lazy applications of it.
      path_length_decay: how far the mean length moves in one application.
      path_length_shrink: it is computed on 1/N of the batch.
      style_mixing: probability that an image takes the w of a second z from some layer on.
      augmentations: of `AUGMENTATIONS`, applied to real and generated images alike (Zhao et al. 2020).
      adaptive_augmentation: augments what the discriminator sees, more while it overfits.
      augmentation_names: of `AUGMENTATION_NAMES`; the default keeps the anatomy.
      augmentation_target: mean sign of the logits of real images that is aimed at.
      augmentation_kimg: thousand images in which the probability can rise from 0 to 1.
      augmentation_interval: steps between two changes of the probability.
      recomputes_blocks: keeps a block's inputs alone, computes the rest again for gradients (gradient checkpointing);
        same results. Measured once, it saved no memory: see benchmarks/README.md.
    """

    latent_size: int = 512
    generator_learning_rate: float = 0.0
    discriminator_learning_rate: float = 0.0
    beta_1: float = 0.0
    beta_2: float = 0.99
    epsilon: float = 1e-8
    style_size: int = 512
    mapping_layers: int = 2
    discriminator_mapping_layers: int = 8
    channel_base: int = 0
    channel_max: int = 512
    convolution_clamp: float = 0.0
    adversarial_loss: Literal["log", "hinge"] = "log"  # type: ignore[misc]
    deviation_group_size: int = 4
    r1_gamma: float | None = None
    r1_interval: int = 16
    path_length_weight: float = 2.0
    path_length_interval: int = 4
    path_length_decay: float = 0.01
    path_length_shrink: int = 2
    style_mixing: float = 0.9
    augmentations: tuple[str, ...] = ()
    adaptive_augmentation: bool = False
    augmentation_names: tuple[str, ...] = RADIOGRAPH_SAFE
    augmentation_target: float = 0.6
    augmentation_kimg: float = 500.0
    augmentation_interval: int = 4
    recomputes_blocks: bool = False

    discriminator_settings = (
        *ProjectedConfig.discriminator_settings,
        "discriminator_mapping_layers",
        "deviation_group_size",
    )
    network_settings = (
        *GANConfig.network_settings,
        *discriminator_settings,
        "style_size",
        "mapping_layers",
        "channel_base",
        "channel_max",
    )
    trains_in_bfloat16 = True
    largest_size = 1024

    traces_slowly: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "style_size", "mapping_layers", "channel_max", "deviation_group_size", minimum=1)
        check_range(self, "r1_interval", "path_length_interval", "path_length_shrink", minimum=1)
        check_range(self, "augmentation_interval", minimum=1)
        check_range(self, "discriminator_mapping_layers", "convolution_clamp", minimum=0)
        check_range(self, "augmentation_kimg", above=0)
        check_names(self, "augmentation_names", AUGMENTATION_NAMES)
        check_names(self, "augmentations", AUGMENTATIONS)
        if self.augmentations and self.adaptive_augmentation:
            raise ValueError("choose augmentations or adaptive_augmentation, not both")
        check_range(self, "style_mixing", minimum=0, maximum=1)
        if self.channel_base and self.channel_base < self.image_size:
            raise ValueError(
                f"channel_base must be at least image_size={self.image_size}, so that one channel is left there, or "
                f"0 for auto, got {self.channel_base}"
            )
        for name in ("generator_learning_rate", "discriminator_learning_rate"):
            if not getattr(self, name):
                object.__setattr__(self, name, 0.002 if self.image_size >= 1024 else 0.0025)

    @classmethod
    def tiny_settings(cls) -> tuple[dict[str, Any], ...]:
        tiny = {"image_size": 32, "latent_size": 8, "style_size": 8, "channel_base": 128, "channel_max": 8}
        tiny |= {"r1_gamma": 0.0, "path_length_weight": 0.0}  # they take long to trace
        alone = tiny | {"deviation_group_size": 1}
        augmented = {"r1_gamma": 1.0, "adaptive_augmentation": True, "augmentation_interval": 1}
        return tiny, alone, alone | augmented, alone | {"path_length_weight": 2.0, "recomputes_blocks": True}

    @classmethod
    def implied_settings(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        """In earlier versions the discriminator's mapping network was as deep as the generator's."""
        if "discriminator_mapping_layers" in stored:
            return {}
        return {"discriminator_mapping_layers": stored.get("mapping_layers", cls.mapping_layers)}

    @classmethod
    def current_settings(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Earlier versions had the half-life of the average in thousand images."""
        settings = super().current_settings(stored)
        thousands = settings.pop("ema_kimg", 0.0)
        return settings | ({"ema_half_life": 1000.0 * thousands} if thousands else {})

    def for_inference(self) -> "StyleGAN2Config":
        return dataclasses.replace(self, precision="float32", recomputes_blocks=False)

    @property
    def memory_advice(self) -> tuple[str, ...]:
        return super().memory_advice if self.recomputes_blocks else (*super().memory_advice, RECOMPUTATION_ADVICE)

    @property
    def filters(self) -> dict[int, int]:
        """Channels of the features at each size, {4: .., 8: .., .., image_size: ..}."""
        base = self.channel_base or (16384 if self.image_size <= 256 else 32768)
        sizes = [1 << power for power in range(BASE_SIZE.bit_length() - 1, self.image_size.bit_length())]
        return {size: min(base // size, self.channel_max) for size in sizes}


class MappingNetwork(keras.layers.Layer):
    """float32 z [batch, latent_size] or None, condition [batch, label_count] -> float32 w [batch, style_size].

    z and the embedded condition are each normalized, put side by side, and pass dense layers (maybe none) that learn a
    hundred times more slowly than others.

    Attributes:
      average: the running mean of w, where `has_average`, to which truncation leads.
    """

    def __init__(
        self,
        latent_size: int,
        label_count: int,
        style_size: int,
        layer_count: int,
        seeds: Iterator[int],
        has_average: bool,
        **keywords,
    ) -> None:
        super().__init__(dtype="float32", **keywords)
        self.embed = None
        if label_count:
            self.embed = EqualizedDense(label_count, style_size, next(seeds), dtype="float32", name="embed")
        widths = [latent_size + (style_size if label_count else 0)] + [style_size] * layer_count
        options = {"is_activated": True, "learning_rate_multiplier": 0.01, "dtype": "float32"}
        self.dense = [
            EqualizedDense(inputs, units, next(seeds), name=f"fc{index}", **options)
            for index, (inputs, units) in enumerate(itertools.pairwise(widths))
        ]
        if has_average:
            self.average = self.add_weight((style_size,), "zeros", trainable=False, name="w_avg", aggregation="mean")
        self.built = True

    def call(self, z: tf.Tensor | None, condition: tf.Tensor) -> tf.Tensor:
        parts = [] if z is None else [pixel_normalization(z)]
        if self.embed is not None:
            parts.append(pixel_normalization(self.embed(condition)))
        features = tf.concat(parts, axis=-1)
        for layer in self.dense:
            features = layer(features)
        return features


class SynthesisBlock(keras.layers.Layer):
    """Doubles the size (but the first block starts from a learned constant) and adds its part to the image.

    `call(features, image, styles, noise)` -> features [batch, size, size, filters], image float32 [batch, size, size,
    channels]:
      features: of the block before, float [batch, size / 2, size / 2, inputs]; None in the first.
      image: of the block before, float32 [batch, size / 2, size / 2, channels]; None in the first.
      styles: one w, float32 [batch, style_size], for each convolution and one for the image.
      noise: one for each convolution, or None.
    """

    def __init__(self, config: StyleGAN2Config, size: int, seeds: Iterator[int]) -> None:
        super().__init__(autocast=False, name=f"b{size}")
        inputs, filters = config.filters.get(size // 2, 0), config.filters[size]
        options = {"style_size": config.style_size, "seeds": seeds, "clamp": config.convolution_clamp}
        if inputs:
            self.conv0 = StyleConvolution(inputs, filters, size=size, is_doubling=True, name="conv0", **options)
        else:
            draw = keras.initializers.RandomNormal(0.0, 1.0, seed=next(seeds))
            self.conv0 = None
            self.const = self.add_weight((size, size, filters), draw, name="const", autocast=False)
        self.conv1 = StyleConvolution(filters, filters, size=size, name="conv1", **options)
        self.torgb = ToImage(filters, config.channels, name="torgb", **options)
        self.convolution_count = 2 if inputs else 1
        self.size = size
        self.built = True

    def call(
        self,
        features: tf.Tensor | None,
        image: tf.Tensor | None,
        styles: Sequence[tf.Tensor],
        noise: Sequence[tf.Tensor | None],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if self.conv0 is None:
            start = tf.cast(tf.convert_to_tensor(self.const), self.compute_dtype)[None]
            features = tf.tile(start, [tf.shape(styles[0])[0], 1, 1, 1])
        else:
            features = self.conv0(features, styles[0], noise[0])
        features = self.conv1(features, styles[-2], noise[-1])
        part = self.torgb(features, styles[-1])
        return features, part if image is None else upsample(image) + part


class SynthesisNetwork(keras.layers.Layer):
    """float32 styles [batch, style_count, style_size] -> float32 images [batch, size, size, channels], about [-1, 1].

    Attributes:
      style_count: one for each convolution and one for the last image part; a block's image part shares the style of
        the next block's first convolution.
      noise_sizes: pixels of each convolution's noise.
    """

    def __init__(self, config: StyleGAN2Config, seeds: Iterator[int]) -> None:
        super().__init__(autocast=False, name="synthesis")
        self.recomputes_blocks = config.recomputes_blocks
        self.blocks = [SynthesisBlock(config, size, seeds) for size in config.filters]
        self.noise_sizes = [block.size for block in self.blocks for _ in range(block.convolution_count)]
        self.style_count = len(self.noise_sizes) + 1
        self.built = True

    def call(self, styles: tf.Tensor, noise: Sequence[tf.Tensor] | None = None) -> tf.Tensor:
        """`noise`: float32 [batch, noise_size, noise_size, 1] for each convolution; None is each one's constant."""
        styles = tf.unstack(styles, self.style_count, axis=1)
        noise = [None] * len(self.noise_sizes) if noise is None else noise
        features = image = None
        first = 0
        for block in self.blocks:
            after = first + block.convolution_count

            def run(features, image, *styles, block=block, noise=noise[first:after]):
                return block(features, image, styles, noise)

            is_on = self.recomputes_blocks and first > 0  # the first block, which is small, starts from nothing
            features, image = recomputed(run, [block], features, image, *styles[first : after + 1], is_on=is_on)
            first = after
        return image


class Generator(keras.Model):
    """float32 z [batch, latent_size], condition [batch, label_count] -> float32 images, about [-1, 1], not bounded.

    Noise is each layer's constant, so that an image depends on its own row alone.
    """

    def __init__(self, config: StyleGAN2Config, seed: int) -> None:
        super().__init__()
        seeds = initializer_seeds(seed)
        sizes = config.latent_size, config.label_count, config.style_size, config.mapping_layers
        self.mapping = MappingNetwork(*sizes, seeds, has_average=True, name="mapping")
        self.synthesis = SynthesisNetwork(config, seeds)
        self.built = True

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool = False) -> tf.Tensor:
        z, condition = inputs
        return self.synthesis(self.styles(self.mapping(z, condition)))

    def styles(self, w: tf.Tensor) -> tf.Tensor:
        """The same w for every layer: float32 [batch, style_size] -> [batch, style_count, style_size]."""
        return tf.tile(w[:, None, :], [1, self.synthesis.style_count, 1])


class DiscriminatorBlock(keras.layers.Layer):
    """Halves the size: float [batch, size, size, inputs] -> [batch, size / 2, size / 2, filters]."""

    def __init__(self, config: StyleGAN2Config, size: int, seeds: Iterator[int]) -> None:
        super().__init__(name=f"b{size}")
        inputs, filters = config.filters[size], config.filters[size // 2]
        clamp, half = config.convolution_clamp, math.sqrt(0.5)  # half of the variance comes from either branch
        halving = {"is_halving": True, "gain": half}
        self.conv0 = EqualizedConvolution(inputs, inputs, 3, next(seeds), clamp=clamp, name="conv0")
        self.conv1 = EqualizedConvolution(inputs, filters, 3, next(seeds), clamp=clamp, name="conv1", **halving)
        self.skip = EqualizedConvolution(inputs, filters, 1, next(seeds), is_activated=False, name="skip", **halving)
        self.built = True

    def call(self, features: tf.Tensor) -> tf.Tensor:
        return self.skip(features) + self.conv1(self.conv0(features))


class Discriminator(keras.Model):
    """float32 images [batch, size, size, channels], condition [batch, label_count] -> logits float32 [batch, 1].

    The logits come with the mean minibatch stddev, a float32 scalar.

    Attributes:
      typical_deviation: running mean of the minibatch stddev of real images in training.
    """

    def __init__(self, config: StyleGAN2Config, seed: int) -> None:
        super().__init__()
        seeds, labels, width = initializer_seeds(seed), config.label_count, config.filters[BASE_SIZE]
        self.group_size = config.deviation_group_size
        self.recomputes_blocks = config.recomputes_blocks
        sizes = sorted(config.filters, reverse=True)
        first, clamp = config.filters[sizes[0]], {"clamp": config.convolution_clamp}
        self.fromrgb = EqualizedConvolution(config.channels, first, 1, next(seeds), name="fromrgb", **clamp)
        self.blocks = [DiscriminatorBlock(config, size, seeds) for size in sizes[:-1]]
        self.conv = EqualizedConvolution(width + 1, width, 3, next(seeds), name="conv", **clamp)
        self.fc = EqualizedDense(width * BASE_SIZE**2, width, next(seeds), is_activated=True, name="fc")
        self.out = EqualizedDense(width, width if labels else 1, next(seeds), dtype="float32", name="out")
        self.mapping = None
        if labels:
            self.mapping = MappingNetwork(
                0, labels, width, config.discriminator_mapping_layers, seeds, has_average=False
            )
        self.typical_deviation = self.add_weight(
            (), "zeros", trainable=False, name="typical_deviation", aggregation="mean", autocast=False
        )
        self.built = True

    def call(
        self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool = False, is_alone: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """`is_alone`: each image is scored for itself, with the typical deviation in place of its batch's."""
        image, condition = inputs
        features, deviation = self.features(image, is_alone)
        logits = self.out(features)
        if self.mapping is not None:  # projection on the label's embedding
            projected = logits * self.mapping(None, condition)
            logits = tf.reduce_sum(projected, axis=-1, keepdims=True) / math.sqrt(projected.shape[-1])
        return logits, deviation

    def features(self, image: tf.Tensor, is_alone: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """What the last layer reads, [batch, filters at 4 px], and the mean minibatch stddev; see `call`."""
        first, *others = self.blocks
        read, is_on = lambda image: first(self.fromrgb(image)), self.recomputes_blocks
        features = recomputed(read, [self.fromrgb, first], image, is_on=is_on)
        for block in others:
            features = recomputed(block, [block], features, is_on=is_on)
        if is_alone:
            deviation = tf.convert_to_tensor(self.typical_deviation)
            features = append_channel(features, deviation)
        else:
            features = minibatch_stddev(features, self.group_size)
            deviation = tf.reduce_mean(tf.cast(features[..., -1], tf.float32))
        features = self.conv(features)
        return self.fc(tf.reshape(features, [-1, math.prod(features.shape[1:])])), deviation


class ProjectedHeads(ProjectedDiscriminator):
    """As `Discriminator`, on a frozen network; labels are projected through a mapping network for each head.

    -> logits float32 [batch, heads], and 0 for the minibatch stddev, which it does not measure.
    """

    def __init__(self, config: StyleGAN2Config, maps: FrozenMaps, seed: int) -> None:
        def embed(units: int, seeds: Iterator[int]) -> keras.layers.Layer:
            layers = config.discriminator_mapping_layers
            return MappingNetwork(0, config.label_count, units, layers, seeds, has_average=False)

        super().__init__(maps, config.critic_width, seed, embed if config.label_count else None)

    def embedding(self, layer: keras.layers.Layer, condition: tf.Tensor) -> tf.Tensor:
        embedded = layer(None, condition)
        return embedded / math.sqrt(embedded.shape[-1])

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        return self.scores(*inputs)[0], tf.constant(0.0)


class PairedNetworks(PairedDiscriminator):
    """`Discriminator` and `ProjectedHeads` side by side -> logits [batch, 2 * heads], the mean minibatch stddev."""

    def call(
        self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool = False, is_alone: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        own, deviation = self.own(inputs, training=training, is_alone=is_alone)
        return self.joined(own, self.heads(inputs)[0]), deviation

    def scores(self, image: tf.Tensor, condition: tf.Tensor) -> tuple[tf.Tensor, None]:
        return self((image, condition), is_alone=True)[0], None


class StyleGAN2(ProjectedGAN):
    """StyleGAN2; one training step moves the discriminator and the generator once each.

    Logged `r1` and `path_length_penalty` are 0 in the steps in which they are not due, so that their means over many
    steps are 1 / r1_interval and 1 / path_length_interval of the penalties.
    """

    config_class = StyleGAN2Config
    generator_class = Generator
    discriminator_class = Discriminator
    projected_class = ProjectedHeads
    paired_class = PairedNetworks
    metric_names = (
        "discriminator_adversarial",
        "generator_adversarial",
        "r1",
        "path_length_penalty",
        "path_length",
        "real_score",
        "fake_score",
        "real_sign",
        "augmentation_probability",
    )

    def make_state(self) -> dict[str, keras.Variable]:
        """Mean path length; augmentation probability, and the signs summed up since it last changed."""
        names = ["path_length"]
        if self.config.adaptive_augmentation:
            names += ["augmentation_probability", "real_sign_sum"]
        return {name: keras.Variable(0.0, trainable=False, aggregation="mean", name=name) for name in names}

    def score(self, image: tf.Tensor, label: tf.Tensor, label_mask: tf.Tensor | None = None) -> tuple[tf.Tensor, None]:
        """Realism logits; each image is scored for itself, whatever batch it is in."""
        if self.config.critic_backbone:
            return super().score(image, label, label_mask)
        logits, _ = self.discriminator((image, self.condition(label, label_mask)), is_alone=True)
        return logits, None

    def discriminator_features(self, image: tf.Tensor, network: keras.Model | None = None) -> tf.Tensor:
        """float32 [batch, filters at 4 px], with the typical minibatch stddev noted in training; see the base."""
        if self.config.critic_backbone:
            return super().discriminator_features(image, network)
        network = self.discriminator if network is None else network
        features, _ = network.features(with_channels(image, self.config.channels), is_alone=True)
        return tf.cast(features, tf.float32)

    def generate_from_latent(self, z: tf.Tensor, label: tf.Tensor, truncation: tf.Tensor | float = 1.0) -> tf.Tensor:
        """Images of z and label by the averaged generator, float32 in [-1, 1].

        `truncation` moves w towards its average: w_avg + truncation * (w - w_avg); 0 is the average image.
        """
        network = self.sampling_generator
        average = tf.convert_to_tensor(network.mapping.average)
        w = average + truncation * (network.mapping(z, self.condition(label)) - average)
        return tf.clip_by_value(network.synthesis(network.styles(w)), -1.0, 1.0)

    @property
    def ema_half_life(self) -> float:
        return self.config.ema_half_life or EMA_IMAGES_PER_BATCH * self.images_per_step

    @tf.autograph.experimental.do_not_convert  # nothing in it needs rewriting, and tracing takes two thirds of the time
    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step on {"image" [batch, size, size, 1 or channels] in [-1, 1], "label", "label_mask" [batch, labels]}.

        Fakes have the labels of the real rows.
        """
        config, loss = self.config, ADVERSARIAL_LOSSES[self.config.adversarial_loss]
        real = with_channels(data["image"], config.channels)
        batch = real.shape[0]
        condition = self.condition(data["label"], data["label_mask"])
        probability = self._next_augmentation_probability()
        real = self._augment(real, probability, stream=0)

        if config.critic_backbone:
            self.discriminator.move_spectral_norms()
        with self.loss_tape() as tape:
            w, styles = self._draw_styles(condition, stream=2)
            fake = self.generator.synthesis(styles, self._draw_noise(batch, stream=5))
            fake = self._augment(fake, probability, stream=6)
            fake_logits, _ = self.discriminator((fake, condition), training=True)
            real_logits, deviation = self.discriminator((real, condition), training=True)
            discriminator_adversarial = loss.discriminator(real_logits, fake_logits)
            generator_adversarial = loss.generator(fake_logits)
        generator_gradients = tape.gradient(generator_adversarial, self.generator.trainable_variables)
        discriminator_gradients = tape.gradient(discriminator_adversarial, self.discriminator.trainable_variables)
        r1, r1_gradients = self._lazy_r1(real, condition)
        (path_length_penalty, path_length), path_gradients = self._lazy_path_length(condition)

        real_sign = tf.reduce_mean(tf.sign(real_logits))
        self._move_running_means(w, deviation, path_length, real_sign)
        self.apply_gradients(self.discriminator, add_gradients(discriminator_gradients, r1_gradients))
        self.apply_gradients(self.generator, add_gradients(generator_gradients, path_gradients))
        self.update_average()
        terms = {
            "discriminator_adversarial": discriminator_adversarial,
            "generator_adversarial": generator_adversarial,
            "r1": r1,
            "path_length_penalty": path_length_penalty,
            "path_length": path_length,
            "real_sign": real_sign,
            "augmentation_probability": probability,
        }
        return self.record_means(terms | probability_means(real_logits, fake_logits))

    def _draw_styles(self, condition: tf.Tensor, stream: int) -> tuple[tf.Tensor, tf.Tensor]:
        """w float32 [batch, style_size] of fresh z; styles [batch, style_count, style_size], a second w mixed in.

        Uses three streams. Differs from the paper's program: each image has its own layer at which styles change.
        """
        config, generator = self.config, self.generator
        batch, count = condition.shape[0], generator.synthesis.style_count
        z = [self.normal([batch, config.latent_size], stream + index) for index in (0, 1)]
        if not config.style_mixing:
            w = generator.mapping(z[0], condition)
            return w, generator.styles(w)
        both = generator.mapping(tf.concat(z, axis=0), tf.concat([condition, condition], axis=0))
        w, second = tf.split(both, 2)
        uniform = self.uniform([batch, 2], stream + 2)
        change = 1.0 + tf.floor(uniform[:, 1:] * (count - 1))  # the first layer of the second w, 1 to count - 1
        change = tf.where(uniform[:, :1] < config.style_mixing, change, float(count))
        is_first = tf.range(count, dtype=tf.float32) < change  # [batch, count]
        return w, tf.where(is_first[..., None], w[:, None, :], second[:, None, :])

    def _draw_noise(self, batch: int, stream: int) -> list[tf.Tensor]:
        """One draw, cut into N(0, 1) [batch, size, size, 1] for each convolution."""
        sizes = self.generator.synthesis.noise_sizes
        parts = tf.split(self.normal([batch, sum(size**2 for size in sizes)], stream), [size**2 for size in sizes], 1)
        return [tf.reshape(part, [batch, size, size, 1]) for part, size in zip(parts, sizes, strict=True)]

    def _lazy_r1(self, real: tf.Tensor, condition: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """R1 at the images that the discriminator is shown (the authors' program: before augmentation)."""
        config = self.config
        gamma = config.r1_gamma
        if gamma is None:
            gamma = 0.0002 * config.image_size**2 / self.images_per_step
        realism = lambda image: self.own_discriminator((image, condition), training=True)[0]  # noqa: E731
        return self.lazy_r1(realism, real, gamma, config.r1_interval)

    def _lazy_path_length(self, condition: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], list[tf.Tensor]]:
        """(penalty, new mean length) and gradients, of fresh images for 1 / `path_length_shrink` of the batch."""
        config = self.config
        mean_length = self.state["path_length"].value
        condition = condition[:: config.path_length_shrink]
        batch, size = condition.shape[0], config.image_size

        def penalty() -> tuple[tf.Tensor, tf.Tensor]:
            _, styles = self._draw_styles(condition, stream=8)
            noise = self._draw_noise(batch, stream=11)
            normal = self.normal([batch, size, size, config.channels], stream=12)
            return path_length_penalty(
                lambda w: self.generator.synthesis(w, noise), styles, normal, mean_length, config.path_length_decay
            )

        return lazy_gradients(
            is_due(self.step.value, config.path_length_interval, config.path_length_weight),
            penalty,
            self.generator.trainable_variables,
            scale=config.path_length_weight * config.path_length_interval,
            idle_value=(0.0, mean_length),
            name="path_length",
        )

    def _augment(self, images: tf.Tensor, probability: tf.Tensor, stream: int) -> tf.Tensor:
        """Uses two streams."""
        if self.config.augmentations:
            uniform = self.uniform([images.shape[0], differentiable_augmentation.UNIFORMS_PER_IMAGE], stream)
            return differentiable_augmentation.augment(images, self.config.augmentations, uniform)
        if not self.config.adaptive_augmentation:
            return images
        normal = self.normal([images.shape[0], NORMALS_PER_IMAGE], stream)
        uniform = self.uniform([images.shape[0], UNIFORMS_PER_IMAGE], stream + 1)
        return adaptive_augment(images, probability, normal, uniform, self.config.augmentation_names)

    def _next_augmentation_probability(self) -> tf.Tensor:
        """The probability in this step; changed first where that is due, by the signs of all replicas."""
        config = self.config
        if not config.adaptive_augmentation:
            return tf.constant(0.0)
        probability, sign_sum = self.state["augmentation_probability"], self.state["real_sign_sum"]
        interval = config.augmentation_interval
        is_due = tf.logical_and(self.step.value > 0, self.step.value % interval == 0)
        changed = next_probability(
            probability.value,
            sign_sum.value / interval,
            self.images_per_step * interval,
            config.augmentation_target,
            config.augmentation_kimg,
        )
        probability.assign(tf.where(is_due, changed, probability.value))
        sign_sum.assign(tf.where(is_due, 0.0, sign_sum.value))
        return tf.identity(probability.value)

    def _move_running_means(
        self, w: tf.Tensor, deviation: tf.Tensor, path_length: tf.Tensor, real_sign: tf.Tensor
    ) -> None:
        """Moves the running means, each the mean over replicas."""
        average = self.generator.mapping.average
        average.assign(average.value + AVERAGE_STYLE_RATE * (tf.reduce_mean(w, axis=0) - average.value))
        if self.config.has_own_discriminator:
            update_typical_deviation(self.own_discriminator.typical_deviation, deviation, self.step.value)
        self.state["path_length"].assign(path_length)
        if self.config.adaptive_augmentation:
            self.state["real_sign_sum"].assign(self.state["real_sign_sum"].value + real_sign)
