"""Shard jobs in this process, or in several of this machine."""

import functools
import pathlib
from collections.abc import Sequence

from tqdm import tqdm

from tfrecords_builder.datasets.reader import Reader
from tfrecords_builder.options import BuildOptions
from tfrecords_builder.plan import ShardJob
from tfrecords_builder.shard_writer import ShardResult, write_shard_job
from tfrecords_builder.worker_pool import run_jobs


def run_jobs_here(
    reader: Reader, options: BuildOptions, out_dir: pathlib.Path, jobs: Sequence[ShardJob]
) -> list[ShardResult]:
    """Writes all shards, with a progress bar; returns one result per job, in their order; raises as `run_jobs` does."""
    write = functools.partial(write_shard_job, reader, options, out_dir)
    total = sum(len(job.examples) for job in jobs)
    with tqdm(total=total, desc=f"{reader.name}", unit=" images", disable=None) as bar:
        return run_jobs(write, jobs, len(jobs), options.workers, bar)
