"""The contact sheet: every picture is on it, under its row's name, and no text can break it."""

import cv2
import numpy as np
import pytest

from tfrecords_builder.inspect.contact_sheet import PICTURES_ACROSS, TILE, draw_contact_sheet


def decode(png):
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def grey_tiles(sheet, value):
    """How many whole tiles of one grey value a sheet holds."""
    count, _, boxes, _ = cv2.connectedComponentsWithStats(np.all(sheet == value, axis=2).astype(np.uint8))
    return sum(tuple(box[2:]) == (TILE, TILE, TILE * TILE) for box in boxes[1:count])


@pytest.mark.parametrize("size", [4, 64, 128, 300])
def test_every_picture_is_shown_at_any_size(size):
    picture = (np.full((size, size), 90, np.uint8), "train · PA")
    dark = (np.full((size, size), 30, np.uint8), "test")
    sheet = decode(draw_contact_sheet({"one": [picture] * (PICTURES_ACROSS + 1), "two": [dark]}, "title"))
    assert grey_tiles(sheet, 90) == PICTURES_ACROSS + 1 and grey_tiles(sheet, 30) == 1


def test_small_pictures_keep_their_pixels():
    image = np.array([[0, 200], [100, 50]], np.uint8)
    sheet = decode(draw_contact_sheet({"one": [(image, "")]}, "title"))
    assert grey_tiles(sheet, 0) == 0
    for value in (200, 100, 50):
        assert (np.all(sheet == value, axis=2)).sum() >= (TILE // 2) ** 2


def test_a_warning_is_red_and_stands_over_the_pictures():
    rows = {"one": [(np.full((8, 8), 90, np.uint8), "")]}
    plain, warned = (
        decode(draw_contact_sheet(rows, "title", lines)) for lines in ([], ["PHANTOM, NOT PATIENTS " * 20])
    )
    red = (warned[..., 2].astype(int) - warned[..., 0] > 80).nonzero()[0]
    assert not (plain[..., 2].astype(int) - plain[..., 0] > 80).any()
    assert len(red) and red.max() < np.all(warned == 90, axis=2).nonzero()[0].min()
    assert warned.shape[0] > plain.shape[0]


@pytest.mark.filterwarnings("ignore:Glyph")
def test_names_from_files_cannot_break_the_sheet():
    image = np.zeros((8, 8), np.uint8)
    names = ["$\\frac{$", "a\nb\x00\x1b[31m", "x" * 1000, "", "<b>", "肺炎"]
    sheet = decode(draw_contact_sheet({name: [(image, name)] for name in names}, "$\\bad{", ["$x_{"]))
    assert grey_tiles(sheet, 0) == len(names)


def test_no_pictures_and_the_same_bytes_each_time():
    assert decode(draw_contact_sheet({}, "title")).shape[1] > 0
    rows = {"one": [(np.arange(64, dtype=np.uint8).reshape(8, 8), "a")]}
    assert draw_contact_sheet(rows, "title") == draw_contact_sheet(rows, "title")
