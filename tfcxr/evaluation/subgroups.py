"""Groups of patients by sex, age and view, and which of them hold enough images for a number of their own."""

from collections.abc import Mapping

import numpy as np

AGE_BANDS = {"0-17": 0, "18-39": 18, "40-59": 40, "60-74": 60, "75+": 75}  # name -> from how many years
GROUP_VALUES = {"sex": ("F", "M"), "age": tuple(AGE_BANDS), "view": ("PA", "AP", "LATERAL")}
MIN_IMAGES = 20
MIN_PATIENTS = 4


def groups_of_facts(facts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The group of each image, "" where unknown, of what `read_facts` gave.

    Returns:
      "sex", "age" and "view", string [images] each, with values of `GROUP_VALUES`.
    """
    band = np.searchsorted(list(AGE_BANDS.values()), facts["age"], side="right") - 1
    names = np.array([*AGE_BANDS, ""])
    is_known = facts["age"] >= 0  # NaN is not
    return {"sex": facts["sex"], "age": names[np.where(is_known, band, -1)], "view": facts["view"]}


def usable_groups(
    groups: Mapping[str, np.ndarray], patient_keys: np.ndarray, labels: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Groups of `MIN_IMAGES` images of `MIN_PATIENTS` patients or more, without those that hold all images.

    Args:
      groups: what `groups_of_facts` gave.
      patient_keys: string [images].
      labels: float [images, labels], NaN where unknown; if given, a group needs a label that some of its images have
        and others lack.

    Returns:
      "sex=F", "age=18-39" and so on -> bool [images].
    """
    found = {}
    for name, values in GROUP_VALUES.items():
        for value in values:
            is_in = groups[name] == value
            if is_in.all() or is_in.sum() < MIN_IMAGES or len(np.unique(patient_keys[is_in])) < MIN_PATIENTS:
                continue
            if labels is None or ((labels[is_in] == 1).any(0) & (labels[is_in] == 0).any(0)).any():
                found[f"{name}={value}"] = is_in
    return found
