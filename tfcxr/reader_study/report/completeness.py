"""Who has finished what, and which stored rows count: each is counted once, as used or as left out with a reason."""

import collections
import dataclasses
from collections.abc import Sequence

from tfcxr.reader_study.answers import Answer
from tfcxr.reader_study.design_file import Design

COUNTED = "final answers that count"
REASONS = {
    "training": "final answers to training examples",
    "superseded": "changes before a final answer",
    "unfinished": "changes of questions that have no final answer yet",
    "consent": "consents",
    "shown": "notes that a question was shown",
    "paused": "notes of pauses",
    "viewed": "notes of zoom and window",
}


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a reader has come.

    Attributes:
      reader: key of the reader.
      group: of the reader.
      has_consented: whether a consent is stored.
      done: finished questions that count.
      total: questions that count.
      last_stored: server time of the reader's last row, ISO 8601; "" for none.
      is_simulated: whether a program answered, as the viewport of its rows says.
    """

    reader: str
    group: str
    has_consented: bool
    done: int
    total: int
    last_stored: str
    is_simulated: bool = False


@dataclasses.dataclass(frozen=True)
class Completeness:
    """What of a study is there.

    Attributes:
      readers: of all in the design.
      rows: what rows are -> their number; the numbers add up to all rows.
    """

    readers: tuple[Progress, ...]
    rows: dict[str, int]

    @property
    def is_complete(self) -> bool:
        """Whether every reader has finished every question."""
        return all(progress.done == progress.total for progress in self.readers)

    @property
    def simulated(self) -> str:
        """One sentence where programs answered; "" where only people did."""
        names = [progress.reader for progress in self.readers if progress.is_simulated]
        return f"Simulated readers, not people, gave the answers of {', '.join(names)}." if names else ""

    @property
    def missing(self) -> str:
        """One sentence on what is not there; "" where all is."""
        if self.is_complete:
            return ""
        finished = sum(progress.done == progress.total for progress in self.readers)
        absent = [progress.reader for progress in self.readers if not progress.done]
        done, total = (sum(getattr(progress, name) for progress in self.readers) for name in ("done", "total"))
        sentence = (
            f"The study is not finished: {finished} of {len(self.readers)} readers are through, and {total - done} of "
            f"{total} answers are missing"
        )
        return sentence + (f"; nothing yet from {', '.join(absent)}." if absent else ".")


def completeness(design: Design, answers: Sequence[Answer]) -> Completeness:
    """Counts the rows of a study, in the order in which they were stored."""
    final = {(answer.reader, answer.item) for answer in answers if answer.event == "final"}
    counts: collections.Counter[str] = collections.Counter()
    for answer in answers:
        if answer.event == "change":
            counts[REASONS["superseded" if (answer.reader, answer.item) in final else "unfinished"]] += 1
        elif answer.event == "final":
            counts[REASONS["training"] if design.items[answer.item].is_training else COUNTED] += 1
        else:
            counts[REASONS[answer.event]] += 1
    rows = {name: counts[name] for name in (COUNTED, *REASONS.values()) if counts[name]}
    assert sum(rows.values()) == len(answers), "each row is counted once"
    last = {answer.reader: answer.server_time for answer in answers}
    consents = {answer.reader for answer in answers if answer.event == "consent"}
    simulated = {answer.reader for answer in answers if answer.viewport.get("simulated")}
    readers = []
    for name, reader in design.readers.items():
        counted = [item for item in reader.items if not design.items[item].is_training]
        done = sum((name, item) in final for item in counted)
        facts = name in consents, done, len(counted), last.get(name, ""), name in simulated
        readers.append(Progress(name, reader.group, *facts))
    return Completeness(tuple(readers), rows)
