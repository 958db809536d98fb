"""A parametric thorax: what varies between patients and between images of a patient, and where the organs lie.

All lengths are millimetres of the patient, x to the image's right (the patient's left) and y downwards, with the
origin in the middle of the chest.
"""

import dataclasses

import numpy as np

from tfrecords_builder.phantom.canvas import smooth

# The outline of a lung: |x| as a share of the half-width against v, the share of the way from apex to base.
_LATERAL_V = np.array([-0.02, 0.0, 0.035, 0.10, 0.20, 0.34, 0.50, 0.68, 0.82, 0.93, 1.0, 1.2])
_LATERAL_X = np.array([0.36, 0.46, 0.60, 0.72, 0.81, 0.89, 0.95, 0.99, 1.0, 0.995, 0.975, 0.97])
_MEDIAL = np.array([[0.10, 0.60], [0.12, 0.40], [0.15, 0.22], [0.22, 0.08], [0.33, 0.015]])
# The heart's outline: x as a share of its width, y as a share of its height from the base down to the diaphragm.
_HEART = np.array(
    [[-0.10, 0.0], [-0.20, 0.13], [-0.29, 0.38], [-0.32, 0.62], [-0.29, 0.84], [-0.16, 1.02], [0.2, 1.12]]
    + [[0.5, 1.10], [0.64, 0.98], [0.68, 0.83], [0.62, 0.62], [0.49, 0.40], [0.35, 0.20], [0.18, 0.0]]
)


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """What stays the same in all images of one patient; lengths in mm, shares without unit.

    Attributes:
      is_female, age_years: what the other values were drawn for.
      half_width: of the rib cage inside.
      height: of the lungs from apex to costophrenic angle.
      depth: of the body from front to back at the chest.
      fat: soft tissue outside the ribs.
      heart_ratio: cardiothoracic ratio of the patient in a PA view without cardiomegaly.
      aorta: how far the aortic arch bulges to the left.
      rib_width, rib_bone: size and thickness of a rib.
      rib_slope: steepness of the ribs, against the mean.
      breast: largest thickness of a breast, 0 for men.
      spine_bend: sideways bend of the spine.
      dome_rise: height of the diaphragm's domes, against the mean.
      vessel_seed: of the branching of the vessels.
      has_fissure: whether the minor fissure is seen.
      stomach: share of a full gastric bubble.
    """

    is_female: bool
    age_years: float
    half_width: float
    height: float
    depth: float
    fat: float
    heart_ratio: float
    aorta: float
    rib_width: float
    rib_bone: float
    rib_slope: float
    breast: float
    spine_bend: float
    dome_rise: float
    vessel_seed: int
    has_fissure: bool
    stomach: float


