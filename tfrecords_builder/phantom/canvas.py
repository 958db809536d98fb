"""A pixel grid that is drawn on in the patient's millimetres, so that a picture is the same at every size."""

import functools

import cv2
import numpy as np

FIELD_MM = 365.0  # side of the square detector
_HEIGHTS = np.arange(-300.0, 300.0, 0.5)  # mm, where what depends on height alone is tabled


class Canvas:
    """A square pixel grid over the detector that is drawn on in the patient's millimetres.

    Attributes:
      x, y: float32 [size, size], where in the patient each pixel's ray passes.
    """

    def __init__(self, size: int, rotation: float, magnification: float, shift: tuple[float, float]) -> None:
        """`rotation` is in radians, `shift` in mm on the detector, x and y."""
        self.size = size
        self.pixels_per_mm = size / FIELD_MM
        cosine, sine = np.cos(rotation), np.sin(rotation)
        self._to_detector = magnification * np.array([[cosine, -sine], [sine, cosine]])
        self._shift = np.array(shift)
        column, row = _detector_grid(size)
        (a, b), (c, d) = np.linalg.inv(self._to_detector).astype(np.float32)
        column, row = column - np.float32(shift[0]), row - np.float32(shift[1])
        self.x, self.y = a * column + b * row, c * column + d * row
        self._bins = np.clip((self.y + 300.0) * 2.0, 0, len(_HEIGHTS) - 1).astype(np.int32)

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Pixel coordinates (x, y) of points in mm, [..., 2] to [..., 2]; pixel centres are whole numbers."""
        return (points @ self._to_detector.T + self._shift + FIELD_MM / 2) * self.pixels_per_mm - 0.5

    def fill(self, polygons: np.ndarray, values: np.ndarray | float, onto: np.ndarray | None = None) -> np.ndarray:
        """Paints polygons in turn, with smooth edges.

        Args:
          polygons: [polygons, points, 2] in mm.
          values: 0 to 1, one per polygon; or one for all, which is faster but leaves out where two of them overlap.
          onto: a layer to paint over; a new one when None.

        Returns:
          uint8 [size, size], 255 where the value is 1.
        """
        layer = np.zeros((self.size, self.size), np.uint8) if onto is None else onto
        corners = np.round(self.to_pixels(polygons) * 16.0).astype(np.int32)
        if np.ndim(values) == 0:
            return cv2.fillPoly(layer, list(corners), round(255.0 * float(values)), cv2.LINE_AA, 4)
        for polygon, grey in zip(corners, np.round(values * 255.0).tolist(), strict=True):
            cv2.fillPoly(layer, [polygon], grey, cv2.LINE_AA, 4)
        return layer

    def soft(self, layer: np.ndarray, blur_mm: float, scale: float = 1.0) -> np.ndarray:
        """A painted layer as float32 [size, size] from 0 to `scale`, blurred."""
        result = layer.astype(np.float32)
        result *= scale / 255.0
        return self.blur(result, blur_mm)

    def blur(self, image: np.ndarray, blur_mm: float) -> np.ndarray:
        """Gaussian blur with a standard deviation in the patient's mm; on a coarser grid where that loses nothing."""
        sigma = blur_mm * self.pixels_per_mm
        if sigma < 0.3:
            return image
        step = 2 ** max(int(np.log2(sigma / 2.5)), 0)
        if step == 1:
            return cv2.GaussianBlur(image, (0, 0), sigma)
        small = cv2.resize(image, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), sigma / step)
        return cv2.resize(small, (self.size, self.size), interpolation=cv2.INTER_LINEAR)

    def spread(self, cells: np.ndarray) -> np.ndarray:
        """A coarse float32 grid over the whole detector as a smooth picture [size, size]."""
        return cv2.resize(cells, (self.size, self.size), interpolation=cv2.INTER_CUBIC)

    def by_height(self, y: np.ndarray, values: np.ndarray) -> np.ndarray:
        """A value that depends on y alone, float32 [size, size], given at some heights `y`."""
        return np.interp(_HEIGHTS, y, values).astype(np.float32)[self._bins]


@functools.lru_cache(maxsize=8)
def _detector_grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    middle = (np.arange(size, dtype=np.float32) + 0.5) * np.float32(FIELD_MM / size) - np.float32(FIELD_MM / 2)
    return middle[None, :], middle[:, None]


def smooth(points: np.ndarray, steps: int = 5) -> np.ndarray:
    """A closed curve through points [points, 2]: Catmull-Rom, [points * steps, 2]."""
    before, after, beyond = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    t = (np.arange(steps) / steps)[None, :, None]
    p0, p1, p2, p3 = (array[:, None] for array in (before, points, after, beyond))
    cubic = 2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    return (0.5 * cubic).reshape(-1, 2)


def strips(lines: np.ndarray, widths: np.ndarray | float) -> np.ndarray:
    """Polygons around centre lines: [lines, points, 2] with widths [lines, points] to [lines, 2 * points, 2]."""
    along = lines.copy()  # the point after, or the last itself, minus the point before
    along[:, :-1] = lines[:, 1:]
    along[:, 1:] -= lines[:, :-1]
    along[:, 0] -= lines[:, 0]
    along /= np.sqrt((along * along).sum(-1, keepdims=True)) + 1e-9
    across = np.stack([-along[..., 1], along[..., 0]], -1) * np.broadcast_to(widths, lines.shape[:2])[..., None] / 2
    return np.concatenate([lines + across, (lines - across)[:, ::-1]], axis=1)


def ellipses(centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Upright ellipses as polygons: centres and radii [ellipses, 2] to [ellipses, 16, 2]."""
    angles = np.linspace(0.0, 2 * np.pi, 16, endpoint=False)
    return centres[:, None] + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], -1)
