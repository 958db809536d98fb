"""What the page knows of the loaded models: which pictures each can make, and what its form asks for."""

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcxr.data.conditions import CONDITIONS, UNKNOWN, VALUES, YEARS, read_condition, record_fields
from tfcxr.server.model_manager import AVAILABLE, ModelManager
from tfcxr.server.servable import DEFAULT_SIGNATURE, Servable
from tfcxr.server.serving_error import ServingError
from tfcxr.serving.model_card import CARD_FILE, ModelDescription


def page_models(manager: ModelManager) -> list[dict[str, Any]]:
    """Each model with its loaded versions, the newest first, plain JSON."""
    return [{"name": name, "versions": _versions(manager, name)} for name in manager.names()]


def asked_for(description: ModelDescription, label: Sequence[float]) -> tuple[str, ...]:
    """What a row of the `label` input asks for in words: labels, then conditions such as "sex F" and "age 60"."""
    columns = [*description.label_names, *description.condition_names]
    by_column = dict(zip(columns, label, strict=False))  # conditions may be left out
    words = [name for name in description.label_names if by_column.get(name) == 1]
    values = np.array([by_column.get(name, UNKNOWN) for name in description.condition_names], np.float32)
    fields = record_fields(np.where(values == UNKNOWN, np.nan, values), description.condition_names)
    return (*words, *(f"{name} {value:g}" if name == "age" else f"{name} {value}" for name, value in fields.items()))


def _versions(manager: ModelManager, name: str) -> list[dict[str, Any]]:
    """Facts of the versions that are loaded, the newest first."""
    facts = []
    for version, state in manager.states(name).items():
        if state.state == AVAILABLE:
            with contextlib.suppress(ServingError), manager.use(name, version) as servable:  # it may go meanwhile
                facts.append(version_facts(servable))
    return facts


def version_facts(servable: Servable) -> dict[str, Any]:
    """`version`, `signatures` and, of a model of ours, `kind`, labels, conditions, size and weights, plain JSON."""
    description = servable.description
    facts = {"version": servable.version, "signatures": sorted(servable.signature_defs), "kind": "unknown"}
    if description is None:
        return facts
    default = servable.signature_defs.get(DEFAULT_SIGNATURE)
    return facts | {
        "kind": description.kind,
        "model": description.model,
        "label_names": list(description.label_names),
        "is_single_label": description.is_single_label,
        "reads_label": default is not None and "label" in default.inputs,
        "conditions": condition_choices(description.condition_names),
        "image_size": description.image_size,
        "has_truncation": default is not None and "truncation" in default.inputs,
        "has_card": (servable.path / CARD_FILE).is_file(),
        "steps": description.steps,
        "data": description.data.get("name", "unknown"),
        "notice": description.data.get("notice", ""),
        "weights_sha256": description.weights_sha256,
    }


def condition_choices(columns: Sequence[str]) -> list[dict[str, Any]]:
    """How the page asks for each condition, in the order of the columns.

    Each has a `name` and `unknown`, the values of its columns where nothing is asked for; a field of words has
    `choices`, each with its `text` and `values`, and age has `scale`, the years that are 1.
    """
    fields = [name for name, of_field in CONDITIONS.items() if set(of_field) <= set(columns)]
    fields.sort(key=lambda name: list(columns).index(CONDITIONS[name][0]))
    asked: list[dict[str, Any]] = []
    for name in fields:
        unknown = [UNKNOWN] * len(CONDITIONS[name])
        if name not in VALUES:
            asked.append({"name": name, "unknown": unknown, "scale": YEARS})
            continue
        values = {text: read_condition(f"{name}={text}", columns) for text in VALUES[name]}
        choices = [{"text": text, "values": [of[key] for key in CONDITIONS[name]]} for text, of in values.items()]
        asked.append({"name": name, "unknown": unknown, "choices": choices})
    return asked
