"""Images with their labels, as classifiers take them."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfcxr.data.stored_images import Images, StoredImages, join_images


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """What a classifier is trained or validated on.

    Attributes:
      images: uint8 or uint16 [images, size, size, 1]; of `StoredImages`, only the batches in use are read.
      labels: float32 [images, labels], 1 present, 0 absent, NaN unknown.
    """

    images: Images
    labels: np.ndarray

    def where(self, chosen: np.ndarray) -> "LabelledImages":
        """The images of a mask, unread where they are stored."""
        images = self.images.where(chosen) if isinstance(self.images, StoredImages) else self.images[chosen]
        return LabelledImages(images, self.labels[chosen])


def join(parts: Sequence[LabelledImages]) -> LabelledImages:
    """The stored images of several sets, one set after the other."""
    return LabelledImages(join_images([part.images for part in parts]), np.concatenate([part.labels for part in parts]))
