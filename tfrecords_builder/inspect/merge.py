"""Several data folders -> one, their labels aligned by name; resumable, in bounded memory.

    merge_folders(["records/chest_xray_pneumonia/64", "records/nih_chestxray14/64"], "records/both", MergeOptions())

Labels: the names of the result are those of all sets in order of first appearance. Where a set does not have a name
its images are unknown (NaN) there. Splits of one name become one. A record whose labels and encoding do not change
keeps its bytes.

Patients: an image that occurs twice and a patient in two splits are refused. They are known by their hashed keys, into
which the data set's name goes, so this finds the patients of one set in several folders. It cannot find images that
two published sets share: RSNA's pneumonia set and ChestX-ray8 are parts of NIH ChestX-ray14, and the COVID-19
Radiography Database holds images of chest_xray_pneumonia. Merge such sets for training only.

A merge of synthetic cohorts, such as an ensemble's, names the patients that any of their generators was trained on.

Memory: about 100 bytes per image (see `merge_table`), and in each worker `PORTION_BYTES` of records.

In OUT stands, while the merge runs, `unfinished_merge/` with the arguments and a note for each finished shard. The
same command resumes from there after a kill; the folder is removed when all is written.
"""

import dataclasses
import functools
import itertools
import json
import pathlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from absl import logging
from tqdm import tqdm

from tfcxr.data.atomic import write_atomically
from tfcxr.data.records import write_dataset_info, write_patient_keys
from tfcxr.data.schema import DatasetInfo, SplitInfo, default_encoding, hashed_key
from tfcxr.data.training_patients import TRAINING_PATIENTS_FILE, joined_training_patients
from tfcxr.data.unfinished import ResumableWork, finished_shard, resumable_work
from tfrecords_builder.inspect.merge_inputs import MergedLabels, MergeInput, MergeOptions, inputs_by_size, read_inputs
from tfrecords_builder.inspect.merge_shard import make_job, write_merged_shard
from tfrecords_builder.inspect.merge_table import WORTH_A_WORKER, MergePlan, plan_merge
from tfrecords_builder.listing import OTHER_LABEL
from tfrecords_builder.worker_pool import run_jobs

MERGED_NAME = "merged"
LEFT_OUT = "split_not_merged"
MIXED_NOTICE = "Synthetic radiographs and those of patients are mixed here; do not test on them."


@dataclasses.dataclass(frozen=True)
class _Part:
    """One data folder to write: `folder` below OUT, "" for OUT itself."""

    folder: str
    inputs: list[MergeInput]
    labels: MergedLabels
    plan: MergePlan

    @property
    def encoding(self) -> str:
        """What the inputs have in common, or what the builder would choose."""
        found = {entry.info.encoding for entry in self.inputs}
        return found.pop() if len(found) == 1 else default_encoding(self.inputs[0].info.image_size)


def merge_folders(
    folders: Sequence[str | pathlib.Path], out_dir: str | pathlib.Path, options: MergeOptions, workers: int = 0
) -> dict[int, DatasetInfo]:
    """Merges data folders into `out_dir`, or, given folders of several sizes each, into `out_dir/<size>`.

    Of one folder, labels or splits are chosen.

    Args:
      workers: processes; 0 for one per CPU. It changes no byte of the result.

    Returns:
      size -> the description that was written beside its shards.

    Raises:
      FileNotFoundError: one is no data folder, or a shard is missing.
      FileExistsError: `out_dir` holds a data set, other files in the place of ours, or another running merge.
      ValueError: what does not fit together (see `read_inputs` and `plan_merge`), or an unfinished merge of other
        arguments.
      ChildProcessError: a worker process died.
      OSError: the disk is full, or a file may not be read or written.
    """
    out_dir = pathlib.Path(out_dir)
    groups = {name: read_inputs(paths, options) for name, paths in inputs_by_size(folders).items()}
    with resumable_work(out_dir, "merge", [out_dir / name for name in groups]) as work:
        # All that can be refused is refused before the first byte is written.
        parts = [_Part(name, *group, plan_merge(*group, options, workers)) for name, group in groups.items()]
        work.start(_arguments(parts, options))
        infos = {out_dir / part.folder: _write(work, part, options, workers) for part in parts}
        for data_dir, info in infos.items():
            write_dataset_info(data_dir, info)
    return {info.image_size: info for info in infos.values()}


def _arguments(parts: Sequence[_Part], options: MergeOptions) -> dict[str, Any]:
    """Everything that the written bytes depend on."""
    return options.as_json() | {
        "inputs": {part.folder: [[entry.name, entry.info.shards_sha256] for entry in part.inputs] for part in parts}
    }


