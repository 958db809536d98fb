"""Opens synthetic cohorts and real patients side by side, and refuses comparisons that would mislead.

A test set must be of real patients whom neither the classifiers nor the generator have seen (`shared_patients`).
"""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from tfcxr.data.label_choice import choose_labels
from tfcxr.data.pipeline import read_facts
from tfcxr.data.records import read_dataset_info, shard_paths
from tfcxr.data.schema import DatasetInfo
from tfcxr.data.stored_images import StoredImages, open_images
from tfcxr.evaluation import label_checks
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.label_map import map_labels
from tfcxr.evaluation.labelled_images import LabelledImages
from tfcxr.evaluation.shared_patients import generator_leaks, refuse_shared_patients, training_leaks
from tfcxr.evaluation.subgroups import groups_of_facts

SUBSET_SEED = 0  # of the images that are taken where a side has more than are wanted
MAX_PREVALENCE_GAP = 0.05  # above it, a difference between the sides is reported


@dataclasses.dataclass(frozen=True)
class Cohort:
    """Images on disk, ready for a classifier; what is known of them is in memory.

    Attributes:
      images: uint8 [images, size, size, 1], read when they are asked for.
      labels: float32 [images, labels] in the order that was asked for, NaN where unknown.
      patient_keys: string [images].
      groups: "sex", "age" and "view" of each image, string [images] each, "" where unknown (`subgroups`).
      facts: for the report: data set, splits, counts and the SHA-256 over its shards' SHA-256s.
    """

    images: StoredImages
    labels: np.ndarray
    patient_keys: np.ndarray
    groups: dict[str, np.ndarray]
    facts: dict[str, Any]

    @property
    def labelled(self) -> LabelledImages:
        """Images and labels."""
        return LabelledImages(self.images, self.labels)

    @property
    def identity(self) -> dict[str, Any]:
        """The facts that a kept result depends on."""
        return {name: self.facts[name] for name in ("sha256", "splits", "label_names", "images")}


@dataclasses.dataclass(frozen=True)
class Cohorts:
    """All sides of an evaluation.

    Attributes:
      label_names: the order of all labels.
      is_single_label: exclusive labels.
      synthetic: by name.
      real: training patients.
      validation: real patients, or None where each training keeps back a share of its own images.
      tests: real patients, by the name of a test set, as in `Evaluation.test_sets`.
      shared_patients: sentences on patients seen in training and testing alike; empty when there are none.
      notices: sentences that a reader of the report must see.
    """

    label_names: tuple[str, ...]
    is_single_label: bool
    synthetic: dict[str, Cohort]
    real: Cohort
    validation: Cohort | None
    tests: dict[str, Cohort]
    shared_patients: tuple[str, ...]
    notices: tuple[str, ...]

    @property
    def only_synthetic(self) -> Cohort:
        """The only synthetic cohort."""
        (cohort,) = self.synthetic.values()
        return cohort

    @property
    def real_sets(self) -> dict[str, Cohort]:
        """Training patients by the names of their splits, then the test sets."""
        return {", ".join(self.real.facts["splits"]): self.real, **self.tests}

    @property
    def facts(self) -> dict[str, dict[str, Any] | None]:
        """Of every cohort, by role."""
        named = {("synthetic" if len(self.synthetic) == 1 else name): side for name, side in self.synthetic.items()}
        tests = {f"test: {split}": test for split, test in self.tests.items()}
        sides = {**named, "real": self.real, "validation": self.validation, **tests}
        return {role: side and side.facts for role, side in sides.items()}

    def with_notices(self, notices: Sequence[str]) -> "Cohorts":
        """With more notices behind, all of which are logged, as what follows may take hours."""
        for sentence in (*self.notices, *notices):
            logging.warning("%s.", sentence.rstrip("."))
        return dataclasses.replace(self, notices=(*self.notices, *notices))


