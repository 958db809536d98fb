"""Findings of a parametric thorax: where each lies in a patient, how it changes between images, and how it is drawn."""

import dataclasses

import numpy as np

from tfrecords_builder.phantom.canvas import Canvas, ellipses, strips
from tfrecords_builder.phantom.organs import Layers
from tfrecords_builder.phantom.thorax import Thorax

FINDINGS = ("Cardiomegaly", "Effusion", "Mass", "Nodule", "Pneumonia", "Pneumothorax")
_TEXTURE_GRID = 32  # cells across the detector, whatever the image size


@dataclasses.dataclass(frozen=True)
class Lesion:
    """One visible sign of a finding.

    Attributes:
      finding: one of `FINDINGS`.
      side, u, v: its place, see `Thorax`; the middle for masses, nodules and pneumonia.
      size: mm; diameter of a mass, nodule or consolidation, height of fluid at the chest wall, gap of a pneumothorax.
        For cardiomegaly the cardiothoracic ratio.
      strength: 0 to 1, how much of the lung's air it replaces.
      seed: of its shape.
    """

    finding: str
    side: int
    u: float
    v: float
    size: float
    strength: float
    seed: int


def place(finding: str, patient: np.random.Generator, image: np.random.Generator, severity: float) -> list[Lesion]:
    """Places a finding.

    Args:
      finding: one of FINDINGS.
      patient: draws what all images of the patient share, such as the side.
      image: draws what follow-up changes.
      severity: 1 for the default size and opacity, 0 for nothing to see.
    """
    if severity == 0.0:
        return []
    side = 1 if patient.random() < 0.5 else -1
    seed = int(patient.integers(2**31))
    shared, changed = patient.random(8), image.random(4)
    has_two = shared[0] < 0.3
    sides = (side, -side) if has_two else (side,)
    lesions = []
    for number, one_side in enumerate(sides):
        big, across, down = shared[1 + 3 * number], shared[2 + 3 * number], shared[3 + 3 * number]
        big = float(np.clip(0.75 * big + 0.25 * changed[number], 0.0, 1.0))
        v = 0.17 + (0.38 if one_side < 0 else 0.32) * down
        u = 0.48 + 0.36 * across
        if one_side > 0:  # beside the heart, not behind it
            u = min(u + 0.7 * max(v - 0.3, 0.0), 0.84)
        strength = min(severity, 1.0)
        if finding == "Cardiomegaly":
            size = 0.57 + 0.10 * big
        elif finding == "Effusion":
            u, v, size = 1.0, 1.0, (52.0 + 60.0 * big) * severity
        elif finding == "Mass":
            size = 36.0 + 30.0 * big
        elif finding == "Nodule":
            size = 19.0 + 9.5 * big
        elif finding == "Pneumonia":
            v, size, strength = 0.44 + 0.26 * down, 62.0 + 36.0 * big, min((0.66 + 0.24 * big) * severity, 0.96)
        else:
            u, v, size = 0.9, 0.1, (20.0 + 26.0 * big) * severity
        lesions.append(Lesion(finding, one_side, float(u), float(v), float(size), strength, seed + number))
    return lesions[:1] if finding in ("Cardiomegaly", "Mass", "Pneumothorax") else lesions


def draw(lesions: list[Lesion], thorax: Thorax, canvas: Canvas, layers: Layers) -> None:
    """Draws lesions into the layers; cardiomegaly is in the heart's outline already."""
    gaps = {lesion.side: lesion.size for lesion in lesions if lesion.finding == "Pneumothorax"}
    for lesion in lesions:
        if lesion.finding == "Pneumonia":
            _draw_consolidation(lesion, _centre(lesion, thorax, gaps), thorax, canvas, layers)
        elif lesion.finding in ("Mass", "Nodule"):
            _draw_tumour(lesion, _centre(lesion, thorax, gaps), canvas, layers)
    for lesion in lesions:
        if lesion.finding == "Pneumothorax":
            _draw_pneumothorax(lesion, thorax, canvas, layers)
    for lesion in lesions:
        if lesion.finding == "Effusion":
            _draw_effusion(lesion, thorax, canvas, layers)


def _centre(lesion: Lesion, thorax: Thorax, gaps: dict[int, float]) -> np.ndarray:
    """Middle of a lesion in mm; a pneumothorax moves it with the lung."""
    gap = gaps.get(lesion.side, 0.0)
    moved = np.array([-lesion.side * gap * _retreat(lesion.v), gap * max(0.8 - 2.0 * lesion.v, 0.0)])
    return thorax.point(lesion.side, lesion.u, lesion.v) + moved


def _retreat(v: np.ndarray | float) -> np.ndarray:
    """How far the lung's edge retreats at height v, as a share of a pneumothorax's gap."""
    return np.interp(v, [0.0, 0.3, 0.7, 0.95, 1.0], [1.15, 1.0, 0.8, 0.35, 0.1])


