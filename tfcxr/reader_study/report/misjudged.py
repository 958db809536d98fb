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
      wrong: readers who misjudged it at least once, by key.
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
        wrong = {reading.reader for reading in judged if not reading.is_correct}
        right = {reading.reader for reading in judged} - wrong
        if wrong:
            first = judged[0]
            found = JudgedCase(case, first.is_synthetic, first.labels, tuple(sorted(wrong)), tuple(sorted(right)))
            cases.append(found)
    return sorted(cases, key=lambda found: (-found.share_wrong, -len(found.wrong), found.case))
