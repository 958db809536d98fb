"""Raw data set -> OUT/<size>/<split>-00000-of-0000N.tfrecord and OUT/<size>/dataset_info.json, resumable.

Beside the shards of each size stand the keys of each split's patients, patient_keys.json. In OUT stand:
  rejects.csv        Every image that was read and not written, by its name in the raw data, with the reason; kept also
                     where no image could be used. It is private: nothing of it is in a record or an info file, and it
                     must not be passed on with them.
  notices.csv        Likewise, every image that was written although something about it is odd: an unusual shape, a
                     burnt-in annotation, the content or nearly the picture of another image. Private as well.
  unfinished_build/  While the build runs: its arguments and a note for each finished shard. After a kill the same
                     command resumes from there; the folder is removed when the build is complete.
"""

import contextlib
import csv
import dataclasses
import operator
import pathlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
import PIL
from absl import logging

from tfcxr.data.atomic import atomic_path
from tfcxr.data.label_choice import LabelChoice
from tfcxr.data.records import write_dataset_info, write_patient_keys
from tfcxr.data.schema import LABEL_STATES, DatasetInfo, SplitInfo, count_labels, named_counts
from tfcxr.data.unfinished import ResumableWork, resumable_work
from tfrecords_builder.assignment import patient_key
from tfrecords_builder.datasets.phantom import Phantom
from tfrecords_builder.datasets.reader import Notice, RawExample, Reader, Reject, imitation_notice
from tfrecords_builder.duplicates import CONTENT_BYTES, HASH_BYTES, MAX_NEAR_IMAGES, duplicate_notices
from tfrecords_builder.options import NOTICES_FILE, REJECTS_FILE, BuildOptions
from tfrecords_builder.plan import NothingLeftError, Plan, ShardJob, arguments_of, plan_build
from tfrecords_builder.run_beam import run_jobs_in_beam
from tfrecords_builder.run_local import run_jobs_here
from tfrecords_builder.shard_writer import WORK, ShardResult, finished_result

_DIVISION = "division of the images"  # follows from the other arguments, former splits and duplicates

_Written = list[tuple[list[RawExample], ShardResult]]  # the shards of a split: images in their order, and the result


def build_dataset(reader: Reader, out_dir: str | pathlib.Path, options: BuildOptions) -> dict[int, DatasetInfo]:
    """Builds a data set at all sizes; a build that was killed is finished, its whole shards kept.

    Returns:
      size -> the description that was written beside its shards.

    Raises:
      FileExistsError: the folder holds a finished build, other files in the place of ours, or another running build.
      NothingLeftError: no image can be used; `rejects.csv` says why of each.
      ValueError: the folder holds an unfinished build of other arguments, or what `plan_build` raises.
      OSError: the disk is full, or a file may not be read or written.
    """
    out_dir = pathlib.Path(out_dir)
    data_dirs = tuple(out_dir / str(size) for size in options.image_sizes)
    ResumableWork(out_dir, WORK, data_dirs).check_free()
    try:
        plan = plan_build(reader, options)  # before the folder is made, which may lie among the raw data
        with resumable_work(out_dir, WORK, data_dirs) as work:
            work.start(_arguments(reader, options, plan), follows=_DIVISION)
            return _build(reader, options, work, plan)
    except NothingLeftError as error:
        if error.rejects:
            _write_csv(out_dir / REJECTS_FILE, Reject, error.rejects)
            error.args = (f"{error}; each is named in {out_dir / REJECTS_FILE}",)
        raise


def _arguments(reader: Reader, options: BuildOptions, plan: Plan) -> dict[str, Any]:
    """Everything that the written bytes depend on."""
    return {
        "dataset": reader.name,
        "reader_settings": arguments_of(reader),
        "label_names": list(plan.labels.names),
        "raw_data": plan.fingerprint,
        _DIVISION: plan.division,
        **options.content_arguments(),
    }


def _build(reader: Reader, options: BuildOptions, work: ResumableWork, plan: Plan) -> dict[int, DatasetInfo]:
    out_dir = work.out_dir
    results = _all_results(reader, options, out_dir, plan.jobs)
    rejects = [*plan.rejects, *(reject for result in results for reject in result.rejects)]
    splits: dict[str, _Written] = {}
    for job, result in zip(plan.jobs, results, strict=True):
        refused = {reject.key for reject in result.rejects}
        written = [example for example in job.examples if example.key not in refused]
        splits.setdefault(job.split, []).append((written, result))
    if not any(written for of_split in splits.values() for written, _ in of_split):
        _discard(work.data_dirs, plan.jobs)
        work.give_up()
        raise NothingLeftError(plan.images_read, rejects, str(reader.raw_dir))
    notices = [notice for result in results for notice in result.notices] + _duplicates(splits)
    patients = {
        name: {patient_key(reader.name, example, options.salt) for written, _ in of_split for example in written}
        for name, of_split in splits.items()
    }
    facts = {
        "rejected": dict(Counter(reject.reason for reject in rejects)),
        "notices": dict(sorted(Counter(notice.kind for notice in notices).items())),
    }
    for data_dir in work.data_dirs:  # the same file beside each size
        facts["patient_keys_sha256"] = write_patient_keys(data_dir, patients)
    # All are made, which checks their sums, before the first is written.
    infos = {size: _describe(reader, options, plan, size, splits, **facts) for size in options.image_sizes}
    _write_csv(out_dir / REJECTS_FILE, Reject, rejects)
    _write_csv(out_dir / NOTICES_FILE, Notice, notices)
    for size, info in infos.items():
        write_dataset_info(out_dir / str(size), info)
    return infos


