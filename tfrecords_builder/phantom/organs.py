"""What a ray crosses on its way through a parametric thorax: millimetres of lung, soft tissue, bone and vessel."""

import dataclasses

import cv2
import numpy as np

from tfrecords_builder.phantom.canvas import Canvas, ellipses, smooth, strips
from tfrecords_builder.phantom.thorax import Thorax

_RIBS = np.arange(10)
VESSEL = 1.9  # vessels overlap in depth, so a ray crosses more than the one it shows
_POSTERIOR = np.radians(np.linspace(8.0, 92.0, 14))
_ANTERIOR = np.radians(np.linspace(86.0, 146.0, 11))


@dataclasses.dataclass
class Layers:
    """Thickness in mm of what each ray crosses, float32 [size, size]; findings change them in place.

    Attributes:
      lung: lung with its air.
      soft: soft tissue and fluid.
      bone: bone.
      vessel: vessels inside the lung, as more soft tissue instead of lung.
      lungs: 0 to 1, the outline of the right and the left lung.
    """

    lung: np.ndarray
    soft: np.ndarray
    bone: np.ndarray
    vessel: np.ndarray
    lungs: tuple[np.ndarray, np.ndarray]


def cross(thorax: Thorax, canvas: Canvas) -> Layers:
    """The layers of a thorax without findings other than the size of its heart."""
    right, left = (canvas.fill(thorax.lung_outline(side)[None], 1.0) for side in (-1, 1))
    body = _body(thorax, canvas)
    lung = _chest(thorax, canvas) * canvas.soft(np.maximum(right, left), 0.8)
    lung *= 1.0 - _heart(thorax, canvas)
    lung *= 1.0 - canvas.soft(_mediastinum(thorax, canvas), 1.2)
    soft = body - lung - _airways(thorax, canvas) + _breasts(thorax, canvas) - _stomach(thorax, canvas)
    vessel = _vessels(thorax, canvas)
    vessel *= np.minimum(lung * (1.0 / 40.0), 1.0)
    return Layers(
        lung=lung,
        soft=np.maximum(soft, 0.0),
        bone=_bones(thorax, canvas),
        vessel=vessel,
        lungs=(canvas.soft(right, 0.8), canvas.soft(left, 0.8)),
    )


def _body(thorax: Thorax, canvas: Canvas) -> np.ndarray:
    anatomy = thorax.anatomy
    wall = thorax.half_width + anatomy.fat
    neck = 0.44 * anatomy.half_width
    y = thorax.apex + np.array([-110.0, -45.0, -22.0, -5.0, 14.0, 40.0, 80.0, 120.0, 200.0, 280.0, 400.0])
    width = [neck, neck, neck + 25, neck + 80, 170, 205, 200 - 22 * thorax.pose.arms, wall + 12, wall, wall, wall + 8]
    depth = anatomy.depth * np.array([0.52, 0.54, 0.55, 0.57, 0.62, 0.74, 0.9, 0.98, 1.0, 1.03, 1.06])
    inside = 1.0 - cv2.pow(np.abs(canvas.x / canvas.by_height(y, width)), 2.6)
    return canvas.by_height(y, depth) * cv2.sqrt(np.maximum(inside, 0.0))


def _chest(thorax: Thorax, canvas: Canvas) -> np.ndarray:
    """Depth of the space inside the ribs."""
    v = np.array([-0.02, 0.0, 0.08, 0.2, 0.35, 0.55, 0.85, 1.1])
    depth = np.array([0.24, 0.30, 0.46, 0.62, 0.72, 0.78, 0.79, 0.78]) * thorax.anatomy.depth
    v_fine = np.linspace(-0.02, 1.2, 60)
    edge = canvas.by_height(thorax.apex + v_fine * thorax.height, thorax.lateral(v_fine) * 1.012)
    chord = canvas.by_height(thorax.apex + v * thorax.height, depth)
    return chord * np.sqrt(np.maximum(1.0 - (canvas.x / edge) ** 2, 0.0))