def _write(work: ResumableWork, part: _Part, options: MergeOptions, workers: int) -> DatasetInfo:
    """Writes the shards that are not there yet and describes all."""
    shards, missing = {}, []
    for split in part.plan.splits:
        for index in range(len(split.shards)):
            path = work.out_dir / part.folder / split.file(index)
            note = work.folder / part.folder / f"{path.name}.json"
            shards[path] = finished_shard(path, note)
            if shards[path] is None:
                missing.append((path, note, split.shards[index]))
    if len(missing) < len(shards):
        logging.info("%d of %d shards are there already", len(shards) - len(missing), len(shards))
    jobs = (make_job(part.plan, *place) for place in missing)  # each is made when a worker is free
    inputs = tuple(entry.without_splits() for entry in part.inputs)
    write = functools.partial(write_merged_shard, inputs, part.labels.absent, part.encoding)
    total = sum(len(rows) for *_, rows in missing)
    with tqdm(total=total, desc=f"merging {part.folder}".strip(), unit=" images", disable=None) as bar:
        written = run_jobs(write, jobs, len(missing), workers, bar, WORTH_A_WORKER)
    shards |= {path: shard for (path, *_), shard in zip(missing, written, strict=True)}
    in_order, splits = iter(shards.values()), {}
    for split in part.plan.splits:
        of_split = tuple(itertools.islice(in_order, len(split.shards)))
        splits[split.name] = SplitInfo(split.images, len(split.patients), split.labels, of_split)
    patients = {split.name: map(bytes.decode, split.patients) for split in part.plan.splits}
    data_dir = work.out_dir / part.folder
    info = _describe(part, options, splits, write_patient_keys(data_dir, patients))
    seen = joined_training_patients([(entry.folder, entry.info) for entry in part.inputs])
    if seen is None:
        return info
    write_atomically(data_dir / TRAINING_PATIENTS_FILE, seen.text)
    training_data = info.provenance.get("training_data", {}) | seen.facts
    return dataclasses.replace(info, provenance=info.provenance | {"training_data": training_data})


def _describe(part: _Part, options: MergeOptions, splits: dict[str, SplitInfo], patients_digest: str) -> DatasetInfo:
    if len(part.inputs) == 1:
        return _describe_choice(part, options, splits, patients_digest)
    infos = {entry.name: entry.info for entry in part.inputs}
    first = part.inputs[0].info
    written = sum(split.images for split in splits.values())
    rejected = sum((Counter(info.rejected) for info in infos.values()), Counter())
    if left_out := sum(info.images_written for info in infos.values()) - written:
        rejected[LEFT_OUT] += left_out
    is_synthetic = [info.is_synthetic for info in infos.values()]
    is_mixed = any(is_synthetic) and not all(is_synthetic)
    notices = list(dict.fromkeys(info.notice for info in infos.values() if info.notice))
    return DatasetInfo(
        name=MERGED_NAME,
        label_names=part.labels.names,
        is_single_label=part.labels.is_single_label,
        image_size=first.image_size,
        bits=first.bits,
        encoding=part.encoding,
        splits=splits,
        images_read=sum(info.images_read for info in infos.values()),
        images_written=written,
        rejected=dict(rejected),
        preprocessing={name: info.preprocessing for name, info in infos.items()},
        source={
            field: "\n".join(f"{name}: {info.source[field]}" for name, info in infos.items() if info.source.get(field))
            for field in dict.fromkeys(field for info in infos.values() for field in info.source)
        },
        is_synthetic=any(is_synthetic),
        provenance={
            "merge": options.as_json() | {"absent_label": "0" if part.labels.absent == 0 else "unknown"},
            "mixes_synthetic_and_real": is_mixed,
            "inputs": {entry.name: _describe_input(entry) for entry in part.inputs},
        },
        salt_fingerprint=_salt_fingerprint(part.inputs),
        notice=" ".join([MIXED_NOTICE, *notices] if is_mixed else notices),
        notices=dict(sum((Counter(info.notices) for info in infos.values()), Counter())),
        patient_keys_sha256=patients_digest,
    )


def _describe_choice(
    part: _Part, options: MergeOptions, splits: dict[str, SplitInfo], patients_digest: str
) -> DatasetInfo:
    """One data set, of which labels or splits were chosen; it keeps its name, so that its patients are known."""
    info = part.inputs[0].info
    taken = sum(split.images for name, split in info.splits.items() if not options.splits or name in options.splits)
    written = sum(split.images for split in splits.values())
    left_out = {LEFT_OUT: info.images_written - taken, OTHER_LABEL: taken - written}
    return dataclasses.replace(
        info,
        label_names=part.labels.names,
        splits=splits,
        images_written=written,
        rejected=dict(Counter(info.rejected) + Counter(left_out)),
        provenance=info.provenance | {"merge": options.as_json()},
        patient_keys_sha256=patients_digest,
    )


def _describe_input(entry: MergeInput) -> dict[str, Any]:
    info = entry.info
    kept = ("images_written", "is_single_label", "is_synthetic", "salt_fingerprint", "source", "provenance")
    return {name: getattr(info, name) for name in kept} | {
        "dataset": info.name,
        "label_names": list(info.label_names),
        "renamed_to": list(entry.label_names),
        "shards_sha256": info.shards_sha256,
    }


def _salt_fingerprint(inputs: Sequence[MergeInput]) -> str:
    """That of the inputs where they have one salt; else one that equals only that of the same sets and salts."""
    found = {entry.info.salt_fingerprint for entry in inputs}
    if len(found) == 1:
        return found.pop()
    pairs = sorted((entry.info.name, entry.info.salt_fingerprint) for entry in inputs)
    return "several-" + hashed_key(json.dumps(pairs), b"merged salt fingerprints", 8)
