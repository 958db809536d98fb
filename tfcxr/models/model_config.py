"""Settings that all models have, and the stages that training is made of."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from tfcxr.config import check_range
from tfcxr.data.conditions import condition_columns

DEFAULT_STEPS = 1000
RENAMED_SETTINGS = {  # name that an earlier version stored -> today's
    "minibatch_deviation": "minibatch_stddev",
    "has_minibatch_deviation": "minibatch_stddev",
}
PROBABILITY_LOSSES = ("log", "minimax", "least_squares")  # they draw the discriminator's sigmoid to 1 for real images


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stretch of training with images of one size.

    Attributes:
      image_size: pixels.
      batch_size: images per step over all replicas (times `batches_per_step`).
      first_step: steps of the whole training before it.
      end_step: steps of the whole training at its end.
      is_fading: new layers take over gradually.
      learning_rate: of both networks; None leaves the configuration's.
    """

    image_size: int
    batch_size: int
    first_step: int
    end_step: int
    is_fading: bool = False
    learning_rate: float | None = None


@dataclasses.dataclass(frozen=True)
class AdversarialConfig:
    """Settings that every model has.

    Attributes:
      image_size: pixels of the records, a power of two.
      channels: 1 for grey, 3 where a published model needs them.
      label_count: labels of the data set, 0 for none.
      is_single_label: the labels exclude each other.
      generator_learning_rate: of Adam.
      discriminator_learning_rate: of Adam.
      decay_last: share of the training, at its end, in which both learning rates fall linearly; 0 for none.
      final_learning_rate_share: what is left of them after the last step.
      beta_1: of Adam.
      beta_2: of Adam.
      epsilon: of Adam.
      ema_decay: of the averaged generator per step; 0 keeps none. At the start it is at most (1 + step) / (10 + step).
      ema_half_life: of the averaged generator in images, instead of `ema_decay`; 0 is off. Images of all critic steps
        count. At the start it is at most a twentieth of the images seen so far.
      pretrained: run folder of the same model from whose networks training starts, with the average and the statistics
        of batch normalization; settings of the networks are taken from it. Where another discriminator is asked for,
        it starts anew. It needs as many labels, whose columns are matched by order, whatever their names. The folder's
        name is stored, and resuming does not need the folder.
      pretrained_sha256: of the checkpoint that was started from, filled in.
      precision: "mixed_bfloat16" computes in bfloat16 and keeps weights in float32. `tfcxr.train` takes "auto" too, its
        default without an experiment: mixed_bfloat16 where the model is tested in it and the hardware has it, else
        float32. The run folder stores which, and a resumed run keeps it.
    """

    image_size: int = 64
    channels: int = 1
    label_count: int = 2
    is_single_label: bool = True
    generator_learning_rate: float = 2e-4
    discriminator_learning_rate: float = 2e-4
    decay_last: float = 0.0
    final_learning_rate_share: float = 0.0
    beta_1: float = 0.5
    beta_2: float = 0.999
    epsilon: float = 1e-7
    ema_decay: float = 0.999
    ema_half_life: float = 0.0
    pretrained: str = ""
    pretrained_sha256: str = ""
    precision: Literal["float32", "mixed_bfloat16"] = "float32"

    # what decides shape and meaning of the networks' weights; a pretrained run must have the same
    network_settings: ClassVar[tuple[str, ...]] = ("image_size", "channels", "label_count", "is_single_label")
    # those of them that shape the discriminator alone, which starts anew where they differ from the pretrained run's
    discriminator_settings: ClassVar[tuple[str, ...]] = ()
    trains_in_bfloat16: ClassVar[bool] = False  # "auto" may choose it: tests have trained the model so
    adversarial_loss: ClassVar[str] = ""  # name in `losses.adversarial`; a field where it can be chosen
    conditions: ClassVar[tuple[str, ...]] = ()  # of `tfcxr.data.conditions`; a field where the networks read them
    smallest_size: ClassVar[int] = 32
    traces_slowly: ClassVar[bool] = False  # its contract test on two replicas takes a minute and is marked slow
    largest_size: ClassVar[int | None] = None  # no bound
    usual_batch_size: ClassVar[int] = 32  # over all replicas, where nothing else is said
    records_size: ClassVar[str] = "image_size"  # the setting that the size of the records decides

    def __post_init__(self) -> None:
        if self.image_size < self.smallest_size or self.image_size & (self.image_size - 1):
            raise ValueError(f"image_size must be a power of two from {self.smallest_size}, got {self.image_size}")
        if self.largest_size and self.image_size > self.largest_size:
            raise ValueError(
                f"{type(self).__name__} is for images of {self.smallest_size} to {self.largest_size} px, got "
                f"image_size={self.image_size}; enlarge its images with srgan, or choose a model for larger ones"
            )
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3, got {self.channels}")
        check_range(self, "label_count", minimum=0)
        check_range(self, "ema_decay", minimum=0, below=1)
        check_range(self, "ema_half_life", minimum=0)
        check_range(self, "decay_last", "final_learning_rate_share", minimum=0, maximum=1)
        if self.ema_half_life and not self.ema_decay:
            raise ValueError(
                f"ema_half_life={self.ema_half_life:g} is of an averaged generator, and ema_decay=0 keeps none; leave "
                "out one of them"
            )

    @classmethod
    def tiny_settings(cls) -> tuple[dict[str, Any], ...]:
        """Settings of networks small enough that tests train them in seconds, on images of at most 32 px.

        One or more variants. The first is trained in every way that the contract tests know. The others (or the first,
        if it is alone) are trained on one and on two replicas and must take the same step: there no image may depend on
        others of its batch, as by batch normalization or minibatch stddev.
        """
        return ({"image_size": 32},)

    @classmethod
    def reads_labels(cls, settings: Mapping[str, Any]) -> bool:
        """Whether a model of these settings, the others by default, reads the labels of the data."""
        return False

    @classmethod
    def implied_settings(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Settings that `stored`, of an earlier version, lacks, where today's default is not what that version did."""
        return {}

    @classmethod
    def current_settings(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Settings that a run folder or an export stored, under today's names, with those of an earlier version."""
        renamed = {RENAMED_SETTINGS.get(name, name): value for name, value in stored.items()}
        return cls.implied_settings(renamed) | renamed

    def for_inference(self) -> "AdversarialConfig":
        """The same networks in float32, without what only training needs."""
        return dataclasses.replace(self, precision="float32")

    @property
    def memory_advice(self) -> tuple[str, ...]:
        """What a user can give so that a training step needs less memory, in the words of the command line."""
        return ("a smaller --batch_size",)

    @property
    def condition_columns(self) -> tuple[str, ...]:
        """What the networks are told of an image beside its labels."""
        return condition_columns(self.conditions)

    @property
    def label_width(self) -> int:
        """Labels and conditions together: the columns of `label` as the networks read it."""
        return self.label_count + len(self.condition_columns)

    @classmethod
    def reads_conditions(cls) -> bool:
        """Whether the networks can be told fields of a record beside the labels."""
        return any(field.name == "conditions" for field in dataclasses.fields(cls))

    @property
    def batches_per_step(self) -> int:
        """How many batches one training step takes: one for each step of the critic before the generator's."""
        return 1

    @property
    def compares_images(self) -> bool:
        """Whether the discriminator scores an image together with the others of its batch (minibatch stddev)."""
        return False

    @property
    def realism_is_probability(self) -> bool:
        """Whether the sigmoid of a realism logit estimates the probability that the image is real, not a mere rank."""
        return self.adversarial_loss in PROBABILITY_LOSSES

    def stages(self, batch_size: int, steps: int | None = None) -> tuple[Stage, ...]:
        """What training is made of, one after the other: a single stage, but for models that grow.

        Args:
          batch_size: over all replicas.
          steps: where training ends; by default where the model's own schedule does, or `DEFAULT_STEPS`.
        """
        return (Stage(self.image_size, batch_size, 0, steps or DEFAULT_STEPS),)


@dataclasses.dataclass(frozen=True)
class GANConfig(AdversarialConfig):
    """Settings of the models that generate images from z.

    Attributes:
      latent_size: length of z.
      conditional: images are generated for a label; without, the labels of the data are left out.
    """

    latent_size: int = 100
    conditional: bool = True

    network_settings = (*AdversarialConfig.network_settings, "latent_size", "conditional")

    @classmethod
    def reads_labels(cls, settings: Mapping[str, Any]) -> bool:
        return settings.get("conditional", cls.conditional)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "latent_size", minimum=1)
        if self.conditional and not self.label_count:
            raise ValueError(
                "a conditional model needs at least one label, and these data have none; choose an unconditional "
                "model such as vanilla_gan, or set conditional=False where the model allows it"
            )
        if not self.conditional and self.label_count:
            raise ValueError(f"an unconditional model has no labels, got label_count={self.label_count}")
