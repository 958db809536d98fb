"""Compares reports of tfcxr.evaluate, score by score, and refuses scores that do not measure the same thing.

    python -m tfcxr.compare runs/eval_acgan runs/eval_cgan

    python -m tfcxr.compare before=runs/one/report.json after=runs/two/report.json --csv=comparison.csv

All are compared with the first. Where both kept predictions for the same test patients, the difference is tested by a
paired bootstrap. Scores whose passports differ (extractor, real images, number of images, settings) are not compared:
the field in which they differ is named, and the exit status is 1.
"""

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfcxr import command_line
from tfcxr.command_line import Arguments, flag
from tfcxr.startup import tensorflow_started

if TYPE_CHECKING:
    from tfcxr.evaluation.report.comparison import Line


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareArguments(Arguments):
    """Arguments of `compare`.

    Attributes:
      reports: report.json files or their folders, two or more, each as PATH or NAME=PATH; one is enough where it holds
        several cohorts.
      csv: file for the table; printed alone where left out.
      headlines: only the scores that stand at the head of the pages.
    """

    reports: tuple[str, ...] = flag((), is_positional=True)
    csv: str | None = None
    headlines: bool = False


def compare(arguments: CompareArguments) -> list[dict[str, Any]]:
    """Prints every score that the first report shares with another.

    Returns:
      one row per score and other report.

    Raises:
      FileNotFoundError: no such report.
      ValueError: a file that is no report of this version, reports without a common score, or, once all is printed,
        scores that do not compare.
    """
    with tensorflow_started():
        from tfcxr.data.atomic import write_atomically
        from tfcxr.evaluation.report.comparison import line_up, read_columns
    first, *others = read_columns(arguments.reports)
    rows, refusals = [], []
    for other in others:
        lines = line_up(first, other)
        if arguments.headlines:
            lines = [line for line in lines if line.first["is_headline"]]
        if not lines:
            raise ValueError(f"{first.name} and {other.name} share no score: they answer other questions")
        print(f"{other.name} against {first.name}")
        print(*_table(lines, first.name, other.name), "", sep="\n")
        rows += [_row(line, first.name, other.name) for line in lines]
        refusals += [f"{_title(line)} of {other.name}: {line.refusal}" for line in lines if line.refusal]
    if arguments.csv:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(arguments.csv, text.getvalue())
    if refusals:
        raise ValueError(f"{len(refusals)} of {len(rows)} scores do not compare; the first is {refusals[0]}")
    return rows


def _title(line: "Line") -> str:
    protocol, metric, *rest = line.name
    return " ".join([protocol, metric, *(text for text in rest if text)])


def _row(line: "Line", first: str, second: str) -> dict[str, Any]:
    low_high = line.difference or (None, None, None)
    return {
        "score": _title(line),
        "first": first,
        "second": second,
        "first_value": line.first["value"],
        "second_value": line.second["value"],
        "difference": low_high[0],
        "low": low_high[1],
        "high": low_high[2],
        "p": None if math.isnan(line.p) else line.p,
        "refusal": line.refusal,
    }


def _table(lines: Sequence["Line"], first: str, second: str) -> list[str]:
    """Lines of text in columns."""
    cells = [["score", first, second, "difference"]]
    for line in lines:
        said = f"not comparable: {line.refusal}" if line.refusal else ""
        if line.difference:
            mean, low, high = line.difference
            said = f"{mean:+.3f} ({low:+.3f} to {high:+.3f}), p = {line.p:.3f}"
        cells.append([_title(line), _value(line.first), _value(line.second), said])
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in cells
    ]


def _value(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return "unknown"
    interval = "" if row["low"] is None else f" ({row['low']:.3g} to {row['high']:.3g})"
    return f"{row['value']:.3g}{interval}"


if __name__ == "__main__":
    command_line.run(compare)
