"""A contact sheet: a captioned grid of pictures, one row per label, as a PNG."""

import io
import math
import unicodedata
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DOTS_PER_INCH = 100
TILE = 128  # pixels along each side of a picture, whatever its size in the data
GAP = 8
CAPTION_HEIGHT = 18
ROW_NAME_WIDTH = 190
TITLE_LINE_HEIGHT = 24
PICTURES_ACROSS = 8  # a longer row continues in the next line
NAME_LETTERS, CAPTION_LETTERS = 25, 29
LEAST_WIDTH = 760
INK, QUIET, ALARM = "#1c2733", "#57636f", "#b3261e"


def draw_contact_sheet(
    rows: Mapping[str, Sequence[tuple[np.ndarray, str]]], title: str, warnings: Sequence[str] = ()
) -> bytes:
    """Draws the pictures of each row with a caption under each; PNG bytes.

    Args:
      rows: name -> pictures, each uint8 [height, width] with its caption.
      title: what the sheet shows.
      warnings: sentences in red under it.
    """
    across = max([1, *(min(PICTURES_ACROSS, len(pictures)) for pictures in rows.values())])
    lines = {name: max(1, math.ceil(len(pictures) / across)) for name, pictures in rows.items()}
    width = max(LEAST_WIDTH, ROW_NAME_WIDTH + across * (TILE + GAP) + GAP)
    wrapped = [line for warning in warnings for line in _wrap(warning, width // 8)]
    top = GAP + TITLE_LINE_HEIGHT * (1 + len(wrapped)) + GAP
    step = TILE + CAPTION_HEIGHT + GAP
    height = top + step * max(1, sum(lines.values()))
    canvas = np.full((height, width), 255, np.uint8)
    texts = [(GAP, GAP + 4, title, 12, INK, "left", "top")]
    for number, line in enumerate(wrapped, 1):
        texts.append((GAP, GAP + 4 + TITLE_LINE_HEIGHT * number, line, 10, ALARM, "left", "top"))
    if not rows:
        texts.append((GAP, top, "no images", 10, QUIET, "left", "top"))
    row_top = top
    for name, pictures in rows.items():
        name_shown = _shorten(name, NAME_LETTERS)
        texts.append((ROW_NAME_WIDTH - GAP, row_top + TILE / 2, name_shown, 10, INK, "right", "center"))
        for index, (image, caption) in enumerate(pictures):
            left = ROW_NAME_WIDTH + index % across * (TILE + GAP)
            upper = row_top + index // across * step
            canvas[upper : upper + TILE, left : left + TILE] = _fit(image)
            below = _shorten(caption, CAPTION_LETTERS)
            texts.append((left + TILE / 2, upper + TILE + 3, below, 7.5, QUIET, "center", "top"))
        row_top += step * lines[name]
    return _png(canvas, texts)


def _fit(image: np.ndarray) -> np.ndarray:
    """uint8 [height, width] -> uint8 [TILE, TILE]; small pictures keep their square pixels, so that they are seen."""
    is_larger = max(image.shape) > TILE
    return cv2.resize(image, (TILE, TILE), interpolation=cv2.INTER_AREA if is_larger else cv2.INTER_NEAREST)


def _shorten(text: str, letters: int) -> str:
    printable = "".join(letter if unicodedata.category(letter)[0] != "C" else " " for letter in text)
    return printable if len(printable) <= letters else printable[: letters - 1] + "…"


def _wrap(text: str, letters: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > letters:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [line[:letters] for line in lines]


def _png(canvas: np.ndarray, texts: Sequence[tuple[float, float, str, float, str, str, str]]) -> bytes:
    height, width = canvas.shape
    figure = Figure(figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    figure.figimage(np.dstack([canvas] * 3))  # as colours, for a colour map would change some values by one
    for left, upper, text, size, colour, horizontal, vertical in texts:
        style = {"fontsize": size, "color": colour, "ha": horizontal, "va": vertical}
        figure.text(left / width, 1 - upper / height, text, parse_math=False, **style)  # a label may hold a $
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()
