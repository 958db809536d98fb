"""A SavedModel and labels -> a synthetic data folder that reads like a real one.

    generate_cohort(LoadedModel("saved_models/acgan"), labels, "cohorts/acgan", CohortOptions(seed=0))

writes `cohorts/acgan/<size>/train-00000-of-....tfrecord`, `dataset_info.json` with `is_synthetic` true and the whole
provenance, and `training_patients.txt` where the model has one. Only some batches of images are in memory at a time.

Image i of cohort `seed` is generated from seed * 2**32 + i, so that cohorts of different seeds share no image, and
each image is a patient of its own. With a gate, that is the seed of its first candidate (see `RealismGate`). Until the
cohort is whole, `cohorts/acgan/unfinished_cohort/` holds a note for each finished shard, from which the same call
resumes after a kill.
"""

import dataclasses
import hashlib
import json
import math
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

import tfcxr
from tfcxr.data.atomic import write_atomically
from tfcxr.data.records import open_shard, shard_name, write_dataset_info
from tfcxr.data.schema import DatasetInfo, Record, ShardInfo, SplitInfo, default_encoding, encode_record
from tfcxr.data.unfinished import ResumableWork, finished_shard, resumable_work
from tfcxr.sampling.cohort_labels import CohortLabels
from tfcxr.sampling.gate_log import GateLog
from tfcxr.sampling.image_source import ImageSource
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.model_card import PATIENTS_FILE
from tfcxr.serving.realism_gate import RealismGate

SPLIT = "train"
SEEDS_PER_COHORT = 2**32


@dataclasses.dataclass(frozen=True)
class CohortOptions:
    """How a cohort is generated.

    Attributes:
      seed: of the cohort, from 0.
      truncation: below 1 images are less varied, see the model's `generate_from_latent`.
      batch_size: images generated at once.
      shard_images: images per shard, at most.
    """

    seed: int = 0
    truncation: float = 1.0
    batch_size: int = 64
    shard_images: int = 2000

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**31 - 1:
            raise ValueError(f"the cohort's seed must be from 0 to 2**31 - 2, got {self.seed}")
        if not (math.isfinite(self.truncation) and self.truncation > 0):
            raise ValueError(f"truncation must be above 0, got {self.truncation}")
        if self.batch_size < 1 or self.shard_images < 1:
            raise ValueError(f"batches and shards need an image each, got {self.batch_size} and {self.shard_images}")

    @property
    def first_seed(self) -> int:
        """The seed of image 0."""
        return self.seed * SEEDS_PER_COHORT


def generate_cohort(
    model: LoadedModel,
    labels: CohortLabels,
    out_dir: str | os.PathLike,
    options: CohortOptions | None = None,
    gate: RealismGate | None = None,
    super_resolution: LoadedModel | None = None,
) -> DatasetInfo:
    """Writes a cohort; one that was killed is resumed, its whole shards kept.

    Args:
      model: a generator, or a cascade, which has its gate and its super-resolution model inside.
      labels: of the images.
      out_dir: folder of the cohort.
      options: how it is generated.
      gate: which candidates are kept; all where None.
      super_resolution: what enlarges them.

    Returns:
      the description that was written beside the shards.

    Raises:
      FileExistsError: the folder holds a cohort, or shards of something else.
      ValueError: it holds an unfinished cohort of other arguments, the model left its numeric range, models that do
        not fit (see `ImageSource`), or an image none of whose candidates passes the gate.
      OSError: the disk is full, or a file may not be written.
    """
    source = ImageSource(model, gate, super_resolution)
    source.check_count(len(labels))
    cohort = _Cohort(source, labels, options or CohortOptions())
    out_dir = pathlib.Path(out_dir)
    data_dir = out_dir / str(source.description.image_size)
    with resumable_work(out_dir, "cohort", [data_dir]) as work:
        work.start(cohort.arguments())
        info = cohort.describe(*cohort.write_shards(work))
        if (patients := source.training_patients()) is not None:
            write_atomically(data_dir / PATIENTS_FILE, patients)
        write_dataset_info(data_dir, info)
    return info


