"""Checks that data folders are whole, are what their info says, and hold no patient in two splits.

  python -m tfrecords_builder verify runs/phantom

  python -m tfrecords_builder verify runs/phantom/64 --decode=all --against=OTHER_DIR

A build's folder stands for all its sizes. The exit status is 1 when there is any problem.
"""

import dataclasses
import shlex
from typing import TYPE_CHECKING

from tfcxr.command_line import flag
from tfrecords_builder.commands.data_folder import FolderArguments

if TYPE_CHECKING:
    from tfrecords_builder.inspect.verify import Verification


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerifyArguments(FolderArguments):
    """What to check.

    Attributes:
      against: A data folder to share no image and no patient with, or, after a build with --keep_splits, no patient of
        another split; may be repeated.
      decode: Whose pixels to decode: sample, all or none.
      sample: This many pictures of each size are decoded with --decode=sample.
      seed: Seed of the choice of pictures.
    """

    against: tuple[str, ...] = flag((), is_repeated=True)
    decode: str = "sample"
    sample: int = 200
    seed: int = 0


def verify(arguments: VerifyArguments) -> None:
    """Prints the problems, or one line on what was checked.

    Raises:
      ValueError: there is any problem, or what `verify_folder` raises.
    """
    from tfrecords_builder.inspect.verify import verify_folder

    data_dir = arguments.data_dir
    found = verify_folder(data_dir, arguments.against, arguments.decode, arguments.sample, arguments.seed)
    for folder in dict.fromkeys(problem.folder for problem in found.problems):
        print(f"{folder}:")
        for problem in found.problems:
            if problem.folder == folder:
                print(f"  {problem}")
    for note in found.notes:
        print(f"not judged: {note}")
    if total := sum(problem.count for problem in found.problems):
        plural = "s" * (total > 1)
        raise ValueError("; ".join([f"{data_dir} has {total} problem{plural}, listed above", *found.advice]))
    print(_summary(data_dir, found, arguments.against))
    print(f"its tables and pictures: {shlex.join(['python', '-m', 'tfrecords_builder', 'inspect', data_dir])}")


def _summary(data_dir: str, found: "Verification", against: tuple[str, ...]) -> str:
    splits = found.contents[0].splits
    shards = sum(len(split.shards) for contents in found.contents for split in contents.info.splits.values())
    patients = sum(len(split.patients) for split in splits.values())
    strangers = [folder for folder in against if folder not in found.kept]
    parts = [
        f"{', '.join(str(contents.info.image_size) for contents in found.contents)} px",
        f"{sum(split.images for split in splits.values())} images of {patients} patients in {', '.join(splits)}",
        f"SHA-256 and schema of {shards} shard{'s' * (shards > 1)}, labels, counts, keys and patients",
        f"{sum(contents.decoded for contents in found.contents)} pictures decoded, "
        f"{sum(contents.constant for contents in found.contents)} of them constant",
        *([f"no key shared with {', '.join(strangers)}"] if strangers else []),
        *([f"each patient is in the same split of {', '.join(found.kept)}, by --keep_splits"] if found.kept else []),
    ]
    return f"verified {data_dir}: {'; '.join(parts)}"
