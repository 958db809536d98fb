"""Other names for labels, so that sets from elsewhere compare: COVID and Viral of one set are PNEUMONIA of another.

Of exclusive classes, several may stand for one; their images are counted together. Joint labels are only renamed, as a
description does not say how many images have one or the other.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tfcxr.data.schema import LABEL_STATES, DatasetInfo


def map_names(names: Sequence[str], label_map: Mapping[str, str]) -> tuple[str, ...]:
    """The names as the map has them, each once, in the order of their first."""
    return tuple(dict.fromkeys(label_map.get(name, name) for name in names))


def map_info(info: DatasetInfo, label_map: Mapping[str, str]) -> DatasetInfo:
    """A description whose labels have their mapped names.

    Raises:
      ValueError: two joint labels would become one.
    """
    if not label_map:
        return info
    names = map_names(info.label_names, label_map)
    if len(names) < len(info.label_names) and not info.is_single_label:
        raise ValueError(
            f"--label_map makes one label of several of {info.name}, whose images may have many at once; that is for "
            "exclusive classes alone, so name one label for one"
        )
    splits = {}
    for split, held in info.splits.items():
        counts = {name: dict.fromkeys(LABEL_STATES, 0) for name in names}
        for name, of_state in held.labels.items():
            for state, count in of_state.items():
                counts[label_map.get(name, name)][state] += count
        for of_state in counts.values():  # of exclusive classes: what is none of those that became one
            if info.is_single_label:
                of_state["negative"] = held.images - of_state["positive"] - of_state["unknown"]
        splits[split] = dataclasses.replace(held, labels=counts)
    return dataclasses.replace(info, label_names=names, splits=splits)


def map_labels(labels: np.ndarray, names: Sequence[str], label_map: Mapping[str, str]) -> np.ndarray:
    """float32 [images, mapped names] of float32 [images, names]: 1 where any of the labels that became one is 1."""
    mapped = map_names(names, label_map)
    owner = np.array([mapped.index(label_map.get(name, name)) for name in names])
    return np.stack([labels[:, owner == column].max(axis=1) for column in range(len(mapped))], axis=1)
