"""A SavedModel and labels -> a synthetic data folder that reads like a real one.

    generate_cohort(LoadedModel("saved_models/acgan"), labels, "cohorts/acgan", CohortOptions(seed=0))

writes `cohorts/acgan/<size>/train-00000-of-....tfrecord`, `dataset_info.json` with `is_synthetic` true and the whole
provenance, and `training_patients.txt` where the model has one. Only some batches of images are in memory at a time.

Image i of cohort `seed` is generated from seed * 2**32 + i, so that cohorts of different seeds share no image, and
each image is a patient of its own. With a gate, that is the seed of its first candidate (see `Gate`). Until the
cohort is whole, `cohorts/acgan/unfinished_cohort/` holds a note for each finished shard, from which the same call
resumes after a kill.
"""

import dataclasses
import functools
import hashlib
import math
import os
import pathlib
from typing import Any

import numpy as np
from tqdm import tqdm

from tfcxr.data.atomic import write_atomically
from tfcxr.data.conditions import record_fields
from tfcxr.data.records import open_shard, shard_name, write_dataset_info
from tfcxr.data.schema import DatasetInfo, Record, ShardInfo, SplitInfo, default_encoding, encode_record
from tfcxr.data.seeds import SEEDS_PER_COHORT
from tfcxr.data.unfinished import ResumableWork, resumable_work
from tfcxr.sampling.cohort_folder import describe_cohort, write_shards
from tfcxr.sampling.cohort_labels import CohortLabels
from tfcxr.sampling.gate_log import GateLog
from tfcxr.sampling.image_source import ImageSource
from tfcxr.serving.gate import Gate
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.training.run_folder import TRAINING_PATIENTS_FILE

SPLIT = "train"


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
    gate: Gate | None = None,
    super_resolution: LoadedModel | None = None,
) -> DatasetInfo:
    """Writes a cohort; one that was killed is resumed, its whole shards kept.

    Args:
      model: a generator, or a cascade, which has its gate and its super-resolution model inside.
      gate: which candidates are kept; all where None.
      super_resolution: what enlarges them.

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
        info = cohort.describe(cohort.write_shards(work), work)
        if (patients := source.training_patients()) is not None:
            write_atomically(data_dir / TRAINING_PATIENTS_FILE, patients)
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
        given = self.labels.conditions
        conditions = {} if given is None else {"conditions": hashlib.sha256(given.astype("<f4").tobytes()).hexdigest()}
        return (
            self.source.arguments()
            | conditions
            | {
                "labels": hashlib.sha256(rows.tobytes() + order.tobytes()).hexdigest(),
                "seed": self.options.seed,
                "truncation": self.options.truncation,
                "shard_images": self.options.shard_images,
            }
        )

    def write_shards(self, work: ResumableWork) -> list[ShardInfo]:
        """Writes the shards that are not there yet."""
        images, shard_images = len(self.labels), self.options.shard_images
        starts = range(0, images, shard_images)
        parts = [range(start, min(start + shard_images, images)) for start in starts]
        names = [shard_name(SPLIT, index, len(parts)) for index in range(len(parts))]
        writers = [functools.partial(self._write_shard, work, part) for part in parts]
        title = f"generating from {self.source.description.name}"
        with tqdm(total=images, unit="img", desc=title, mininterval=1) as progress:
            return write_shards(work, zip(names, writers, strict=True), progress)

    def _write_shard(self, work: ResumableWork, numbers: range, path: pathlib.Path, progress: tqdm) -> ShardInfo:
        options, labels, log = self.options, self.labels, GateLog()
        prefix = f"synthetic-{self.source.description.weights_sha256[:8]}"
        encoding = default_encoding(self.source.description.image_size)
        images = self.source.images(labels, numbers, options.first_seed, options.truncation, options.batch_size)
        with open_shard(path) as shard:
            for number, image in zip(numbers, images, strict=True):
                key = f"{prefix}-{image.seed}"
                label = tuple(map(float, labels.rows[labels.order[number]]))
                fields = {}
                if labels.conditions is not None:
                    fields = record_fields(labels.conditions[number], self.source.description.condition_names)
                shard.write(encode_record(Record(image.pixels, key, label, patient_key=key, **fields), encoding))
                if self.source.gate is not None:
                    log.add(image)
                progress.update()
        if self.source.gate is not None:
            write_atomically(_log_path(work, path.name), log.to_json())
        return shard.info

    def describe(self, shards: list[ShardInfo], work: ResumableWork) -> DatasetInfo:
        """What is written beside the shards, with the whole provenance."""
        source, labels, options = self.source, self.labels, self.options
        description, images = source.description, len(labels)
        positives = np.bincount(labels.order, minlength=len(labels.rows)) @ labels.rows
        counts = {
            name: {"positive": int(positive), "negative": images - int(positive), "unknown": 0}
            for name, positive in zip(description.label_names, positives, strict=True)
        }
        data = description.data
        patients = {} if source.training_patients() is None else {"patient_keys_file": TRAINING_PATIENTS_FILE}
        notice = f"Synthetic radiographs drawn by {source.saved_model.replace('/', ' version ')}, not patients."
        gates: dict[str, dict[str, Any]] = {}
        if source.gate is not None:
            logs = [_log_path(work, shard.file).read_text("utf-8") for shard in shards]
            gates = GateLog.from_json(*logs).summary(source.gate, labels, description.label_names)
        settings = dict(description.settings)
        parts = ("generator", "super_resolution") if description.kind == "cascade" else ()
        models = {part: settings.pop(part) for part in parts if part in settings}
        return describe_cohort(
            name=description.name,
            label_names=description.label_names,
            is_single_label=description.is_single_label,
            image_size=description.image_size,
            splits={SPLIT: SplitInfo(images=images, patients=images, labels=counts, shards=tuple(shards))},
            preprocessing={"grey": source.grey},
            licence=data.get("licence", ""),
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
                "acceptance_rate": next(iter(gates.values()), {}).get("acceptance_rate", 1.0),
                **gates,
                "training_data": data | patients,
            },
            salt_fingerprint=data.get("salt_fingerprint", ""),
            notice=" ".join(filter(None, [notice, data.get("notice", "")])),
        )


def _log_path(work: ResumableWork, shard: str) -> pathlib.Path:
    """Where the gate's log of a finished shard is."""
    return work.folder / f"{shard}.gate.json"
