"""Which pictures fooled whom."""

import dataclasses
from collections.abc import Sequence

from tfcxr.reader_study.readings import Reading


@dataclasses.dataclass(frozen=True)
class JudgedCase:
    """An image with those who judged it; of a pair it is the synthetic one.

    Attributes:
      case: key of the image.
      is_synthetic: whether it is.
      labels: findings of the image by its cohort.
      wrong: readers who misjudged it, by key.
      right: readers who did not.
    """

    case: str
    is_synthetic: bool
    labels: tuple[str, ...]
    wrong: tuple[str, ...]
    right: tuple[str, ...]

    @property
    def share_wrong(self) -> float:
        """Of its readers, 0 to 1."""
        return len(self.wrong) / (len(self.wrong) + len(self.right))


def misjudged_cases(readings: Sequence[Reading]) -> list[JudgedCase]:
    """Images that somebody misjudged, the most misleading first; repeats do not count."""
    by_case: dict[str, list[Reading]] = {}
    for reading in readings:
        if not reading.repeat_of:
            by_case.setdefault(reading.case, []).append(reading)
    cases = []
    for case, judged in by_case.items():
        sides = [sorted({r.reader for r in judged if r.is_correct is is_correct}) for is_correct in (False, True)]
        if sides[0]:
            cases.append(JudgedCase(case, judged[0].is_synthetic, judged[0].labels, tuple(sides[0]), tuple(sides[1])))
    return sorted(cases, key=lambda case: (-case.share_wrong, -len(case.wrong), case.case))