def check_folders(
    evaluation: Evaluation, same_labels: bool = True, allows_unlabelled: bool = False, only_extractors: bool = False
) -> None:
    """Refuses folders that cannot be compared, by their descriptions alone.

    Args:
      same_labels: the real set must have labels, and the test set and the cohorts the same ones.
      allows_unlabelled: a cohort may have none.
      only_extractors: nothing but an extractor learns, so the real set may have no labels where none is trained on it.

    Raises:
      FileNotFoundError: a folder is missing or holds no data.
      ValueError: an exported model in place of its cohort, real and synthetic data swapped, or sets of
        another image size or without the labels that are needed.
    """
    for folder in evaluation.synthetic_dirs.values():
        if any((path / "saved_model.pb").is_file() for path in (folder, *pathlib.Path(folder).glob("[0-9]*"))):
            raise ValueError(
                f"--synthetic_dir={folder} holds an exported model, not a cohort; generate one with "
                f"python -m tfcxr.generate --saved_model={folder}"
            )
    real_dir, real = evaluation.real_dir, evaluation.real_info
    tests = {test.folder: test.info for test in evaluation.test_sets.values()}
    if real.is_synthetic:
        raise ValueError(f"--real_dir={real_dir} holds synthetic images ({real.name}), not real patients")
    for folder, info in tests.items():
        if info.is_synthetic:
            raise ValueError(f"--test_dir={folder} holds synthetic images ({info.name}); test on real patients")
    if only_extractors and not evaluation.trains_extractor and not real.label_names:
        same_labels = False
    if same_labels and not real.label_names:
        instead = f", {label_checks.UNTRAINED_EXTRACTORS}" if only_extractors else ""
        raise ValueError(
            f"{evaluation.train_splits_flag} has no labels, so nothing can be learned; build it from labelled images"
            f"{instead}"
        )
    if len(evaluation.labels) == 1 and real.is_single_label:
        raise ValueError(
            f"--labels={evaluation.labels[0]} leaves a single one of the exclusive classes of {real_dir}, so there is "
            f"nothing to tell it from; name two or more of {', '.join(real.label_names)}"
        )
    for folder, info in zip(evaluation.synthetic_dirs.values(), evaluation.synthetic_infos.values(), strict=True):
        if not info.is_synthetic:
            raise ValueError(
                f"--synthetic_dir={folder} holds real images ({info.name}); "
                "give a cohort that python -m tfcxr.generate wrote"
            )
        is_compared = same_labels and not (allows_unlabelled and not info.label_names)
        check_alike(evaluation, folder, info, is_compared)
    for folder, info in tests.items():
        check_alike(evaluation, folder, info, same_labels)
    if only_extractors and evaluation.trains_extractor:
        counts = label_checks.counts_of_splits(real, evaluation.train_splits, evaluation.label_names)
        label_checks.check_extractor_labels(evaluation.train_splits_flag, counts)


def check_alike(evaluation: Evaluation, folder: pathlib.Path, info: DatasetInfo, same_labels: bool) -> None:
    """Refuses a set that is not like `real_dir`: another image size or, with `same_labels`, other labels.

    With `labels`, both must have these; they may differ in what else they have.

    Raises:
      ValueError: it differs, or it has labels and lacks one of `labels`.
    """
    real_dir, real = evaluation.real_dir, evaluation.real_info
    if info.image_size != real.image_size:
        raise ValueError(
            f"{real_dir} holds images of {real.image_size} px, {folder} of {info.image_size} px; give one size"
        )
    for labelled_dir, labelled in ((real_dir, real), (folder, info)):
        if evaluation.labels and (labelled.label_names or same_labels or labelled is real):
            try:
                choose_labels(labelled, evaluation.labels)
            except ValueError as error:
                raise ValueError(
                    f"--labels={','.join(evaluation.labels)} does not fit {labelled_dir}: {error}"
                ) from error
    has_other_names = not evaluation.labels and set(real.label_names) != set(info.label_names)
    if same_labels and (has_other_names or info.is_single_label != real.is_single_label):
        first, second = (
            f"{'one of' if each.is_single_label else 'any of'} {', '.join(each.label_names)}" for each in (real, info)
        )
        raise ValueError(f"labels differ: {real_dir} has {first}, {folder} has {second}{_label_hint(real, info)}")


