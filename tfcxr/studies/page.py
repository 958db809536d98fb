"""The page of a study: every table and figure of the paper, ours beside it, the difference, and why.

    rows = [Row("Table 1", "accuracy", 0.85, results.score("report", metric="accuracy_at_half", subject="synthetic"))]

It is written as page.md, which is printed too, and as page.html, with its pictures inside.
"""

import csv
import dataclasses
import itertools
import json
import math
import pathlib
import re
from collections.abc import Mapping, Sequence

from tfcxr.data.atomic import write_atomically
from tfcxr.startup import tensorflow_started
from tfcxr.studies.stages import SMOKE, Stage, Study, seconds_of, time_text

SCORES_FILE, REPORT_FILE = "scores.csv", "report.json"
PICTURES = ("preview.png", "real_and_synthetic.png", "pairs.png")
SMOKE_NOTICE = "A trial of the stages, on few images and for a few steps: the figures below say nothing."
HEADER = ("where", "what", "paper", "ours", "difference", "why")


@dataclasses.dataclass(frozen=True)
class Found:
    """A number of ours.

    Attributes:
      value: of the score.
      low: of its 95 % interval, NaN without one.
      high: likewise.
      images: N, 0 where it is not of images.
      of_real: the same of real images, or of a classifier trained on them; NaN where unknown.
      note: what else must be known to read it.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    images: int = 0
    of_real: float = math.nan
    note: str = ""

    def __str__(self) -> str:
        parts = [_number(self.value)]
        if math.isfinite(self.low):
            parts[0] += f" ({_number(self.low)} to {_number(self.high)})"
        if self.images:
            parts.append(f"N {self.images:,}")
        if math.isfinite(self.of_real) and self.of_real != self.value:
            parts.append(f"real {_number(self.of_real)}")
        return ", ".join([*parts, *filter(None, [self.note])])


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the page.

    Attributes:
      where: in the paper, such as "Table 1" or "section 3".
      what: is compared.
      paper: its figure or what it says.
      ours: likewise.
      why: they differ, or where ours is found, or why there is none.
    """

    where: str
    what: str
    paper: float | str
    ours: Found | str
    why: str = ""

    @property
    def cells(self) -> list[str]:
        """The row's text, column by column."""
        difference = ""
        if isinstance(self.paper, float) and isinstance(self.ours, Found) and math.isfinite(self.ours.value):
            difference = f"{self.ours.value - self.paper:+.3g}"
        paper = _number(self.paper) if isinstance(self.paper, float) else self.paper
        return [self.where, self.what, paper, str(self.ours), difference, self.why]


@dataclasses.dataclass(frozen=True)
class Results:
    """What the stages of a study have written, by the names of their folders."""

    folder: pathlib.Path

    def score(self, report: str, **fields: str) -> Found | str:
        """The one score of a report whose fields (cohort, protocol, metric, subject, split, label, ...) are these.

        Returns:
          the score, or a sentence where there is no such one.

        Raises:
          ValueError: several fit.
        """
        found = self.scores(report, **fields)
        if len({tuple(row.values()) for row in found}) > 1:
            raise ValueError(f"{len(found)} scores of {self.folder / report} have {fields}; name more fields")
        return _found(found[0]) if found else f"none in {report}/report.html"

    def scores(self, report: str, **fields: str) -> list[dict[str, str]]:
        """The rows of scores.csv that have these fields."""
        path = self.folder / report / SCORES_FILE
        if not path.is_file():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [row for row in rows if all(row[name] == value for name, value in fields.items())]

    def sentence(self, report: str, beginning: str) -> str:
        """The sentence of a report's verdict that begins so, or that there is none."""
        path = self.folder / report / REPORT_FILE
        said = json.loads(path.read_text(encoding="utf-8"))["verdict"] if path.is_file() else []
        return next((sentence for sentence in said if sentence.startswith(beginning)), f"none in {report}/report.html")

    def logged(self, run: str, step: int, name: str) -> Found | str:
        """A loss or score of a training, at the logged step that is nearest."""
        path = self.folder / run / "metrics.jsonl"
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
        lines = [line for line in lines if name in line]
        if not lines:
            return f"none in {run}/metrics.jsonl"
        nearest = min(lines, key=lambda line: abs(line["step"] - step))
        return Found(float(nearest[name]), note=f"step {nearest['step']}")

    def file(self, pattern: str) -> str:
        """Where a picture or table is, or a sentence where it is not."""
        found = sorted(self.folder.glob(pattern))
        return str(found[0].relative_to(self.folder)) if found else f"no file {pattern}"


@dataclasses.dataclass(frozen=True)
class Table:
    """The page's table, as text.

    Attributes:
      header: of the columns.
      cells: row by row.
    """

    header: Sequence[str]
    cells: Sequence[Sequence[str]]


def paper_table(rows: Sequence[Row]) -> Table:
    """The table of a study that has a paper: its figures and ours."""
    return Table(HEADER, [row.cells for row in rows])


def write_page(
    study: Study, about: str, stages: Sequence[Stage], table: Table, pictures: Mapping[str, bytes]
) -> pathlib.Path:
    """Writes page.md and page.html into the variant's folder; the first one's path is returned.

    Args:
      about: the docstring of the study's file.
      pictures: PNG bytes by the name of their file, beside those that the stages have written.
    """
    with tensorflow_started():  # metrics that the report knows import it
        from tfcxr.evaluation.report import html
    title = f"{study.name}, {study.variant}"
    notice = SMOKE_NOTICE if study.variant == SMOKE else ""
    times = [(stage.name, seconds_of(study, stage)) for stage in stages]
    measured = [[name, time_text(seconds / 60)] for name, seconds in times if seconds is not None]
    for name, drawn in pictures.items():
        write_atomically(study.folder / name, drawn)
    lines = [
        f"# {title}",
        "",
        *([f"**{notice}**", ""] if notice else []),
        about.strip(),
        "",
        *_markdown(table.header, table.cells),
        "",
        *_markdown(("stage", "time"), measured),
    ]
    shown = [study.folder.rglob(name) for name in (*PICTURES, *pictures)]

    def cell(text: str) -> str:
        is_file = re.fullmatch(r"[\w./@-]+\.\w+", text) and (study.folder / text).is_file()
        return f"<a href='{text}'>{text}</a>" if is_file else html.text(text)

    body = [
        f"<h1>{html.text(title)}</h1>",
        f"<div class=note><p>{html.text(notice)}</p></div>" if notice else "",
        *(
            re.sub(r"`([^`]+)`", r"<code>\1</code>", f"<p>{html.text(part)}</p>")
            for part in about.strip().split("\n\n")
        ),
        f"<div class=words>{html.table(table.header, [list(map(cell, row)) for row in table.cells])}</div>",
    ]
    for picture in sorted(itertools.chain.from_iterable(shown)):
        name = picture.relative_to(study.folder).as_posix()
        body += [f"<h3>{html.text(name)}</h3>", html.picture(picture.read_bytes(), name)]
    body.append(html.table(["stage", "time"], [list(map(html.text, row)) for row in measured]))
    path = study.folder / "page.md"
    write_atomically(path.with_suffix(".html"), html.frame(title, body))
    write_atomically(path, "\n".join(lines) + "\n")
    return path


def _found(row: dict[str, str]) -> Found:
    value, low, high, of_real = (float(row[name] or "nan") for name in ("value", "low", "high", "of_real"))
    return Found(value, low, high, int(row["images"] or 0), of_real)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines]


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "none"
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 1000 else f"{rounded:.3g}"
