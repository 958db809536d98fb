"""Chooses which images of the cohorts fill the items of a study."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from tfcxr.reader_study.design.candidates import Candidate
from tfcxr.reader_study.design_file import Kind


@dataclasses.dataclass(frozen=True)
class ItemSides:
    """Which images of an item are synthetic, before any is chosen.

    Attributes:
      kind: of the item.
      block: the finding that all its images have; "" for any.
      is_training: whether it is an example.
      is_synthetic: of each image, in the order shown.
    """

    kind: Kind
    block: str
    is_training: bool
    is_synthetic: tuple[bool, ...]


def choose_images(
    sides: Sequence[ItemSides], real: Sequence[Candidate], synthetic: Sequence[Candidate], random: np.random.Generator
) -> tuple[list[list[Candidate]], int]:
    """Draws an image for every place of every item, each image once.

    No patient is in one item twice; a patient is in two items only where there are too few patients otherwise.

    Args:
      sides: the items.
      real: candidates of patients.
      synthetic: candidates of generators.
      random: draws them.

    Returns:
      for each item its images; and how many candidates were left out because their pixels are those of another.

    Raises:
      ValueError: too few images, of a finding or of different patients.
    """
    pools, left_out = _pools(real, synthetic, random)
    needed: Counter[tuple[bool, str]] = Counter()
    for item in sides:
        needed.update((is_synthetic, item.block) for is_synthetic in item.is_synthetic)
    fitting = {
        (is_synthetic, finding): [
            candidate for candidate in pools[is_synthetic] if not finding or finding in candidate.labels
        ]
        for is_synthetic, finding in needed
    }
    for (is_synthetic, finding), count in sorted(needed.items()):
        _check_enough(is_synthetic, finding, count, fitting[is_synthetic, finding], pools[is_synthetic])
    # The scarcest findings choose first, and images without a finding last, so that no block takes what another needs.
    order = sorted(
        range(len(sides)),
        key=lambda place: (
            not sides[place].block,
            min(len(fitting[side, sides[place].block]) / needed[side, sides[place].block]
                for side in sides[place].is_synthetic),
        ),
    )  # fmt: skip
    used: set[str] = set()
    patients: set[tuple[bool, str]] = set()
    chosen: list[list[Candidate]] = [[] for _ in sides]
    for place in order:
        here: set[tuple[bool, str]] = set()
        for is_synthetic in sides[place].is_synthetic:
            pool = fitting[is_synthetic, sides[place].block]
            free = [entry for entry in pool if entry.pixels_sha256 not in used]
            candidate = next(
                (
                    entry
                    for avoided in (patients, here)
                    for entry in free
                    if not entry.patient or (is_synthetic, entry.patient) not in avoided
                ),
                None,
            )
            if candidate is None:
                raise ValueError(
                    f"too few {_side_name(is_synthetic)} images{_with(sides[place].block)} are left for a "
                    f"{sides[place].kind} whose images are of different patients; ask for fewer items or give more data"
                )
            used.add(candidate.pixels_sha256)
            here.add((is_synthetic, candidate.patient))
            patients.add((is_synthetic, candidate.patient))
            chosen[place].append(candidate)
    return chosen, left_out


def _pools(
    real: Sequence[Candidate], synthetic: Sequence[Candidate], random: np.random.Generator
) -> tuple[dict[bool, list[Candidate]], int]:
    """Whether synthetic -> candidates in random order, and how many were left out as copies."""
    pools: dict[bool, list[Candidate]] = {}
    seen: set[str] = set()
    left_out = 0
    for is_synthetic, candidates in ((False, real), (True, synthetic)):
        kept: list[Candidate] = []
        for candidate in candidates:
            if candidate.pixels_sha256 in seen:
                left_out += 1
            else:
                seen.add(candidate.pixels_sha256)
                kept.append(candidate)
        pools[is_synthetic] = [kept[place] for place in random.permutation(len(kept))]
    return pools, left_out


def _check_enough(
    is_synthetic: bool, finding: str, count: int, fitting: Sequence[Candidate], pool: Sequence[Candidate]
) -> None:
    if len(fitting) >= count:
        return
    labels = Counter(label for candidate in pool for label in candidate.labels)
    there = ", ".join(f"{label} {number}" for label, number in sorted(labels.items())) or "no finding"
    raise ValueError(
        f"the study needs {count} {_side_name(is_synthetic)} images{_with(finding)}, {len(fitting)} are there "
        f"({there}); ask for fewer items, or give more data folders or splits"
    )


def _side_name(is_synthetic: bool) -> str:
    return "synthetic" if is_synthetic else "real"


def _with(finding: str) -> str:
    return f" with {finding}" if finding else ""