def _label_hint(real: DatasetInfo, other: DatasetInfo) -> str:
    """How sets of different labels can be compared all the same."""
    if {name.lower() for name in other.label_names} == {name.lower() for name in real.label_names} and set(
        other.label_names
    ) != set(real.label_names):
        return "; names are matched letter by letter, upper and lower case too"
    shared = [name for name in real.label_names if name in other.label_names]
    if other.is_single_label != real.is_single_label:
        return "; exclusive labels cannot be compared with joint ones: build both sets with labels of one kind"
    if len(shared) < (2 if real.is_single_label else 1):
        return "; they share too few labels to be compared"
    return f"; to evaluate what both have: --labels={','.join(shared)}"


def load_cohorts(
    evaluation: Evaluation,
    label_names: tuple[str, ...],
    images: int | None = None,
    uses_generator: bool = True,
    synthetic_images: int | None = None,
) -> Cohorts:
    """Loads and checks everything that a protocol compares.

    Args:
      label_names: in this order; () loads none.
      images: of each cohort and of the real training set, chosen at random; all where None.
      uses_generator: False where nothing learns from synthetic images or is compared with them.
      synthetic_images: of each cohort, where these are to be others than `images`.

    Raises:
      FileNotFoundError: a shard is missing.
      ValueError: a damaged or altered shard, no such split, too few images; or, unless `allow_shared_patients`, test
        patients that were trained on or that cannot be compared with those that were.
    """
    real_info, synthetic = evaluation.real_info, {}
    for name, info in evaluation.synthetic_infos.items():
        splits, names = evaluation.synthetic_splits or tuple(info.splits), label_names if info.label_names else ()
        folder = evaluation.synthetic_dirs[name]
        synthetic[name] = load_cohort(folder, info, splits, names, synthetic_images or images, evaluation.label_map)
    real_dir, validation = evaluation.real_dir, None
    real = load_cohort(real_dir, real_info, evaluation.train_splits, label_names, images)
    if evaluation.validation_splits:
        validation = load_cohort(real_dir, real_info, evaluation.validation_splits, label_names)
    label_map = evaluation.label_map if evaluation.test_dirs else {}
    tests = {
        name: load_cohort(test.folder, test.info, [test.split], label_names, None, label_map)
        for name, test in evaluation.test_sets.items()
    }
    test_infos = {name: test.info for name, test in evaluation.test_sets.items()}
    shared = training_leaks(real, validation, tests, real_info, test_infos)
    for name, info in evaluation.synthetic_infos.items() if uses_generator else ():
        shared += generator_leaks(evaluation.synthetic_dirs[name], info, tests, test_infos)
    refuse_shared_patients(shared, evaluation)
    infos = (real_info, *evaluation.synthetic_infos.values(), *test_infos.values())
    notices = list(dict.fromkeys(f"{info.name}: {info.notice}" for info in infos if info.notice))
    notices += _left_out_notices([*synthetic.values(), real, *([validation] if validation else []), *tests.values()])
    for cohort in synthetic.values():
        notices += _prevalence_notices(label_names, cohort, real)
    return Cohorts(
        label_names, real_info.is_single_label, synthetic, real, validation, tests, tuple(shared), tuple(notices)
    )


