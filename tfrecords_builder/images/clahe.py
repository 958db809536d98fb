"""Contrast-limited adaptive histogram equalisation (CLAHE; Zuiderveld, Graphics Gems IV, 1994), alike in 8 and 16 bits.

8 bits are OpenCV's own. OpenCV's 16-bit form counts each of 65,536 grey levels alone, so that few pixels of a tile
share a bin and the clip limit, a whole number of pixels per bin, means little: on three radiographs of 256 px it was on
average 10 to 16 levels (of 255) off the 8-bit result for data of 8 bits, and 30 to 37 for 16, which it hardly limits.
Here the tiles' curves are made from 256 levels in both cases, and a 16-bit value is read between two points of its
curve: one clip limit means one picture, whatever the detector's bits, and the fine levels are kept.
"""

import cv2
import numpy as np

_LEVELS = 256
_STEP = 257  # 65535 / 255: a 16-bit value that lies on a level


def equalize_local_contrast(image: np.ndarray, clip_limit: float, tiles: int) -> np.ndarray:
    """Stretches each tile's histogram, with curves that pass smoothly from tile to tile.

    Args:
      image: uint8 or uint16 [height, width] over the whole range of its type.
      clip_limit: how full a level's bin may get, in multiples of an even histogram; above 0.
      tiles: tiles along each side.

    Returns:
      Of the same shape and type.
    """
    if image.dtype == np.uint8:
        # Made anew for each image: it costs .3 microseconds, and one that is kept may not be shared by threads.
        return cv2.createCLAHE(clip_limit, (tiles, tiles)).apply(image)
    height, width = image.shape
    curves, tile_height, tile_width = _curves(image, clip_limit, tiles)
    upper, lower, row_weights = _neighbours(height, tile_height, tiles)
    left, right, column_weights = _neighbours(width, tile_width, tiles)
    result = np.empty_like(image)
    # The rows between the centres of two rows of tiles share their curves.
    edges = np.flatnonzero(np.diff(upper + lower, prepend=-1))
    for start, stop in zip(edges, [*edges[1:], height], strict=True):
        levels, fractions = np.divmod(image[start:stop], np.uint16(_STEP))
        fractions = fractions.astype(np.float32) / np.float32(_STEP)
        rows = [
            _read(curves[tile], left, levels, fractions) * (1 - column_weights)
            + _read(curves[tile], right, levels, fractions) * column_weights
            for tile in (upper[start], lower[start])
        ]
        weights = row_weights[start:stop, None]
        result[start:stop] = np.rint(rows[0] * (1 - weights) + rows[1] * weights)
    return result


def _curves(image: np.ndarray, clip_limit: float, tiles: int) -> tuple[np.ndarray, int, int]:
    """float32 [tiles, tiles, 257], a tile's values for 256 levels (the last twice), and a tile's height and width."""
    levels = ((image.astype(np.uint32) + _STEP // 2) // _STEP).astype(np.uint8)
    height, width = image.shape
    if height % tiles or width % tiles:  # as OpenCV pads
        bottom, right = tiles - height % tiles, tiles - width % tiles
        levels = cv2.copyMakeBorder(levels, 0, bottom, 0, right, cv2.BORDER_REFLECT_101)
    tile_height, tile_width = levels.shape[0] // tiles, levels.shape[1] // tiles
    area = tile_height * tile_width
    limit = max(int(clip_limit * area / _LEVELS), 1)
    curves = np.empty((tiles, tiles, _LEVELS + 1), np.float32)
    for row in range(tiles):
        for column in range(tiles):
            tile = levels[row * tile_height :, column * tile_width :][:tile_height, :tile_width]
            counts = np.bincount(tile.ravel(), minlength=_LEVELS)
            counts = _clip(counts, limit)
            curves[row, column, :_LEVELS] = np.cumsum(counts) * (65535.0 / area)
    curves[..., _LEVELS] = curves[..., _LEVELS - 1]
    return curves, tile_height, tile_width


def _clip(counts: np.ndarray, limit: int) -> np.ndarray:
    """Takes what lies above the limit and spreads it evenly, what is left over in equal steps from level 0 on."""
    excess = int(np.maximum(counts - limit, 0).sum())
    counts = np.minimum(counts, limit) + excess // _LEVELS
    left_over = excess % _LEVELS
    if left_over:
        counts[:: max(_LEVELS // left_over, 1)][:left_over] += 1
    return counts


def _neighbours(length: int, tile_length: int, tiles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `length` pixels the tile before it, the one behind it and the second one's weight, float32."""
    position = np.arange(length) / tile_length - 0.5
    before = np.floor(position).astype(int)
    weights = (position - before).astype(np.float32)
    return np.clip(before, 0, tiles - 1), np.clip(before + 1, 0, tiles - 1), weights


def _read(curves: np.ndarray, tiles: np.ndarray, levels: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """The values [rows, columns] of one row of tiles' curves [tiles, 257], between their points."""
    index = levels + tiles * (_LEVELS + 1)
    flat = curves.ravel()
    value = flat[index]
    return value + (flat[index + 1] - value) * fractions
