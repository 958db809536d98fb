"""One number of a report, with all that a reader needs in order to compare it: a row of scores.csv."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """A value, what it was measured of, and what it depends on.

    Attributes:
      metric: its name, such as "frechet"; what it is called in `METRICS` where it is one of them.
      value: NaN where there is none.
      low: of the 95 % interval; NaN where there is none.
      high: likewise.
      images: on each side, or of the test set.
      of_real: the same of real images against real ones, or of a classifier trained on real images; NaN if unknown.
      better: "higher", "lower" or "real" (as real images have it).
      subject: what was measured where that is not the cohort alone, such as the arm "synthetic" of `tstr`.
      extractor: in whose eyes; "" where there is none.
      split: real images that it was measured against.
      label: "" is all of them.
      group: of patients, such as "sex=F"; "" is all of them.
      passport: everything else that the value depends on; only scores of equal passports may be compared.
      is_headline: stands in the one table at the head of the page.
    """

    metric: str
    value: float
    images: int
    better: str
    low: float = float("nan")
    high: float = float("nan")
    of_real: float = float("nan")
    subject: str = ""
    extractor: str = ""
    split: str = ""
    label: str = ""
    group: str = ""
    passport: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    is_headline: bool = False
