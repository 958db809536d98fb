"""Transfer-PGGAN: Li, Guo, Zhang 2025. A pretrained PGGAN's last blocks learn another data set from a frozen critic.

The critic is a frozen DenseNet, such as TorchXRayVision's, with a small head that learns. The generator comes from a
run folder (trained here or ported), the DenseNet from what `tfcxr.port` wrote. Ours: any other frozen network of a
.keras file, ImageNet's Xception for one, may stand in the DenseNet's place.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tfcxr.backbones.base import global_mean
from tfcxr.backbones.bilinear_resize import resize_antialiased
from tfcxr.backbones.densenet import DENSENET121_BLOCKS, DenseNet
from tfcxr.backbones.frozen_network import FrozenNetwork, open_frozen_network
from tfcxr.backbones.stored_backbone import load_backbone, read_backbone
from tfcxr.layers.initializers import initializer_seeds, kernel_initializer
from tfcxr.layers.leaky_relu import leaky_relu
from tfcxr.models.base import AdversarialModel, numbered
from tfcxr.models.model_config import DEFAULT_STEPS, Stage
from tfcxr.models.pggan import PGGAN, PGGANConfig
from tfcxr.models.pggan.model import check_is_grown
from tfcxr.models.pretrained import ReadRun, StoredRun

# of the pretrained generator; that it has labels or minibatch stddev is refused or left out elsewhere
GENERATOR_SETTINGS = frozenset(PGGANConfig.network_settings) - {"conditional", "is_single_label", "minibatch_stddev"}
LUMA = (0.2989, 0.5870, 0.1140)  # of red, green and blue
BACKBONE_SETTINGS = {  # of a stored DenseNet -> of the configuration
    "growth_rate": "critic_growth_rate",
    "block_config": "critic_blocks",
    "initial_filters": "critic_filters",
}
PUBLISHED_MEAN, PUBLISHED_DEVIATION = 0.502, 0.290  # of the authors' real images in [0, 1]


@dataclasses.dataclass(frozen=True)
class TransferPGGANConfig(PGGANConfig):
    """Settings of Transfer-PGGAN; those of the generator's architecture are the pretrained one's.

    Defaults are li2025's but for `value_handling`, `moves_batch_statistics`, `starts_from` and `ema_decay`, which are
    ours; theirs are "as_published", True, "generator" and 0.

    Attributes:
      pretrained: run folder of a PGGAN that is grown to its end.
      starts_from: which of its generators.
      trained_blocks: scale blocks that learn, with their layer to the image; 0 is the block to 8 px, negatives count
        from the last.
      trains_base: the layers that make 4 px learn too; with all blocks that is full fine-tuning.
      data_size: pixels of the records, 0 for `image_size`; both are resized to `critic_size` for the critic.
      critic_weights: folder of a DenseNet that `tfcxr.port` wrote, its own range of values is kept; or another network
        as FILE.keras:layer=NAME:values=signed, see `tfcxr.backbones.frozen_network`, which sees images of its own size
        and whose features are taken as they are; empty for a DenseNet of random weights, which know nothing.
      critic_sha256: of the .keras file, filled in, so that a resumed run has the same.
      critic_growth_rate: of the DenseNet.
      critic_blocks: of the DenseNet.
      critic_filters: of the DenseNet.
      critic_size: pixels of the images that the critic sees.
      critic_head: units between the DenseNet's features, before their last ReLU, and the critic's value.
      value_handling: "equal" shows generated and real images to the critic in the same way; "as_published" as in the
        authors' notebook: generated ones by tanh, plain bilinear resize, luma, tanh again; real ones in [0, 1] by an
        antialiased resize, minus .502, over .290; both without the DenseNet's own range. "as_in_paper" differs by real
        ones, which go through tanh too.
      moves_batch_statistics: the frozen DenseNet normalises by batch statistics, which move its running ones.
    """

    generator_learning_rate: float = 1e-4
    discriminator_learning_rate: float = 2e-5
    beta_1: float = 0.5
    beta_2: float = 0.9
    penalty_weight: float = 20.0
    drift_weight: float = 0.0
    critic_steps: int = 2
    update_order: Literal["joint", "alternating"] = "alternating"
    starts_from: Literal["ema_generator", "generator"] = "ema_generator"
    trained_blocks: tuple[int, ...] = (-2, -1)
    trains_base: bool = False
    data_size: int = 0
    critic_weights: str = ""
    critic_sha256: str = ""
    critic_growth_rate: int = 32
    critic_blocks: tuple[int, ...] = DENSENET121_BLOCKS
    critic_filters: int = 64
    critic_size: int = 224
    critic_head: int = 512
    value_handling: Literal["equal", "as_published", "as_in_paper"] = "equal"
    moves_batch_statistics: bool = False

    records_size: ClassVar[str] = "data_size"
    traces_slowly: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "minibatch_stddev", False)  # the critic has none
        super().__post_init__()
        if self.conditional or self.label_count:
            raise ValueError("transfer_pggan generates without labels; expected conditional=False and label_count=0")
        count = len(self.filters) - 1
        wrong = [block for block in self.trained_blocks if not -count <= block < count]
        if wrong or not (self.trained_blocks or self.trains_base):
            raise ValueError(
                f"trained_blocks must name at least one of the {count} scale blocks, 0 (8 px) to {count - 1} "
                f"({self.image_size} px) or -1 to -{count} from the last, got {self.trained_blocks}"
            )
        if self.value_handling != "equal" and _is_keras_file(self.critic_weights):
            raise ValueError(
                f"value_handling={self.value_handling!r} is the study's for its DenseNet; with critic_weights="
                f"{self.critic_weights} use 'equal'"
            )
        if self.value_handling != "equal" and self.value_range != "0..1":
            raise ValueError(
                f"value_handling={self.value_handling!r} is for generators of value_range 0..1, got {self.value_range}"
            )
        if not self.data_size:
            object.__setattr__(self, "data_size", self.image_size)

    @classmethod
    def tiny_settings(cls) -> tuple[dict[str, Any], ...]:
        generator = {"image_size": 16, "latent_size": 8, "channel_max": 8, "channel_base": 128}
        critic = {"critic_growth_rate": 4, "critic_blocks": (1, 1), "critic_filters": 8, "critic_size": 32}
        return (generator | critic | {"critic_head": 8},)

    @classmethod
    def reads_labels(cls, settings: Mapping[str, Any]) -> bool:
        return False

    @property
    def learning_blocks(self) -> tuple[int, ...]:
        """`trained_blocks` counted from 0, in order."""
        count = len(self.filters) - 1
        return tuple(sorted({block % count for block in self.trained_blocks}))

    def stages(self, batch_size: int, steps: int | None = None) -> tuple[Stage, ...]:
        return (Stage(self.data_size, batch_size, 0, steps or DEFAULT_STEPS),)


class TransferCritic(keras.Model):
    """A frozen DenseNet with a head that learns; it has the methods by which PGGAN's steps call their discriminator.

    float32 images [batch, critic_size, critic_size, 1] as the DenseNet takes them, condition (not read) -> float32
    values [batch, 1].
    """

    def __init__(self, config: TransferPGGANConfig, seed: int) -> None:
        super().__init__(autocast=False)
        seeds = initializer_seeds(seed)
        self.moves_batch_statistics = config.moves_batch_statistics
        self.frozen = _frozen_critic(config)
        if self.frozen is None:
            widths = config.critic_growth_rate, config.critic_blocks, config.critic_filters
            self.backbone = DenseNet(*widths, classes=0, seed=next(seeds), name="backbone")
            feature_count = self.backbone.feature_count
        else:
            self.backbone = self.frozen.network
            feature_count = self.backbone.output_shape[-1]
        self.backbone.trainable = False
        draw = lambda: kernel_initializer("he", next(seeds))  # noqa: E731
        self.hidden = keras.layers.Dense(config.critic_head, kernel_initializer=draw(), dtype="float32", name="hidden")
        self.value = keras.layers.Dense(1, kernel_initializer=draw(), dtype="float32", name="value")
        self.hidden.build([None, feature_count])
        self.value.build([None, config.critic_head])
        self.built = True

    def call(
        self,
        inputs: tuple[tf.Tensor, tf.Tensor],
        alpha: float = 0.0,
        deviation: None = None,
        training: bool = False,
    ) -> tf.Tensor:
        image, condition = inputs
        return self.values(self.map_of(image), condition)

    def map_of(self, image: tf.Tensor, alpha: float = 0.0) -> tf.Tensor:
        """Mean features of a DenseNet before the last ReLU, or another network's, float32 [batch, features]."""
        if self.frozen is not None:
            return self.frozen.extract(image)
        return global_mean(self.backbone.features(image, training=self.moves_batch_statistics))

    def values(self, features: tf.Tensor, condition: tf.Tensor, deviation: None = None) -> tf.Tensor:
        """Features -> critic values."""
        return self.value(leaky_relu(self.hidden(features)))

    def weights_of(self, size: int, is_fading: bool) -> list:
        """The head's variables."""
        return [*self.hidden.trainable_variables, *self.value.trainable_variables]


