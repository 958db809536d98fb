"""The labels of a synthetic cohort's images: a number or a share for each, or those of a real data set."""

import dataclasses
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.data.condition_values import condition_values, with_unknown
from tfcxr.data.label_choice import choose_labels
from tfcxr.data.label_rows import label_and_conditions, label_column
from tfcxr.data.pipeline import read_facts
from tfcxr.data.records import read_dataset_info, split_info


@dataclasses.dataclass(frozen=True)
class CohortLabels:
    """Labels of a cohort's images, in their order.

    Attributes:
      rows: float32 [distinct, labels], the different labels that occur, each value 0 or 1.
      order: int32 [images], the row of each image.
      description: how they were chosen, as it goes into the cohort's provenance.
      conditions: float32 [images, columns] for a model that reads them, NaN where unknown; see `tfcxr.data.conditions`.
    """

    rows: np.ndarray
    order: np.ndarray
    description: dict[str, Any]
    conditions: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.order)

    def part(self, start: int, stop: int) -> np.ndarray:
        """float32 [stop - start, labels and conditions] of images `start` to `stop`, as a model takes them."""
        labels = self.rows[self.order[start:stop]]
        if self.conditions is None:
            return labels
        return np.concatenate([labels, with_unknown(self.conditions[start:stop])], axis=1)


def counted_labels(
    counts: Mapping[str, int],
    label_names: Sequence[str],
    is_single_label: bool,
    seed: int,
    conditions: Sequence[str] = (),
) -> CohortLabels:
    """A number of images for each label or set of labels, such as "Effusion+Cardiomegaly", in a random order.

    Args:
      counts: labels, joined by +, to number of images; a label that is not named is absent. Conditions may be among
        them, as in "Mass+sex=F+age=60".
      label_names: of the model.
      is_single_label: whether the model's labels exclude each other.
      seed: of the order.
      conditions: columns that the model reads; those that are not named are unknown.

    Raises:
      ValueError: a label the model does not know (the nearest name is offered), several of exclusive labels at once, or
        no image at all.
    """
    for name, count in counts.items():
        if count < 0:
            raise ValueError(f"the count of label {name!r} must not be negative, got {count}")
    if not sum(counts.values()):
        raise ValueError(f"no image was asked for; give counts such as {label_names[0]}=100")
    parts = [label_and_conditions(name, label_names, is_single_label, conditions) for name in counts]
    rows = np.stack([labels for labels, _ in parts])
    order = np.repeat(np.arange(len(counts), dtype=np.int32), list(counts.values()))
    np.random.default_rng(seed).shuffle(order)
    description = {"kind": "counts", "counts": dict(counts), "order_seed": seed}
    values = np.stack([given for _, given in parts])[order] if conditions else None
    return CohortLabels(rows, order, description, values)


def shared_labels(
    shares: Mapping[str, float], images: int, label_names: Sequence[str], is_single_label: bool, seed: int
) -> CohortLabels:
    """A share of the images for each label, rounded to whole images.

    Joint labels are given independently of each other, and a label that is not named is absent. Shares of labels that
    exclude each other add up to 1.

    Args:
      shares: label to share of the images, in [0, 1].
      images: in all.
      label_names: of the model.
      is_single_label: whether the model's labels exclude each other.
      seed: of the choice of images.

    Raises:
      ValueError: a label the model does not know, a share out of range, or exclusive shares that do not add up to 1.
    """
    columns = [label_column(name, label_names) for name in shares]
    if wrong := [f"{name}={share:g}" for name, share in shares.items() if not 0 <= share <= 1]:
        raise ValueError(f"a share must be from 0 to 1, got {wrong[0]}")
    random = np.random.default_rng(seed)
    labels = np.zeros([images, len(label_names)], np.float32)
    if is_single_label:
        if abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError(
                f"the model gives each image exactly one of {', '.join(label_names)}, so shares must add up to 1; "
                f"those of {', '.join(shares)} add up to {sum(shares.values()):g}"
            )
        ends = np.rint(np.cumsum(list(shares.values())) * images).astype(int)
        for column, part in zip(columns, np.split(random.permutation(images), ends[:-1]), strict=True):
            labels[part, column] = 1
    else:
        for column, share in zip(columns, shares.values(), strict=True):
            labels[random.permutation(images)[: round(share * images)], column] = 1
    rows, order = np.unique(labels, axis=0, return_inverse=True)
    description = {"kind": "shares", "shares": dict(shares), "order_seed": seed}
    return CohortLabels(rows, order.reshape(-1).astype(np.int32), description)


