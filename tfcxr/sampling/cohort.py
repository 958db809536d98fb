"""A SavedModel and a label plan -> a synthetic data folder that reads like a real one.

    generate_cohort(LoadedModel("saved_models/acgan"), plan, "cohorts/acgan", CohortOptions(seed=0))

writes `cohorts/acgan/<size>/train-00000-of-....tfrecord`, `dataset_info.json` with `is_synthetic` true and the whole
provenance, and `training_patients.txt` where the model has one. Only some batches of images are in memory at a time.

Image i of cohort `seed` is drawn from seed * 2**32 + i, so that cohorts of different seeds share no image, and each
image is a patient of its own. With a gate, that is the seed of its first candidate (see `RealismGate`). While the
cohort is drawn, `cohorts/acgan/unfinished_cohort/` holds a note for each finished shard; the same call goes on from
there after a kill.
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
from tfcxr.sampling.cascade import ImageSource
from tfcxr.sampling.label_plan import LabelPlan
from tfcxr.sampling.realism_gate import GateLog
from tfcxr.serving.cascade_parts import RealismGate
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.model_card import PATIENTS_FILE

SPLIT = "train"
SEEDS_PER_COHORT = 2**32


@dataclasses.dataclass(frozen=True)
class CohortOptions:
    """How a cohort is drawn.

    Attributes:
      seed: of the cohort, from 0. truncation: scales z, below 1 is less varied. batch_size: images drawn at once.
      shard_images: at most so many images a shard.
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
    plan: LabelPlan,
    out_dir: str | os.PathLike,
    options: CohortOptions | None = None,
    gate: RealismGate | None = None,
    super_resolution: LoadedModel | None = None,
) -> DatasetInfo:
    """Draws a cohort; one that was killed is finished, its whole shards kept.

    Args:
      model: a generator, or a cascade, which has its gate and its super-resolution model inside.
      gate: which candidates are kept; all where None. super_resolution: what enlarges them.

    Returns:
      the description that was written beside the shards.

    Raises:
      FileExistsError: the folder holds a cohort, or shards of something else.
      ValueError: it holds an unfinished cohort of other arguments, the model left its numeric range, models that do
        not fit (see `ImageSource`), or an image none of whose candidates passes the gate.
      OSError: the disk is full, or a file may not be written.
    """
    source = ImageSource(model, gate, super_resolution)
    source.check_plan(plan)
    options, out_dir = options or CohortOptions(), pathlib.Path(out_dir)
    data_dir = out_dir / str(source.description.image_size)
    with resumable_work(out_dir, "cohort", [data_dir]) as work:
        work.start(_arguments(source, plan, options))
        info = _describe(source, plan, options, *_draw_shards(source, plan, options, work))
        if (patients := source.training_patients()) is not None:
            write_atomically(data_dir / PATIENTS_FILE, patients)
        write_dataset_info(data_dir, info)
    return info


def _draw_shards(
    source: ImageSource, plan: LabelPlan, options: CohortOptions, work: ResumableWork
) -> tuple[tuple[ShardInfo, ...], GateLog]:
    """Draws the shards that are not there yet."""
    (data_dir,) = work.data_dirs
    count = math.ceil(len(plan) / options.shard_images)
    shards, log = [], GateLog()
    with tqdm(total=len(plan), unit="img", desc=f"drawing from {source.description.name}", mininterval=1) as progress:
        for index, start in enumerate(range(0, len(plan), options.shard_images)):
            path = data_dir / shard_name(SPLIT, index, count)
            note = work.folder / f"{path.name}.json"
            log_path = note.with_suffix(".gate.json")
            stop = min(start + options.shard_images, len(plan))
            shard = finished_shard(path, note)
            if shard is None:
                shard, shard_log = _draw_shard(source, plan, options, path, range(start, stop), progress)
                if source.gate is not None:
                    write_atomically(log_path, shard_log.to_json())
                write_atomically(note, json.dumps(dataclasses.asdict(shard)))
            else:
                shard_log = GateLog() if source.gate is None else GateLog.from_json(log_path.read_text("utf-8"))
                progress.update(shard.images)
            shards.append(shard)
            log.extend(shard_log)
    return tuple(shards), log


def _draw_shard(
    source: ImageSource, plan: LabelPlan, options: CohortOptions, path: pathlib.Path, images: range, progress: tqdm
) -> tuple[ShardInfo, GateLog]:
    prefix = f"synthetic-{source.description.weights_sha256[:8]}"
    encoding = default_encoding(source.description.image_size)
    log = GateLog()
    drawn = source.images(plan, images, options.first_seed, options.truncation, options.batch_size)
    with open_shard(path) as shard:
        for number, image in zip(images, drawn, strict=True):
            key = f"{prefix}-{image.seed}"
            label = tuple(map(float, plan.rows[plan.order[number]]))
            shard.write(encode_record(Record(image.pixels, key, label, patient_key=key), encoding))
            if source.gate is not None:
                log.add(image)
            progress.update()
    return shard.info, log


def _arguments(source: ImageSource, plan: LabelPlan, options: CohortOptions) -> dict[str, Any]:
    """Everything that the written bytes depend on."""
    labels = hashlib.sha256(plan.rows.astype("<f4").tobytes() + plan.order.astype("<i4").tobytes()).hexdigest()
    return source.arguments() | {
        "labels": labels,
        "seed": options.seed,
        "truncation": options.truncation,
        "shard_images": options.shard_images,
    }


def _describe(
    source: ImageSource, plan: LabelPlan, options: CohortOptions, shards: tuple[ShardInfo, ...], log: GateLog
) -> DatasetInfo:
    description, images = source.description, len(plan)
    of_row = np.bincount(plan.order, minlength=len(plan.rows))
    positives = of_row @ plan.rows
    labels = {
        name: {"positive": int(positive), "negative": images - int(positive), "unknown": 0}
        for name, positive in zip(description.label_names, positives, strict=True)
    }
    data = description.data
    patients = {} if source.training_patients() is None else {"patient_keys_file": PATIENTS_FILE}
    notice = f"Synthetic radiographs drawn by {source.saved_model.replace('/', ' version ')}, not patients."
    gate = {} if source.gate is None else log.summary(source.gate, plan, description.label_names)
    settings = dict(description.settings)
    models = {part: settings.pop(part) for part in ("generator", "super_resolution") if description.kind == "cascade"}
    return DatasetInfo(
        name=description.name,
        label_names=description.label_names,
        is_single_label=description.is_single_label,
        image_size=description.image_size,
        bits=8,
        encoding=default_encoding(description.image_size),
        splits={SPLIT: SplitInfo(images=images, patients=images, labels=labels, shards=shards)},
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
            "label_plan": plan.description,
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
