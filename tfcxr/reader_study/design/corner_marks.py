"""Finds letters that were burned into the corners of a radiograph, such as the side marker "L".

Generators draw them badly or not at all, so a reader may go by them instead of by anatomy.
"""

import cv2
import numpy as np

CORNER_SHARE = 0.25  # of the width; markers stand within it
STROKE_SHARE = 0.06  # strokes are thinner than this
MIN_CONTRAST, MIN_GREY = 70, 150  # of 255
MIN_AREA_SHARE, MAX_AREA_SHARE = 0.0002, 0.015  # of the picture: a letter, not noise or a shoulder


def has_corner_mark(pixels: np.ndarray) -> bool:
    """Whether a corner holds a small bright shape on darker ground.

    What is thinner than a stroke stands out after a white top-hat; of that, connected shapes of the size of a letter
    count. A sharp bright edge of bone can be taken for one, so compare shares of both cohorts, not single pictures.

    Args:
      pixels: uint8 [size, size].
    """
    size = pixels.shape[0]
    stroke = max(3, round(STROKE_SHARE * size) | 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (stroke, stroke))
    bright = (cv2.morphologyEx(pixels, cv2.MORPH_TOPHAT, kernel) >= MIN_CONTRAST) & (pixels >= MIN_GREY)
    corner = round(CORNER_SHARE * size)
    rows = np.minimum(np.arange(size), np.arange(size)[::-1]) < corner
    count, _, boxes, centers = cv2.connectedComponentsWithStats(bright.astype(np.uint8), connectivity=8)
    for shape in range(1, count):
        area = boxes[shape, cv2.CC_STAT_AREA] / size**2
        column, row = centers[shape].astype(int)
        if MIN_AREA_SHARE <= area <= MAX_AREA_SHARE and rows[row] and rows[column]:
            return True
    return False
