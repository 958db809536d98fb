"""What the report is made of: each analysis is one file and one line here.

An analysis is a function of all readings. It answers one question and returns an `Analysis`, which the report shows as
tables and the JSON file keeps as numbers; None where the study has nothing for it, such as pairs alone for a ROC curve.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfcxr.reader_study.readings import Reading
from tfcxr.registry import Registry


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty.

    Attributes:
      value: the estimate.
      low: lower end of its 95 % interval.
      high: upper end.
      count: how many readings, readers or cases it rests on, as the table's heading says.
    """

    value: float
    low: float
    high: float
    count: int


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
      caption: one sentence.
      columns: headings.
      rows: cells; an `Estimate` is shown as .73 (.63-.82).
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float | Estimate | None, ...], ...]


@dataclasses.dataclass(frozen=True)
class Analysis:
    """The answer to one question.

    Attributes:
      title: of its part of the report.
      sentences: what was found, and the formula or model behind it, for a reader without statistics.
      tables: for those who want the numbers.
      numbers: name -> number, estimate or nested dictionary of them, for report.json.
    """

    title: str
    sentences: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    numbers: Mapping[str, Any] = dataclasses.field(default_factory=dict)


ANALYSES: Registry[Callable[[Sequence[Reading]], Analysis | None]] = Registry(
    rates="tfcxr.reader_study.statistics.rates:rates",
    hype="tfcxr.reader_study.statistics.hype:hype",
    hype_time="tfcxr.reader_study.statistics.hype_time:hype_time",
    agreement="tfcxr.reader_study.statistics.agreement:agreement",
    roc="tfcxr.reader_study.statistics.roc:roc",
    findings="tfcxr.reader_study.statistics.findings:findings",
    time="tfcxr.reader_study.statistics.time_and_learning:time_and_learning",
)
