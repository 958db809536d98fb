"""What the radiographs of MURA and LERA are labelled with, so that both sets can be made to fit, and their tables."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

from tfrecords_builder.choices import check_choice, split_names
from tfrecords_builder.datasets.table import read_csv

LABEL_SETS = ("abnormality", "body_part", "both", "medfid")
ABNORMALITY = ("normal", "abnormal")
MEDFID_CLASSES = ("foot_ankle", "knee", "elbow", "forearm", "hand", "humerus", "shoulder")
_MEDFID_NAMES = {"foot": "foot_ankle", "ankle": "foot_ankle"}  # the others keep the body part's name


@dataclasses.dataclass(frozen=True)
class ExtremityLabels:
    """One way to label radiographs of arms or legs.

    Attributes:
      labels: "abnormality" (normal or abnormal), "body_part" (one of the chosen parts), "both" (multi-label: the
        chosen parts, and abnormal) or "medfid" (the seven classes of MedFID).
      parts: the body parts that are taken, in the data set's order.
      names: the labels, in the order of `vector`.
    """

    labels: str
    parts: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def choose(cls, labels: str, body_parts: str, known_parts: Sequence[str]) -> "ExtremityLabels":
        """From a reader's settings.

        Args:
          labels: one of `LABEL_SETS`.
          body_parts: those to take, separated by commas; "" for all.
          known_parts: all body parts of the data set.

        Raises:
          ValueError: an unknown or repeated name, or body parts of which MedFID has none.
        """
        check_choice("labels", labels, LABEL_SETS)
        chosen = split_names(body_parts, "body_parts") or list(known_parts)
        for part in chosen:
            check_choice("body part", part, known_parts)
        parts = tuple(part for part in known_parts if part in chosen)
        if labels == "medfid":
            parts = tuple(part for part in parts if _medfid_class(part) in MEDFID_CLASSES)
            if not parts:
                raise ValueError(
                    f"labels=medfid has no class for body_parts={body_parts}; its classes: {MEDFID_CLASSES}"
                )
        names = {
            "abnormality": ABNORMALITY,
            "body_part": parts,
            "both": (*parts, ABNORMALITY[1]),
            "medfid": MEDFID_CLASSES,
        }[labels]
        return cls(labels, parts, names)

    @property
    def is_single_label(self) -> bool:
        """Whether exactly one label of an image is 1."""
        return self.labels != "both"

    @property
    def needs_abnormality(self) -> bool:
        """Whether an image without a valid finding cannot be labelled."""
        return self.labels in ("abnormality", "both")

    def vector(self, part: str, is_abnormal: bool) -> tuple[float, ...]:
        """1 or 0 for each of `names`."""
        positive = {
            "abnormality": {ABNORMALITY[is_abnormal]},
            "body_part": {part},
            "both": {part, ABNORMALITY[1]} if is_abnormal else {part},
            "medfid": {_medfid_class(part)},
        }[self.labels]
        return tuple(float(name in positive) for name in self.names)


def read_rows(path: pathlib.Path, fields: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each row of a table without a header; `fields` names its columns, for the messages.

    Raises:
      FileNotFoundError: no such table.
      ValueError: a row of another number of fields, or no CSV table in UTF-8 or UTF-16.
    """
    for line, row in read_csv(path, fields=len(fields)):
        while len(row) > len(fields) and not row[-1]:  # empty fields beyond the last
            row.pop()
        if any(row) and len(row) != len(fields):
            raise ValueError(
                f"{path} line {line} has {len(row)} fields, expected {len(fields)} and no header: {', '.join(fields)}"
            )
        if any(row):
            yield line, row


def _medfid_class(part: str) -> str:
    return _MEDFID_NAMES.get(part, part)
