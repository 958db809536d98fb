"""Patients -> splits: every patient in exactly one, label shares as equal as they can be.

Adding images to a data set changes an iterative stratification, so a patient may come into another split. Two ways
keep every patient where they were: `hashed_split` looks at nothing but the patient's own name, and a former build's
division can be given to `split_new_patients`, which divides the patients that are new.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping

import numpy as np

SPLIT_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LEVELS = (0.0, 0.5)  # a mean label above each level is one property to balance


def split_patients(
    patient_labels: Mapping[str, np.ndarray], fractions: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Divides patients among splits by iterative stratification of their mean labels.

    Sechidis, Tsoumakas, Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD 2011, as in the package
    `iterative-stratification`, which takes yes/no properties. A patient's mean label becomes two of them for each
    name, "in any image" (above 0) and "in more than half" (above .5), and one more, "none at all"; an unknown mean
    counts as absent. The result depends on the set of patients, the fractions and the seed alone, not on their order.

    Args:
      patient_labels: patient -> float [labels], each value the mean over the patient's images in [0, 1], NaN unknown.
      fractions: split -> share of the patients; the shares add up to 1.

    Returns:
      patient -> split.

    Raises:
      ValueError: fractions that do not add up to 1, or so few patients that a split would stay empty.
    """
    from iterstrat.ml_stratifiers import IterativeStratification  # brings scikit-learn, which takes a second

    check_fractions(fractions)
    patients = sorted(patient_labels)
    names = list(fractions)
    if len(patients) < len(names):
        raise ValueError(_too_few(len(patients), fractions, "some split"))
    properties = _properties(np.stack([np.asarray(patient_labels[patient], float) for patient in patients]))
    shares = np.array([fractions[name] for name in names])
    generator = np.random.RandomState(seed % 2**32)
    order = generator.permutation(len(patients))
    split_index = IterativeStratification(properties[order], shares / shares.sum(), generator)
    for index, name in enumerate(names):
        if not np.any(split_index == index):
            raise ValueError(_too_few(len(patients), fractions, f"split {name!r}"))
    return {patients[position]: names[index] for position, index in zip(order, split_index, strict=True)}


def hashed_split(patient: str, fractions: Mapping[str, float], seed: int) -> str:
    """The split of one patient by a hash of name and seed: the same whoever else is in the data set."""
    position = int.from_bytes(hashlib.sha256(f"{seed}\0{patient}".encode()).digest()[:8], "big") / 2**64
    for name, fraction in fractions.items():
        position -= fraction
        if position < 0:
            return name
    return name


def split_new_patients(
    patient_labels: Mapping[str, np.ndarray], kept: Mapping[str, str], fractions: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Leaves patients where a former build had them and divides the others so that the shares come out as asked.

    Args:
      patient_labels: as `split_patients` takes them, all patients of the data set.
      kept: patient -> split for those who have one. A split that is full gets no new patient.
    """
    new = {patient: label for patient, label in patient_labels.items() if patient not in kept}
    counts = Counter(kept[patient] for patient in patient_labels if patient in kept)
    missing = {name: max(share * len(patient_labels) - counts[name], 0.0) for name, share in fractions.items()}
    open_splits = {name: count for name, count in missing.items() if count >= 1}
    if len(open_splits) < 2 or len(new) < 2 * len(open_splits):  # too few to balance anything
        chosen = dict.fromkeys(new, max(missing, key=missing.get))
    else:
        total = sum(open_splits.values())
        chosen = split_patients(new, {name: count / total for name, count in open_splits.items()}, seed)
    return {patient: kept.get(patient) or chosen[patient] for patient in patient_labels}


def fold_fractions(folds: int) -> dict[str, float]:
    """Equal shares named fold_0, fold_1, ... for cross-validation; raises ValueError for fewer than 2 folds."""
    if folds < 2:
        raise ValueError(f"folds expects 2 or more, got {folds}")
    return {f"fold_{index}": 1 / folds for index in range(folds)}


def parse_fractions(text: str) -> dict[str, float]:
    """Reads `train=.8,validation=.1,test=.1`.

    Raises:
      ValueError: not a list of name=fraction, a name twice, or fractions that do not add up to 1.
    """
    fractions: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        try:
            fraction = float(value)
        except ValueError:
            equals = ""
        if not equals or name in fractions:
            raise ValueError(f"expected splits such as train=.8,validation=.1,test=.1, each name once, got {text!r}")
        fractions[name] = fraction
    check_fractions(fractions)
    return fractions


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Raises ValueError unless names are plain, fractions above 0, and their sum 1."""
    for name, fraction in fractions.items():
        if not SPLIT_NAME.fullmatch(name):
            raise ValueError(f"split name {name!r} expects small letters, digits and _, beginning with a letter")
        if not 0 < fraction <= 1:
            raise ValueError(f"split {name!r} expects a fraction above 0 and at most 1, got {fraction}")
    if not math.isclose(sum(fractions.values()), 1, abs_tol=1e-6):
        raise ValueError(f"split fractions add up to {sum(fractions.values()):g}, expected 1: {describe(fractions)}")


def describe(fractions: Mapping[str, float]) -> str:
    """The text that `parse_fractions` reads."""
    return ",".join(f"{name}={fraction:g}" for name, fraction in fractions.items())


def _properties(means: np.ndarray) -> np.ndarray:
    """float [patients, labels] -> bool [patients, properties]; columns that say the same are kept once."""
    means = np.nan_to_num(means, nan=0.0)
    columns = [means > level for level in _LEVELS]
    columns.append(~columns[0].any(axis=1, keepdims=True))
    return np.unique(np.concatenate(columns, axis=1), axis=1)


def _too_few(patients: int, fractions: Mapping[str, float], what: str) -> str:
    return (
        f"{patients} patients are too few for the splits {describe(fractions)}: {what} would be empty; "
        "give fewer splits or larger fractions with --splits"
    )
