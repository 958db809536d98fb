"""Tables as CSV, and the dictionary that says what each column means.

Each column is declared once with its meaning and the way to its value, so no column can be without an entry.

Text may come from people, and a spreadsheet runs a cell that begins with = + - or @ as a formula. Such a cell gets an
apostrophe in front, which spreadsheets take as the sign of text. So does a cell that begins with an apostrophe, a tab
or a carriage return: whoever removes one leading apostrophe from each text cell has the text as it was given.
"""

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

Row = TypeVar("Row")
SEPARATOR = "; "
FORMULA_STARTS = ("=", "+", "-", "@")
OTHER_STARTS = ("'", "\t", "\r")


@dataclasses.dataclass(frozen=True)
class Column(Generic[Row]):
    """One column of a table.

    Attributes:
      name: heading.
      type: "text", "number", "integer", "boolean" or "JSON".
      meaning: one sentence.
      value: of a row; None is an empty cell, several texts are joined by "; ".
      unit: such as "seconds"; "" for none.
      allowed: values; "" for any.
    """

    name: str
    type: str
    meaning: str
    value: Callable[[Row], Any]
    unit: str = ""
    allowed: str = ""


def harmless(text: str) -> str:
    """A cell's text with an apostrophe in front where a spreadsheet would take it for a formula, see above."""
    is_formula = text.lstrip().startswith(FORMULA_STARTS)
    return f"'{text}" if is_formula or text.startswith(OTHER_STARTS) else text


def table(columns: Sequence[Column[Row]], rows: Iterable[Row]) -> str:
    """Rows as CSV: UTF-8, commas, a heading, quotes where needed, "\\n" after each row."""
    return _csv([column.name for column in columns], ([_cell(column, row) for column in columns] for row in rows))


def data_dictionary(tables: dict[str, Sequence[Column[Any]]]) -> str:
    """File name -> its columns, as CSV with one row per column of each file."""
    rows = [
        [name, column.name, column.type, column.unit, column.meaning, column.allowed]
        for name, columns in tables.items()
        for column in columns
    ]
    return _csv(["file", "column", "type", "unit", "meaning", "allowed_values"], rows)


def _cell(column: Column[Row], row: Row) -> str:
    value = column.value(row)
    if value is None:
        return ""
    if column.type == "JSON":
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        value = SEPARATOR.join(value)
    return harmless(value) if isinstance(value, str) else str(value)


def _csv(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heading)
    writer.writerows(rows)
    return text.getvalue()
