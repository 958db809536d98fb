"""What the folders of all synthetic cohorts share: shards that outlast a kill, and how they are described."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf
from tqdm import tqdm

import tfcxr
from tfcxr.data.atomic import write_atomically
from tfcxr.data.schema import DatasetInfo, ShardInfo, default_encoding
from tfcxr.data.unfinished import ResumableWork, finished_shard

ShardWriter = Callable[[pathlib.Path, tqdm], ShardInfo]


def write_shards(work: ResumableWork, shards: Iterable[tuple[str, ShardWriter]], progress: tqdm) -> list[ShardInfo]:
    """Writes the shards, a file name and its writer each, that an earlier run of the same work did not finish."""
    (data_dir,) = work.data_dirs
    written = []
    for name, write in shards:
        note = work.folder / f"{name}.json"
        shard = finished_shard(data_dir / name, note)
        if shard is None:
            shard = write(data_dir / name, progress)
            write_atomically(note, json.dumps(dataclasses.asdict(shard)))
        else:
            progress.update(shard.images)
        written.append(shard)
    return written


def describe_cohort(licence: str, provenance: dict[str, Any], **fields: Any) -> DatasetInfo:
    """The description of a synthetic cohort; `fields` are those of `DatasetInfo` that cohorts differ in."""
    images = sum(split.images for split in fields["splits"].values())
    versions = {"tfcxr_version": tfcxr.__version__, "tensorflow_version": tf.__version__}
    return DatasetInfo(
        bits=8,
        encoding=default_encoding(fields["image_size"]),
        images_read=images,
        images_written=images,
        rejected={},
        source={"homepage": "", "citation": "", "licence": licence},
        is_synthetic=True,
        provenance=provenance | versions,
        **fields,
    )
