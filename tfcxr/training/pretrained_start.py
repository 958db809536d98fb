"""What a run folder keeps of the run that its training started from, so that resuming does not need that folder."""

import pathlib
from collections.abc import Sequence
from typing import Any

from absl import logging

from tfcxr.models.pretrained import StoredRun
from tfcxr.training.run_folder import RunConfig


def with_stored_start(settings: dict[str, Any], begun: RunConfig) -> dict[str, Any]:
    """Settings that resume a run that started from another one, with `pretrained` as the run has it stored.

    It may be given again as a path, also of a folder that is gone.
    """
    path = settings.get("pretrained", "")
    if path and pathlib.Path(path).resolve().name == begun.settings["pretrained"]:
        settings = settings | {"pretrained": begun.settings["pretrained"]}
    return settings


def earlier_data(start: StoredRun | None, begun: RunConfig | None) -> dict[str, str]:
    """For `RunConfig.data`: under "pretrained_on" the data sets that the networks were trained on before.

    Args:
      start: the run that training starts from; None starts from random weights, or resumes.
      begun: the run that is resumed, None for a new one.
    """
    if start is None:
        return {name: text for name, text in (begun.data if begun else {}).items() if name == "pretrained_on"}
    newest = f"{start.data.get('name', 'unknown')} ({start.data.get('licence') or 'licence not stated'})"
    return {"pretrained_on": ", ".join(filter(None, [newest, start.data.get("pretrained_on")]))}


def patients_seen(patients: Sequence[str], salt_fingerprint: str, start: StoredRun | None) -> list[str] | None:
    """Keys of the patients that a model will have been trained on; None where they are not known.

    Args:
      patients: keys of the training data's.
      salt_fingerprint: of the training data.
      start: the run that training starts from; None starts from random weights.
    """
    if start is None:
        return list(patients)
    if start.patients is not None and start.data.get("salt_fingerprint", "") == salt_fingerprint:
        return list(dict.fromkeys([*patients, *start.patients]))
    logging.warning(
        "it is not known which patients the model of %s has seen (%s), so no training_patients.txt is written; an "
        "evaluation of the cohorts will say so",
        start.name,
        "its run has no training_patients.txt" if start.patients is None else "its keys have another salt",
    )
    return None
