"""Chooses labels of interest among those of a data set, by name and in the order that is asked for.

Where an image has any number of labels, all images stay. Where labels are exclusive classes, an image of a class that
is not chosen has none of the chosen labels, so it is left out.
"""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tfcxr.registry import nearest_name


class Labelled(Protocol):
    """What has labels: a `DatasetInfo`, or a reader of the builder."""

    @property
    def name(self) -> str: ...

    @property
    def label_names(self) -> tuple[str, ...]: ...

    @property
    def is_single_label(self) -> bool: ...


@dataclasses.dataclass(frozen=True)
class LabelChoice:
    """Some labels of a data set.

    Attributes:
      names: in the order that was asked for.
      columns: of each name among the labels of the data set.
      drops_images: whether images without any of the labels are left out.
    """

    names: tuple[str, ...]
    columns: tuple[int, ...]
    drops_images: bool

    def keeps(self, labels: np.ndarray) -> np.ndarray:
        """Which images stay, bool [images], of labels [images, all labels of the data set]."""
        if not self.drops_images:
            return np.ones(len(labels), bool)
        return (labels[:, list(self.columns)] == 1).any(axis=1)

    def of(self, labels: np.ndarray) -> np.ndarray:
        """The chosen columns of labels [images, all labels of the data set]."""
        return labels[:, list(self.columns)]

    def of_image(self, label: tuple[float, ...]) -> tuple[float, ...]:
        """The chosen values of one image."""
        return tuple(label[column] for column in self.columns)


def choose_labels(data: Labelled, names: Sequence[str] = ()) -> LabelChoice:
    """The labels `names` of a data set; all of them where none is named.

    Raises:
      ValueError: a name that the data set does not have (the nearest is offered) or that is given twice.
    """
    chosen = tuple(name.strip() for name in names) or tuple(data.label_names)
    for name in chosen:
        if name not in data.label_names:
            raise ValueError(f"{data.name} has no label {name!r}; {nearest_name(name, data.label_names)}")
        if chosen.count(name) > 1:
            raise ValueError(f"label {name!r} is named twice")
    columns = tuple(data.label_names.index(name) for name in chosen)
    return LabelChoice(chosen, columns, data.is_single_label and len(chosen) < len(data.label_names))
