"""Thresholds of a gate that held-out real images decide: `--min_realism=quantile:.1 --calibrate_on=records/64`.

A discriminator in balance rates few images at .9, real ones included, and one that has won rates no generated image
so. The quantile .1 of its scores of real patients whom it has never seen is what 90 % of them reach: whatever the
loss, a generated image that passes looks as real to it as most real images do. Labels that exclude each other have a
threshold each, for a discriminator rates some classes higher than others.
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging

from tfcxr.data.condition_values import condition_values, with_unknown
from tfcxr.data.pipeline import read_facts
from tfcxr.data.records import read_dataset_info, read_patient_keys
from tfcxr.data.schema import DatasetInfo
from tfcxr.data.sizes import find_size
from tfcxr.data.stored_images import open_images, read_batches
from tfcxr.serving.copy_check import CopyCheck
from tfcxr.serving.gate import Gate, check_discriminator
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.min_realism import MinRealism, Quantile, path_and_splits, realism_text
from tfcxr.training.run_folder import describe_data

MIN_IMAGES = 10  # of a label, below which its threshold is that of all images
BATCH = 256


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Thresholds, and where they come from.

    Attributes:
      min_realism: of all images, or label -> threshold where the labels exclude each other.
      facts: plain JSON: the quantile, the data, images per label, the threshold of all images.
    """

    min_realism: MinRealism
    facts: dict[str, Any]


def make_gate(
    model: LoadedModel,
    min_realism: float | Quantile | None,
    max_tries: int,
    copies: CopyCheck | None,
    calibrate_on: str | None,
) -> Gate:
    """The gate of a command's flags; a quantile needs `calibrate_on`, a data folder or one with its splits.

    Raises:
      ValueError: see `Gate` and `calibrate`.
    """
    if not isinstance(min_realism, Quantile):
        return Gate(min_realism, max_tries, copies)
    assert calibrate_on is not None  # `check_calibration`
    found = calibrate(model, min_realism, *path_and_splits(calibrate_on))
    return Gate(found.min_realism, max_tries, copies, found.facts)


def calibrate(
    model: LoadedModel, quantile: Quantile, data_dir: str | os.PathLike, splits: Sequence[str] = ()
) -> Calibration:
    """Scores held-out real images by the model's discriminator, each with its own label.

    Of joint labels an unknown one counts as absent. Of exclusive ones, images without exactly one are left out, and a
    label with fewer than `MIN_IMAGES` images has the threshold of all images.

    Args:
      model: a generator with a discriminator.
      data_dir: of real images; a data folder, or the folder of its builds.
      splits: all that the model was not trained on where none is named.

    Raises:
      FileNotFoundError: no data folder.
      ValueError: a discriminator that cannot score a single image, synthetic images, patients of the model's training,
        a label of the model that the data lack, or no image that can be scored.
    """
    check_discriminator(model)
    description = model.description
    data_dir = find_size(data_dir, description.image_size)
    info = read_dataset_info(data_dir)
    if info.is_synthetic:
        raise ValueError(f"--calibrate_on={data_dir} holds synthetic images ({info.name}), expected real ones")
    names = list(splits) or _held_out_splits(model, info, str(data_dir))
    _check_patients(model, str(data_dir), names)
    labels, kept = _labels(model, info, str(data_dir), names)
    if not len(kept):
        raise ValueError(
            f"no image of {', '.join(names)} in {data_dir} has labels that {description.version_name} knows, so its "
            "gate cannot be calibrated; name other records or another split"
        )
    realism = np.empty(len(kept), np.float32)
    images = open_images(data_dir, names).where(kept)
    for start, batch in zip(range(0, len(kept), BATCH), read_batches(images, BATCH), strict=True):
        part = slice(start, start + BATCH)
        realism[part] = model.score(np.repeat(batch, description.channels, axis=-1), labels[part])
    if not np.isfinite(realism).all():
        raise ValueError(f"the discriminator of {model.path} scored a real image NaN; export another checkpoint")
    of_all = float(np.quantile(realism, quantile.share))
    facts: dict[str, Any] = {
        "quantile": quantile.share,
        "data": info.name,
        "splits": names,
        "fingerprint": describe_data(info, ",".join(names))["fingerprint"],
        "images": len(kept),
        "threshold_of_all": of_all,
    }
    min_realism: MinRealism = of_all
    if description.is_single_label and description.label_names:
        columns = dict(zip(description.label_names, labels.T[: len(description.label_names)] == 1, strict=True))
        facts["images_by_label"] = {name: int(has_label.sum()) for name, has_label in columns.items()}
        if few := [name for name, images in facts["images_by_label"].items() if images < MIN_IMAGES]:
            logging.warning(
                "%s has fewer than %d images in %s of %s; its threshold is that of all images",
                *(", ".join(few), MIN_IMAGES, ", ".join(names), data_dir),
            )
        min_realism = {
            name: of_all if name in few else float(np.quantile(realism[has_label], quantile.share))
            for name, has_label in columns.items()
        }
    logging.info(
        "%g %% of %d held-out real images score below %s", 100 * quantile.share, len(kept), realism_text(min_realism)
    )
    return Calibration(min_realism, facts)


def _held_out_splits(model: LoadedModel, info: DatasetInfo, data_dir: str) -> list[str]:
    training = [name.strip() for name in model.description.data.get("split", "train").split(",")]
    held_out = [name for name, split in info.splits.items() if name not in training and split.images]
    if not held_out:
        raise ValueError(
            f"--calibrate_on={data_dir} has no split beside {', '.join(training)}; a calibrated gate needs images of "
            "held-out patients, build the records with another split, such as --splits=train=.8,test=.2"
        )
    return held_out


def _check_patients(model: LoadedModel, data_dir: str, splits: Sequence[str]) -> None:
    trained_on = set((model.training_patients() or "").split())
    if shared := trained_on.intersection(read_patient_keys(data_dir, ",".join(splits))):
        raise ValueError(
            f"{model.description.version_name} was trained on {len(shared)} of the patients in {', '.join(splits)} of "
            f"{data_dir}, so its discriminator knows their images; name held-out ones such as "
            f"--calibrate_on={data_dir}:test"
        )


def _labels(
    model: LoadedModel, info: DatasetInfo, data_dir: str, splits: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The model's labels and conditions float32 [kept, columns], and which images are kept, int64 [kept]."""
    names = model.description.label_names
    if missing := [name for name in names if name not in info.label_names]:
        raise ValueError(
            f"--calibrate_on={data_dir} has no label {', '.join(missing)}, which {model.description.version_name} "
            f"has; {info.name} has {', '.join(info.label_names) or 'none'}"
        )
    facts = read_facts(data_dir, splits)
    stored = facts["label"][:, [info.label_names.index(name) for name in names]]
    if not names:
        return stored, np.arange(len(stored))
    if model.description.is_single_label:
        kept = np.flatnonzero((stored == 1).sum(axis=1) == 1)
    else:
        kept = np.flatnonzero(~np.isnan(stored).all(axis=1))
    labels = (stored == 1).astype(np.float32)
    if columns := model.description.condition_names:
        labels = np.concatenate([labels, with_unknown(condition_values(facts, columns))], axis=1)
    return labels[kept], kept
