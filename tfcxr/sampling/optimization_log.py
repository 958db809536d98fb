"""What latent class optimisation did: a note for each pseudo-patient, and their summary, `optimization.json`."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcxr.sampling.cohort_labels import CohortLabels

NO_LABEL = "no label"


@dataclasses.dataclass(frozen=True)
class PatientLog:
    """Of one pseudo-patient.

    Attributes:
      row: of `CohortLabels.rows`, its targets.
      tries: latents that were optimised for it, the last of which reached its thresholds.
      steps: gradient steps of that one.
      first_log_odds: by class, at its start.
      log_odds: by class, at its optimum.
      labels: one per image and class, 1 or 0, NaN for a class without a threshold.
      images_held: images around the optimum in which every target is still above its threshold without severity.
      curve: shortfall by step of the patients that the page draws, else empty.
    """

    row: int
    tries: int
    steps: int
    first_log_odds: list[float]
    log_odds: list[float]
    labels: list[list[float]]
    images_held: int
    curve: list[float]


def to_json(logs: Sequence[PatientLog]) -> str:
    """The text that `from_json` reads."""
    return json.dumps([dataclasses.asdict(log) for log in logs])


def from_json(text: str) -> list[PatientLog]:
    """Reads what `to_json` wrote."""
    return [PatientLog(**log) for log in json.loads(text)]


def target_name(row: np.ndarray, label_names: Sequence[str]) -> str:
    """The targets of a row of labels, such as "Edema + Mass"."""
    return " + ".join(name for name, value in zip(label_names, row, strict=True) if value == 1) or NO_LABEL


def summarise(logs: Sequence[PatientLog], labels: CohortLabels, label_names: Sequence[str]) -> dict[str, Any]:
    """Plain JSON: totals, what each combination of targets took, and what co-occurs with each of them.

    `co_occurrence` says which share of a target's images show each class, None where that is unknown; `rise` by how
    much the class's log odds rose on average between start and optimum.
    """
    targets = {}
    for row in sorted({log.row for log in logs}, key=lambda row: -sum(log.row == row for log in logs)):
        own = [log for log in logs if log.row == row]
        shown = np.concatenate([np.array(log.labels, float) for log in own])
        rise = np.mean([np.subtract(log.log_odds, log.first_log_odds) for log in own], axis=0)
        targets[target_name(labels.rows[row], label_names)] = {
            "patients": len(own),
            "images": len(shown),
            "images_held": sum(log.images_held for log in own),
            "tries": sum(log.tries for log in own),
            "failures": sum(log.tries - 1 for log in own),
            "median_steps": float(np.median([log.steps for log in own])),
            "co_occurrence": {
                name: None if np.isnan(share) else float(share)
                for name, share in zip(label_names, shown.mean(axis=0), strict=True)
            },
            "rise": dict(zip(label_names, map(float, rise), strict=True)),
            "curves": [log.curve for log in own if log.curve],
        }
    tries = sum(target["tries"] for target in targets.values())
    return {
        "patients": len(logs),
        "images": sum(target["images"] for target in targets.values()),
        "tries": tries,
        "success_rate": len(logs) / tries,
        "median_steps": float(np.median([log.steps for log in logs])),
        "targets": targets,
    }
