"""What every distance of two sets of features asks of them."""

import numpy as np
from numpy.typing import DTypeLike


def checked_features(
    first: np.ndarray, second: np.ndarray, min_images: int, dtype: DTypeLike
) -> tuple[np.ndarray, np.ndarray]:
    """Copies, as `dtype`, of two sets [images, features] of as many features and `min_images` images or more each.

    Raises:
      ValueError: another shape, too few images, or values that are not finite.
    """
    checked = []
    for features, name in ((first, "first"), (second, "second")):
        features = np.asarray(features)
        if features.ndim != 2 or len(features) < min_images:
            raise ValueError(
                f"expected features [images, features] of {min_images} images or more, got shape {features.shape} "
                f"as the {name} set"
            )
        features = features.astype(dtype)
        if not np.isfinite(features).all():
            rows = int((~np.isfinite(features)).any(1).sum())
            raise ValueError(f"features of {rows} of {len(features)} images of the {name} set are not finite")
        checked.append(features)
    if checked[0].shape[1] != checked[1].shape[1]:
        raise ValueError(f"expected sets of as many features, got {checked[0].shape[1]} and {checked[1].shape[1]}")
    return checked[0], checked[1]
