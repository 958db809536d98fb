"""Checks a finished study for what tells real images from synthetic ones without looking at anatomy.

Two groups of features are tried, each feature alone and all of a group together:

    files and order   length and time of the file, its name, the place in the item, the number of the item, and its mean
                      position over readers. A classifier must be at chance.
    simple features   mean, standard deviation, brightness of the border, JPEG blocks, sharpness, letters in corners.
                      They are part of the images and cannot all be alike, but the designer must know of them.

A ridge classifier is cross-validated (5 folds, same share of synthetic images in each); its AUC is compared with those
after the labels were permuted within folds. p is the share of permutations that reach the AUC (Phipson and Smyth 2010,
Statistical Applications in Genetics and Molecular Biology: with the observed one counted).
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from scipy import stats

from tfcxr.reader_study.design.image_features import IMAGE_FEATURES, JPEG_BLOCK, image_features
from tfcxr.reader_study.design_file import IMAGES_FOLDER, Design, ImageOrigin

FOLDS = 5
PERMUTATIONS = 999
RIDGE = 1.0  # added to the squared norm of standardised features
LEVEL = 0.05
CHANCE = 0.5
ALL = "all together"
REMEDIES = {
    "mean brightness": "--percentile_window takes the mean difference away",
    "JPEG blocks": "set --jpeg_quality to that of the files of the real images, 95 where they were not JPEG",
    "corner marks": "--crop cuts the border off, --mask_corners blackens the corners",
}
FILE_FEATURES = ("file length", "file time", "file name", "place in the item", "item number", "position in the study")


@dataclasses.dataclass(frozen=True)
class Leak:
    """How well one feature tells real from synthetic.

    Attributes:
      feature: its name, or `ALL`.
      auc: of the cross-validated classifier; .5 is chance, and so is less.
      p: of the permutation test.
      real, synthetic: mean of the feature on both sides; NaN for `ALL`.
    """

    feature: str
    auc: float
    p: float
    real: float
    synthetic: float


@dataclasses.dataclass(frozen=True)
class LeakReport:
    """What the check found.

    Attributes:
      files: of files and order, the last one for all together.
      images: of simple features of the images, the last one for all together.
    """

    files: tuple[Leak, ...]
    images: tuple[Leak, ...]

    @property
    def is_blind(self) -> bool:
        """Whether files and order are at chance: no p is below .05 after Holm's correction."""
        return not _significant(self.files)

    @property
    def sentences(self) -> list[str]:
        """The report in words."""
        lines: list[str] = []
        if self.is_blind:
            together = self.files[-1]
            figures = f"AUC {together.auc:.2f}, p {together.p:.3f}"
            note = "; less than .5 is chance too, since sides are balanced" if together.auc < CHANCE else ""
            lines.append(f"files and order tell nothing: {figures} for {', '.join(FILE_FEATURES)}{note}")
        for leak in _significant(self.files):
            lines.append(
                f"WARNING: {leak.feature} tells real from synthetic: AUC {leak.auc:.2f}, p {leak.p:.3f}; draw again "
                "with another --seed, and report it if that does not help"
            )
        found = _significant(self.images)
        if not found:
            lines.append(f"no simple feature of the images tells them apart: {', '.join(IMAGE_FEATURES)}")
        for leak in found:
            means = "" if leak.feature == ALL else f"; mean {leak.real:.3g} real, {leak.synthetic:.3g} synthetic"
            what = "all simple features together" if leak.feature == ALL else leak.feature
            hint = f"; {REMEDIES[leak.feature]}" if leak.feature in REMEDIES else ""
            lines.append(f"WARNING: a reader could go by {what}: AUC {leak.auc:.2f}, p {leak.p:.3f}{means}{hint}")
        marks = self.images[IMAGE_FEATURES.index("corner marks")]
        if marks.real or marks.synthetic:
            lines.append(
                f"bright marks in the corners: {marks.real:.0%} of real and {marks.synthetic:.0%} of synthetic images"
            )
        return lines


