"""The CSV tables that data sets publish: rows by column name, read one at a time, with every fault named.

Read are commas, semicolons (Excel in much of Europe) and tabs between fields, UTF-8 and UTF-16 with its mark; a header
may differ from the expected names in case and blanks. Another encoding is refused and not guessed: the same bytes are
different letters in Western and Central Europe.
"""

import codecs
import contextlib
import csv
import gzip
import pathlib
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO

from tfcxr.registry import nearest_name
from tfrecords_builder.datasets.label_text import folded

Columns = Sequence[str | tuple[str, ...]]  # a tuple lists spellings of one column, which is given under the first
_DELIMITERS = (",", ";", "\t")
_SEPARATOR_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # as Excel takes it for its own
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx and .xls
_UNSEEN = "\ufeff\u200b"  # zero width, and no white space to `str.strip`
_SAVE_AS = "save it as 'CSV UTF-8' in the spreadsheet program"


def read_table(path: pathlib.Path, columns: Columns, optional: Columns = ()) -> Iterator[dict[str, str]]:
    """Rows of a table with a header line; `.csv`, or `.csv.gz`.

    Args:
      columns: names that must be there.
      optional: likewise, but "" where the table lacks them.

    Yields:
      column -> text without blanks around it, for the columns that were asked for and all others; "#" is the line
      number in the file.

    Raises:
      FileNotFoundError: no such table.
      ValueError: a column is missing or occurs twice, a row has too few or too many fields, or it is no CSV table in
        UTF-8 or UTF-16.
    """
    wanted = [name for column in (*columns, *optional) for name in _spellings(column)]
    rows = read_csv(path, wanted)
    _, header = next(rows, (0, []))
    columns_of = _chosen_columns(path, header, columns, optional)
    positions = [(name, header.index(column)) for name, column in columns_of.items()]
    absent = [_spellings(column)[0] for column in optional if _spellings(column)[0] not in columns_of]
    for line, fields in rows:
        if len(fields) != len(header):
            fields = _fitted(path, line, fields, len(header))
        row = dict(zip(header, fields, strict=True))
        row.update((name, fields[position]) for name, position in positions)
        row.update(dict.fromkeys(absent, ""), **{"#": str(line)})
        yield row


def column_names(path: pathlib.Path, wanted: Sequence[str] = ()) -> list[str]:
    """The table's header; raises as `read_table` does.

    Args:
      wanted: names that it may hold, by which commas, semicolons and tabs are told apart.
    """
    return next(read_csv(path, wanted), (0, []))[1]


def find_column(header: Sequence[str], spellings: Sequence[str]) -> str | None:
    """The name in a header that is one of the spellings, or else the only one that differs in case and blanks alone."""
    exact = [name for name in spellings if name in header]
    if exact:
        return exact[0]
    plain = {folded(name) for name in spellings}
    alike = [name for name in header if folded(name) in plain]
    return alike[0] if len(alike) == 1 else None


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


def read_lines(path: pathlib.Path) -> Iterator[str]:
    """Lines of a list without blanks around them, empty ones left out; none where the file is not there.

    Raises:
      ValueError: no text in UTF-8 or UTF-16.
    """
    if path.is_file():
        with _text_errors(path), _open_text(path) as file:
            yield from filter(None, map(clean, file))