@dataclasses.dataclass(frozen=True)
class _Cohort:
    source: ImageSource
    labels: CohortLabels
    options: CohortOptions

    def arguments(self) -> dict[str, Any]:
        """Everything that the written bytes depend on."""
        rows, order = self.labels.rows.astype("<f4"), self.labels.order.astype("<i4")
        return self.source.arguments() | {
            "labels": hashlib.sha256(rows.tobytes() + order.tobytes()).hexdigest(),
            "seed": self.options.seed,
            "truncation": self.options.truncation,
            "shard_images": self.options.shard_images,
        }

    def write_shards(self, work: ResumableWork) -> tuple[tuple[ShardInfo, ...], GateLog]:
        """Writes the shards that are not there yet."""
        (data_dir,) = work.data_dirs
        images, shard_images = len(self.labels), self.options.shard_images
        shards, log = [], GateLog()
        title = f"generating from {self.source.description.name}"
        with tqdm(total=images, unit="img", desc=title, mininterval=1) as progress:
            for index, start in enumerate(range(0, images, shard_images)):
                path = data_dir / shard_name(SPLIT, index, math.ceil(images / shard_images))
                note = work.folder / f"{path.name}.json"
                log_path = note.with_suffix(".gate.json")
                shard = finished_shard(path, note)
                if shard is None:
                    numbers = range(start, min(start + shard_images, images))
                    shard, shard_log = self._write_shard(path, numbers, progress)
                    if self.source.gate is not None:
                        write_atomically(log_path, shard_log.to_json())
                    write_atomically(note, json.dumps(dataclasses.asdict(shard)))
                else:
                    has_log = self.source.gate is not None
                    shard_log = GateLog.from_json(log_path.read_text("utf-8")) if has_log else GateLog()
                    progress.update(shard.images)
                shards.append(shard)
                log.extend(shard_log)
        return tuple(shards), log

    def _write_shard(self, path: pathlib.Path, numbers: range, progress: tqdm) -> tuple[ShardInfo, GateLog]:
        options, labels, log = self.options, self.labels, GateLog()
        prefix = f"synthetic-{self.source.description.weights_sha256[:8]}"
        encoding = default_encoding(self.source.description.image_size)
        images = self.source.images(labels, numbers, options.first_seed, options.truncation, options.batch_size)
        with open_shard(path) as shard:
            for number, image in zip(numbers, images, strict=True):
                key = f"{prefix}-{image.seed}"
                label = tuple(map(float, labels.rows[labels.order[number]]))
                shard.write(encode_record(Record(image.pixels, key, label, patient_key=key), encoding))
                log.add(image)
                progress.update()
        return shard.info, log

    def describe(self, shards: tuple[ShardInfo, ...], log: GateLog) -> DatasetInfo:
        """What is written beside the shards, with the whole provenance."""
        source, labels, options = self.source, self.labels, self.options
        description, images = source.description, len(labels)
        positives = np.bincount(labels.order, minlength=len(labels.rows)) @ labels.rows
        counts = {
            name: {"positive": int(positive), "negative": images - int(positive), "unknown": 0}
            for name, positive in zip(description.label_names, positives, strict=True)
        }
        data = description.data
        patients = {} if source.training_patients() is None else {"patient_keys_file": PATIENTS_FILE}
        notice = f"Synthetic radiographs drawn by {source.saved_model.replace('/', ' version ')}, not patients."
        gate = {} if source.gate is None else log.summary(source.gate, labels, description.label_names)
        settings = dict(description.settings)
        parts = ("generator", "super_resolution") if description.kind == "cascade" else ()
        models = {part: settings.pop(part) for part in parts}
        return DatasetInfo(
            name=description.name,
            label_names=description.label_names,
            is_single_label=description.is_single_label,
            image_size=description.image_size,
            bits=8,
            encoding=default_encoding(description.image_size),
            splits={SPLIT: SplitInfo(images=images, patients=images, labels=counts, shards=shards)},
            images_read=images,
            images_written=images,
            rejected={},
            preprocessing={"grey": source.grey},
            source={"homepage": "", "citation": "", "licence": data.get("licence", "")},
            is_synthetic=True,
            provenance={
                "saved_model": source.saved_model,
                "model": description.model,
                "weights_sha256": description.weights_sha256,
                "steps": description.steps,
                "settings": settings,
                **models,
                "seed": options.seed,
                "first_seed": options.first_seed,
                "last_seed": options.first_seed + images - 1,
                "label_plan": labels.description,
                "truncation": options.truncation,
                "acceptance_rate": gate.get("acceptance_rate", 1.0),
                **({"realism_gate": gate} if gate else {}),
                "training_data": data | patients,
                "tfcxr_version": tfcxr.__version__,
                "tensorflow_version": tf.__version__,
            },
            salt_fingerprint=data.get("salt_fingerprint", ""),
            notice=" ".join(filter(None, [notice, data.get("notice", "")])),
        )
