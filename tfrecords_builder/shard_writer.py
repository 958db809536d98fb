"""One shard job -> one shard file per size, each image decoded once; a note beside the build says that it is done."""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Callable

from tfcxr.data.atomic import write_atomically
from tfcxr.data.label_choice import choose_labels
from tfcxr.data.records import is_whole, open_shard
from tfcxr.data.schema import Record, ShardInfo, encode_record, hashed_key
from tfcxr.data.unfinished import unfinished_folder
from tfrecords_builder.assignment import patient_key
from tfrecords_builder.datasets.reader import Notice, RawExample, Reader, Reject
from tfrecords_builder.duplicates import perceptual_hash
from tfrecords_builder.images.preprocess import adjust_greys, to_stored
from tfrecords_builder.images.radiograph import ImageError
from tfrecords_builder.options import BuildOptions
from tfrecords_builder.plan import ShardJob, stop_message

WORK = "build"  # names the folder of notes
MIN_HASHED_SIZE = 64  # pixels; below it near duplicates are looked for among the pictures as read


@dataclasses.dataclass(frozen=True)
class ShardResult:
    """What became of a job.

    Attributes:
      shards: its file in the folder of each size.
      rejects: the images that could not be used.
      notices: what is odd about those that were written.
      contents: content digests of the written images, one after the other.
      hashes: their perceptual hashes, likewise.
    """

    shards: dict[int, ShardInfo]
    rejects: tuple[Reject, ...]
    notices: tuple[Notice, ...]
    contents: bytes
    hashes: bytes


def write_shard_job(
    reader: Reader, options: BuildOptions, out_dir: pathlib.Path, job: ShardJob, on_image: Callable[[], None]
) -> ShardResult:
    """Writes one shard at all sizes, then its note.

    Args:
      on_image: called once per image; what it raises ends the job.

    Raises:
      ValueError: an image cannot be used and `options.on_error` is "stop".
      FileNotFoundError: the folder of an image is gone.
      OSError: the disk is full, or a file may not be read or written.
    """
    labels = choose_labels(reader, options.labels)
    rejects: list[Reject] = []
    notices: list[Notice] = []
    contents, hashes = [], []
    # A small picture takes less time to hash, and is what training will see.
    hashed_size = min((size for size in options.image_sizes if size >= MIN_HASHED_SIZE), default=0)
    with contextlib.ExitStack() as stack:
        paths = {size: out_dir / str(size) / job.file for size in options.image_sizes}
        shards = {size: stack.enter_context(open_shard(path)) for size, path in paths.items()}
        for example in job.examples:
            on_image()
            try:
                radiograph = reader.read_image(example)
            except ImageError as error:
                if error.reason == "missing_file":
                    _refuse_vanished_folder(reader, example)
                rejects.append(Reject(example.key, error.reason, error.detail))
                if options.on_error == "stop":
                    raise ValueError(stop_message(rejects[-1])) from error
                continue
            notices += [Notice(example.key, kind, detail) for kind, detail in radiograph.notices]
            contents.append(radiograph.content)
            image = adjust_greys(radiograph, options, options.bits)
            facts = {
                "key": hashed_key(f"{reader.name}/{example.key}", options.salt),
                "patient_key": patient_key(reader.name, example, options.salt),
                "label": labels.of_image(example.label),
                **{name: getattr(example, name) for name in ("view", "age", "sex")},
            }
            pictures = to_stored(image, options.image_sizes, options)
            hashes.append(perceptual_hash(pictures.get(hashed_size, radiograph.pixels)))
            for size, shard in shards.items():
                shard.write(encode_record(Record(pictures[size], **facts), options.encoding_of(size)))
    result = ShardResult(
        {size: shard.info for size, shard in shards.items()},
        tuple(rejects),
        tuple(notices),
        b"".join(contents),
        b"".join(hashes),
    )
    # Bytes are hexadecimal in the note.
    write_atomically(_note_path(out_dir, job), json.dumps(dataclasses.asdict(result), default=bytes.hex))
    return result


def finished_result(out_dir: pathlib.Path, job: ShardJob, image_sizes: tuple[int, ...]) -> ShardResult | None:
    """The result of a job that an earlier, killed run finished; None when it must be done."""
    path = _note_path(out_dir, job)
    if not path.is_file():
        return None
    note = json.loads(path.read_text(encoding="utf-8"))
    note["shards"] = {int(size): ShardInfo(**shard) for size, shard in note["shards"].items()}
    note["rejects"] = tuple(Reject(**reject) for reject in note["rejects"])
    note["notices"] = tuple(Notice(**notice) for notice in note["notices"])
    note |= {name: bytes.fromhex(note[name]) for name in ("contents", "hashes")}
    result = ShardResult(**note)
    whole = [is_whole(out_dir / str(size) / job.file, result.shards[size]) for size in image_sizes]
    return result if all(whole) else None


def _refuse_vanished_folder(reader: Reader, example: RawExample) -> None:
    """A disk or a share that is gone is no fault of the images on it.

    Raises:
      FileNotFoundError: the folder of an image that was listed is gone, or empty as a place to mount it is.
    """
    folder = (reader.raw_dir / example.path).parent
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        if next(entries, None) is not None:
            return
    raise FileNotFoundError(
        f"{folder} held images when they were listed, and is gone or empty now; finished shards are kept: bring it "
        "back and run the same command again"
    )


def _note_path(out_dir: pathlib.Path, job: ShardJob) -> pathlib.Path:
    return unfinished_folder(out_dir, WORK) / f"{job.file}.json"
