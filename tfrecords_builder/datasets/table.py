"""The CSV tables that data sets publish: rows by column name, read one at a time, with every fault named."""

import csv
import gzip
import pathlib
from collections import Counter
from collections.abc import Iterator, Sequence

from tfcxr.command_line import nearest_name


def read_table(
    path: pathlib.Path, columns: Sequence[str | tuple[str, ...]], optional: Sequence[str | tuple[str, ...]] = ()
) -> Iterator[dict[str, str]]:
    """Rows of a table with a header line; `.csv`, or `.csv.gz`.

    Args:
      columns: names that must be there; a tuple lists spellings of one column, which is given under the first.
      optional: likewise, but "" where the table lacks them.

    Yields:
      column -> text without spaces around it, for the columns that were asked for and all others; "#" is the line
      number in the file.

    Raises:
      FileNotFoundError: no such table.
      ValueError: a column is missing or occurs twice, a row is too short, or it is no table in UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(f"table {path} does not exist")
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            header = [name.strip() for name in next(lines, [])]
            renamed = _chosen_columns(path, header, columns, optional)
            absent = [_spellings(column)[0] for column in optional if not set(_spellings(column)) & set(header)]
            for fields in lines:
                if not any(field.strip() for field in fields):
                    continue
                if len(fields) < len(header):
                    raise ValueError(f"{path} line {lines.line_num} has {len(fields)} fields, expected {len(header)}")
                row = {renamed.get(name, name): text.strip() for name, text in zip(header, fields, strict=False)}
                row.update(dict.fromkeys(absent, ""), **{"#": str(lines.line_num)})
                yield row
    except (UnicodeDecodeError, csv.Error, gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"{path} is not a CSV table in UTF-8: {error}") from error


def column_names(path: pathlib.Path) -> list[str]:
    """The table's header; raises as `read_table` does."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", newline="", encoding="utf-8-sig") as file:
            return [name.strip() for name in next(csv.reader(file), [])]
    except (UnicodeDecodeError, csv.Error, gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"{path} is not a CSV table in UTF-8: {error}") from error


def find_table(raw_dir: pathlib.Path, names: Sequence[str]) -> pathlib.Path:
    """The one of several file names that a folder holds.

    Raises:
      FileNotFoundError: it holds none. ValueError: it holds more than one.
    """
    found = [raw_dir / name for name in names if (raw_dir / name).is_file()]
    if not found:
        raise FileNotFoundError(f"{raw_dir} holds no {' nor '.join(names)}")
    if len(found) > 1:
        raise ValueError(f"{raw_dir} holds {' and '.join(path.name for path in found)}; leave the one that you want")
    return found[0]


def _chosen_columns(path: pathlib.Path, header: list[str], columns: Sequence, optional: Sequence) -> dict[str, str]:
    """Header name -> name it is given under."""
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    if twice:
        raise ValueError(f"{path} has the column {', '.join(map(repr, twice))} more than once; make each name unique")
    renamed, missing = {}, []
    for column in (*columns, *optional):
        found = [name for name in _spellings(column) if name in header]
        if found:
            renamed[found[0]] = _spellings(column)[0]
        elif column in columns:
            missing.append(_spellings(column)[0])
    if missing:
        raise ValueError(
            f"{path} lacks the column {', '.join(map(repr, missing))}; {nearest_name(missing[0], header)}"
            if header
            else f"{path} is empty, expected a header with {', '.join(map(repr, missing))}"
        )
    return renamed


def _spellings(column: str | tuple[str, ...]) -> tuple[str, ...]:
    return (column,) if isinstance(column, str) else column
