"""One shard of a merge: what a worker needs to write it, and how it is written."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tfcxr.data.atomic import write_atomically
from tfcxr.data.records import open_shard
from tfcxr.data.schema import ShardInfo, rewrite_record
from tfrecords_builder.inspect.merge_inputs import MergeInput
from tfrecords_builder.inspect.merge_table import MergePlan

PORTION_BYTES = 64 * 2**20  # records held at once, so that each input file is read from its beginning to its end


@dataclasses.dataclass(frozen=True)
class MergeJob:
    """One shard to write.

    Attributes:
      path: where it goes.
      note: file that says that it is finished.
      files: the input shards of its records, each with the number of its input.
      file, offset, length: int64 [records], in writing order, as in `MergePlan`.
    """

    path: pathlib.Path
    note: pathlib.Path
    files: tuple[tuple[int, pathlib.Path], ...]
    file: np.ndarray
    offset: np.ndarray
    length: np.ndarray


def make_job(plan: MergePlan, path: pathlib.Path, note: pathlib.Path, rows: np.ndarray) -> MergeJob:
    """The job of writing some rows of a plan, without the others."""
    numbers, file = np.unique(plan.file[rows], return_inverse=True)
    files = tuple(plan.files[number] for number in numbers)
    return MergeJob(path, note, files, file, plan.offset[rows], plan.length[rows])


def write_merged_shard(
    inputs: Sequence[MergeInput], absent: float, encoding: str, job: MergeJob, on_image: Callable[[], object]
) -> ShardInfo:
    """Writes a shard, then its note.

    Args:
      inputs: of the merge.
      absent: label value of a name that an input does not have.
      encoding: how pixels are stored, "raw" or "png".
      on_image: called once per image.

    Raises:
      ValueError: the pixels of a record are damaged.
      OSError: the disk is full, or a file may not be read or written.
    """
    is_kept = [  # whether a record's labels and encoding stay as they are, and so its bytes
        entry.columns == tuple(range(len(entry.label_names))) and entry.info.encoding == encoding for entry in inputs
    ]
    with open_shard(job.path) as shard:
        for rows in _portions(job.length):
            for row, example in zip(rows, _read_rows(job, rows), strict=True):
                number, _ = job.files[job.file[row]]
                if not is_kept[number]:
                    entry = inputs[number]
                    example = rewrite_record(example, entry.info, entry.columns, absent, encoding)
                shard.write(example)
                on_image()
    assert shard.info is not None  # it was closed
    write_atomically(job.note, json.dumps(dataclasses.asdict(shard.info)))
    return shard.info


def _portions(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Consecutive rows of about `PORTION_BYTES` together."""
    portion_of_row = (np.cumsum(lengths) - lengths) // PORTION_BYTES
    yield from np.split(np.arange(len(lengths)), np.flatnonzero(np.diff(portion_of_row)) + 1)


def _read_rows(job: MergeJob, rows: np.ndarray) -> list[bytes]:
    """The serialised records of `rows`, in this order; each file is opened once and read forwards."""
    examples = [b""] * len(rows)
    order = np.lexsort((job.offset[rows], job.file[rows]))
    for of_file in np.split(order, np.flatnonzero(np.diff(job.file[rows[order]])) + 1):
        _, path = job.files[job.file[rows[of_file[0]]]]
        with path.open("rb") as file:
            for position in of_file:
                file.seek(job.offset[rows[position]])
                examples[position] = file.read(job.length[rows[position]])
                if len(examples[position]) < job.length[rows[position]]:
                    raise ValueError(f"{path} was changed while it was merged; run the same command again")
    return examples
