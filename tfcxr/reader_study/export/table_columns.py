"""The columns of answers.csv (raw rows, one per event) and readings.csv (what is analysed), each with its meaning."""

from collections.abc import Callable
from typing import Any

from tfcxr.reader_study.answers import Answer
from tfcxr.reader_study.design_file import Design, Item
from tfcxr.reader_study.export.csv_tables import SEPARATOR, Column
from tfcxr.reader_study.readings import Reading

NO_ITEM = Item("single", ())  # of a row such as consent
BOOLEAN, KINDS, EMPTY = "true or false", "grid, pair, single", "; empty where not asked or not answered"
SECONDS, ABOVE_0 = "0 or more; empty where unknown", "above 0; empty for no limit"
RATINGS = "-5 (surely real) to 5 (surely synthetic), without 0; empty where confidence was not asked"
SHARE = "share of the image's width or height"
Facts = tuple[str, str, str, str, str]  # name, type, meaning, unit, allowed values
READING_FACTS: tuple[Facts, ...] = (
    ("reader", "text", "Key of the reader.", "", ""),
    ("group", "text", "Group of the reader; empty for none.", "", ""),
    ("item", "text", "Key of the item.", "", ""),
    ("kind", "text", "Kind of the item.", "", KINDS),
    ("case", "text", "Key of the image that was judged; of a pair the synthetic one.", "", ""),
    ("block", "text", "The finding of the item's block; empty for none.", "", ""),
    ("labels", "text", f'Findings of the case by its cohort, separated by "{SEPARATOR}".', "", ""),
    ("is_synthetic", "boolean", "Whether the case is synthetic, by the key; true for pairs.", "", BOOLEAN),
    ("said_synthetic", "boolean", "Whether the reader called the case synthetic.", "", BOOLEAN),
    ("is_correct", "boolean", "Whether the reader was right.", "", BOOLEAN),
    ("rating", "integer", "Confidence that the case is synthetic.", "", RATINGS),
    ("seconds", "number", "From showing the item to its final answer.", "seconds", SECONDS),
    ("position", "integer", "Place of the item among those that the reader finished and that count.", "", "from 0"),
    ("repeat_of", "text", "The item that this one shows again; empty for none.", "", ""),
    ("exposure_seconds", "number", "How long the images were visible.", "seconds", ABOVE_0),
    ("comment", "text", "Free text of the reader.", "", ""),
    ("diagnoses", "text", f'Findings that the reader named, separated by "{SEPARATOR}".', "", ""),
    ("marks", "JSON", "Regions that the reader marked: a list of [left, top, width, height].", SHARE, "0 to 1"),
)