def labels_like(
    data_dir: str | os.PathLike,
    split: str,
    label_names: Sequence[str],
    is_single_label: bool,
    images: int | None = None,
    seed: int = 0,
    conditions: Sequence[str] = (),
    may_have_others: bool = False,
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
      conditions: columns that the model reads; an image has those of the real image whose labels it has.
      may_have_others: whether the data may have further labels, which are left out, as are images of exclusive labels
        that have no other.

    Raises:
      FileNotFoundError: no data folder, or a shard is missing.
      ValueError: no such split, a label that one of the two sides lacks, a damaged record, or, for a model of
        exclusive labels, an image without exactly one.
    """
    info = read_dataset_info(data_dir)
    differing = (
        set(label_names) - set(info.label_names) if may_have_others else set(label_names) ^ set(info.label_names)
    )
    if missing := sorted(differing):
        raise ValueError(
            f"the model has {', '.join(label_names)}, but {info.name} has {', '.join(info.label_names)}; "
            f"{', '.join(missing)} occurs on one side only, so joint labels cannot be kept"
        )
    choice, facts = choose_labels(info, label_names), read_facts(data_dir, split)
    is_kept = choice.keeps(facts["label"])
    stored = choice.of(facts["label"][is_kept])
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
    values = condition_values(facts, conditions).numpy()[is_kept][~unknown.all(axis=1)] if conditions else None
    is_exact = images in (None, len(order))
    if not is_exact:
        chosen = np.random.default_rng(seed).choice(len(order), images)
        order, values = order[chosen], None if values is None else values[chosen]
    description = {
        "kind": "like",
        "data": info.name,
        "split": split,
        "images_of_split": split_info(info, split).images,
        "images_left_out_all_unknown": int(unknown.all(axis=1).sum()),
        "unknown_labels_drawn_as_absent": int(np.isnan(known).sum()),
        "drawn": "every row once, in order" if is_exact else f"with replacement, seed {seed}",
    }
    if conditions:
        description["conditions"] = list(conditions)
    return CohortLabels(rows.astype(np.float32), order, description, values)


def no_labels(images: int) -> CohortLabels:
    """Images of a model without labels, at least one."""
    if images < 1:
        raise ValueError(f"expected at least one image, got {images}")
    return CohortLabels(np.zeros([1, 0], np.float32), np.zeros(images, np.int32), {"kind": "unlabelled"})


def parse_counts(texts: Sequence[str]) -> dict[str, int]:
    """`["NORMAL=1000", "PNEUMONIA=500"]` as a dictionary; raises ValueError for other texts and repeated labels."""
    return _parsed(texts, str.isdecimal, int, "LABEL=COUNT such as NORMAL=1000")


def parse_shares(texts: Sequence[str]) -> dict[str, float]:
    """`["Effusion=.6", "Mass=.1"]` as a dictionary; raises ValueError for other texts and repeated labels."""
    return _parsed(texts, re.compile(r"\d*\.?\d+").fullmatch, float, "LABEL=SHARE such as Effusion=.6")


def _parsed(
    texts: Sequence[str], is_number: Callable[[str], Any], number: Callable[[str], Any], expected: str
) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        if not name or not is_number(value):
            raise ValueError(f"expected {expected}, got {text!r}")
        if name in numbers:
            raise ValueError(f"label {name!r} is counted twice")
        numbers[name] = number(value)
    return numbers
