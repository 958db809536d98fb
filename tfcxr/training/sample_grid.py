"""A grid of pictures with a caption over each row, as people like to look at them."""

import cv2
import numpy as np

CAPTION_HEIGHT = 18  # pixels
MINIMUM_TILE = 64  # pixels; smaller images are enlarged to about this


def draw_grid(rows: list[tuple[str, np.ndarray]], scale: int = 0) -> np.ndarray:
    """Draws one captioned row of pictures for each entry.

    Args:
      rows: caption and uint8 images [images, height, width, channels], channels 1 or 3; rows may differ in length.
      scale: enlargement by whole pixels; 0 enlarges small images to about 64 pixels.

    Returns:
      uint8 [height, width, 3], red, green, blue.
    """
    scale = scale or max(1, MINIMUM_TILE // rows[0][1].shape[1])
    strips = [_draw_row(caption, images, scale) for caption, images in rows]
    width = max(strip.shape[1] for strip in strips)
    padded = [np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0))) for strip in strips]
    return np.concatenate(padded, axis=0)


def _draw_row(caption: str, images: np.ndarray, scale: int) -> np.ndarray:
    tiles = images.repeat(scale, axis=1).repeat(scale, axis=2)
    strip = np.concatenate(list(np.broadcast_to(tiles, (*tiles.shape[:3], 3))), axis=1)
    bar = np.zeros((CAPTION_HEIGHT, strip.shape[1], 3), np.uint8)
    cv2.putText(bar, caption, (3, CAPTION_HEIGHT - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (235,) * 3, 1, cv2.LINE_AA)
    return np.concatenate([bar, strip], axis=0)
