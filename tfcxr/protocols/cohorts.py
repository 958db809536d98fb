"""Opens a synthetic cohort and real patients side by side, and refuses comparisons that would mislead.

A test set must be of real patients whom neither the classifiers nor the generator have seen. The generator's training
patients stand beside a cohort's `dataset_info.json`, one salted key a line, in the file that its provenance names.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcxr.data.pipeline import choose_images, read_facts
from tfcxr.data.records import read_dataset_info, shard_paths, split_info
from tfcxr.data.schema import DatasetInfo
from tfcxr.data.stored_images import StoredImages, open_images
from tfcxr.protocols.label_checks import (
    check_arms,
    check_label_splits,
    check_patients,
    counts_of_labels,
    counts_of_splits,
    name_of_test_split,
)
from tfcxr.protocols.settings import EvaluationSettings

SUBSET_SEED = 0  # of the images that are taken where a side has more than are wanted


@dataclasses.dataclass(frozen=True)
class Cohort:
    """Images on disk, ready for a classifier; what is known of them is in memory.

    Attributes:
      images: uint8 [images, size, size, 1], read when they are asked for.
      labels: float32 [images, labels] in the order of `Comparison.label_names`, NaN where unknown.
      patient_keys: string [images].
      passport: what it was: data set, splits, counts and the SHA-256 over its shards' SHA-256s.
    """

    images: StoredImages
    labels: np.ndarray
    patient_keys: np.ndarray
    passport: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Both sides of a comparison and the real patients it is judged on.

    Attributes:
      synthetic, real: as many training images each.
      validation: real patients, or None where each arm keeps back a share of its own images.
      tests: by split name.
      shared_patients: sentences on patients seen in training and testing alike; empty when there are none.
      notices: sentences that a reader of the scores must see.
    """

    label_names: tuple[str, ...]
    is_single_label: bool
    synthetic: Cohort
    real: Cohort
    validation: Cohort | None
    tests: dict[str, Cohort]
    shared_patients: tuple[str, ...]
    notices: tuple[str, ...]


def load_comparison(settings: EvaluationSettings) -> Comparison:
    """Loads and checks everything that an evaluation reads.

    Raises:
      FileNotFoundError: a folder or shard is missing.
      ValueError: a damaged or altered shard; no such split; too few images or patients; real and synthetic data
        swapped; sets of another image size or other labels; no label that can be learned or tested; or, unless
        `allow_shared_patients`, test patients that were trained on or that cannot be compared with those that were.
    """
    test_dir = settings.test_dir or settings.real_dir
    real_info, synthetic_info, test_info = read_infos(settings)
    check_kinds(settings, real_info, synthetic_info, test_info)
    for directory, info in ((settings.synthetic_dir, synthetic_info), (test_dir, test_info)):
        check_alike(settings.real_dir, real_info, directory, info)
    synthetic_splits = settings.synthetic_splits or tuple(synthetic_info.splits)
    images = _images_a_side(settings, real_info, synthetic_info, synthetic_splits)
    names, is_single_label = real_info.label_names, real_info.is_single_label
    whole = {
        "real": counts_of_splits(real_info, settings.train_splits, names),
        "synthetic": counts_of_splits(synthetic_info, synthetic_splits, names),
    }
    check_arms(settings, whole, is_single_label)
    label_notices = check_label_splits(settings, real_info, test_info)
    real = load_cohort(settings.real_dir, real_info, settings.train_splits, names, images)
    synthetic = load_cohort(settings.synthetic_dir, synthetic_info, synthetic_splits, names, images)
    sides = {"real": real, "synthetic": synthetic}
    chosen = {side: counts_of_labels(cohort.labels, names) for side, cohort in sides.items()}
    label_notices += check_arms(settings, chosen, is_single_label)
    validation = (
        load_cohort(settings.real_dir, real_info, settings.validation_splits, names)
        if settings.validation_splits
        else None
    )
    tests = {split: load_cohort(test_dir, test_info, [split], names) for split in settings.test_splits}
    for split, test in tests.items():
        label_notices += check_patients(name_of_test_split(settings, split), test.labels, test.patient_keys, names)
    shared = training_leaks(real, validation, tests, real_info, test_info)
    if settings.arms != ("real",):
        shared += generator_leaks(settings.synthetic_dir, synthetic_info, tests, test_info)
    if shared and not settings.allow_shared_patients:
        raise ValueError(f"{shared[0]}; choose other splits, or set --allow_shared_patients, which marks the report")
    return Comparison(
        label_names=names,
        is_single_label=is_single_label,
        synthetic=synthetic,
        real=real,
        validation=validation,
        tests=tests,
        shared_patients=tuple(shared),
        notices=(
            *dict.fromkeys(
                f"{info.name}: {info.notice}" for info in (real_info, synthetic_info, test_info) if info.notice
            ),
            *label_notices,
            *prevalence_notices(names, synthetic, real),
        ),
    )


