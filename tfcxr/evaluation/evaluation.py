"""What every protocol is given: the cohorts, the classifier, and where results go."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping

from tfcxr.data.records import read_dataset_info
from tfcxr.data.schema import DatasetInfo
from tfcxr.data.sizes import find_size, stored_sizes
from tfcxr.evaluation.extractors.classifier_config import ClassifierConfig
from tfcxr.evaluation.label_map import map_info
from tfcxr.registry import nearest_name

TRAINED = "trained"  # the extractor that is a classifier of the real training images


@dataclasses.dataclass(frozen=True)
class TestSet:
    """Real test patients: one split of one data folder.

    Attributes:
      folder: that holds them.
      split: of the folder.
      info: the folder's description, its labels with their mapped names.
    """

    folder: pathlib.Path
    split: str
    info: DatasetInfo


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The facts that all protocols share.

    Attributes:
      synthetic_dirs: name of a cohort -> its data folder.
      real_dir: data folder of real patients.
      out_dir: gets report.json, report.html and finished trainings.
      classifier: what is trained on the images.
      test_dirs: name of a test data set -> its data folder; "" is a name where it is the only one. {} is `real_dir`.
      synthetic_splits: of the cohorts; () is all of them.
      train_splits: of real training patients.
      validation_splits: of real patients on whom every classifier's end of training and threshold are chosen; () keeps
        back a share of each classifier's own training images instead.
      test_splits: of real test patients; of several test folders, each gives those that it has.
      labels: that are evaluated, in this order; () is all of `real_dir`. Where labels are exclusive classes, images of
        other classes are left out.
      label_map: names in the cohorts and in `test_dirs` -> labels of `real_dir`, which are then `labels` by default.
      classifier_seeds: of trainings.
      extractors: what images are compared by: "trained", "pixels", or paths of networks.
      extractor_dir: keeps trained feature extractors, for several evaluations to share; None is `out_dir/extractor`.
      allow_shared_patients: continues where test patients were trained on, and marks the report.
    """

    synthetic_dirs: Mapping[str, pathlib.Path]
    real_dir: pathlib.Path
    out_dir: pathlib.Path
    classifier: ClassifierConfig = ClassifierConfig()
    test_dirs: Mapping[str, pathlib.Path] = dataclasses.field(default_factory=dict)
    synthetic_splits: tuple[str, ...] = ()
    train_splits: tuple[str, ...] = ("train",)
    validation_splits: tuple[str, ...] = ()
    test_splits: tuple[str, ...] = ("test",)
    labels: tuple[str, ...] = ()
    label_map: Mapping[str, str] = dataclasses.field(default_factory=dict)
    classifier_seeds: tuple[int, ...] = (0, 1, 2)
    extractors: tuple[str, ...] = (TRAINED,)
    extractor_dir: pathlib.Path | None = None
    allow_shared_patients: bool = False

    def __post_init__(self) -> None:
        seeds = self.classifier_seeds
        if not seeds or len(set(seeds)) != len(seeds):
            raise ValueError(f"--classifier_seeds expects one or more different values, got {list(seeds)}")
        if min(seeds) < 0:
            raise ValueError(f"--classifier_seeds must be 0 or more, got {min(seeds)}")
        if not self.synthetic_dirs:
            raise ValueError("--synthetic_dir names no cohort")
        for name in ("synthetic_splits", "train_splits", "validation_splits", "test_splits"):
            splits = getattr(self, name)
            if len(set(splits)) < len(splits):
                raise ValueError(f"--{name} names a split twice: {','.join(splits)}")
            if not splits and name in ("train_splits", "test_splits"):
                raise ValueError(f"--{name} names no split")

    def with_mapped_labels(self) -> "Evaluation":
        """With the labels of `real_dir` as those that are evaluated, where the others' names are mapped to them.

        Raises:
          ValueError: the map gives a name that `real_dir` does not have, or takes one that no other folder has.
        """
        if not self.label_map:
            return self
        ours = self.real_info.label_names
        folders = {*self.synthetic_dirs.values(), *self.test_dirs.values()}
        theirs = {name for folder in folders for name in read_dataset_info(folder).label_names}
        for other, name in self.label_map.items():
            for wanted, names, where in ((name, ours, self.real_dir), (other, sorted(theirs), "the other folders")):
                if wanted not in names:
                    raise ValueError(
                        f"--label_map={other}:{name} expects {wanted!r} among the labels of {where}; "
                        f"{nearest_name(wanted, names)}"
                    )
        return dataclasses.replace(self, labels=self.labels or ours)

    def at_one_size(self) -> "Evaluation":
        """With the build of the size that all folders have in place of each folder of builds.

        Raises:
          ValueError: there is a folder of builds, and not exactly one size that all folders have.
        """
        folders = {self.real_dir, *self.test_dirs.values(), *self.synthetic_dirs.values()}
        held = {folder: sizes for folder in sorted(folders) if (sizes := stored_sizes(folder))}
        if all(folder in sizes.values() for folder, sizes in held.items()):
            return self  # none is a folder of builds
        common = sorted(set.intersection(*map(set, held.values())))
        if len(common) != 1:
            said = "; ".join(f"{folder} {', '.join(map(str, sizes))} px" for folder, sizes in held.items())
            raise ValueError(
                f"expected folders with exactly one size in common, got {said}; name data folders of one size, such as "
                "--real_dir=records/64, or build the size that is missing"
            )
        found = {folder: find_size(folder, common[0]) for folder in held}
        return dataclasses.replace(
            self,
            real_dir=found.get(self.real_dir, self.real_dir),
            test_dirs={name: found.get(folder, folder) for name, folder in self.test_dirs.items()},
            synthetic_dirs={name: found.get(folder, folder) for name, folder in self.synthetic_dirs.items()},
        )

    @property
    def trains_extractor(self) -> bool:
        """Whether an extractor is a classifier of the real training images, which then need labels."""
        return TRAINED in {extractor.partition("=")[0] for extractor in self.extractors}

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels that are evaluated, in order."""
        return self.labels or self.real_info.label_names

    @property
    def cohort_name(self) -> str:
        """Name of the only cohort."""
        (name,) = self.synthetic_dirs
        return name

    @property
    def synthetic_dir(self) -> pathlib.Path:
        """Folder of the only cohort."""
        (folder,) = self.synthetic_dirs.values()
        return folder

    @functools.cached_property
    def real_info(self) -> DatasetInfo:
        """Description of the real patients; raises FileNotFoundError where there is none, as the others do."""
        return read_dataset_info(self.real_dir)

    @functools.cached_property
    def test_sets(self) -> dict[str, TestSet]:
        """Every test split of every test folder, named as the split is, or "covid-test" in a folder called covid.

        Raises:
          FileNotFoundError: a folder is missing.
          ValueError: one of several test folders has none of `test_splits`.
        """
        if not self.test_dirs:
            return {split: TestSet(self.real_dir, split, self.real_info) for split in self.test_splits}
        sets = {}
        for name, folder in self.test_dirs.items():
            info = map_info(read_dataset_info(folder), self.label_map)
            held = [split for split in self.test_splits if split in info.splits or len(self.test_dirs) == 1]
            if not held:
                raise ValueError(
                    f"--test_dir={name}={folder} holds none of --test_splits={','.join(self.test_splits)}; it has "
                    f"{', '.join(info.splits)}"
                )
            sets |= {f"{name}-{split}" if name else split: TestSet(folder, split, info) for split in held}
        return sets

    @functools.cached_property
    def synthetic_infos(self) -> dict[str, DatasetInfo]:
        """Description of each cohort."""
        return {
            name: map_info(read_dataset_info(folder), self.label_map) for name, folder in self.synthetic_dirs.items()
        }

    def test_split_flag(self, name: str) -> str:
        """How messages call one of `test_sets`."""
        test = self.test_sets[name]
        return f"--test_splits={test.split} of {test.folder}"

    @property
    def train_splits_flag(self) -> str:
        """The real training splits' name in messages."""
        return f"--train_splits={','.join(self.train_splits)} of {self.real_dir}"
