"""From raw answers and the key to what is analysed: one reading per image that a person judged."""

import dataclasses
from collections.abc import Iterable, Mapping

from tfcxr.reader_study.answers import Answer
from tfcxr.reader_study.design_file import Design, ImageOrigin


@dataclasses.dataclass(frozen=True)
class Reading:
    """One judgement by one reader: of an image in a grid or alone, or of a pair.

    Attributes:
      reader: key of the reader.
      group: of the reader.
      item: key of the item.
      kind: "grid", "pair" or "single".
      case: the image that was judged; of a pair the synthetic one.
      block: the finding of the item's block; "" for none.
      labels: findings of the case by its cohort.
      is_synthetic: whether the case is; True for pairs.
      said_synthetic: what the reader said of the case.
      rating: confidence that it is synthetic, -5 (surely real) to 5, without 0; None where confidence was not asked.
      seconds: from showing the item to its final answer; None where unknown.
      position: of the item among those that the reader finished and that count, from 0.
      repeat_of: the item that this one shows again; "" for none.
      exposure_seconds: how long the image was visible; None for no limit.
      comment: free text.
      diagnoses: findings that the reader named.
      marks: regions that the reader marked: left, top, width, height as shares of the image.
    """

    reader: str
    group: str
    item: str
    kind: str
    case: str
    block: str
    labels: tuple[str, ...]
    is_synthetic: bool
    said_synthetic: bool
    rating: int | None = None
    seconds: float | None = None
    position: int = 0
    repeat_of: str = ""
    exposure_seconds: float | None = None
    comment: str = ""
    diagnoses: tuple[str, ...] = ()
    marks: tuple[tuple[float, float, float, float], ...] = ()

    @property
    def is_correct(self) -> bool:
        """Whether the reader was right."""
        return self.said_synthetic == self.is_synthetic


def readings(design: Design, key: Mapping[str, ImageOrigin], answers: Iterable[Answer]) -> list[Reading]:
    """The readings of all final answers, in the order in which each reader gave them; training examples are left out.

    Raises:
      ValueError: an answer of a reader or to an item that the design does not have.
    """
    made: list[Reading] = []
    positions: dict[str, int] = {}
    for answer in answers:
        if answer.event != "final":
            continue
        if answer.reader not in design.readers or answer.item not in design.items:
            raise ValueError(f"reader {answer.reader} answered {answer.item}, which this design does not have")
        if not design.items[answer.item].is_training:
            position = positions.setdefault(answer.reader, 0)
            made += _readings_of(design, key, answer, position)
            positions[answer.reader] += 1
    return made


def _readings_of(design: Design, key: Mapping[str, ImageOrigin], answer: Answer, position: int) -> list[Reading]:
    item, given = design.items[answer.item], answer.answer
    if item.kind == "grid":
        judged = dict(zip(item.images, given["synthetic"], strict=True))
    elif item.kind == "pair":
        case = next(image for image in item.images if key[image].is_synthetic)
        judged = {case: item.images[given["real"]] != case}
    else:
        judged = {item.images[0]: given["synthetic"]}
    confidence = given.get("confidence")
    return [
        Reading(
            reader=answer.reader,
            group=design.readers[answer.reader].group,
            item=answer.item,
            kind=item.kind,
            case=case,
            block=item.block,
            labels=key[case].labels,
            is_synthetic=key[case].is_synthetic,
            said_synthetic=said_synthetic,
            rating=None if confidence is None else (confidence if said_synthetic else -confidence),
            seconds=answer.elapsed_seconds,
            position=position,
            repeat_of=item.repeat_of,
            exposure_seconds=answer.viewport.get("exposure_seconds", item.exposure_seconds),
            comment=given.get("comment", ""),
            diagnoses=tuple(given.get("diagnoses", ())),
            marks=tuple((m["x"], m["y"], m["width"], m["height"]) for m in given.get("marks", ())),
        )
        for case, said_synthetic in judged.items()
    ]