class TransferPGGAN(PGGAN):
    """Fine-tuning by WGAN-GP; what is frozen stays the same to the bit, and nothing is kept for its gradient."""

    config_class = TransferPGGANConfig
    discriminator_class = TransferCritic
    discriminator_features = AdversarialModel.discriminator_features  # refuses: this critic is another network

    def make_generator(self) -> keras.Model:
        config, network = self.config, super().make_generator()
        learning = [network.blocks[index] for index in config.learning_blocks]
        learning += [network.to_image[index + 1] for index in config.learning_blocks]
        if config.trains_base:
            learning += [network.latent, network.first, network.to_image[0]]
        for layer in (network.latent, network.first, *network.blocks, *network.to_image):
            layer.trainable = any(layer is other for other in learning)
        return network

    @classmethod
    def prepare_settings(cls, settings: dict[str, Any], read_run: ReadRun) -> dict[str, Any]:
        """The settings with those of the pretrained generator and discriminator filled in.

        Raises:
          FileNotFoundError: no such run folder, or no checkpoint or feature network in it.
          ValueError: no `pretrained`, a run of another model or one that is not grown, or a setting that contradicts.
        """
        run_dir = settings.get("pretrained")
        if not run_dir:
            raise ValueError(
                "transfer_pggan fine-tunes a trained PGGAN: give its run folder as --set=pretrained=runs/NAME "
                "(of tfcxr.train --model=pggan, or of tfcxr.port)"
            )
        run = read_run(run_dir)
        if run.model not in ("pggan", "transfer_pggan"):
            raise ValueError(f"pretrained={run_dir} is a run of {run.model}; a run of pggan was expected")
        check_is_grown(run)
        found = {name: value for name, value in run.settings.items() if name in GENERATOR_SETTINGS}
        if _is_keras_file(settings.get("critic_weights", "")):
            passport = open_frozen_network(settings["critic_weights"]).passport
            found |= {"critic_sha256": passport["sha256"]}
            found |= {"critic_size": passport["input_size"]} if passport["input_size"] else {}
        elif settings.get("critic_weights"):
            stored = read_backbone(settings["critic_weights"])["settings"]
            found |= {name: stored[theirs] for theirs, name in BACKBONE_SETTINGS.items()}
        for name, value in found.items():
            given = settings.get(name, value)
            if (list(given) if isinstance(given, tuple) else given) != value:
                raise ValueError(f"{name}={given} does not fit what is pretrained, which has {name}={value}")
        return settings | found

    def load_initial_weights(self, run: StoredRun) -> None:
        """Loads the pretrained generator and DenseNet.

        Raises:
          FileNotFoundError: no such DenseNet.
          ValueError: weights that do not fit.
        """
        config = self.config
        weights, source = run.weights, config.starts_from
        if f"{source}/000" not in weights:
            raise ValueError(f"{config.pretrained} keeps no averaged generator; set starts_from=generator")
        for network in filter(None, (self.generator, self.ema_generator)):
            for name, variable in numbered({source: network.variables}).items():
                variable.assign(weights[name])
        if config.critic_weights:
            if not _is_keras_file(config.critic_weights):
                self._load_backbone(config)
        else:
            logging.warning("no critic_weights given: the frozen critic has random weights, which know no radiographs")

    def _load_backbone(self, config: TransferPGGANConfig) -> None:
        backbone, own = load_backbone(config.critic_weights), self.discriminator.backbone.variables
        stored = backbone.variables[: len(own)]  # its classifier comes last and is left out
        shapes = [[tuple(variable.shape) for variable in variables] for variables in (stored, own)]
        if backbone.value_range != "xrv" or shapes[0] != shapes[1]:
            raise ValueError(
                f"{config.critic_weights} is no grey DenseNet of [-1024, 1024] with the critic's widths (growth rate "
                f"{config.critic_growth_rate}, blocks {config.critic_blocks}), such as TorchXRayVision's"
            )
        for variable, value in zip(own, stored, strict=True):
            variable.assign(np.asarray(value))

    def begin_stage(self, stage: Stage, is_new: bool = True) -> None:
        super().begin_stage(stage, is_new)
        self.state["size"].assign(self.config.image_size)

    def progress_text(self) -> str:
        return "fine-tuning"

    def notes(self) -> list[str]:
        return [self.learning_text()]

    def learning_text(self) -> str:
        """Which part of the generator learns, by sizes and number of parameters."""
        config = self.config
        learning = sum(int(tf.size(weight)) for weight in self.generator.trainable_variables)
        total = sum(int(tf.size(weight)) for weight in self.generator.variables)
        sizes = ", ".join(f"{8 << index} px" for index in config.learning_blocks)
        base = "4 px, " if config.trains_base else ""
        return f"{learning:,} of {total:,} parameters of the generator learn: what makes {base}{sizes}"

    def score(self, image: tf.Tensor, label: tf.Tensor, label_mask: tf.Tensor | None = None) -> tuple[tf.Tensor, None]:
        """Critic values float32 [batch, 1], without a zero of their own."""
        return self.discriminator((self._real_images(image, 0.0), self.condition(label, label_mask))), None

    def _real_images(self, images: tf.Tensor, alpha: Any) -> tf.Tensor:
        if self.config.value_handling == "equal":
            return self._view(images)
        unit = resize_antialiased(_grey(0.5 * (images + 1.0)), self.config.critic_size)
        is_standardised = self.config.value_handling == "as_published"
        return (unit - PUBLISHED_MEAN) / PUBLISHED_DEVIATION if is_standardised else tf.tanh(unit)

    def _fake_images(self, z: tf.Tensor, condition: tf.Tensor, alpha: Any) -> tf.Tensor:
        images = self.generator((z, condition))
        if self.config.value_handling == "equal":
            return self._view(self._outside(images))
        size = self.config.critic_size
        return tf.tanh(_grey(tf.image.resize(tf.tanh(images), [size, size], "bilinear")))

    def _view(self, images: tf.Tensor) -> tf.Tensor:
        """Images [batch, size, size, channels] in [-1, 1] as the DenseNet takes them."""
        resized = resize_antialiased(_grey(images), self.config.critic_size)
        return resized if self.discriminator.frozen is not None else self.discriminator.backbone.from_signed(resized)

    def _generator_weights(self) -> list:
        used = {id(weight) for weight in self.generator.weights_of(self.config.image_size, is_fading=False)}
        return [weight for weight in self.generator.trainable_variables if id(weight) in used]


def _is_keras_file(critic_weights: str) -> bool:
    return critic_weights.partition(":")[0].endswith(".keras")


def _frozen_critic(config: TransferPGGANConfig) -> FrozenNetwork | None:
    """The network of a .keras file; None for a DenseNet.

    Raises:
      FileNotFoundError, ValueError: as `open_frozen_network`.
    """
    if not _is_keras_file(config.critic_weights):
        return None
    return open_frozen_network(config.critic_weights, config.critic_sha256)


def _grey(images: tf.Tensor) -> tf.Tensor:
    """Luma of colours, grey as it is: float32 [batch, size, size, 1]."""
    if images.shape[-1] == 1:
        return images
    return tf.reduce_sum(images * tf.constant(LUMA), axis=-1, keepdims=True)
