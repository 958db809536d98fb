"""One shard job -> one shard file a size, each image decoded once; a note beside the build says that it is done."""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Callable

from tfcxr.data.atomic import write_atomically
from tfcxr.data.records import file_sha256, open_shard
from tfcxr.data.schema import Record, ShardInfo, encode_record, hashed_key
from tfrecords_builder.datasets.reader import RawExample, Reader, Reject
from tfrecords_builder.image_io import ImageError
from tfrecords_builder.options import BuildOptions
from tfrecords_builder.plan import ShardJob, stop_message
from tfrecords_builder.preprocess import enhance, to_square

UNFINISHED_FOLDER = "unfinished_build"


@dataclasses.dataclass(frozen=True)
class ShardResult:
    """What became of a job: its file in the folder of each size, and the images that could not be used."""

    shards: dict[int, ShardInfo]
    rejects: tuple[Reject, ...]


def write_shard_job(
    reader: Reader, options: BuildOptions, out_dir: pathlib.Path, job: ShardJob, on_image: Callable[[], None]
) -> ShardResult:
    """Writes one shard at all sizes, then its note.

    Args:
      on_image: called once an image; what it raises ends the job.

    Raises:
      ValueError: an image cannot be used and `options.on_error` is "stop".
      OSError: the disk is full, or a file may not be read or written.
    """
    rejects = []
    with contextlib.ExitStack() as stack:
        paths = {size: out_dir / str(size) / job.file for size in options.image_sizes}
        shards = {size: stack.enter_context(open_shard(path)) for size, path in paths.items()}
        for example in job.examples:
            on_image()
            try:
                image = enhance(reader.read_image(example), options.preprocess)
            except ImageError as error:
                rejects.append(Reject(example.key, error.reason, error.detail))
                if options.on_error == "stop":
                    raise ValueError(stop_message(rejects[-1])) from error
                continue
            facts = _facts(reader.name, example, options.salt)
            for size, shard in shards.items():
                record = Record(to_square(image, size, options.preprocess.square), **facts)
                shard.write(encode_record(record, options.encoding_of(size)))
    result = ShardResult({size: shard.info for size, shard in shards.items()}, tuple(rejects))
    write_atomically(_note_path(out_dir, job), json.dumps(dataclasses.asdict(result)))
    return result


def finished_result(out_dir: pathlib.Path, job: ShardJob, image_sizes: tuple[int, ...]) -> ShardResult | None:
    """The result of a job that an earlier, killed run finished; None when it must be done."""
    path = _note_path(out_dir, job)
    if not path.is_file():
        return None
    note = json.loads(path.read_text(encoding="utf-8"))
    shards = {int(size): ShardInfo(**shard) for size, shard in note["shards"].items()}
    for size in image_sizes:
        file = out_dir / str(size) / job.file
        if not file.is_file() or file_sha256(file) != shards[size].sha256:
            return None
    return ShardResult(shards, tuple(Reject(**reject) for reject in note["rejects"]))


def _note_path(out_dir: pathlib.Path, job: ShardJob) -> pathlib.Path:
    return out_dir / UNFINISHED_FOLDER / f"{job.file}.json"


def _facts(dataset: str, example: RawExample, salt: bytes) -> dict:
    """The fields of a record beside its pixels; names are hashed with the data set's, so that sets do not mix."""
    return {
        "key": hashed_key(f"{dataset}/{example.key}", salt),
        "patient_key": hashed_key(f"{dataset}/{example.patient_id}", salt),
        "label": example.label,
        "view": example.view,
        "age": example.age,
        "sex": example.sex,
    }
