"""Patients seen in training and in testing alike, whom no evaluation may have.

The generator's training patients stand beside a cohort's `dataset_info.json`, one salted key per line, in the file
that its provenance names. Patients of sets that were built with different salts cannot be compared: also refused.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from absl import logging

from tfcxr.data.schema import DatasetInfo
from tfcxr.data.training_patients import read_training_patients, training_patients_file
from tfcxr.evaluation.evaluation import Evaluation

if TYPE_CHECKING:
    from tfcxr.evaluation.cohorts import Cohort


def refuse_shared_patients(shared: Sequence[str], evaluation: Evaluation) -> None:
    """Refuses sentences on shared patients (ValueError), or logs them where they are allowed."""
    if shared and not evaluation.allow_shared_patients:
        raise ValueError(f"{shared[0]}; choose other splits, or set --allow_shared_patients, which marks the report")
    for sentence in shared:
        logging.warning("NOT patient-disjoint: %s.", sentence)


def training_leaks(
    real: "Cohort",
    validation: "Cohort | None",
    tests: Mapping[str, "Cohort"],
    real_info: DatasetInfo,
    test_infos: Mapping[str, DatasetInfo],
    name: str = "training",
) -> list[str]:
    """A sentence for each pair of real sets that share patients, or that cannot be compared; [] where all is well.

    Args:
      test_infos: descriptions of `tests`, by the same names.
      name: of the set `real`, in sentences.
    """
    leaks = [] if validation is None else [_shared(name, real.patient_keys, "validation", validation)]
    for split, test in tests.items():
        if (info := test_infos[split]).salt_fingerprint != real_info.salt_fingerprint:
            leaks.append(
                f"the test set ({info.name}) and the {name} set ({real_info.name}) were built with different salts, "
                "so their patients cannot be compared; build both with one salt"
            )
            continue
        leaks.append(_shared(name, real.patient_keys, split, test))
        leaks.append(_shared("validation", validation.patient_keys, split, test) if validation else "")
    return list(dict.fromkeys(filter(None, leaks)))


def generator_leaks(
    synthetic_dir: pathlib.Path,
    synthetic_info: DatasetInfo,
    tests: Mapping[str, "Cohort"],
    test_infos: Mapping[str, DatasetInfo],
) -> list[str]:
    """A sentence for each test set whose patients the cohort's generator has seen, or where nobody can tell."""
    patients = read_training_patients(synthetic_dir, synthetic_info)
    if patients is None:
        file_name = training_patients_file(synthetic_info.provenance)
        return [
            f"the cohort in {synthetic_dir} does not say on which patients its generator was trained "
            f"({file_name or 'training_data.patient_keys_file in its provenance'} is missing), "
            "so the test patients may be among them"
        ]
    keys, leaks = np.array(sorted(patients.keys), str), []
    for split, test in tests.items():
        if patients.salt_fingerprint != test_infos[split].salt_fingerprint:
            leaks.append(
                f"the generator's training data and the test set ({test_infos[split].name}) were built with "
                "different salts, so their patients cannot be compared; train the generator on data built with the "
                "test set's salt"
            )
        else:
            leaks.append(_shared("generator's training", keys, split, test))
    return list(dict.fromkeys(filter(None, leaks)))


def _shared(seen_name: str, seen: np.ndarray, split: str, cohort: "Cohort") -> str:
    patients = np.unique(cohort.patient_keys)
    count = int(np.isin(patients, seen).sum())
    if not count:
        return ""
    return f"{count} of the {len(patients)} patients of split {split!r} are also in the {seen_name} data"