@dataclasses.dataclass(frozen=True)
class Pose:
    """What changes from image to image: projection, breathing and position.

    Attributes:
      is_ap: whether the beam enters at the front, as in bed: larger heart, higher diaphragm, scapulae over the lungs.
      inspiration: lung height against the patient's own, about .9 to 1.05.
      cardiothoracic_ratio: heart width over inner chest width in this image.
      rotation: radians.
      shift_x, shift_y: mm.
      magnification: without unit.
      arms: 0 to 1, how far they are raised.
      stomach: share of a full gastric bubble.
    """

    is_ap: bool
    inspiration: float
    cardiothoracic_ratio: float
    rotation: float
    shift_x: float
    shift_y: float
    magnification: float
    arms: float
    stomach: float


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draws a patient."""
    is_female = bool(rng.random() < 0.48)
    age_years = float(np.round(np.clip(rng.normal(56.0, 18.0), 18.0, 97.0), 1))
    years_old = (age_years - 20.0) / 60.0
    build = rng.normal(0.0, 1.0)
    return Anatomy(
        is_female=is_female,
        age_years=age_years,
        half_width=(124.0 if is_female else 138.0) + 5.0 * build + rng.normal(0.0, 4.0),
        height=(222.0 if is_female else 244.0) + rng.normal(0.0, 10.0) - 6.0 * build,
        depth=(205.0 if is_female else 222.0) + 14.0 * build + rng.normal(0.0, 6.0),
        fat=float(np.clip(24.0 + 9.0 * build, 10.0, 48.0)),
        heart_ratio=float(np.clip(0.425 + 0.022 * years_old + rng.normal(0.0, 0.022), 0.37, 0.475)),
        aorta=29.0 + 8.0 * max(years_old, 0.0) + rng.normal(0.0, 2.0),
        rib_width=(9.0 if is_female else 10.5) + 1.3 * years_old + rng.normal(0.0, 0.5),
        rib_bone=6.3 - 1.0 * years_old * is_female + rng.normal(0.0, 0.6),
        rib_slope=rng.normal(1.0, 0.12),
        breast=float(np.clip(rng.normal(30.0, 11.0), 10.0, 58.0)) if is_female else 0.0,
        spine_bend=rng.normal(0.0, 2.0 + 3.0 * max(years_old, 0.0)),
        dome_rise=rng.normal(1.0, 0.12),
        vessel_seed=int(rng.integers(2**31)),
        has_fissure=bool(rng.random() < 0.4),
        stomach=float(rng.random()),
    )


def draw_pose(rng: np.random.Generator, anatomy: Anatomy) -> Pose:
    """Draws how a patient stands or lies in one image."""
    is_ap = bool(rng.random() < 0.35)
    ratio = anatomy.heart_ratio + (0.02 if is_ap else 0.0) + rng.normal(0.0, 0.006)
    return Pose(
        is_ap=is_ap,
        inspiration=float(np.clip(rng.normal(0.93 if is_ap else 1.0, 0.025), 0.85, 1.06)),
        cardiothoracic_ratio=float(np.clip(ratio, 0.36, 0.49)),
        rotation=rng.normal(0.0, 0.045 if is_ap else 0.022),
        shift_x=rng.normal(0.0, 7.0),
        shift_y=rng.normal(-2.0, 8.0),
        magnification=float(np.clip(rng.normal(1.1 if is_ap else 1.07, 0.035), 0.96, 1.2)),
        arms=float(rng.random()),
        stomach=float(np.clip(anatomy.stomach + rng.normal(0.0, 0.3), 0.0, 1.0)),
    )


class Thorax:
    """The geometry of one patient in one pose.

    Places are given by side (-1 the patient's right, which is the image's left, and 1 the left), u (0 midline to 1
    outer edge of the lung) and v (0 apex to 1 costophrenic angle).

    Attributes:
      half_width, height, apex, base: of the lungs in this image, in mm; apex and base are values of y.
    """

    def __init__(self, anatomy: Anatomy, pose: Pose) -> None:
        self.anatomy, self.pose = anatomy, pose
        self.half_width = anatomy.half_width * (1.0 + 0.15 * (pose.inspiration - 1.0))
        self.height = anatomy.height * pose.inspiration
        self.apex = -0.56 * anatomy.height
        self.base = self.apex + self.height

    def lateral(self, v: np.ndarray | float) -> np.ndarray:
        """|x| of the lung's outer edge, in mm, at v (0 apex, 1 costophrenic angle)."""
        return np.interp(v, _LATERAL_V, _LATERAL_X) * self.half_width

    def dome(self, side: int, u: np.ndarray | float) -> np.ndarray:
        """v of the diaphragm at u (0 midline, 1 outer edge); side -1 is the patient's right, 1 the left."""
        rise = (0.185 if side < 0 else 0.15) * self.anatomy.dome_rise + 0.06 * self.pose.is_ap
        return 1.0 - rise * np.clip(1.0 - np.abs((np.asarray(u) - 0.42) / 0.58) ** 2.2, 0.0, 1.0)

    def point(self, side: int, u: np.ndarray | float, v: np.ndarray | float) -> np.ndarray:
        """The place in mm of u (0 midline, 1 outer edge of the lung) and v (0 apex, 1 base), [..., 2]."""
        x, y = np.broadcast_arrays(side * np.asarray(u) * self.lateral(v), self.apex + np.asarray(v) * self.height)
        return np.stack([x, y], -1)

    def lung_outline(self, side: int) -> np.ndarray:
        """Polygon of one lung in mm, [points, 2]."""
        v = np.concatenate([[0.0, 0.012], np.linspace(0.03, 1.0, 22)])
        outer = self.point(side, 1.0, v)
        u = np.linspace(0.96, 0.08, 18)
        floor = np.stack([side * u * self.half_width * 0.975, self.apex + self.dome(side, u) * self.height], -1)
        inner = np.stack([side * _MEDIAL[:, 0] * self.half_width, self.apex + _MEDIAL[:, 1] * self.height], -1)
        return np.concatenate([outer, floor, inner])

    def heart_outline(self) -> np.ndarray:
        """Polygon of the heart in mm, [points, 2]; its width over `2 * half_width` is the cardiothoracic ratio."""
        width = self.pose.cardiothoracic_ratio * 2.0 * self.half_width
        floor = self.apex + self.dome(1, 0.35) * self.height
        tall = (0.36 + 0.30 * self.pose.cardiothoracic_ratio) * self.anatomy.height
        points = _HEART * [width, tall] + [0.0, floor - tall]
        return smooth(points)

    def hilum(self, side: int) -> np.ndarray:
        """Centre of a hilum in mm, [2]; the left one lies higher."""
        return np.array([side * 0.27 * self.half_width, self.apex + (0.47 if side < 0 else 0.435) * self.height])