def check_study(
    folder: str | os.PathLike,
    design: Design,
    key: Mapping[str, ImageOrigin],
    block_pitch: float = JPEG_BLOCK,
    permutations: int = PERMUTATIONS,
) -> LeakReport:
    """Tries to tell real from synthetic images of a study by features that need no eye.

    Args:
      folder: of the study; its pictures are read.
      design: of the study.
      key: of the study.
      block_pitch: width that a JPEG block of 8 stored pixels has in the pictures, pixels.
      permutations: of each test.

    Raises:
      FileNotFoundError: a picture is missing.
      ValueError: fewer than 5 real or synthetic images, too few to test anything.
    """
    folder = pathlib.Path(folder) / IMAGES_FOLDER
    images = sorted(key)
    is_synthetic = np.array([key[image].is_synthetic for image in images])
    if min(is_synthetic.sum(), (~is_synthetic).sum()) < FOLDS:
        raise ValueError(
            f"the study has {(~is_synthetic).sum()} real and {is_synthetic.sum()} synthetic images; the check for "
            f"leaks needs {FOLDS} of each"
        )
    random = np.random.default_rng(design.seed)
    files = _file_features(folder, design, images)
    simple = np.array([image_features(_read(folder / f"{image}.png"), block_pitch) for image in images])
    return LeakReport(
        files=_leaks(FILE_FEATURES, files, is_synthetic, permutations, random),
        images=_leaks(IMAGE_FEATURES, simple, is_synthetic, permutations, random),
    )


def cross_validated_auc(
    features: np.ndarray, labels: np.ndarray, permutations: int, random: np.random.Generator
) -> tuple[float, float]:
    """AUC of a ridge classifier on images it was not fitted to, and its permutation p.

    Args:
      features: [images, features]; constant ones are allowed.
      labels: bool [images], 5 or more of each.
      permutations: how often labels are permuted within folds.
      random: draws folds and permutations.
    """
    folds = np.empty(len(labels), np.int64)
    for side in (labels, ~labels):
        folds[side] = random.permutation(side.sum()) % FOLDS
    targets = np.repeat(labels[:, None].astype(float), permutations + 1, axis=1)
    for fold in range(FOLDS):
        rows = np.flatnonzero(folds == fold)
        targets[rows, 1:] = random.permuted(targets[rows, 1:], axis=0)
    aucs = np.zeros(permutations + 1)
    for fold in range(FOLDS):
        test = folds == fold
        mean, spread = features[~test].mean(0), features[~test].std(0)
        scaled = (features - mean) / np.where(spread > 1e-12 * (1.0 + np.abs(mean)), spread, np.inf)
        train = scaled[~test]
        fitted = np.linalg.solve(
            train.T @ train + RIDGE * np.eye(train.shape[1]), train.T @ (targets[~test] - targets[~test].mean(0))
        )
        aucs += _auc(np.round(scaled[test] @ fitted, 12), targets[test]) / FOLDS
    return float(aucs[0]), float((aucs >= aucs[0] - 1e-9).mean())


def _leaks(
    names: Sequence[str], features: np.ndarray, labels: np.ndarray, permutations: int, random: np.random.Generator
) -> tuple[Leak, ...]:
    leaks = []
    for column, name in enumerate(names):
        auc, p = cross_validated_auc(features[:, [column]], labels, permutations, random)
        values = features[:, column]
        leaks.append(Leak(name, auc, p, float(values[~labels].mean()), float(values[labels].mean())))
    auc, p = cross_validated_auc(features, labels, permutations, random)
    return (*leaks, Leak(ALL, auc, p, np.nan, np.nan))


def _significant(leaks: Sequence[Leak]) -> list[Leak]:
    """Those whose p stays below the level after Holm's correction."""
    found: list[Leak] = []
    for place, leak in enumerate(sorted(leaks, key=lambda leak: leak.p)):
        if leak.p * (len(leaks) - place) >= LEVEL:
            break
        found.append(leak)
    return [leak for leak in leaks if leak in found]


def _file_features(folder: pathlib.Path, design: Design, images: Sequence[str]) -> np.ndarray:
    orders = [[key for key in reader.items if not design.items[key].is_training] for reader in design.readers.values()]
    places: dict[str, tuple[int, int, float]] = {}
    for number, (key, item) in enumerate(sorted(design.items.items())):
        positions = [order.index(key) / len(order) for order in orders if key in order]
        for place, image in enumerate(item.images):
            if not item.repeat_of:
                places[image] = (place, number, float(np.mean(positions)) if positions else 0.0)
    rows = []
    for image in images:
        facts = (folder / f"{image}.png").stat()
        rows.append((facts.st_size, facts.st_mtime, int(image, 16), *places[image]))
    return np.array(rows, np.float64)


def _read(path: pathlib.Path) -> np.ndarray:
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise FileNotFoundError(f"{path} is missing or no picture; restore the study from your archive")
    return pixels


def _auc(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """AUC of each column: scores and targets [images, columns] -> [columns]."""
    ranks = stats.rankdata(scores, axis=0)
    positives = targets.sum(0)
    below = (ranks * targets).sum(0) - positives * (positives + 1) / 2
    return below / (positives * (len(targets) - positives))