def _heart(thorax: Thorax, canvas: Canvas) -> np.ndarray:
    """Share of the lung's depth that the heart takes."""
    heart = canvas.fill(thorax.heart_outline()[None], 1.0)
    inward = cv2.distanceTransform((heart > 127).astype(np.uint8), cv2.DIST_L2, 3)
    inward *= 1.0 / (canvas.pixels_per_mm * 26.0)
    return canvas.soft(heart, 0.9) * (0.50 + 0.42 * np.sqrt(np.minimum(inward, 1.0)))


def _mediastinum(thorax: Thorax, canvas: Canvas) -> np.ndarray:
    scale, aorta = thorax.height / 240.0, thorax.anatomy.aorta
    left = [[20, -70], [22, 10], [23, 34], [aorta - 1, 46], [aorta + 2, 58], [aorta, 70], [27, 80], [31, 92], [34, 108]]
    right = [[30, 180], [-22, 180], [-24, 110], [-23, 80], [-25, 50], [-26, 20], [-22, -70]]
    outline = np.array(left + right) * [1.0, scale] + [0.0, thorax.apex]
    layer = canvas.fill(smooth(outline, 4)[None], 0.88)
    y = np.linspace(55.0, 235.0, 12)
    descending_aorta = np.stack([0.55 * aorta + 4.0 * np.sin(y / 60.0), y * scale + thorax.apex], -1)
    return canvas.fill(strips(descending_aorta[None], 24.0), 0.93, layer)


def _airways(thorax: Thorax, canvas: Canvas) -> np.ndarray:
    scale = thorax.height / 240.0
    y = np.linspace(-75.0, 80.0, 8)
    trachea = np.stack([1.5 * np.cos(y / 30.0) - 3.0 * (y > 30), y * scale + thorax.apex], -1)
    layer = canvas.fill(strips(trachea[None], 17.0), 1.0)
    reach = np.array([[-34.0, 40.0 * scale], [42.0, 30.0 * scale]])
    bronchi = trachea[-1] + np.linspace(0.0, 1.0, 5)[None, :, None] * reach[:, None]
    canvas.fill(strips(bronchi, np.linspace(13.0, 9.0, 5)[None]), 0.55, layer)
    return canvas.soft(layer, 1.2, 24.0)


def _breasts(thorax: Thorax, canvas: Canvas) -> np.ndarray:
    """Breasts, or a man's pectoral muscles."""
    anatomy = thorax.anatomy
    if not anatomy.is_female:
        centres = np.stack([thorax.point(side, 0.66, 0.42) for side in (-1, 1)])
        return canvas.soft(canvas.fill(ellipses(centres, np.array([[50.0, 46.0]] * 2)), 1.0), 14.0, 9.0)
    flat = 0.8 if thorax.pose.is_ap else 1.0
    radius = 46.0 + 0.45 * anatomy.breast
    thickness = np.zeros_like(canvas.x)
    for side in (-1, 1):
        x, y = thorax.point(side, 0.62, 0.74 + 0.03 * (anatomy.age_years > 60)).tolist()
        below = canvas.y - y
        below *= np.where(below > 0.0, np.float32(1.0 / (radius * 0.72)), np.float32(1.0 / (radius * 1.25)))
        far = (canvas.x - x) * (1.0 / (radius * (2.0 - flat)))
        far = 1.0 - far * far - below * below
        thickness += cv2.sqrt(np.maximum(far, 0.0))
    thickness *= anatomy.breast * flat
    return thickness


def _stomach(thorax: Thorax, canvas: Canvas) -> np.ndarray | float:
    """The gastric bubble under the left diaphragm."""
    full = thorax.pose.stomach
    if full < 0.35:
        return 0.0
    centre = thorax.point(1, 0.42, thorax.dome(1, 0.42)) + [0.0, 9.0 + 13.0 * full]
    layer = canvas.fill(ellipses(centre[None], np.array([[16.0 + 18.0 * full, 4.0 + 13.0 * full]])), 1.0)
    return canvas.soft(layer, 2.5, 52.0 * full)