def load_cohort(
    directory: str | os.PathLike,
    info: DatasetInfo,
    splits: Sequence[str],
    label_names: Sequence[str],
    images: int | None = None,
    label_map: Mapping[str, str] | None = None,
) -> Cohort:
    """One side: all images of some splits, or a random `images` of them, with the labels of `label_names`.

    Images of exclusive classes that `label_names` leaves out are left out, and counted in the facts. `label_map` made
    `info` of the folder's own description.

    Raises:
      FileNotFoundError: a shard is missing.
      ValueError: a damaged or altered shard, no such split, too few images, or real images without a patient.
    """
    for split in splits:
        shard_paths(directory, info, split, verify_checksums=True)
    choice, facts = choose_labels(info, label_names), read_facts(directory, splits)
    if label_map:
        facts["label"] = map_labels(facts["label"], read_dataset_info(directory).label_names, label_map)
    stays = choice.keeps(facts["label"])
    if images is not None and stays.sum() < images:
        where = f"{', '.join(splits)} of {directory}"
        raise ValueError(
            f"{images} images were asked for, but {where} holds {stays.sum()} of {', '.join(choice.names)}"
        )
    chosen = np.zeros(len(stays), bool)
    chosen[np.flatnonzero(stays)[np.random.default_rng(SUBSET_SEED).permutation(stays.sum())[:images]]] = True
    facts = {name: values[chosen] for name, values in facts.items()}
    labels = choice.of(facts["label"]) if label_names else facts["label"][:, :0]
    if not info.is_synthetic and (facts["patient_key"] == "").any():
        raise ValueError(f"{directory} has images without a patient key, so patients cannot be kept apart")
    digest = hashlib.sha256("".join(shard.sha256 for name in splits for shard in info.splits[name].shards).encode())
    return Cohort(
        images=open_images(directory, splits).where(chosen),
        labels=labels,
        patient_keys=facts["patient_key"],
        groups=groups_of_facts(facts),
        facts={
            "name": info.name,
            "folder": str(directory),
            "splits": list(splits),
            "label_names": list(choice.names),
            "images": len(labels),
            "left_out": int((~stays).sum()),
            "patients": None if info.is_synthetic else len(np.unique(facts["patient_key"])),
            "positives": {name: int((labels[:, index] == 1).sum()) for index, name in enumerate(label_names)},
            "sha256": digest.hexdigest(),
            "image_size": info.image_size,
            "preprocessing": info.preprocessing,
            "provenance": info.provenance,
        },
    )


def split_off_validation(groups: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Chooses whole groups (patients), in random order, until they hold `fraction` of the images.

    Args:
      groups: [images], equal for the images of one group.

    Returns:
      bool [images], True for validation; at least one group on each side where there are two or more.
    """
    names, group_of_image, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    count = np.searchsorted(np.cumsum(sizes[order]), fraction * len(groups)) + 1
    return np.isin(group_of_image, order[: min(max(count, 1), len(names) - 1)])


def _left_out_notices(cohorts: Sequence[Cohort]) -> list[str]:
    """A sentence for each set of which images of other classes were left out."""
    return [
        f"{facts['left_out']} images of {', '.join(facts['splits'])} of {facts['folder']} are left out: they are none "
        f"of {', '.join(facts['label_names'])}"
        for facts in (cohort.facts for cohort in cohorts)
        if facts["left_out"]
    ]


def _prevalence_notices(label_names: Sequence[str], synthetic: Cohort, real: Cohort) -> list[str]:
    """A sentence for each label whose share differs between the sides; none for a cohort without labels."""
    notices = []
    for index, name in enumerate(label_names if synthetic.labels.shape[1] else ()):
        known = {
            side: column[~np.isnan(column)]
            for side, column in (("synthetic", synthetic.labels[:, index]), ("real training", real.labels[:, index]))
        }
        if unknown := [side for side, values in known.items() if not len(values)]:
            notices.append(f"{name} is known for none of the {' and '.join(unknown)} images")
            continue
        shares = [float(values.mean()) for values in known.values()]
        if abs(shares[0] - shares[1]) > MAX_PREVALENCE_GAP:
            notices.append(
                f"{name} is in {shares[0]:.0%} of the synthetic and {shares[1]:.0%} of the real training images: "
                "the two sides differ in prevalence, not only in who made the images"
            )
    return notices
