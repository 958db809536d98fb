"""ChestX-ray8 in three classes: images of NIH ChestX-ray14 with No Finding, Mass or Pneumonia, one label per image.

The subset of Woloszyn 2025, "Memory-Efficient Deep Learning for High-Resolution Synthetic Chest X-ray Generation":
5,000 images each of No Finding (0), Mass (1) and Pneumonia (2). Layout, table and official lists are those of
`nih_chestxray14`, the set that ChestX-ray8 grew into.

Differs from the paper: it does not say how images with several findings were treated, and its 5,000 images of
pneumonia cannot all be different: NIH's table names Pneumonia for 1,431 of its images. Whatever there is, is taken.

Settings:
  exclusive         true (the default): Mass and Pneumonia are images with that finding and no other; false: images
                    that have it among others, but not both of the two.
  images_per_class  at most this many usable images per class, 5000 for the paper's; 0 (the default) takes all. They are
                    chosen by a hash of seed and image name, so an image that is added later takes the place of at
                    most one. It counts images by their rows: one whose file cannot be read is not replaced.
  seed              of that choice.
Other images are rejects: "excluded_other_finding" (none of the three), "excluded_several_findings" and
"excluded_beyond_images_per_class".
"""

import dataclasses
import hashlib
import heapq
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

    def __init__(self, raw_dir: str = "", exclusive: bool = True, images_per_class: int = 0, seed: int = 0) -> None:
        super().__init__(raw_dir)
        if images_per_class < 0:
            raise ValueError(f"images_per_class expects 0 (all) or more, got {images_per_class}")
        self.exclusive = exclusive
        self.images_per_class = images_per_class
        self.seed = seed

    def entries(self, walk: FolderWalk) -> Iterator[RawExample | Reject]:
        """As `NihChestXray14`; with `images_per_class` the images that may be chosen come last."""
        candidates: list[RawExample] = []
        for entry in super().entries(walk):
            if isinstance(entry, RawExample):
                entry = self._classify(entry)
            if isinstance(entry, Reject) or not self.images_per_class:
                yield entry
            else:
                candidates.append(entry)
        chosen: set[str] = set()
        for index in range(len(CLASSES)):
            keys = {example.key for example in candidates if example.label[index]}
            chosen.update(heapq.nsmallest(self.images_per_class, keys, key=self._rank))
        for example in candidates:
            if example.key in chosen:
                yield example
            else:
                yield Reject(
                    example.key, "excluded_beyond_images_per_class", f"images_per_class={self.images_per_class}"
                )

    def _classify(self, example: RawExample) -> RawExample | Reject:
        present = [name for name, value in zip(NihChestXray14.label_names, example.label, strict=True) if value == 1]
        classes = [name for name in CLASSES if name in present]
        if not classes:
            return Reject(example.key, "excluded_other_finding", "|".join(present))
        if len(classes) > 1 or (self.exclusive and len(present) > 1):
            return Reject(example.key, "excluded_several_findings", "|".join(present))
        return dataclasses.replace(example, label=one_hot(CLASSES, classes[0]))

    def _rank(self, key: str) -> bytes:
        return hashlib.sha256(f"{self.seed}\0{key}".encode()).digest()
