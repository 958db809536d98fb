"""How a classifier is built and trained: the settings of `--set=classifier.NAME=VALUE` and of `train_classifier`."""

import dataclasses
from typing import Any, Literal

from tfcxr.config import check_range, make_config, to_plain
from tfcxr.evaluation.extractors import CLASSIFIERS
from tfcxr.evaluation.extractors.fitting import FittingConfig
from tfcxr.evaluation.extractors.initial_weights import check_initial_weights, initial_weights_hash
from tfcxr.registry import nearest_name


@dataclasses.dataclass(frozen=True)
class ClassifierConfig(FittingConfig):
    """How a classifier is built and trained; the defaults are those of singh2023.

    Attributes:
      architecture: a name in `CLASSIFIERS`.
      dropout: before each dense layer; for medfid behind the last one.
      dense_units: widths of the hidden layers; the last one gives the features. "()" simply replaces the last layer:
        the features are then the pooled ones.
      optimizer: "adam" or "rmsprop".
      fine_tuned_from: above 0, the trunk stays as it is for `max_epochs`; then its layers from this one on, as Keras
        counts them with the input as layer 0, learn too, for `fine_tuning_epochs`. 0 trains everything at once.
      fine_tuning_epochs: at most, of the second phase.
      fine_tuning_rate: learning rate of the second phase.
      batch_norm_momentum: at most; lower where an epoch has few steps, so that the first epoch's statistics arrive
        before early stopping looks. Keras's .99 needs more steps than a short training has: chance-level scores.
      initializer: of all kernels; "glorot_uniform" is Keras's own.
      initial_weights: what training starts from: "" is random weights, "imagenet" Keras's own, else FILE.keras or
        FILE.weights.h5 of a network of this architecture that takes images in [0, 1].
      precision: "mixed_bfloat16" computes in bfloat16 and keeps weights in float32; "auto" is that where the hardware
        has it, else "float32".
    """

    architecture: str = "vgg16"
    optimizer: Literal["adam", "rmsprop"] = "adam"
    learning_rate: float = 1e-5
    batch_size: int = 64
    max_epochs: int = 60
    patience: int = 2
    validation_fraction: float = 0.2
    dropout: float = 0.4
    dense_units: tuple[int, ...] = (512, 128)
    batch_norm_momentum: float = 0.9
    initializer: Literal["glorot_uniform", "he_normal"] = "glorot_uniform"
    initial_weights: str = ""
    fine_tuned_from: int = 0
    fine_tuning_epochs: int = 20
    fine_tuning_rate: float = 1e-5
    precision: Literal["float32", "mixed_bfloat16", "auto"] = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.architecture not in CLASSIFIERS:
            raise ValueError(
                f"unknown classifier {self.architecture!r}; {nearest_name(self.architecture, CLASSIFIERS)}"
            )
        if self.precision == "auto":
            from tfcxr.precision import has_bfloat16  # loads TensorFlow

            object.__setattr__(self, "precision", "mixed_bfloat16" if has_bfloat16() else "float32")
        check_range(self, "dropout", "batch_norm_momentum", minimum=0, below=1)
        check_range(self, "fine_tuned_from", minimum=0)
        check_range(self, "fine_tuning_epochs", "fine_tuning_rate", above=0)
        if any(width < 1 for width in self.dense_units):
            raise ValueError(f"ClassifierConfig.dense_units must be 1 or more each, got {self.dense_units}")
        check_initial_weights(self.initial_weights, self.architecture, CLASSIFIERS[self.architecture])

    @property
    def identity(self) -> dict[str, Any]:
        """What a training depends on, plain: the settings, with the hash of a file in place of its path."""
        return to_plain(self) | {"initial_weights": initial_weights_hash(self.initial_weights)}


def make_classifier_config(architecture: str, settings: dict[str, Any]) -> ClassifierConfig:
    """The configuration of an architecture: its own defaults, then `settings`.

    Raises:
      ValueError: an unknown architecture or setting, a value of another type or range, or `architecture` in `settings`.
    """
    if "architecture" in settings:
        raise ValueError("architecture is not a setting here; choose it with --classifier")
    defaults = CLASSIFIERS[architecture].defaults if architecture in CLASSIFIERS else {}
    return make_config(ClassifierConfig, defaults, settings, {"architecture": architecture})
