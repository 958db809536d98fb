"""Labels that people write, such as "Effusion+Mass+sex=F" -> the numbers that a generator takes."""

from collections.abc import Sequence

import numpy as np

from tfcxr.data.conditions import read_condition
from tfcxr.registry import nearest_name


def label_and_conditions(
    text: str, label_names: Sequence[str], is_single_label: bool, conditions: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """The labels float32 [labels], 1 for each that is named, and the conditions float32 [columns], NaN if not named.

    Args:
      text: labels and conditions, joined by +.
      label_names: of the model.
      is_single_label: whether the model's labels exclude each other.
      conditions: columns that the model reads.

    Raises:
      ValueError: a label or condition that the model does not know, or several of exclusive labels.
    """
    values = dict.fromkeys(conditions, np.nan)
    labels = []
    for part in [text] if text in label_names else [part.strip() for part in text.split("+")]:
        if "=" in part and part not in label_names:
            values |= read_condition(part, conditions)
        else:
            labels.append(part)
    columns = [label_column(label, label_names) for label in labels or [text]]
    if len(labels) > 1 and is_single_label:
        raise ValueError(
            f"the model gives each image exactly one of {', '.join(label_names)}, so {'+'.join(labels)} cannot be "
            f"generated; give counts such as {labels[0]}=100,{labels[1]}=100"
        )
    row = np.zeros(len(label_names), np.float32)
    row[columns] = 1
    return row, np.array([*values.values()], np.float32)


def label_column(name: str, label_names: Sequence[str]) -> int:
    """The place of a label; raises ValueError for an unknown one and offers the nearest."""
    if name not in label_names:
        raise ValueError(f"the model has no label {name!r}; {nearest_name(name, label_names)}")
    return list(label_names).index(name)