def read_infos(settings: EvaluationSettings) -> tuple[DatasetInfo, DatasetInfo, DatasetInfo]:
    """The descriptions of the real training, the synthetic and the test data.

    Raises:
      FileNotFoundError: a folder is missing or holds no data. ValueError: an exported model in place of its cohort.
    """
    for folder in (settings.synthetic_dir, *pathlib.Path(settings.synthetic_dir).glob("[0-9]*")):
        if (pathlib.Path(folder) / "saved_model.pb").is_file():
            raise ValueError(
                f"--synthetic_dir={settings.synthetic_dir} holds an exported model, not a cohort; draw one with "
                f"python -m tfcxr.generate --saved_model={settings.synthetic_dir}"
            )
    folders = (settings.real_dir, settings.synthetic_dir, settings.test_dir or settings.real_dir)
    real_info, synthetic_info, test_info = map(read_dataset_info, folders)
    return real_info, synthetic_info, test_info


def split_off_validation(groups: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Chooses whole groups (patients), in random order, until they hold `fraction` of the images.

    Args:
      groups: [images], one value a group.

    Returns:
      bool [images], True for validation; at least one group on each side where there are two or more.
    """
    names, group_of_image, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    count = np.searchsorted(np.cumsum(sizes[order]), fraction * len(groups)) + 1
    return np.isin(group_of_image, order[: min(max(count, 1), len(names) - 1)])


def check_kinds(
    settings: EvaluationSettings, real_info: DatasetInfo, synthetic_info: DatasetInfo, test_info: DatasetInfo
) -> None:
    """Refuses real and synthetic data that are swapped.

    Raises:
      ValueError: the real or the test folder is synthetic, or the synthetic one real.
    """
    if real_info.is_synthetic:
        raise ValueError(f"--real_dir={settings.real_dir} holds synthetic images ({real_info.name}), not real patients")
    if test_info.is_synthetic:
        raise ValueError(
            f"--test_dir={settings.test_dir} holds synthetic images ({test_info.name}); test on real patients"
        )
    if not synthetic_info.is_synthetic:
        raise ValueError(
            f"--synthetic_dir={settings.synthetic_dir} holds real images ({synthetic_info.name}); "
            "give a cohort that python -m tfcxr.generate wrote"
        )


def check_alike(real_dir: pathlib.Path, real: DatasetInfo, other_dir: pathlib.Path, other: DatasetInfo) -> None:
    """Refuses sets of another image size or other labels (ValueError)."""
    if other.image_size != real.image_size:
        raise ValueError(
            f"{real_dir} holds images of {real.image_size} px, {other_dir} of {other.image_size} px; give one size"
        )
    if set(other.label_names) != set(real.label_names) or other.is_single_label != real.is_single_label:
        described = [
            f"{'one of' if info.is_single_label else 'any of'} {', '.join(info.label_names)}" for info in (real, other)
        ]
        is_case = {name.lower() for name in other.label_names} == {name.lower() for name in real.label_names}
        hint = "; names are matched letter by letter, upper and lower case too" if is_case else ""
        raise ValueError(f"labels differ: {real_dir} has {described[0]}, {other_dir} has {described[1]}{hint}")


def _images_a_side(
    settings: EvaluationSettings, real: DatasetInfo, synthetic: DatasetInfo, synthetic_splits: Sequence[str]
) -> int:
    available = {
        f"--synthetic_dir={settings.synthetic_dir}": sum(
            split_info(synthetic, name).images for name in synthetic_splits
        ),
        f"--real_dir={settings.real_dir}": sum(split_info(real, name).images for name in settings.train_splits),
    }
    for directory, count in available.items():
        if settings.images > count:
            raise ValueError(f"--images={settings.images} were asked for on each side, but {directory} holds {count}")
    return settings.images or min(available.values())


def load_cohort(
    directory: pathlib.Path,
    info: DatasetInfo,
    splits: Sequence[str],
    label_names: Sequence[str],
    images: int | None = None,
) -> Cohort:
    """One side: all images of some splits, or a random `images` of them, with the labels of `label_names`.

    Raises:
      FileNotFoundError: a shard is missing.
      ValueError: a damaged or altered shard, no such split, too few images, or real images without a patient.
    """
    for split in splits:
        shard_paths(directory, info, split, verify_checksums=True)
    chosen = choose_images(info, splits, images, SUBSET_SEED)
    facts = {name: values[chosen] for name, values in read_facts(directory, splits).items()}
    labels = facts["label"][:, [info.label_names.index(name) for name in label_names]]
    if not info.is_synthetic and (facts["patient_key"] == "").any():
        raise ValueError(f"{directory} has images without a patient key, so patients cannot be kept apart")
    digest = hashlib.sha256("".join(shard.sha256 for name in splits for shard in info.splits[name].shards).encode())
    return Cohort(
        images=open_images(directory, splits).where(chosen),
        labels=labels,
        patient_keys=facts["patient_key"],
        passport={
            "name": info.name,
            "folder": str(directory),
            "splits": list(splits),
            "label_names": list(info.label_names),
            "images": len(labels),
            "patients": None if info.is_synthetic else len(np.unique(facts["patient_key"])),
            "positives": {name: int((labels[:, index] == 1).sum()) for index, name in enumerate(label_names)},
            "sha256": digest.hexdigest(),
            "image_size": info.image_size,
            "preprocessing": info.preprocessing,
            "provenance": info.provenance,
        },
    )


def training_leaks(
    real: Cohort, validation: Cohort | None, tests: dict[str, Cohort], real_info: DatasetInfo, test_info: DatasetInfo
) -> list[str]:
    """A sentence for each pair of real sets that share patients, or that cannot be compared; [] where all is well."""
    if test_info.salt_fingerprint != real_info.salt_fingerprint:
        return [
            f"the test set ({test_info.name}) and the training set ({real_info.name}) were built with different salts, "
            "so their patients cannot be compared; build both with one salt"
        ]
    leaks = [] if validation is None else [_shared("training", real.patient_keys, "validation", validation)]
    for split, test in tests.items():
        leaks.append(_shared("training", real.patient_keys, split, test))
        leaks.append(_shared("validation", validation.patient_keys, split, test) if validation else "")
    return [leak for leak in leaks if leak]


def generator_leaks(
    synthetic_dir: pathlib.Path, synthetic_info: DatasetInfo, tests: dict[str, Cohort], test_info: DatasetInfo
) -> list[str]:
    """A sentence for each test set whose patients the cohort's generator has seen, or where nobody can tell."""
    training_data = synthetic_info.provenance.get("training_data", {})
    file_name = training_data.get("patient_keys_file", "")
    path = pathlib.Path(synthetic_dir) / pathlib.Path(file_name).name
    if not file_name or not path.is_file():
        return [
            f"the cohort in {synthetic_dir} does not say on which patients its generator was trained "
            f"({file_name or 'training_data.patient_keys_file in its provenance'} is missing), "
            "so the test patients may be among them"
        ]
    if training_data.get("salt_fingerprint", synthetic_info.salt_fingerprint) != test_info.salt_fingerprint:
        return [
            f"the generator's training data and the test set ({test_info.name}) were built with different salts, "
            "so their patients cannot be compared; train the generator on data built with the test set's salt"
        ]
    keys = np.array(path.read_text(encoding="utf-8").split(), str)
    leaks = [_shared("generator's training", keys, split, test) for split, test in tests.items()]
    return [leak for leak in leaks if leak]


def _shared(seen_name: str, seen: np.ndarray, split: str, cohort: Cohort) -> str:
    patients = np.unique(cohort.patient_keys)
    count = int(np.isin(patients, seen).sum())
    if not count:
        return ""
    return f"{count} of the {len(patients)} patients of split {split!r} are also in the {seen_name} data"


def prevalence_notices(label_names: Sequence[str], synthetic: Cohort, real: Cohort) -> list[str]:
    """A sentence for each label whose share differs between the sides."""
    notices = []
    for index, name in enumerate(label_names):
        known = {
            side: column[~np.isnan(column)]
            for side, column in (("synthetic", synthetic.labels[:, index]), ("real training", real.labels[:, index]))
        }
        if unknown := [side for side, values in known.items() if not len(values)]:
            notices.append(f"{name} is known for none of the {' and '.join(unknown)} images")
            continue
        shares = [float(values.mean()) for values in known.values()]
        if abs(shares[0] - shares[1]) > 0.05:
            notices.append(
                f"{name} is in {shares[0]:.0%} of the synthetic and {shares[1]:.0%} of the real training images: "
                "the two sides differ in prevalence, not only in who made the images"
            )
    return notices