def read_csv(path: pathlib.Path, wanted: Sequence[str] = (), fields: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV file with or without a header; empty ones are left out but for the first.

    Args:
      wanted: names that its header may hold.
      fields: how many each row has, 0 where that is not known. Both tell commas, semicolons and tabs apart.

    Yields:
      the number of a row's last line, and its texts without blanks around them.

    Raises:
      FileNotFoundError: no such file.
      ValueError: no CSV table in UTF-8 or UTF-16.
    """
    if not path.is_file():
        raise FileNotFoundError(f"table {path} does not exist")
    with _text_errors(path), _open_text(path) as file:
        first, skipped = file.readline(), 0
        if says := _SEPARATOR_LINE.fullmatch(first):
            delimiter, skipped = says.group(1), 1
        else:
            file.seek(0)
            delimiter = max(_DELIMITERS, key=lambda mark: _fit(first, mark, wanted, fields))
        reader, line = csv.reader(file, delimiter=delimiter), skipped
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise ValueError(
                    f"{path} line {line + 1} cannot be read as CSV ({error}); is a quotation mark not closed?"
                ) from error
            if row is None:
                return
            is_first, line = line == skipped, reader.line_num + skipped
            row = list(map(clean, row))
            if is_first or any(row):
                yield line, row


def clean(text: str) -> str:
    """A text without blanks around it, those of no width and those that do not break among them."""
    text = text.strip()
    return text if text.isascii() else text.strip(_UNSEEN).strip()


def _fit(line: str, delimiter: str, wanted: Sequence[str], fields: int) -> tuple:
    """The larger, the likelier this mark stands between the fields of a first line."""
    try:
        found = [clean(text) for text in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        found = []
    plain = {folded(text) for text in found}
    return (sum(folded(name) in plain for name in wanted), len(found) == fields > 1, len(found))


def _open_text(path: pathlib.Path) -> IO[str]:
    """A table as text; its mark tells UTF-16 from UTF-8."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        start = file.read(512)
    if start.startswith(_WORKBOOKS):
        raise ValueError(f"{path} is a spreadsheet program's workbook, expected a CSV table; {_SAVE_AS}")
    # Without a zero byte, UTF-16 holds neither a comma nor the end of a line.
    is_wide = b"\0" in start and start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if b"\0" in start and not is_wide:
        raise ValueError(f"{path} holds zero bytes, as UTF-16 without its mark does, or no text at all; {_SAVE_AS}")
    return opener(path, "rt", newline="", encoding="utf-16" if is_wide else "utf-8-sig")


@contextlib.contextmanager
def _text_errors(path: pathlib.Path) -> Iterator[None]:
    """Makes what decoders raise one ValueError that says how to mend the file."""
    try:
        yield
    except UnicodeError as error:
        line = _line_of_wrong_byte(path)
        raise ValueError(
            f"{path} is not a CSV table in UTF-8{line}: {error}; {_SAVE_AS}, or if it comes from Excel in Western "
            f"Europe: iconv -f cp1252 -t utf-8 {path.name} > NEW"
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}; get it again") from error


def _line_of_wrong_byte(path: pathlib.Path) -> str:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return f" (line {number})"
    return ""


def _fitted(path: pathlib.Path, line_number: int, fields: list[str], expected: int) -> list[str]:
    """A row without the empty fields beyond the header; raises ValueError for one that is too short or too long."""
    if len(fields) > expected and not any(fields[expected:]):
        return fields[:expected]
    hint = (
        "is a field with a comma in it not in quotation marks?"
        if len(fields) > expected
        else "is it cut off, or a quotation mark not closed?"
    )
    raise ValueError(
        f"{path} line {line_number} has {len(fields)} fields, expected {expected} as in its header; {hint}"
    )


def _chosen_columns(path: pathlib.Path, header: list[str], columns: Columns, optional: Columns) -> dict[str, str]:
    """Name that a column is given under -> its name in the header."""
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    if twice:
        raise ValueError(f"{path} has the column {', '.join(map(repr, twice))} more than once; make each name unique")
    chosen, missing = {}, []
    for column in (*columns, *optional):
        found = find_column(header, _spellings(column))
        if found:
            chosen[_spellings(column)[0]] = found
        elif column in columns:
            missing.append(_spellings(column)[0])
    if missing:
        raise ValueError(
            f"{path} lacks the column {', '.join(map(repr, missing))}; {nearest_name(missing[0], header)}"
            if header
            else f"{path} is empty, expected a header with {', '.join(map(repr, missing))}"
        )
    return chosen


def _spellings(column: str | tuple[str, ...]) -> tuple[str, ...]:
    return (column,) if isinstance(column, str) else column