def _vessels(thorax: Thorax, canvas: Canvas) -> np.ndarray:
    """Arteries and veins that branch from each hilum to near the pleura, in mm."""
    rng = np.random.default_rng(thorax.anatomy.vessel_seed)
    fan = np.concatenate([np.linspace(-1.5, 1.75, 9)] * 2) + rng.normal(0.0, 0.13, 18)
    side = np.repeat([-1.0, 1.0], 9)
    start = np.repeat([thorax.hilum(-1), thorax.hilum(1)], 9, axis=0) + rng.normal(0.0, 4.0, (18, 2))
    reach = 0.40 * thorax.half_width * (1.0 + 0.3 * np.sin(fan) ** 2) * rng.uniform(0.85, 1.15, 18)
    width = rng.uniform(5.5, 8.0, 18) + 3.0 * (np.abs(fan - 1.35) < 0.25)
    angle, along = fan, np.linspace(0.0, 1.0, 6)
    generations = []
    for _ in range(4):
        bend = rng.normal(0.0, 0.25, len(angle))
        turn = angle[:, None] + bend[:, None] * along
        steps = np.stack([side[:, None] * np.cos(turn), np.sin(turn) * (thorax.height / 235.0)], -1) / 5.0
        line = start[:, None] + reach[:, None, None] * (np.cumsum(steps, axis=1) - steps[:, :1])
        generations.append((strips(line, width[:, None] * (1.0 - 0.28 * along)), float(width.mean())))
        fork = rng.uniform(0.22, 0.5, len(angle))
        start, side = np.concatenate([line[:, -1]] * 2), np.concatenate([side] * 2)
        angle = np.concatenate([angle + bend + fork, angle + bend - 0.9 * fork])
        width = np.concatenate([0.72 * width, 0.58 * width])
        reach = np.concatenate([reach] * 2) * rng.uniform(0.52, 0.85, len(start))
    layer = None
    for polygons, thickness in reversed(generations):  # thick vessels last, over the forks
        layer = canvas.fill(polygons, thickness / 12.0, layer)
    if thorax.anatomy.has_fissure:  # the minor fissure of the right lung, seen edge on
        u = np.linspace(0.35, 0.97, 6)
        layer = np.maximum(layer, canvas.fill(strips(thorax.point(-1, u, 0.5 + 0.03 * u)[None], 1.1), 0.5))
    hila = np.stack([thorax.hilum(side) + [side * dx, dy] for side in (-1, 1) for dx, dy in ((-4, -8), (0, 12))])
    hila = canvas.fill(ellipses(hila, np.array([[10.0, 15.0]] * 4)), np.ones(4))
    return canvas.soft(layer, 0.6, 12.0 * VESSEL) + canvas.soft(hila, 6.0, 30.0)


def _bones(thorax: Thorax, canvas: Canvas) -> np.ndarray:
    bone = _ribs(thorax, canvas)
    bone += _spine(thorax, canvas)
    bone += _shoulder_girdle(thorax, canvas)
    return bone


def _ribs(thorax: Thorax, canvas: Canvas) -> np.ndarray:
    anatomy, height = thorax.anatomy, thorax.height
    root = 0.015 + 0.092 * _RIBS[:, None]  # v where a rib leaves the spine
    drop = (0.07 + 0.012 * _RIBS[:, None]) * anatomy.rib_slope
    wide = thorax.lateral(root + drop) + np.minimum(1.0 + _RIBS[:, None], 4.0)

    def path(angle: np.ndarray) -> np.ndarray:
        turn = angle[None] / (np.pi / 2)
        in_front = np.maximum(turn - 1.0, 0.0)
        v = root + drop * turn**2 - 0.022 * np.sin(2 * angle) * (turn < 1) + 0.12 * in_front**1.1 + 0.2 * in_front
        x = 13.0 + (wide - 13.0) * np.sin(angle)
        return np.stack([x, thorax.apex + v * height], -1)

    bone = np.zeros_like(canvas.x)
    for angles, count, width, thickness in ((_POSTERIOR, 10, 1.0, 1.0), (_ANTERIOR, 8, 1.12, 0.72)):
        lines = path(angles)[:count]
        lines = np.concatenate([lines * [-1.0, 1.0], lines])
        layer = canvas.fill(strips(lines, anatomy.rib_width * width), 1.0)
        canvas.fill(strips(lines, anatomy.rib_width * width * 0.62), 0.62, layer)
        bone += canvas.soft(layer, 0.7, anatomy.rib_bone * thickness)
    return bone


