"""Shard jobs as an Apache Beam pipeline: the same steps and the same bytes, on whatever runs Beam (extra `beam`).

    python -m tfrecords_builder --runner=beam --dataset=phantom --out_dir=runs/phantom --workers=2

Without `--beam_argument` this machine's processes do the work. Each `--beam_argument` goes to Beam as it is, such as
`--beam_argument=--runner=FlinkRunner --beam_argument=--flink_master=HOST:8081 --beam_argument=--parallelism=64`. Every
worker must have this package installed and see the raw folder and the output folder under the paths given here, as on a
shared file system or a mounted bucket.

The pipeline carries shard names only: each job waits as a file in `unfinished_build`, and each result is the note that
is left there, so a killed pipeline is finished by the same command, with Beam or without.
"""

import copy
import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence

import cv2
from absl import logging

from tfcxr.data.atomic import write_atomically
from tfcxr.data.unfinished import unfinished_folder
from tfrecords_builder.datasets.reader import RawExample, Reader
from tfrecords_builder.options import BuildOptions
from tfrecords_builder.plan import ShardJob
from tfrecords_builder.shard_writer import WORK, ShardResult, finished_result, write_shard_job

JOBS_FOLDER = "jobs"


def run_jobs_in_beam(
    reader: Reader, options: BuildOptions, out_dir: pathlib.Path, jobs: Sequence[ShardJob]
) -> list[ShardResult]:
    """Writes all shards; returns one result per job, in their order.

    Raises:
      ImportError: Apache Beam is not installed.
      ChildProcessError: the pipeline failed; Beam's own message is in it.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise ImportError("--runner=beam needs Apache Beam; install it with: pip install 'tfcxr[beam]'") from error
    if not jobs:
        return []
    folder = unfinished_folder(out_dir.resolve(), WORK) / JOBS_FOLDER
    folder.mkdir(exist_ok=True)
    for job in jobs:
        write_atomically(folder / f"{job.file}.json", json.dumps(dataclasses.asdict(job)))
    arguments = list(options.beam_arguments) or _arguments_of_this_machine(options.workers, len(jobs))
    logging.info("Beam writes %d shards with %s", len(jobs), " ".join(arguments))
    reader = copy.copy(reader)
    reader.raw_dir = reader.raw_dir.resolve()  # a worker on another machine has another working folder
    try:
        with beam.Pipeline(options=PipelineOptions(arguments)) as pipeline:
            names = pipeline | beam.Create([job.file for job in jobs]) | beam.Reshuffle()
            _ = names | beam.Map(write_named_shard, reader=reader, options=options, out_dir=str(out_dir.resolve()))
    except RuntimeError as error:  # what runners make of a failure in a worker
        raise ChildProcessError(f"the Beam pipeline failed; finished shards are kept: {error}") from error
    results = [finished_result(out_dir, job, options.image_sizes) for job in jobs]
    if missing := [job.file for job, result in zip(jobs, results, strict=True) if result is None]:
        raise ChildProcessError(
            f"Beam reported success, but {len(missing)} shards such as {missing[0]} are not in {out_dir}; "
            "do all workers see that folder under this path?"
        )
    return results


def write_named_shard(name: str, reader: Reader, options: BuildOptions, out_dir: str) -> None:
    """What a Beam worker does: reads one job's file and writes its shard and note."""
    cv2.setNumThreads(1)
    folder = pathlib.Path(out_dir)
    job = json.loads((unfinished_folder(folder, WORK) / JOBS_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    examples = tuple(RawExample(**{**example, "label": tuple(example["label"])}) for example in job.pop("examples"))
    write_shard_job(reader, options, folder, ShardJob(**job, examples=examples), lambda: None)


def _arguments_of_this_machine(workers: int, jobs: int) -> list[str]:
    count = min(workers or os.cpu_count() or 1, jobs)
    mode = "multi_processing" if count > 1 else "in_memory"
    return ["--runner=DirectRunner", f"--direct_running_mode={mode}", f"--direct_num_workers={count}"]