def _all_results(
    reader: Reader, options: BuildOptions, out_dir: pathlib.Path, jobs: Sequence[ShardJob]
) -> list[ShardResult]:
    """One result per job, from an earlier run or this one."""
    results = {job.file: finished_result(out_dir, job, options.image_sizes) for job in jobs}
    missing = [job for job in jobs if results[job.file] is None]
    if len(missing) < len(jobs):
        logging.info("%d of %d shards are there already", len(jobs) - len(missing), len(jobs))
    run = run_jobs_in_beam if options.runner == "beam" else run_jobs_here
    for job, result in zip(missing, run(reader, options, out_dir, missing), strict=True):
        results[job.file] = result
    return list(results.values())


def _duplicates(splits: dict[str, _Written]) -> list[Notice]:
    """Images of the same content, or nearly the same picture, in whatever splits they are."""
    examples, names, results = [], [], []
    for name, of_split in splits.items():
        for written, result in of_split:
            examples += written
            names += [name] * len(written)
            results.append(result)
    contents = _rows([result.contents for result in results], CONTENT_BYTES)
    hashes = _rows([result.hashes for result in results], HASH_BYTES)
    if len(examples) > MAX_NEAR_IMAGES:
        logging.warning(
            "near duplicates are not looked for among %d images, at most %d", len(examples), MAX_NEAR_IMAGES
        )
    return duplicate_notices(examples, names, contents, hashes)


def _rows(pieces: Sequence[bytes], length: int) -> np.ndarray:
    return np.frombuffer(b"".join(pieces), np.uint8).reshape(-1, length)


def _describe(
    reader: Reader, options: BuildOptions, plan: Plan, size: int, splits: dict[str, _Written], **facts: Any
) -> DatasetInfo:
    described = {name: _describe_split(plan.labels, size, of_split) for name, of_split in splits.items()}
    return DatasetInfo(
        name=reader.name,
        label_names=plan.labels.names,
        is_single_label=reader.is_single_label,
        image_size=size,
        bits=options.bits,
        encoding=options.encoding_of(size),
        splits=described,
        images_read=plan.images_read,
        images_written=sum(split.images for split in described.values()),
        preprocessing={
            **options.description(options.bits),
            "reader_settings": arguments_of(reader),
            "labels": list(options.labels),
            "only_labels": list(options.only_labels),
            **_drawn_per_label(plan, options),
            "splits": dict(plan.assignment.fractions),
            "split_by": options.split_by,
            "kept_patients": plan.assignment.kept_patients,
            "moved_patients": plan.assignment.moved_patients,
            "seed": options.seed,
            "duplicates": options.duplicates,
            "libraries": {"opencv": cv2.__version__, "pillow": PIL.__version__},
        },
        source=_source(reader),
        salt_fingerprint=options.salt_fingerprint,
        notice=imitation_notice(reader.raw_dir) or reader.notice,
        **facts,
    )


def _source(reader: Reader) -> dict[str, str]:
    described: type[Reader] | Reader = Phantom if imitation_notice(reader.raw_dir) else reader
    return {"homepage": described.homepage, "citation": described.citation, "licence": described.licence}


def _drawn_per_label(plan: Plan, options: BuildOptions) -> dict[str, Any]:
    """The limit of images per label, and how many of each were drawn, some of which may have been damaged."""
    if not options.max_images_per_label:
        return {}
    drawn = [example for job in plan.jobs for example in job.examples]
    counts = {
        name: sum(plan.labels.of_image(example.label)[column] == 1 for example in drawn)
        for column, name in enumerate(plan.labels.names)
    }
    return {"max_images_per_label": {"limit": options.max_images_per_label, "drawn": counts}}


def _describe_split(chosen: LabelChoice, size: int, of_split: _Written) -> SplitInfo:
    shards, patients = tuple(result.shards[size] for _, result in of_split), set()
    counts = np.zeros((len(chosen.names), len(LABEL_STATES)), np.int64)
    for (written, _), shard in zip(of_split, shards, strict=True):
        assert len(written) == shard.images, "a shard's note does not fit its job"
        labels = np.array([chosen.of_image(example.label) for example in written], float)
        counts += count_labels(labels.reshape(-1, len(chosen.names)))
        patients.update(example.patient_id for example in written)
    images = sum(shard.images for shard in shards)
    return SplitInfo(images, len(patients), named_counts(chosen.names, counts), shards)


def _write_csv(path: pathlib.Path, kind: type[Reject | Notice], rows: Iterable[Reject | Notice]) -> None:
    header = [field.name for field in dataclasses.fields(kind)]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(map(operator.attrgetter(*header), rows))


def _discard(data_dirs: Sequence[pathlib.Path], jobs: Sequence[ShardJob]) -> None:
    """Removes the empty shards of a build without one usable image, and the folders that are empty then."""
    for data_dir in data_dirs:
        for job in jobs:
            (data_dir / job.file).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds something else
            data_dir.rmdir()
