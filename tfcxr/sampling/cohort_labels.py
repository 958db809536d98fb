"""The labels of a synthetic cohort's images: a number for each label, or those of a real data set."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcxr.data.pipeline import read_facts
from tfcxr.data.records import read_dataset_info, split_info
from tfcxr.registry import nearest_name


@dataclasses.dataclass(frozen=True)
class CohortLabels:
    """Labels of a cohort's images, in their order.

    Attributes:
      rows: float32 [distinct, labels], the different labels that occur, each value 0 or 1.
      order: int32 [images], the row of each image.
      description: how they were chosen, as it goes into the cohort's provenance.
    """

    rows: np.ndarray
    order: np.ndarray
    description: dict[str, Any]

    def __len__(self) -> int:
        return len(self.order)

    def part(self, start: int, stop: int) -> np.ndarray:
        """float32 [stop - start, labels] of images `start` to `stop`."""
        return self.rows[self.order[start:stop]]


def counted_labels(counts: dict[str, int], label_names: Sequence[str], seed: int) -> CohortLabels:
    """A number of images for each label, each with that label alone, in a random order.

    Args:
      counts: label name to number of images.
      seed: of the order.

    Raises:
      ValueError: a label the model does not know (the nearest name is offered), or no image at all.
    """
    for name, count in counts.items():
        if name not in label_names:
            raise ValueError(f"the model has no label {name!r}; {nearest_name(name, label_names)}")
        if count < 0:
            raise ValueError(f"the count of label {name!r} must not be negative, got {count}")
    if not sum(counts.values()):
        raise ValueError(f"no image was asked for; give counts such as {label_names[0]}=100")
    rows = np.eye(len(label_names), dtype=np.float32)[[list(label_names).index(name) for name in counts]]
    order = np.repeat(np.arange(len(counts), dtype=np.int32), list(counts.values()))
    np.random.default_rng(seed).shuffle(order)
    return CohortLabels(rows, order, {"kind": "counts", "counts": dict(counts), "order_seed": seed})


def labels_like(
    data_dir: str | os.PathLike,
    split: str,
    label_names: Sequence[str],
    is_single_label: bool,
    images: int | None = None,
    seed: int = 0,
) -> CohortLabels:
    """The labels of a real split, those of one image kept together, so that prevalence and co-occurrence stay.

    As many images as the split holds: exactly its labels in its order. Another number: sampled with replacement.
    Labels are aligned by name. An unknown label (NaN) counts as absent, and the description says how many there are; an
    image of which nothing is known is left out, and counted too.

    Args:
      label_names: of the model.
      is_single_label: whether the model's labels exclude each other.
      images: None for as many as the split holds (of known label).
      seed: of the sampling.

    Raises:
      FileNotFoundError: no data folder, or a shard is missing.
      ValueError: no such split, a label that one of the two sides lacks, a damaged record, or, for a model of
        exclusive labels, an image without exactly one.
    """
    info = read_dataset_info(data_dir)
    if missing := sorted(set(label_names) ^ set(info.label_names)):
        raise ValueError(
            f"the model has {', '.join(label_names)}, but {info.name} has {', '.join(info.label_names)}; "
            f"{', '.join(missing)} occurs on one side only, so joint labels cannot be kept"
        )
    stored = read_facts(data_dir, split)["label"][:, [info.label_names.index(name) for name in label_names]]
    unknown = np.isnan(stored)
    known = stored[~unknown.all(axis=1)]
    if not len(known):
        raise ValueError(f"no image of split {split!r} in {data_dir} has a known label")
    labels = np.nan_to_num(known, nan=0.0)  # an unknown label counts as absent
    if is_single_label and (wrong := int((labels.sum(axis=1) != 1).sum())):
        raise ValueError(
            f"the model generates exactly one label per image, but {wrong} images of split {split!r} in {data_dir} "
            "have none or several"
        )
    rows, order = np.unique(labels, axis=0, return_inverse=True)
    order = order.reshape(-1).astype(np.int32)
    is_exact = images in (None, len(order))
    if not is_exact:
        order = np.random.default_rng(seed).choice(order, images)
    description = {
        "kind": "like",
        "data": info.name,
        "split": split,
        "images_of_split": split_info(info, split).images,
        "images_left_out_all_unknown": int(unknown.all(axis=1).sum()),
        "unknown_labels_drawn_as_absent": int(np.isnan(known).sum()),
        "drawn": "every row once, in order" if is_exact else f"with replacement, seed {seed}",
    }
    return CohortLabels(rows.astype(np.float32), order, description)


def no_labels(images: int) -> CohortLabels:
    """Images of a model without labels, at least one."""
    if images < 1:
        raise ValueError(f"expected at least one image, got {images}")
    return CohortLabels(np.zeros([1, 0], np.float32), np.zeros(images, np.int32), {"kind": "unlabelled"})


def parse_counts(texts: Sequence[str]) -> dict[str, int]:
    """`["NORMAL=1000", "PNEUMONIA=500"]` as a dictionary; raises ValueError for other texts and repeated labels."""
    counts: dict[str, int] = {}
    for text in texts:
        name, _, count = text.rpartition("=")
        if not name or not count.isdecimal():
            raise ValueError(f"expected LABEL=COUNT such as NORMAL=1000, got {text!r}")
        if name in counts:
            raise ValueError(f"label {name!r} is counted twice")
        counts[name] = int(count)
    return counts
