"""What the folders of all synthetic cohorts share: shards that outlast a kill, and how they are described."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf
from tqdm import tqdm

import tfcxr
from tfcxr.data.atomic import write_atomically
from tfcxr.data.schema import DatasetInfo, ShardInfo, default_encoding
from tfcxr.data.unfinished import ResumableWork, finished_shard

ShardWriter = Callable[[pathlib.Path, tqdm], ShardInfo]


def finished_shards(work: ResumableWork, names: Iterable[str]) -> dict[str, ShardInfo]:
    """Those of the shards that an earlier run of the same work finished, by file name."""
    (data_dir,) = work.data_dirs
    found = ((name, finished_shard(data_dir / name, _note(work, name))) for name in names)
    return {name: shard for name, shard in found if shard is not None}


def write_shards(
    work: ResumableWork,
    writers: Mapping[str, ShardWriter],
    progress: tqdm,
    finished: Mapping[str, ShardInfo] | None = None,
) -> list[ShardInfo]:
    """Writes the shards that are not finished.

    Args:
      writers: of the shards, by file name.
      finished: what `finished_shards` has found; it is asked where None.
    """
    (data_dir,) = work.data_dirs
    if finished is None:
        finished = finished_shards(work, writers)
    written = []
    for name, write in writers.items():
        if name in finished:
            progress.update(finished[name].images)
            written.append(finished[name])
        else:
            written.append(write(data_dir / name, progress))
            write_atomically(_note(work, name), json.dumps(dataclasses.asdict(written[-1])))
    return written


def _note(work: ResumableWork, name: str) -> pathlib.Path:
    """What tells that a shard is finished."""
    return work.folder / f"{name}.json"


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