def _draw_tumour(lesion: Lesion, centre: np.ndarray, canvas: Canvas, layers: Layers) -> None:
    rng = np.random.default_rng(lesion.seed)
    angles = np.linspace(0.0, 2 * np.pi, 40, endpoint=False)
    waves = np.arange(2, 6)[:, None]
    uneven = 0.05 if lesion.finding == "Mass" else 0.03
    lobes = (rng.normal(0.0, uneven, (4, 1)) * np.cos(waves * angles + rng.uniform(0.0, 6.3, (4, 1)))).sum(0)
    outline = (1.0 + lobes)[:, None] * np.stack([np.cos(angles), np.sin(angles)], -1) * lesion.size / 2
    shells = np.array([1.0, 0.95, 0.88, 0.78, 0.6, 0.35])
    layer = canvas.fill(centre + shells[:, None, None] * outline, np.sqrt(1.02 - shells**2))
    deep = 66.0 + 0.9 * lesion.size if lesion.finding == "Mass" else 40.0 + 2.6 * lesion.size
    thickness = canvas.soft(layer, 0.8, deep * lesion.strength)
    _replace(layers, np.minimum(thickness, 0.9 * layers.lung))


def _draw_consolidation(lesion: Lesion, centre: np.ndarray, thorax: Thorax, canvas: Canvas, layers: Layers) -> None:
    rng = np.random.default_rng(lesion.seed)
    offsets = rng.normal(0.0, 0.16 * lesion.size, (6, 2))
    radii = lesion.size * rng.uniform(0.22, 0.36, (6, 2))
    cloud = canvas.soft(canvas.fill(ellipses(centre + offsets, radii), np.ones(6)), 7.5)
    texture = rng.standard_normal((_TEXTURE_GRID, _TEXTURE_GRID), dtype=np.float32)
    cloud *= 0.92 + 0.11 * canvas.spread(texture)
    bronchi = _bronchograms(rng, thorax.hilum(lesion.side), centre, lesion.size)
    cloud *= 1.0 - 0.42 * canvas.soft(canvas.fill(bronchi, np.ones(len(bronchi))), 1.2)
    share = np.clip(cloud * lesion.strength, 0.0, 0.96)
    _replace(layers, layers.lung * share)


def _bronchograms(rng: np.random.Generator, hilum: np.ndarray, centre: np.ndarray, size: float) -> np.ndarray:
    """Air-filled bronchi that fork inside a consolidation, as polygons."""
    along = centre - hilum
    along /= np.linalg.norm(along) + 1e-6
    heading = np.arctan2(along[1], along[0])
    t = np.linspace(0.0, 1.0, 7)
    turns = heading + np.array([0.0, 0.55, -0.55, 0.2, -0.25])[:, None] + rng.normal(0.0, 0.25, (5, 1)) * t
    lengths = size * np.array([0.6, 0.42, 0.42, 0.5, 0.5])
    steps = np.stack([np.cos(turns), np.sin(turns)], -1) * lengths[:, None, None] / 6
    starts = centre - along * size * np.array([0.42, 0.15, 0.1, -0.1, -0.05])[:, None]
    return strips(starts[:, None] + np.cumsum(steps, axis=1), np.linspace(3.4, 1.6, 7)[None])


def _draw_pneumothorax(lesion: Lesion, thorax: Thorax, canvas: Canvas, layers: Layers) -> None:
    side, gap = lesion.side, lesion.size
    v = np.linspace(0.0, 1.0, 26)
    edge = thorax.point(side, 1.0, v) - np.stack([side * gap * _retreat(v), -gap * np.maximum(0.9 - 2.2 * v, 0.0)], -1)
    lung = np.concatenate([edge, [[0.0, thorax.base + 60.0], [-side * 20.0, thorax.apex]]])
    outline = layers.lungs[(side + 1) // 2]
    free = outline * (1.0 - canvas.soft(canvas.fill(lung[None], 1.0), 0.5))
    layers.lung *= 1.0 - free
    layers.vessel *= 1.0 - free
    _replace(layers, layers.lung * outline * np.float32(min(gap * 0.0022, 0.2)))
    pleura = canvas.soft(canvas.fill(strips(edge[None], 2.0), 1.0), 0.5, min(gap, 20.0))
    layers.soft += pleura * outline


def _draw_effusion(lesion: Lesion, thorax: Thorax, canvas: Canvas, layers: Layers) -> None:
    side, high = lesion.side, lesion.size
    u = np.linspace(0.0, 1.04, 24)
    rise = 0.58 + 0.42 * np.maximum((u - 0.3) / 0.7, 0.0) ** 2.0 + 0.08 * np.maximum((0.3 - u) / 0.3, 0.0)
    x = side * u * thorax.half_width
    level = np.stack([x, thorax.base + 4.0 - high * rise], -1)
    floor = np.array([[side * 1.04 * thorax.half_width, thorax.base + 60.0], [0.0, thorax.base + 60.0]])
    fluid = canvas.soft(canvas.fill(np.concatenate([level, floor])[None], 1.0), 2.0)
    haze = canvas.blur(fluid, 9.0)
    share = np.maximum(fluid * 0.94, haze * 0.5) * layers.lungs[(side + 1) // 2]
    _replace(layers, layers.lung * share * lesion.strength)


def _replace(layers: Layers, thickness: np.ndarray) -> None:
    """Puts soft tissue or fluid in the place of some of the lung, and of the vessels in it."""
    layers.vessel *= 1.0 - thickness / np.maximum(layers.lung, 1.0)
    layers.lung -= thickness
    layers.soft += thickness