def answer_columns(design: Design) -> list[Column[Answer]]:
    """Of the raw rows; with a column per image of the largest grid."""
    widest = max((len(item.images) for item in design.items.values() if item.kind != "pair"), default=0)
    groups = ", ".join(sorted({reader.group for reader in design.readers.values()} - {""}))
    return [
        Column("request", "text", "Name of the request, given by the browser; unique.", _field("request")),
        Column("reader", "text", "Key of the reader.", _field("reader"), "", ", ".join(design.readers)),
        Column("group", "text", "Group of the reader.", lambda row: design.readers[row.reader].group, "", groups),
        Column("item", "text", "Key of the item; empty for an event of none, such as consent.", _field("item")),
        Column("kind", "text", "Kind of the item.", _of_item(design, "kind"), "", KINDS),
        Column(
            "is_training",
            "boolean",
            "Whether the item is a training example, which does not count.",
            _of_item(design, "is_training"),
            "",
            BOOLEAN,
        ),
        Column("repeat_of", "text", "The item that this one shows again.", _of_item(design, "repeat_of")),
        Column("block", "text", "The finding of the item's block.", _of_item(design, "block")),
        Column(
            "event",
            "text",
            "What happened: change and final carry an answer, and final is the one that counts.",
            _field("event"),
            "",
            "consent, shown, viewed, paused, change, final",
        ),
        Column(
            "elapsed_seconds",
            "number",
            "Since the item was shown, by the browser's monotonic clock, without pauses.",
            _field("elapsed_seconds"),
            "seconds",
            SECONDS,
        ),
        Column("browser_time", "text", "The browser's wall clock, which may jump.", _field("browser_time"), "ISO 8601"),
        Column("server_time", "text", "When the row was stored.", _field("server_time"), "ISO 8601, UTC"),
        Column("tab", "text", "Random name of the browser tab.", _field("tab")),
        *_given_columns(design, widest),
        Column("viewport_width", "number", "Width of the browser's window.", _viewport("width"), "CSS pixels"),
        Column("viewport_height", "number", "Height of the browser's window.", _viewport("height"), "CSS pixels"),
        Column("pixel_ratio", "number", "Screen pixels per CSS pixel.", _viewport("pixel_ratio")),
        Column("zoom", "number", "Magnification of the image.", _viewport("zoom")),
        Column(
            "exposure_seconds",
            "number",
            "How long the images were visible.",
            _viewport("exposure_seconds"),
            "seconds",
            ABOVE_0,
        ),
        Column(
            "simulated",
            "boolean",
            "Whether a simulated reader answered.",
            lambda row: row.viewport.get("simulated") is True,
            "",
            BOOLEAN,
        ),
        Column("answer_json", "JSON", "The answer as it is stored.", lambda row: dict(row.answer)),
        Column("viewport_json", "JSON", "The viewport as it is stored.", lambda row: dict(row.viewport)),
    ]


def reading_columns() -> list[Column[Reading]]:
    """Of the readings, one row per image or pair that a reader judged."""
    return [
        Column(name, kind, meaning, _field(name), unit, allowed) for name, kind, meaning, unit, allowed in READING_FACTS
    ]


def _given_columns(design: Design, widest: int) -> list[Column[Answer]]:
    """Of the answer itself."""
    images = [
        Column(
            f"synthetic_{place + 1}",
            "boolean",
            f"Whether image {place + 1} of a grid{' or the single image' if place == 0 else ''} was called synthetic.",
            _synthetic(place),
            "",
            BOOLEAN + EMPTY,
        )
        for place in range(widest)
    ]
    named = f'Findings that the reader named, separated by "{SEPARATOR}".'
    marks = "Regions that the reader marked: a list of x, y (upper left corner), width and height."
    return [
        *images,
        Column("real", "integer", "Which image of a pair was called real.", _given("real"), "", "0 or 1" + EMPTY),
        Column(
            "confidence",
            "integer",
            "How sure the reader is of a single image.",
            _given("confidence"),
            "",
            "1 (unsure) to 5 (sure)" + EMPTY,
        ),
        Column("diagnoses", "text", named, _given("diagnoses"), "", ", ".join(design.diagnoses)),
        Column("marks", "JSON", marks, _given("marks"), SHARE, "0 to 1" + EMPTY),
        Column("comment", "text", "Free text of the reader.", _given("comment")),
    ]


def _field(name: str) -> Callable[[Any], Any]:
    return lambda row: getattr(row, name)


def _of_item(design: Design, name: str) -> Callable[[Answer], Any]:
    return lambda row: getattr(design.items.get(row.item, NO_ITEM), name) if row.item else None


def _viewport(name: str) -> Callable[[Answer], Any]:
    return lambda row: row.viewport.get(name)


def _given(name: str) -> Callable[[Answer], Any]:
    return lambda row: row.answer.get(name) if row.event in ("change", "final") else None


def _synthetic(place: int) -> Callable[[Answer], Any]:
    def value(row: Answer) -> Any:
        found = _given("synthetic")(row)
        found = found if isinstance(found, list) else [found]
        return found[place] if place < len(found) else None

    return value
