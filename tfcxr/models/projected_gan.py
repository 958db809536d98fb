"""What the GANs share whose discriminator may see images through a frozen network, see `projected_discriminator`."""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tfcxr.backbones.frozen_maps import FrozenMaps, open_frozen_maps
from tfcxr.config import check_range, typed_settings
from tfcxr.layers.differentiable_augmentation import AUGMENTATIONS
from tfcxr.losses.weight_tape import weight_tape
from tfcxr.models.base import GAN
from tfcxr.models.model_config import GANConfig
from tfcxr.models.pretrained import ReadRun, StoredRun, changed_discriminator_settings
from tfcxr.models.projected_discriminator import ProjectedDiscriminator

CRITIC_SETTINGS = ("critic_backbone", "critic_size", "critic_width", "critic_beside")


@dataclasses.dataclass(frozen=True)
class ProjectedConfig(GANConfig):
    """Settings of a discriminator that sees images through a frozen network.

    Attributes:
      critic_backbone: FILE.keras or the folder of a SavedModel, with options :values=signed:layers=a,b,c,d (see
        `tfcxr.backbones.frozen_maps`). Small heads on its feature maps replace the discriminator, whose own settings
        are then not read; loss "hinge", all augmentations, no R1 and no dropout become the defaults (Sauer et al.
        2021). Empty for the model's own discriminator.
      critic_sha256: of that network, filled in, so that a resumed run has the same.
      critic_size: pixels that the network sees; 0 is its own input size, or `image_size` where it takes any.
      critic_width: channels of the finest projected map, doubled with each depth; features that a head decides on.
      critic_beside: the model's own discriminator learns beside the heads, with its own settings, loss and
        augmentations, and counts as much as all of them (Kumari et al. 2022, "Ensembling Off-the-shelf Models for GAN
        Training"). With `pretrained` a run's own discriminator goes on.
    """

    critic_backbone: str = ""
    critic_sha256: str = ""
    critic_size: int = 0
    critic_width: int = 64
    critic_beside: bool = False

    discriminator_settings = CRITIC_SETTINGS
    network_settings = (*GANConfig.network_settings, *discriminator_settings)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "critic_size", minimum=0)
        check_range(self, "critic_width", minimum=1)
        if not self.critic_backbone:
            for name in ("critic_size", "critic_beside"):
                if value := getattr(self, name):
                    raise ValueError(f"{name}={value} has no effect without critic_backbone")
            return
        for name in ("r1_gamma", "dropout"):
            if (value := getattr(self, name, 0.0)) != 0 and not self.critic_beside:
                raise ValueError(f"a discriminator with critic_backbone has no {name}, got {value}; set {name}=0")

    @property
    def has_own_discriminator(self) -> bool:
        """Whether the model's own discriminator learns, alone or beside the heads."""
        return not self.critic_backbone or self.critic_beside


class PairedDiscriminator(keras.Model):
    """A model's own discriminator, and beside it heads on a frozen network.

    A model's own subclass gives `call` and `scores` the arguments and results of the two.

    Attributes:
      own: the one that learns to see from these images alone.
      heads: the others.
      maps: the frozen network.
    """

    def __init__(self, own: keras.Model, heads: ProjectedDiscriminator) -> None:
        super().__init__(autocast=False)
        self.own, self.heads, self.maps = own, heads, heads.maps
        self.built = True

    def joined(self, own: tf.Tensor, heads: tf.Tensor) -> tf.Tensor:
        """Logits [batch, 1] and [batch, heads] -> [batch, 2 * heads]: half of a loss's mean is of the own one."""
        return tf.concat([tf.repeat(own, heads.shape[1], axis=1), heads], axis=1)

    def move_spectral_norms(self) -> None:
        self.heads.move_spectral_norms()


