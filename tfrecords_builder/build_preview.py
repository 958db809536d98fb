"""A picture of what preprocessing does: one row per image, one panel per step, as PNG.

The panels of a row, from left to right: the file as read, the image after each step that is on (histogram, CLAHE), made
square, and the pictures that a record would hold, one per size; CLAHE after the resize has one more per size. Pixels
are enlarged by whole factors without smoothing, so that they can be judged; what is larger than its panel is shrunk,
and the caption says so. The strip under a panel is the histogram of its grey levels, black on the left. Rows are
numbered; no name is drawn.
"""

import io
import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
from absl import logging
from PIL import Image, ImageDraw, ImageFont

from tfcxr.data.atomic import write_atomically
from tfrecords_builder.datasets.reader import RawExample, Reader
from tfrecords_builder.images.preprocess import adjust_greys, to_bits, to_square, to_squares, to_stored
from tfrecords_builder.images.radiograph import ImageError, Radiograph
from tfrecords_builder.label_balance import shuffle_key
from tfrecords_builder.options import BuildOptions
from tfrecords_builder.plan import plan_build

PREVIEW_FILE = "preview.png"
MAX_WIDTH = 2000  # pixels, as long as the panels keep `_SMALLEST_PANEL`
_LARGEST_PANEL, _SMALLEST_PANEL = 320, 96
_GAP = 8
_NUMBER_WIDTH = 36
_CAPTION_HEIGHT = 44
_NOTE_HEIGHT = 20
_STRIP_HEIGHT = 40
_FOOTER_HEIGHT = 28
_STRIP_BINS = 64
_BACKGROUND, _FRAME, _TEXT, _FAINT_TEXT, _BARS = 38, 96, 240, 175, 190

Panel = tuple[str, str, np.ndarray]  # caption, its second line, uint8 picture


def preview_build(reader: Reader, options: BuildOptions, images: int, out_dir: pathlib.Path) -> pathlib.Path:
    """Draws `images` random ones of the data set before and after each step; returns the picture's path.

    Raises:
      ValueError: fewer than 1 image asked for, none that can be read, or what `plan_build` raises.
    """
    if images < 1:
        raise ValueError(f"--preview expects 1 image or more, got {images}")
    examples = [example for job in plan_build(reader, options).jobs for example in job.examples]
    examples.sort(key=lambda example: shuffle_key(options.seed, example.key))
    path = out_dir / PREVIEW_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_preview(itertools.islice(_usable(reader, examples), images), options, path)
    return path


def _usable(reader: Reader, examples: Iterable[RawExample]) -> Iterator[Radiograph]:
    for example in examples:
        try:
            yield reader.read_image(example)
        except ImageError as error:
            logging.warning("%s cannot be used: %s", example.key, error)


def write_preview(radiographs: Iterable[Radiograph], options: BuildOptions, path: str | os.PathLike) -> None:
    """Writes the picture, a row per radiograph, under its final name when it is whole.

    Raises:
      ValueError: there is no radiograph.
    """
    of_clahe = {"none": 0, "before_resize": 1, "after_resize": len(options.image_sizes)}[options.clahe]
    side = _panel_side(2 + (options.histogram != "none") + of_clahe + len(options.image_sizes))
    rows, captions = [], []
    for radiograph in radiographs:
        panels = _panels(radiograph, options, side)
        captions = [panel[:2] for panel in panels]
        height, width = radiograph.pixels.shape
        note = f"{width} x {height}, white {radiograph.white}"
        rows.append(_draw_row(len(rows) + 1, note, [panel[2] for panel in panels], side))
    if not rows:
        raise ValueError("a preview expects at least one radiograph, got none; is every image rejected?")
    blank = Image.fromarray(np.full((_CAPTION_HEIGHT, rows[0].shape[1]), _BACKGROUND, np.uint8))
    header, footer = ImageDraw.Draw(blank), Image.new("L", (blank.width, _FOOTER_HEIGHT), _BACKGROUND)
    for column, (caption, detail) in enumerate(captions):
        left = _left(column, side)
        header.text((left, 4), caption, _TEXT, _font(15, caption, side))
        header.text((left, 24), detail, _FAINT_TEXT, _font(13, detail, side))
    legend = (
        f"Strips: grey levels, black to white; heights are square roots of counts. Records hold {options.bits} bits."
    )
    ImageDraw.Draw(footer).text((_NUMBER_WIDTH, 4), legend, _FAINT_TEXT, _font(13, legend, blank.width - _NUMBER_WIDTH))
    picture = Image.fromarray(np.concatenate([np.asarray(blank), *rows, np.asarray(footer)]))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())


