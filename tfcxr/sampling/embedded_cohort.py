"""Real images -> what the generator makes of their z, as a cohort: the embedding baseline of Segal et al. 2021.

    embedder = open_embedder("runs/pggan", "runs/pggan/latent_regressor")
    embed_cohort(embedder, "records/64", ["train"], "cohorts/embedded")

writes `cohorts/embedded/64/` with the splits, order, labels, keys, patients, views, ages and sexes of the real records
(an embedded image has its real image's key), and the whole provenance. After a kill the same call resumes; whole shards
are kept.

The images derive from patients, so that those who were embedded count as the generator's training patients too: an
evaluation refuses to test on them.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from absl import logging
from tqdm import tqdm

from tfcxr.data.atomic import write_atomically
from tfcxr.data.parsing import parse_batch
from tfcxr.data.pipeline import read_facts
from tfcxr.data.records import (
    open_shard,
    read_dataset_info,
    read_patient_keys,
    shard_paths,
    split_info,
    write_dataset_info,
)
from tfcxr.data.schema import DatasetInfo, Record, ShardInfo, default_encoding, encode_record
from tfcxr.data.training_patients import TRAINING_PATIENTS_FILE
from tfcxr.data.unfinished import ResumableWork, resumable_work
from tfcxr.sampling.cohort_folder import describe_cohort, write_shards
from tfcxr.sampling.image_source import to_grey
from tfcxr.sampling.latent_embedding import LatentEmbedder
from tfcxr.serving.cascade import LUMA
from tfcxr.training.run_folder import RunConfig, describe_data

READ_BATCH = 256


def embed_cohort(
    embedder: LatentEmbedder, data_dir: str | os.PathLike, splits: Sequence[str], out_dir: str | os.PathLike
) -> DatasetInfo:
    """Writes the cohort, a shard for each real one; one that was killed is resumed, its whole shards kept.

    Args:
      data_dir: the real records of the model's image size.
      splits: each is kept under its own name.

    Raises:
      FileExistsError: the folder holds a cohort, or shards of something else.
      FileNotFoundError: no data folder, or a shard is missing.
      ValueError: synthetic records, or of another size, no such split, labels other than a conditional model's, a
        damaged shard, or an unfinished cohort of other arguments.
    """
    data_dir, out_dir = pathlib.Path(data_dir), pathlib.Path(out_dir)
    info = check_records(embedder.run, data_dir, splits)
    shards = {split: info.splits[split].shards for split in splits}
    for split in splits:
        shard_paths(data_dir, info, split, verify_checksums=True)
    cohort_dir = out_dir / str(info.image_size)
    with resumable_work(out_dir, "cohort", [cohort_dir]) as work:
        arguments = {
            "model": embedder.model_sha256,
            "regressor": embedder.regressor_sha256,
            "data": {split: [shard.sha256 for shard in shards[split]] for split in splits},
        }
        work.start(arguments)
        images = split_info(info, ",".join(splits)).images
        write = functools.partial(_embed_shard, embedder, info, data_dir)
        with tqdm(total=images, unit="img", desc=f"embedding {info.name}", mininterval=1) as progress:
            written = {
                split: write_shards(work, {shard.file: write for shard in shards[split]}, progress) for split in splits
            }
        patients = _patients(embedder, info, data_dir, splits)
        if patients is not None:
            write_atomically(cohort_dir / TRAINING_PATIENTS_FILE, patients)
        described = _describe(embedder, info, written, has_patients=patients is not None)
        write_dataset_info(cohort_dir, described)
    return described


def check_records(run: RunConfig, data_dir: str | os.PathLike, splits: Sequence[str]) -> DatasetInfo:
    """The description of records that a run's model can embed.

    Raises:
      FileNotFoundError: no data folder.
      ValueError: see `embed_cohort`.
    """
    info = read_dataset_info(data_dir)
    if info.is_synthetic:
        raise ValueError(f"{data_dir} holds synthetic images ({info.name}); what is embedded are real patients' images")
    if info.image_size != run.settings["image_size"]:
        raise ValueError(
            f"{data_dir} holds images of {info.image_size} px, but the model has {run.settings['image_size']} px; "
            f"build them with --image_sizes={run.settings['image_size']}"
        )
    split_info(info, ",".join(splits))
    if run.label_names and set(run.label_names) != set(info.label_names):
        raise ValueError(
            f"the model has {', '.join(run.label_names)}, but {info.name} has {', '.join(info.label_names)}; embed "
            "records of the same labels"
        )
    return info


def check_cohort_folder(out_dir: str | os.PathLike, info: DatasetInfo) -> None:
    """Refuses a folder that a cohort of these records may not be written to, before a regressor is trained for it.

    Raises:
      FileExistsError: see `resumable_work`.
    """
    out_dir = pathlib.Path(out_dir)
    ResumableWork(out_dir, "cohort", (out_dir / str(info.image_size),)).check_free()


def labels_for_model(run: RunConfig, info: DatasetInfo, labels: np.ndarray) -> np.ndarray:
    """Stored labels [images, labels] as the model reads them: float32, unknown as absent."""
    columns = [info.label_names.index(name) for name in run.label_names]
    return np.nan_to_num(labels[:, columns], nan=0.0).astype(np.float32)


def stored_labels_for_model(
    run: RunConfig, info: DatasetInfo, data_dir: str | os.PathLike, splits: Sequence[str]
) -> np.ndarray:
    """`labels_for_model` of all records of the splits; decodes no pixel."""
    return labels_for_model(run, info, read_facts(data_dir, splits)["label"])


def _embed_shard(
    embedder: LatentEmbedder, info: DatasetInfo, data_dir: pathlib.Path, path: pathlib.Path, progress: tqdm
) -> ShardInfo:
    """Writes the embedding of the real shard of the same name."""
    encoding = default_encoding(info.image_size)
    batches = (
        tf.data.TFRecordDataset(str(data_dir / path.name))
        .batch(READ_BATCH)
        .map(lambda serialized: parse_batch(serialized, info))
    )
    with open_shard(path) as shard:
        for batch in batches.as_numpy_iterator():
            images = embedder.reconstruct(batch["image"], labels_for_model(embedder.run, info, batch["label"]))
            texts = {name: np.char.decode(batch[name].astype(bytes)) for name in ("key", "patient_key", "view", "sex")}
            for row, image in enumerate(images):
                record = Record(
                    image=to_grey(image),
                    label=tuple(map(float, batch["label"][row])),
                    age=float(batch["age"][row]),
                    **{name: str(values[row]) for name, values in texts.items()},
                )
                shard.write(encode_record(record, encoding))
            progress.update(len(images))
    return shard.info


def _patients(embedder: LatentEmbedder, info: DatasetInfo, data_dir: pathlib.Path, splits: Sequence[str]) -> str | None:
    """Keys of the generator's training patients and of those who were embedded; None where they cannot be compared."""
    path = embedder.run_dir / TRAINING_PATIENTS_FILE
    if not path.is_file() or embedder.run.data.get("salt_fingerprint", "") != info.salt_fingerprint:
        logging.warning(
            "it is not known whether the generator saw the patients of %s in its training (no %s, or another salt); "
            "an evaluation of the cohort will say so",
            info.name,
            path,
        )
        return None
    keys = {*path.read_text(encoding="utf-8").split(), *read_patient_keys(data_dir, ",".join(splits))}
    return "".join(f"{key}\n" for key in sorted(keys))


