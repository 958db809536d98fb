"""Simulated readers: a crossed probit model of what each reader sees in each image.

Signal detection (Green & Swets 1966) with random readers and cases, as Roe & Metz (1997) simulate multi-reader studies,
here with the readers' variation in d' alone. Of image i, with s = 1 if it is synthetic and -1 if it is real, reader r
sees

    x = s d_r g(t) / 2 + c_i + e        d_r ~ N(skill, reader_spread^2), c_i ~ N(0, case_spread^2), e ~ N(0, 1)

and calls it synthetic if x is above the bias. Of a pair, the image with the smaller x is called real. A repeated item
has new e and the same c_i. Evidence grows with exposure, g(t) = 1 - exp(-t / time_constant), the speed-accuracy
function of Wickelgren (1977) without its delay; g = 1 where there is no time limit.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.reader_study.design_file import Design, ImageOrigin

CONFIDENCE_CUTS = (0.253, 0.524, 0.842, 1.282)  # fifths of |x| for x ~ N(0, 1), so that all five grades are used
MEDIAN_SECONDS = {"grid": 40.0, "pair": 8.0, "single": 10.0}
SECONDS_SPREAD, READER_SECONDS_SPREAD = 0.4, 0.3  # of the logarithm
DIAGNOSIS_RATE = 0.7  # of singles whose findings are named, all that the design offers


@dataclasses.dataclass(frozen=True)
class ReaderSkill:
    """How well readers tell synthetic images from real ones.

    Attributes:
      mean: d' of the average reader, in standard deviations of one look; 0 is guessing.
      reader_spread: standard deviation of d' over readers.
      case_spread: standard deviation over images of how synthetic each looks to every reader.
      bias: criterion, in the same units; above 0, readers call more images real.
      time_constant: exposure after which 63 % of d' is reached, seconds.
    """

    mean: float = 1.0
    reader_spread: float = 0.5
    case_spread: float = 0.5
    bias: float = 0.0
    time_constant: float = 0.25

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
          ValueError: a spread below 0, a time constant of 0 or less, or a value that is not finite.
        """
        if not all(math.isfinite(value) for value in dataclasses.astuple(self)):
            raise ValueError(f"skill, spreads, bias and time constant must be finite, got {self}")
        if min(self.reader_spread, self.case_spread) < 0 or self.time_constant <= 0:
            raise ValueError(f"spreads must be 0 or more and the time constant above 0, got {self}")

    def evidence(self, exposure_seconds: float | None) -> float:
        """Share of d' that is reached in this time, 0 to 1."""
        return 1.0 if exposure_seconds is None else 1.0 - math.exp(-exposure_seconds / self.time_constant)


class SimulatedReaders:
    """All readers of one study; everything random is drawn at the start, so answers do not depend on their order."""

    def __init__(
        self, design: Design, key: Mapping[str, ImageOrigin], skill: ReaderSkill, seed: int | Sequence[int]
    ) -> None:
        """Draws readers, images and looks from `seed`."""
        self._design, self._key, self._skill = design, key, skill
        self._readers = {name: number for number, name in enumerate(sorted(design.readers))}
        self._items = {name: number for number, name in enumerate(sorted(design.items))}
        images = {name: number for number, name in enumerate(sorted(key))}
        widest = max((len(item.images) for item in design.items.values()), default=0)
        side, image = np.zeros([len(self._items), widest]), np.zeros([len(self._items), widest], int)
        for name, number in self._items.items():
            shown = design.items[name].images
            side[number, : len(shown)] = [1 if key[key_of].is_synthetic else -1 for key_of in shown]
            image[number, : len(shown)] = [images[key_of] for key_of in shown]

        generator = np.random.default_rng(seed)
        sensitivity = skill.mean + skill.reader_spread * generator.standard_normal(len(self._readers))
        appearance = skill.case_spread * generator.standard_normal(len(images))
        noise = generator.standard_normal([len(self._readers), len(self._items), widest])
        self._signal = sensitivity[:, None, None] * side / 2  # [reader, item, place]
        self._rest = appearance[image] + noise  # [reader, item, place]
        pace = READER_SECONDS_SPREAD * generator.standard_normal([len(self._readers), 1])
        medians = np.array([MEDIAN_SECONDS[design.items[name].kind] for name in self._items])
        steps = SECONDS_SPREAD * generator.standard_normal([len(self._readers), len(self._items)])
        self._seconds = medians * np.exp(pace + steps)  # [reader, item]
        self._names_findings = generator.random([len(self._readers), len(self._items)]) < DIAGNOSIS_RATE

    def seconds(self, reader: str, item: str) -> float:
        """Response time of a reader to an item, lognormal around `MEDIAN_SECONDS`."""
        return float(self._seconds[self._readers[reader], self._items[item]])

    def answer(self, reader: str, item: str, exposure_seconds: float | None = None) -> dict[str, Any]:
        """What a reader answers to an item, in the form of `answers.Answer.answer`.

        Args:
          exposure_seconds: how long the images were visible; None for no limit.
        """
        place = self._readers[reader], self._items[item]
        question = self._design.items[item]
        seen = self._signal[place] * self._skill.evidence(exposure_seconds) + self._rest[place]
        seen = seen[: len(question.images)]
        if question.kind == "grid":
            return {"synthetic": [bool(is_above) for is_above in seen > self._skill.bias]}
        if question.kind == "pair":
            return {"real": int(seen.argmin())}
        is_synthetic = bool(seen[0] > self._skill.bias)
        if question.is_staircase:
            return {"synthetic": is_synthetic}  # the page asks nothing else
        findings = self._key[question.images[0]].labels if self._names_findings[place] else ()
        return {
            "synthetic": is_synthetic,
            "confidence": 1 + int(np.searchsorted(CONFIDENCE_CUTS, abs(seen[0] - self._skill.bias))),
            "diagnoses": [finding for finding in findings if finding in self._design.diagnoses],
            "marks": [],
        }
