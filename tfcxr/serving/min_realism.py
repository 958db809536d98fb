"""The threshold of a gate: how the flag --min_realism gives it, and how messages show it. Needs no TensorFlow."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

MinRealism = float | Mapping[str, float]  # of all images, or label -> threshold


@dataclasses.dataclass(frozen=True)
class Quantile:
    """A threshold that this share of held-out real images does not reach."""

    share: float


def parse_min_realism(value: str | float | None) -> float | Quantile | None:
    """The value of --min_realism: a number in [0, 1], or a quantile such as "quantile:.1".

    Raises:
      ValueError: another text, a number outside [0, 1], or a quantile outside (0, 1).
    """
    if value is None:
        return None
    matched = re.fullmatch(r"(quantile:)?(\d*\.?\d+|\d+\.)", str(value).strip())
    number = float(matched[2]) if matched else -1.0
    is_quantile = bool(matched and matched[1])
    if not 0 <= number <= 1 or (is_quantile and not 0 < number < 1):
        raise ValueError(
            f"--min_realism expects a number from 0 to 1 such as .9, or quantile:.1 with --calibrate_on, got {value}"
        )
    return Quantile(number) if is_quantile else number


def realism_text(min_realism: MinRealism, labels: Sequence[str] = ()) -> str:
    """Such as "0.9" or "NORMAL 0.41, PNEUMONIA 0.38"; a single one of `labels` has its number alone."""
    if not isinstance(min_realism, Mapping):
        return f"{min_realism:g}"
    if len(labels) == 1:
        return f"{min_realism[labels[0]]:.3g}"
    return ", ".join(f"{name} {min_realism[name]:.3g}" for name in labels or min_realism)


def check_calibration(calibrate_on: str | None, min_realism: float | Quantile | None) -> None:
    """Raises ValueError where --calibrate_on and a quantile are not given together."""
    if isinstance(min_realism, Quantile) and not calibrate_on:
        raise ValueError(
            f"--min_realism=quantile:{min_realism.share:g} needs held-out real images: --calibrate_on=records/64"
        )
    if calibrate_on and not isinstance(min_realism, Quantile):
        raise ValueError("--calibrate_on would have no effect: it goes with --min_realism=quantile:.1")


def path_and_splits(calibrate_on: str) -> tuple[str, list[str]]:
    """The two parts of a value such as records/64:validation,test; no split where it names the data folder alone."""
    matched = re.fullmatch(r"(.+):([a-z][a-z0-9_]*(?:,[a-z][a-z0-9_]*)*)", calibrate_on)
    return (matched[1], matched[2].split(",")) if matched else (calibrate_on, [])