class ProjectedGAN(GAN):
    """Base of the GANs that read `ProjectedConfig`.

    `projected_class` makes the heads of the configuration, the frozen network and a seed; `paired_class` stands them
    beside the model's own discriminator.
    """

    config_class: ClassVar[type[ProjectedConfig]] = ProjectedConfig
    projected_class: ClassVar[Callable[[Any, FrozenMaps, int], ProjectedDiscriminator]]
    paired_class: ClassVar[type[PairedDiscriminator]]

    @classmethod
    def prepare_settings(cls, settings: dict[str, Any], read_run: ReadRun) -> dict[str, Any]:
        """The settings with the frozen network's SHA-256 and what it makes the default.

        Raises:
          FileNotFoundError, ValueError: as `open_frozen_maps`.
        """
        settings = super().prepare_settings(settings, read_run)
        if not (text := settings.get("critic_backbone")):
            return settings
        sizes = settings.get("image_size", cls.config_class.image_size), settings.get("critic_size", 0)
        maps = open_frozen_maps(text, *sizes, expected_sha256=settings.get("critic_sha256", ""))
        if typed_settings(cls.config_class, {"critic_beside": settings.get("critic_beside", False)})["critic_beside"]:
            return settings | {"critic_sha256": maps.sha256}
        defaults = {"adversarial_loss": "hinge", "r1_gamma": 0.0, "dropout": 0.0, "augmentations": AUGMENTATIONS}
        if settings.get("adaptive_augmentation"):
            del defaults["augmentations"]
        names = {field.name for field in dataclasses.fields(cls.config_class)}
        defaults = {name: value for name, value in defaults.items() if name in names}
        return defaults | settings | {"critic_sha256": maps.sha256}

    def make_discriminator(self) -> keras.Model:
        """The model's own network, heads on a frozen one, or both.

        Raises:
          FileNotFoundError, ValueError: as `open_frozen_maps`.
        """
        config = self.config
        if not config.critic_backbone:
            return super().make_discriminator()
        sizes = config.image_size, config.critic_size
        maps = open_frozen_maps(config.critic_backbone, *sizes, config.precision, config.critic_sha256)
        heads = self.projected_class(config, maps, self.seed + 1)
        if not config.critic_beside:
            return heads
        own = super().make_discriminator()
        if not own.built:
            own(self.discriminator_inputs())
        return self.paired_class(own, heads)

    @property
    def own_discriminator(self) -> keras.Model:
        """The network that learns to see from these images alone; the whole discriminator where there is no pair."""
        return self.discriminator.own if self.config.critic_beside else self.discriminator

    def continued_discriminator(self, run: StoredRun) -> keras.Model | None:
        """The pair's own discriminator where the run had none but that; see the base."""
        changed = changed_discriminator_settings(run, self.config)
        if self.config.critic_beside and not run.settings["critic_backbone"] and changed <= set(CRITIC_SETTINGS):
            return self.discriminator.own
        return super().continued_discriminator(run)

    def notes(self) -> list[str]:
        return [self.critic_text()] if self.config.critic_backbone else []

    def critic_text(self) -> str:
        """Through which maps the discriminator sees images, and what of it learns."""
        discriminator, beside = self.discriminator, self.config.critic_beside
        maps, heads = discriminator.maps, discriminator.heads if beside else discriminator
        sizes = ", ".join(f"{name} ({size} px)" for name, (size, _) in zip(maps.names, maps.shapes, strict=True))
        learning = sum(int(tf.size(weight)) for weight in heads.trainable_variables)
        return (
            f"the discriminator sees {maps.size} px {'also ' if beside else ''}through "
            f"{self.config.critic_backbone}: {sizes}; "
            f"{maps.parameters:,} frozen parameters ({4 * maps.parameters / 2**20:.0f} MiB), {learning:,} of its heads "
            "learn. Judge the images by another network"
        )

    def frozen_parts(self) -> list[Any]:
        return self.discriminator.maps.weights if self.config.critic_backbone else []

    def score(
        self, image: tf.Tensor, label: tf.Tensor, label_mask: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """The mean of the heads' logits, float32 [batch, 1]; see the base."""
        if not self.config.critic_backbone:
            return super().score(image, label, label_mask)
        logits, labels = self.discriminator.scores(image, self.condition(label, label_mask))
        return tf.reduce_mean(logits, axis=1, keepdims=True), labels

    def loss_tape(self) -> contextlib.AbstractContextManager[tf.GradientTape]:
        """A persistent tape on which both networks' trained weights are watched, and no frozen ones."""
        weights = [*self.generator.trainable_variables, *self.discriminator.trainable_variables]
        return weight_tape(weights, persistent=True)