def _panels(radiograph: Radiograph, options: BuildOptions, side: int) -> list[Panel]:
    """The panels of one row, in their own sizes; `side` is what they will be drawn at."""
    panels = [("as read", "0 to white", to_bits(radiograph, 8))]
    if options.histogram != "none":
        percentiles = f"{options.stretch_black_percentile:g} to {options.stretch_white_percentile:g} %"
        detail = percentiles if options.histogram == "stretch" else "whole image"
        panels.append((options.histogram, detail, _to_8_bits(to_bits(radiograph, options.bits, options))))
    adjusted = adjust_greys(radiograph, options, options.bits)
    limits = f"limit {options.clahe_clip_limit:g}, {options.clahe_tiles} x {options.clahe_tiles}"
    if options.clahe == "before_resize":
        panels.append(("CLAHE", limits, _to_8_bits(adjusted)))
    square = to_square(adjusted, min(side, max(adjusted.shape)), options.square, options.resize)
    panels.append(("square", options.square, _to_8_bits(square)))
    stored = to_stored(adjusted, options.image_sizes, options)
    for size, picture in to_squares(adjusted, options.image_sizes, options.square, options.resize).items():
        detail = options.resize if size <= side else f"{options.resize}, shown at {side}"
        panels.append((f"{size} px", detail, _to_8_bits(picture)))
        if options.clahe == "after_resize":
            panels.append((f"{size} px, CLAHE", limits, _to_8_bits(stored[size])))
    return panels


def _panel_side(columns: int) -> int:
    """As large as the width allows, in steps of 64 px where it can be: powers of two then fill their panels."""
    side = (MAX_WIDTH - _NUMBER_WIDTH) // columns - _GAP
    return max(min(side // 64 * 64 if side >= 128 else side, _LARGEST_PANEL), _SMALLEST_PANEL)


def _to_8_bits(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.uint8 else np.rint(image / 257.0).astype(np.uint8)


def _fit(image: np.ndarray, side: int) -> np.ndarray:
    """Shrinks to the panel, or enlarges by a whole factor; the aspect ratio stays."""
    height, width = image.shape
    if max(height, width) <= side:
        factor = side // max(height, width)
        return image.repeat(factor, axis=0).repeat(factor, axis=1)
    scale = side / max(height, width)
    shrunk = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)


def _draw_row(number: int, note: str, pictures: Sequence[np.ndarray], side: int) -> np.ndarray:
    """uint8 [height, width] of one row: its number, the panels, a note under the first, and the histograms."""
    width = _left(len(pictures), side)
    canvas = np.full((side + 2 + _NOTE_HEIGHT + _STRIP_HEIGHT + 2 * _GAP, width), _BACKGROUND, np.uint8)
    for column, whole_picture in enumerate(pictures):
        picture = _fit(whole_picture, side)
        height, width = picture.shape
        left = _left(column, side) + (side - width) // 2
        top = 1 + (side - height) // 2
        canvas[top - 1 : top + height + 1, left - 1 : left + width + 1] = _FRAME
        canvas[top : top + height, left : left + width] = picture
        strip_top = side + 2 + _NOTE_HEIGHT
        canvas[strip_top : strip_top + _STRIP_HEIGHT, _left(column, side) :][:, :side] = _histogram(whole_picture, side)
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    draw.text((6, side // 2 - 10), str(number), _TEXT, _font(18, str(number), _NUMBER_WIDTH - 10))
    draw.text((_left(0, side), side + 3), note, _FAINT_TEXT, _font(13, note, side))
    return np.asarray(image)


def _histogram(picture: np.ndarray, width: int) -> np.ndarray:
    """uint8 [_STRIP_HEIGHT, width]: bars of the grey levels.

    The highest between black and white is as high as the strip; black borders and burnt-out areas would flatten it.
    """
    counts = cv2.calcHist([picture], [0], None, [_STRIP_BINS], [0, 256]).ravel()
    highest = counts[1:-1].max() or counts.max()
    heights = np.ceil(np.sqrt(np.minimum(counts / highest, 1)) * _STRIP_HEIGHT).astype(int)
    heights = heights[np.arange(width) * _STRIP_BINS // width]
    is_bar = np.arange(_STRIP_HEIGHT, 0, -1)[:, None] <= heights
    return np.where(is_bar, _BARS, 20).astype(np.uint8)


def _left(column: int, side: int) -> int:
    return _NUMBER_WIDTH + column * (side + _GAP)


def _font(size: int, text: str, width: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font, smaller where the text would not fit."""
    font = ImageFont.load_default(size)
    while font.getlength(text) > width and size > 8:
        size -= 1
        font = ImageFont.load_default(size)
    return font
