"""What an evaluation is asked to do, the same for every protocol; each takes what it needs."""

import dataclasses
import pathlib

from tfcxr.protocols.classifier import ClassifierConfig

ARMS = ("real", "synthetic", "both")


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """Which cohorts are compared, by what judge, and where the report goes.

    Attributes:
      synthetic_dir, real_dir: data folders of one image size. test_dir: of the test splits; None is `real_dir`.
      synthetic_splits: () is all of them. train_splits, test_splits: of real patients.
      validation_splits: real patients on whom every classifier's end of training and threshold are chosen;
        () keeps back a share of each classifier's own training images instead.
      images: that a classifier trains on, synthetic and real; 0 is as many as the smaller side has.
      distance_images: that a distance compares, on each side and with each split; 0 is, for each split, as many as
        the smaller side has.
      classifier_seeds: one training of each arm for each. arms: some of `ARMS`.
      bootstrap_resamples: of the test patients. diversity_pairs: image pairs a class for MS-SSIM.
      allow_shared_patients: goes on where test patients were trained on, and marks the report.
      out_dir: gets report.json, report.html and arms/. overwrite: replaces a report that is there.
      extractor_dir: keeps trained feature extractors, for several evaluations to share; None is `out_dir/extractor`.
    """

    synthetic_dir: pathlib.Path
    real_dir: pathlib.Path
    out_dir: pathlib.Path
    classifier: ClassifierConfig = ClassifierConfig()
    test_dir: pathlib.Path | None = None
    synthetic_splits: tuple[str, ...] = ()
    train_splits: tuple[str, ...] = ("train",)
    validation_splits: tuple[str, ...] = ()
    test_splits: tuple[str, ...] = ("test",)
    images: int = 0
    distance_images: int = 0
    classifier_seeds: tuple[int, ...] = (0, 1, 2)
    arms: tuple[str, ...] = ARMS
    bootstrap_resamples: int = 1000
    diversity_pairs: int = 1000
    allow_shared_patients: bool = False
    overwrite: bool = False
    extractor_dir: pathlib.Path | None = None

    def __post_init__(self) -> None:
        for name, values in (("arms", self.arms), ("classifier_seeds", self.classifier_seeds)):
            if not values or len(set(values)) != len(values):
                raise ValueError(f"--{name} expects one or more different values, got {list(values)}")
        if unknown := [arm for arm in self.arms if arm not in ARMS]:
            raise ValueError(f"unknown arm {unknown[0]!r} in --arms; valid names: {', '.join(ARMS)}")
        for name in ("train_splits", "test_splits"):
            if not getattr(self, name):
                raise ValueError(f"--{name} names no split")
        for name in ("synthetic_splits", "train_splits", "validation_splits", "test_splits"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"--{name} names a split twice: {','.join(getattr(self, name))}")
        for name, least in (("images", 0), ("distance_images", 0), ("bootstrap_resamples", 1), ("diversity_pairs", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name} must be {least} or more, got {getattr(self, name)}")
        if min(self.classifier_seeds) < 0:
            raise ValueError(f"--classifier_seeds must be 0 or more, got {min(self.classifier_seeds)}")
