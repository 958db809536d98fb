"""What a reader sees next, and which answers are taken.

The order is the design's: consent, then one item after the other, each with one final answer. All of it follows from
the stored answers, so a reader may leave, come back, and go on with another device.
"""

import dataclasses
import threading
from collections.abc import Mapping
from typing import Any

from tfcxr.reader_study.answers import AlreadyAnsweredError, Answer, AnswerStore
from tfcxr.reader_study.design_file import Design, ImageOrigin, Item
from tfcxr.reader_study.server.staircase import next_exposure

EXPOSURE = "exposure_seconds"


class NoConsentError(ValueError):
    """The reader has not agreed to take part."""


class NotCurrentError(ValueError):
    """The item is not the one that the reader is asked now."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a reader is.

    Attributes:
      has_consented: whether the reader agreed to take part.
      finals: item -> its final answer, in the order given.
      item: key of the current item; "" after the last one.
      draft: the last change of its answer; None before the first.
      elapsed_seconds: that the reader has spent on it so far, as last reported.
      was_shown: whether the images of a timed item have been visible.
    """

    has_consented: bool
    finals: Mapping[str, Mapping[str, Any]]
    item: str
    draft: Mapping[str, Any] | None = None
    elapsed_seconds: float = 0.0
    was_shown: bool = False


class Session:
    """All readers of one study; safe to share between threads."""

    def __init__(self, design: Design, store: AnswerStore, key: Mapping[str, ImageOrigin] | None = None) -> None:
        """Reads nothing yet.

        Args:
          design: of the study.
          store: its answers.
          key: which images are synthetic, for a design with staircases, whose exposures follow right and wrong answers;
            None for all others.

        Raises:
          ValueError: a staircase without a key, with a grid, or without a first exposure in its range.
        """
        staircases = {name: item for name, item in design.items.items() if item.is_staircase}
        if staircases and key is None:
            raise ValueError("the design has staircases, which need the key to tell right answers from wrong ones")
        for name, item in staircases.items():
            if item.kind == "grid":
                raise ValueError(f"item {name} is a grid in a staircase; a staircase is made of single images or pairs")
            if item.exposure_seconds is None:
                raise ValueError(f"item {name} is in a staircase and has no exposure to start from")
            next_exposure((), item.exposure_seconds)
        self.design = design
        self._store = store
        self._key = key or {}
        self._lock = threading.Lock()
        self._known: dict[str, Progress] = {}

    def progress(self, reader: str) -> Progress:
        """How far a reader is, read from the stored answers."""
        progress = self._read(reader)
        with self._lock:
            self._known[reader] = progress
        return progress

    def state(self, reader: str) -> dict[str, Any]:
        """What the page shows, as JSON; see README.md."""
        progress = self.progress(reader)
        items = self.design.readers[reader].items
        return {
            "title": self.design.title,
            "consent": self.design.consent,
            "display_size": self.design.display_size,
            "has_consented": progress.has_consented,
            "total": len(items),
            "done": len(progress.finals),
            "item": self._shown(progress) if progress.has_consented and progress.item else None,
            "diagnoses": list(self.design.diagnoses),
        }

    def current_item(self, reader: str) -> tuple[str, Item] | None:
        """Key and description of the item that a reader is asked now; None before the consent and after the end."""
        progress = self._progress(reader)
        if not progress.has_consented or not progress.item:
            return None
        return progress.item, self.design.items[progress.item]

    def add(self, answer: Answer) -> bool:
        """Stores a row of a reader of this design; False where the same request is stored already.

        Raises:
          NoConsentError: anything but the consent comes first.
          NotCurrentError: another item than the current one, or the name of a request that was used for another.
          AlreadyAnsweredError: the item has another final answer.
        """
        progress = self._progress(answer.reader)
        if answer.event != "consent":
            if not progress.has_consented:
                raise NoConsentError("agree to take part first")
            if answer.item not in ("", progress.item, *progress.finals):
                raise NotCurrentError(f"{answer.item} is not the item that you are asked now")
            if not answer.item and answer.event in ("change", "final"):
                raise NotCurrentError("an answer needs its item")
        viewport = {name: fact for name, fact in answer.viewport.items() if name != EXPOSURE}
        if answer.item and answer.item == progress.item and (seconds := self._exposure(progress)) is not None:
            viewport[EXPOSURE] = seconds  # the server's word, which the analysis relies on
        answer = dataclasses.replace(answer, viewport=viewport)
        try:
            if not self._store.add(answer):
                self._check_same(answer)
                return False
        except AlreadyAnsweredError:
            self.progress(answer.reader)  # answered by another server process
            raise
        if answer.event in ("consent", "final"):
            self.progress(answer.reader)
        return True

    def solution(self, item: str) -> list[bool] | None:
        """Whether each image of a training example is synthetic; None for an item that counts."""
        found = self.design.training_solutions.get(item) if self.design.items[item].is_training else None
        return None if found is None else list(found)

    def _progress(self, reader: str) -> Progress:
        with self._lock:
            known = self._known.get(reader)
        return known or self.progress(reader)

    def _read(self, reader: str) -> Progress:
        rows = self._store.rows(reader)
        finals = {row.item: row.answer for row in rows if row.event == "final"}
        item = next((item for item in self.design.readers[reader].items if item not in finals), "")
        of_item = [row for row in rows if item and row.item == item]
        drafts = [row.answer for row in of_item if row.event == "change"]
        times = [row.elapsed_seconds for row in of_item if row.elapsed_seconds is not None]
        return Progress(
            has_consented=any(row.event == "consent" for row in rows),
            finals=finals,
            item=item,
            draft=drafts[-1] if drafts else None,
            elapsed_seconds=max(times, default=0.0),
            was_shown=any(row.event == "shown" for row in of_item),
        )

    def _shown(self, progress: Progress) -> dict[str, Any]:
        item = self.design.items[progress.item]
        return {
            "item": progress.item,
            "kind": item.kind,
            "images": list(item.images),
            "is_training": item.is_training,
            "exposure_seconds": self._exposure(progress),
            "was_shown": progress.was_shown,
            "asks_details": not item.is_staircase,
            "elapsed_seconds": progress.elapsed_seconds,
            "answer": progress.draft,
        }

    def _exposure(self, progress: Progress) -> float | None:
        """Of the current item, seconds; a staircase starts anew in each block, and training examples do not count."""
        item = self.design.items[progress.item]
        if not item.is_staircase or item.exposure_seconds is None:
            return item.exposure_seconds
        results = []
        for name, given in progress.finals.items():
            earlier = self.design.items[name]
            if earlier.is_staircase and earlier.block == item.block and not earlier.is_training:
                results.append(self._is_right(earlier, given))
        return next_exposure(results, item.exposure_seconds)

    def _is_right(self, item: Item, given: Mapping[str, Any]) -> bool:
        if item.kind == "pair":
            return not self._key[item.images[given["real"]]].is_synthetic
        return given["synthetic"] == self._key[item.images[0]].is_synthetic

    def _check_same(self, answer: Answer) -> None:
        """A request that is sent again is the same one; else an answer would be lost in silence."""
        same = (answer.reader, answer.item, answer.event)
        if not any(
            row.request == answer.request and (row.reader, row.item, row.event) == same
            for row in self._store.rows(answer.reader)
        ):
            raise NotCurrentError("the name of this request was used for another one; give each a new name")
