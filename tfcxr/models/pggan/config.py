"""Settings of PGGAN and the schedule by which it grows."""

import dataclasses
import math
from typing import Any, Literal

from tfcxr.config import check_range
from tfcxr.layers.recomputation import RECOMPUTATION_ADVICE
from tfcxr.models.model_config import GANConfig, Stage

BASE_SIZE = 4  # pixels of the first feature map


@dataclasses.dataclass(frozen=True)
class PGGANConfig(GANConfig):
    """Settings of PGGAN; the defaults are those of Segal et al. 2021 but for grey images and `update_order`.

    Attributes:
      dialect: "segal" or "karras", see `networks`.
      value_range: of the images inside, "auto" is the dialect's.
      channel_base: channels are this over the size in pixels.
      channel_max: most channels.
      filters: channels at 4 px, 8 px ... image_size, instead of `channel_base` and `channel_max`.
      leaky_slope: of the leaky ReLUs.
      upsampling: of the generator's features.
      normalizes_generator: pixel normalization in the generator.
      normalizes_discriminator: pixel normalization in the discriminator.
      is_equalized: equalized learning rate.
      minibatch_stddev: a channel that tells how much a batch varies.
      critic_outputs: 1; others are for ported weights.
      output_activation: of the generator.
      penalty_weight: of the gradient penalty.
      drift_weight: of the critic's squared values on real images.
      critic_steps: steps of the critic before each step of the generator.
      update_order: "joint" takes both networks' gradients from one and the same batch of fakes before either moves;
        "alternating" moves the critic first and then makes fresh fakes, as published, at more cost.
      first_size: pixels that training begins with.
      stage_images: images at each size from there on; one number holds for all.
      fading_share: of those images while the new block fades in, from the second size on.
      fading_images: the same as numbers of images, one for each size after the first, instead of `fading_share`.
      batch_sizes: images per step at each size, instead of one number for all.
      learning_rates: at each size, instead of `generator_learning_rate` for all.
      resets_optimizers: Adam starts anew when a block is added, as in the programs of both Karras et al. and Segal et
        al., whose optimizers are made anew at each size.
      average_growth: "copied" starts the averaged generator's new block as a copy of the trained one's; "fresh" from
        weights of its own, as published by Segal et al.
      blends_real: real images fade in likewise, from half their size (Karras et al., appendix B); None is auto: only in
        dialect "karras".
      recomputes_blocks: keeps a block's inputs alone, computes the rest again for gradients (gradient checkpointing);
        same results.
    """

    image_size: int = 64
    label_count: int = 0
    latent_size: int = 512
    conditional: bool = False
    generator_learning_rate: float = 1e-3
    discriminator_learning_rate: float = 1e-3
    beta_1: float = 0.0
    beta_2: float = 0.99
    dialect: Literal["segal", "karras"] = "segal"
    value_range: Literal["auto", "0..1", "-1..1"] = "auto"
    channel_base: int = 16384
    channel_max: int = 512
    filters: tuple[int, ...] = ()
    leaky_slope: float = 0.2
    upsampling: Literal["nearest", "bilinear"] = "nearest"
    normalizes_generator: bool = True
    normalizes_discriminator: bool = False
    is_equalized: bool = True
    minibatch_stddev: bool = True
    critic_outputs: int = 1
    output_activation: Literal["linear", "tanh"] = "linear"
    penalty_weight: float = 10.0
    drift_weight: float = 1e-3
    critic_steps: int = 1
    update_order: Literal["joint", "alternating"] = "joint"
    first_size: int = BASE_SIZE
    stage_images: tuple[int, ...] = (1_600_000,)
    fading_share: float = 0.5
    fading_images: tuple[int, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    learning_rates: tuple[float, ...] = ()
    resets_optimizers: bool = True
    average_growth: Literal["copied", "fresh"] = "copied"
    blends_real: bool | None = None
    recomputes_blocks: bool = False

    network_settings = (
        *GANConfig.network_settings,
        "dialect",
        "value_range",
        "channel_base",
        "channel_max",
        "filters",
        "leaky_slope",
        "upsampling",
        "normalizes_generator",
        "normalizes_discriminator",
        "is_equalized",
        "minibatch_stddev",
        "critic_outputs",
        "output_activation",
    )
    adversarial_loss = "wasserstein"
    trains_in_bfloat16 = True
    smallest_size = BASE_SIZE
    largest_size = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value_range == "auto":
            object.__setattr__(self, "value_range", "0..1" if self.dialect == "segal" else "-1..1")
        if self.blends_real is None:
            object.__setattr__(self, "blends_real", self.dialect == "karras")
        sizes = _sizes(BASE_SIZE, self.image_size)
        if not self.filters:
            filters = tuple(max(1, min(self.channel_max, self.channel_base // size)) for size in sizes)
            object.__setattr__(self, "filters", filters)
        if len(self.filters) != len(sizes):
            raise ValueError(
                f"filters needs a number of channels for each of {', '.join(map(str, sizes))} px, got {self.filters}"
            )
        if self.first_size not in sizes:
            raise ValueError(f"first_size must be a power of two from 4 to image_size, got {self.first_size}")
        stage_count = len(_sizes(self.first_size, self.image_size))
        for name in ("stage_images", "batch_sizes", "learning_rates"):
            values, is_optional = getattr(self, name), name != "stage_images"
            if len(values) not in (1, stage_count) and not (is_optional and not values):
                raise ValueError(
                    f"{name} needs one number, or one for each size from {self.first_size} to {self.image_size} px "
                    f"({stage_count}), got {values}"
                )
        if self.fading_images:
            images = [_at(self.stage_images, index) for index in range(1, stage_count)]
            if len(self.fading_images) != len(images) or any(
                not 0 <= fading <= most for fading, most in zip(self.fading_images, images, strict=True)
            ):
                raise ValueError(
                    f"fading_images needs a number for each size after {self.first_size} px ({stage_count - 1}), at "
                    f"most that of stage_images, got {self.fading_images}"
                )
        check_range(self, "filters", "critic_steps", "critic_outputs", minimum=1)
        check_range(self, "stage_images", "batch_sizes", "learning_rates", above=0)
        check_range(self, "leaky_slope", above=0, below=1)
        check_range(self, "fading_share", minimum=0, below=1)
        check_range(self, "penalty_weight", "drift_weight", minimum=0)
        if self.critic_steps > 1 and self.update_order == "joint":
            raise ValueError(f"update_order='joint' needs critic_steps=1, got {self.critic_steps}; use 'alternating'")

    @classmethod
    def tiny_settings(cls) -> tuple[dict[str, Any], ...]:
        tiny = {"image_size": 16, "latent_size": 8, "channel_max": 8, "channel_base": 128}
        zoo = {"dialect": "karras", "update_order": "alternating", "critic_steps": 2}
        alone = tiny | {"minibatch_stddev": False}
        return tiny, alone, alone | zoo | {"conditional": True, "label_count": 2, "recomputes_blocks": True}

    def for_inference(self) -> "PGGANConfig":
        return dataclasses.replace(self, precision="float32", recomputes_blocks=False)

    @property
    def memory_advice(self) -> tuple[str, ...]:
        batch = ("a smaller --set=batch_sizes",) if self.batch_sizes else super().memory_advice
        return batch if self.recomputes_blocks else (*batch, RECOMPUTATION_ADVICE)

    @property
    def batches_per_step(self) -> int:
        return self.critic_steps

    def stages(self, batch_size: int, steps: int | None = None) -> tuple[Stage, ...]:
        """The schedule: each size from `first_size` on, fading and then stable; `steps` cuts or prolongs its end.

        Images are rounded up to whole steps. A size without fading has the stable stage alone.
        """
        stages: list[Stage] = []
        for index, size in enumerate(_sizes(self.first_size, self.image_size)):
            images = _at(self.stage_images, index)
            batch = _at(self.batch_sizes, index) if self.batch_sizes else batch_size
            rate = _at(self.learning_rates, index) if self.learning_rates else None
            fading = images * self.fading_share if index else 0.0
            if self.fading_images and index:
                fading = self.fading_images[index - 1]
            for is_fading, count in ((True, fading), (False, images - fading)):
                first = stages[-1].end_step if stages else 0
                if count:
                    stages.append(Stage(size, batch, first, first + math.ceil(count / batch), is_fading, rate))
        if steps is None:
            return tuple(stages)
        *kept, last = (stage for stage in stages if stage.first_step < steps)
        is_whole = last.image_size == self.image_size and not last.is_fading
        return *kept, dataclasses.replace(last, end_step=steps if is_whole else min(steps, last.end_step))


def _sizes(first: int, last: int) -> list[int]:
    return [1 << power for power in range(first.bit_length() - 1, last.bit_length())]


def _at(values: tuple, index: int) -> Any:
    return values[0] if len(values) == 1 else values[index]
