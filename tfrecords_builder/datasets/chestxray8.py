"""ChestX-ray8 in three classes: images of NIH ChestX-ray14 with No Finding, Mass or Pneumonia, one label per image.

The subset of Woloszyn 2025, "Memory-Efficient Deep Learning for High-Resolution Synthetic Chest X-ray Generation":
5,000 images each of No Finding (0), Mass (1) and Pneumonia (2). Layout, table and official lists are those of
`nih_chestxray14`, the set that ChestX-ray8 grew into.

Differs from the paper: it does not say how images with several findings were treated, and its 5,000 images of
pneumonia cannot all be different: NIH's table names Pneumonia for 1,431 of its images. Whatever there is, is taken.

Setting:
  exclusive  true (the default): Mass and Pneumonia are images with that finding and no other; false: images that have
             it among others, but not both of the two.
Other images are rejects: "excluded_other_finding" (none of the three) and "excluded_several_findings". The paper's
number of images is `--max_images_per_label=5000`.
"""

import dataclasses
from collections.abc import Iterator

from tfrecords_builder.datasets.folder_walk import FolderWalk
from tfrecords_builder.datasets.nih_chestxray14 import NihChestXray14
from tfrecords_builder.datasets.nih_relabels import NO_FINDING
from tfrecords_builder.datasets.reader import RawExample, Reject, one_hot

CLASSES = (NO_FINDING, "Mass", "Pneumonia")


class ChestXray8(NihChestXray14):
    """Three classes, one label per image."""

    name = "chestxray8"
    is_single_label = True
    label_names = CLASSES

    def __init__(self, raw_dir: str = "", exclusive: bool = True) -> None:
        super().__init__(raw_dir)
        self.exclusive = exclusive

    def entries(self, walk: FolderWalk) -> Iterator[RawExample | Reject]:
        """As `NihChestXray14`, with one label each."""
        for entry in super().entries(walk):
            yield self._classify(entry) if isinstance(entry, RawExample) else entry

    def _classify(self, example: RawExample) -> RawExample | Reject:
        present = [name for name, value in zip(NihChestXray14.label_names, example.label, strict=True) if value == 1]
        classes = [name for name in CLASSES if name in present]
        if not classes:
            return Reject(example.key, "excluded_other_finding", "|".join(present))
        if len(classes) > 1 or (self.exclusive and len(present) > 1):
            return Reject(example.key, "excluded_several_findings", "|".join(present))
        return dataclasses.replace(example, label=one_hot(CLASSES, classes[0]))
