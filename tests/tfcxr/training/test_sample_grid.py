import numpy as np

from tfcxr.training.sample_grid import CAPTION_HEIGHT, draw_grid


def test_rows_of_grey_and_colour_share_a_grid():
    grey = np.full((3, 32, 32, 1), 100, np.uint8)
    colour = np.full((2, 32, 32, 3), (200, 0, 0), np.uint8)
    grid = draw_grid([("grey", grey), ("red", colour)])
    assert grid.shape == (2 * (CAPTION_HEIGHT + 64), 3 * 64, 3)
    assert (grid[CAPTION_HEIGHT + 5, 5] == 100).all()
    assert grid[CAPTION_HEIGHT + 64 + CAPTION_HEIGHT + 5, 5].tolist() == [200, 0, 0]
    assert (grid[-5, -5] == 0).all(), "a shorter row is filled with black"
    assert grid[:CAPTION_HEIGHT].max() > 100, "the caption is written"