def _spine(thorax: Thorax, canvas: Canvas) -> np.ndarray:
    count, scale = 20, thorax.anatomy.height / 240.0
    y = thorax.apex + (-62.0 + 20.5 * np.arange(count)) * scale
    x = thorax.anatomy.spine_bend * np.sin((y - thorax.apex) / 80.0)
    centre = np.stack([x, y], -1)
    half = np.linspace(12.0, 19.0, count)
    tall = 8.6 * scale
    corners = np.array([[-1, -1], [0, -0.9], [1, -1], [0.88, 0], [1, 1], [0, 0.9], [-1, 1], [-0.88, 0]])
    sizes = np.stack([half, np.full(count, tall)], -1)
    layer = canvas.fill(strips(centre[None], 1.7 * half[None]), 0.4)
    canvas.fill(centre[:, None] + corners * sizes[:, None], 0.62, layer)
    for side in (-1, 1):
        reach = np.stack([side * half, np.ones(count)], -1)[:, None]
        transverse = centre[:, None] + np.array([[0.9, -3.0], [1.75, -4.5]]) * reach
        canvas.fill(strips(transverse, 6.0), 0.3, layer)
        pedicles = centre + np.stack([side * half * 0.58, np.full(count, -2.0)], -1)
        canvas.fill(ellipses(pedicles, np.array([[3.2, 4.4]] * count)), 0.95, layer)
    canvas.fill(ellipses(centre + [0.0, 4.0], np.array([[2.2, 6.0]] * count)), 0.95, layer)
    return canvas.soft(layer, 1.0, 16.0)


def _shoulder_girdle(thorax: Thorax, canvas: Canvas) -> np.ndarray:
    """Clavicles, scapulae and the heads of the upper arms; in an AP view the scapulae lie over the lungs."""
    anatomy, pose = thorax.anatomy, thorax.pose
    t = np.linspace(0.0, 1.0, 12)
    lift = 16.0 if pose.is_ap else 4.0
    high = thorax.apex + 0.10 * thorax.height - lift * 0.4
    clavicle = np.stack([17.0 + 0.98 * anatomy.half_width * t, high - lift * t - 8.0 * np.sin(2 * np.pi * t)], -1)
    lines = np.stack([clavicle * [-1.0, 1.0], clavicle])
    width = 9.0 + 4.0 * (2 * t - 1) ** 2
    layer = canvas.fill(strips(lines, width[None]), 0.85)
    canvas.fill(strips(lines, width[None] * 0.55), 0.6, layer)
    bone = canvas.soft(layer, 0.7, 13.0)

    inner = (0.72 if pose.is_ap else 0.98) * anatomy.half_width + 9.0 * pose.arms
    top = thorax.apex + 0.08 * thorax.height
    blade = np.array([[0, 4], [14, -2], [40, -8], [52, 8], [44, 26], [30, 70], [14, 118], [6, 122], [-3, 60]])
    blade = smooth(blade * [1.0, thorax.height / 240.0], 4) + [inner, top]
    border = np.array([[46.0, 24.0], [32.0, 68.0], [15.0, 114.0]]) * [1.0, thorax.height / 240.0] + [inner, top]
    head = np.array([inner + 72.0, top + 12.0])
    shaft = np.stack([head + [6.0, 10.0], head + [20.0, 90.0]])
    layer = np.zeros((canvas.size, canvas.size), np.uint8)
    for side in ([-1.0, 1.0], [1.0, 1.0]):
        canvas.fill((blade * side)[None], 0.16, layer)
        canvas.fill(strips((border * side)[None], 8.0), 0.38, layer)
        canvas.fill(ellipses((head * side)[None], np.array([[23.0, 24.0]])), 0.8, layer)
        canvas.fill(strips((shaft * side)[None], 24.0), 0.8, layer)
    return bone + canvas.soft(layer, 1.0, 21.0)
