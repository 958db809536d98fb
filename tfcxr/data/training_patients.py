"""The patients a generator was trained on: salted keys in a file beside its cohorts, so that nobody tests on them."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from tfcxr.data.schema import DatasetInfo

TRAINING_PATIENTS_FILE = "training_patients.txt"  # one key per line


@dataclasses.dataclass(frozen=True)
class TrainingPatients:
    """Patients of one or more generators.

    Attributes:
      keys: salted, see `hashed_key`.
      salt_fingerprint: of their salt; only keys of one salt can be compared.
    """

    keys: frozenset[str]
    salt_fingerprint: str

    @property
    def text(self) -> str:
        """What `TRAINING_PATIENTS_FILE` holds."""
        return "".join(f"{key}\n" for key in sorted(self.keys))

    @property
    def facts(self) -> dict[str, str]:
        """What the "training_data" in a cohort's provenance says of them."""
        return {"patient_keys_file": TRAINING_PATIENTS_FILE, "salt_fingerprint": self.salt_fingerprint}


def training_patients_file(provenance: Mapping[str, Any]) -> str:
    """The file name that a cohort's provenance gives, "" where it gives none; never a path out of its folder."""
    return pathlib.Path(provenance.get("training_data", {}).get("patient_keys_file", "")).name


def read_training_patients(data_dir: str | pathlib.Path, info: DatasetInfo) -> TrainingPatients | None:
    """Those of a synthetic cohort's generator, None where its folder does not name them.

    Args:
      data_dir: the cohort's.
      info: its description.
    """
    name = training_patients_file(info.provenance)
    path = pathlib.Path(data_dir) / name
    if not name or not path.is_file():
        return None
    salt = info.provenance["training_data"].get("salt_fingerprint", info.salt_fingerprint)
    return TrainingPatients(frozenset(path.read_text(encoding="utf-8").split()), salt)


def joined_training_patients(cohorts: Sequence[tuple[pathlib.Path, DatasetInfo]]) -> TrainingPatients | None:
    """Those of all the synthetic cohorts among folders and their descriptions; None, with a warning, if one is silent.

    Also None where the cohorts' keys have different salts, or none of them is synthetic.
    """
    synthetic = [(folder, info) for folder, info in cohorts if info.is_synthetic]
    found = {folder: read_training_patients(folder, info) for folder, info in synthetic}
    known = [patients for patients in found.values() if patients is not None]
    if silent := [str(folder) for folder, patients in found.items() if patients is None]:
        why = f"{', '.join(silent)} does not name them"
    elif len({patients.salt_fingerprint for patients in known}) > 1:
        why = "their keys have different salts"
    elif not known:
        return None
    else:
        return TrainingPatients(frozenset().union(*(patients.keys for patients in known)), known[0].salt_fingerprint)
    logging.warning(
        "it is not known on which patients all the generators were trained (%s), so no %s is written; an evaluation "
        "takes the cohort with --allow_shared_patients only",
        why,
        TRAINING_PATIENTS_FILE,
    )
    return None