def _describe(
    embedder: LatentEmbedder, info: DatasetInfo, written: dict[str, list[ShardInfo]], has_patients: bool
) -> DatasetInfo:
    run = embedder.run
    patients = {"patient_keys_file": TRAINING_PATIENTS_FILE} if has_patients else {}
    notice = (
        f"Synthetic radiographs that {embedder.name} draws of the latent codes of images of {info.name}; the labels "
        "and patient keys are those of the patients behind them."
    )
    licences = [run.data.get("licence", ""), info.source.get("licence", "")]
    return describe_cohort(
        name=f"{embedder.name}_embedded",
        label_names=info.label_names,
        is_single_label=info.is_single_label,
        image_size=info.image_size,
        splits={
            split: dataclasses.replace(info.splits[split], shards=tuple(shards)) for split, shards in written.items()
        },
        preprocessing={
            "grey": "as generated" if run.settings["channels"] == 1 else f"luma {LUMA} of red, green, blue",
            "embedded_images": info.preprocessing,
        },
        licence="; ".join(dict.fromkeys(filter(None, licences))),
        provenance={
            "model": run.model,
            "run": embedder.name,
            "weights_sha256": embedder.model_sha256,
            "steps": embedder.step,
            "settings": run.settings,
            "embedding": {
                "regressor_sha256": embedder.regressor_sha256,
                "settings": embedder.settings,
                "held_out_cosine": embedder.cosine,
            },
            "embedded_data": {split: describe_data(info, split) for split in written},
            "acceptance_rate": 1.0,
            "training_data": run.data | patients,
        },
        salt_fingerprint=info.salt_fingerprint,
        notice=" ".join(dict.fromkeys(filter(None, [notice, run.data.get("notice", ""), info.notice]))),
    )
