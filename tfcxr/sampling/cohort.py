"""A SavedModel and labels -> a synthetic data folder that reads like a real one.

    generate_cohort(LoadedModel("saved_models/acgan"), labels, "cohorts/acgan", CohortOptions(seed=0))

writes `cohorts/acgan/<size>/train-00000-of-....tfrecord`, `dataset_info.json` with `is_synthetic` true and the whole
provenance, and `training_patients.txt` where the model has one. Only some batches of images are in memory at a time.

Image i of cohort `seed` is generated from seed * 2**32 + i, so that cohorts of different seeds share no image, and
each image is a patient of its own. With a gate, that is the seed of its first candidate (see `Gate`). Until the
cohort is whole, `cohorts/acgan/unfinished_cohort/` holds a note for each finished shard, from which the same call
resumes after a kill.
"""

import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from tqdm import tqdm

from tfcxr.data.atomic import write_atomically
from tfcxr.data.records import open_shard, shard_name, write_dataset_info
from tfcxr.data.schema import DatasetInfo, ShardInfo, SplitInfo
from tfcxr.data.training_patients import TRAINING_PATIENTS_FILE
from tfcxr.data.unfinished import ResumableWork, resumable_work
from tfcxr.sampling.cohort_folder import describe_cohort, finished_shards, write_shards
from tfcxr.sampling.cohort_labels import CohortLabels
from tfcxr.sampling.cohort_options import CohortOptions
from tfcxr.sampling.cohort_records import CohortBatch, CohortParts, CohortRecords
from tfcxr.sampling.cohort_workers import started_workers
from tfcxr.sampling.gate_log import GateLog
from tfcxr.sampling.image_source import ImageSource
from tfcxr.serving.gate import Gate
from tfcxr.serving.loaded_model import LoadedModel

SPLIT = "train"


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

    With several `options.workers` each loads the models from their folders. They are started afresh, so a program of
    one's own calls this below `if __name__ == "__main__":`, and `share_gpus` before it loads a model onto a GPU.

    Raises:
      FileExistsError: the folder holds a cohort, or shards of something else.
      ValueError: it holds an unfinished cohort of other arguments, the model left its numeric range, models that do
        not fit (see `ImageSource`), or an image none of whose candidates passes the gate.
      OSError: the disk is full, a file may not be written, or a worker was killed.
    """
    source, options = ImageSource(model, gate, super_resolution), options or CohortOptions()
    source.check_count(len(labels))
    enlarger = super_resolution.path if super_resolution else None
    cohort = _Cohort(source, CohortParts(model.path, gate, enlarger, labels, options))
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
    parts: CohortParts

    @property
    def labels(self) -> CohortLabels:
        return self.parts.labels

    @property
    def options(self) -> CohortOptions:
        return self.parts.options

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
        images, options = len(self.labels), self.options
        starts = range(0, images, options.shard_images)
        shards = {
            shard_name(SPLIT, index, len(starts)): range(start, min(start + options.shard_images, images))
            for index, start in enumerate(starts)
        }
        finished = finished_shards(work, shards)
        left = [numbers for name, numbers in shards.items() if name not in finished]
        title = f"generating from {self.source.description.name}"
        with self._batches(left) as batches, tqdm(total=images, unit="img", desc=title, mininterval=1) as progress:
            writers = {
                name: functools.partial(self._write_shard, work, len(numbers), batches)
                for name, numbers in shards.items()
            }
            return write_shards(work, writers, progress, finished)

    @contextlib.contextmanager
    def _batches(self, shards: list[range]) -> Iterator[Iterator[CohortBatch]]:
        """The records of images that stand in shards, in order, made by this process or by several."""
        options = self.options
        numbers = [batch for shard in shards for batch in self.source.batches(shard, options.batch_size)]
        if (workers := min(options.workers, len(numbers))) > 1:
            with started_workers(workers, self.parts) as started:
                yield started.made(numbers)
        else:
            yield map(CohortRecords(self.source, self.labels, options).make, numbers)

    def _write_shard(
        self, work: ResumableWork, images: int, batches: Iterator[CohortBatch], path: pathlib.Path, progress: tqdm
    ) -> ShardInfo:
        written, log = 0, GateLog()
        with open_shard(path) as shard:
            while written < images:
                batch = next(batches)
                for example in batch.examples:
                    shard.write(example)
                log.extend(batch.log)
                written += len(batch.examples)
                progress.update(len(batch.examples))
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
