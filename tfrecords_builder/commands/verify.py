"""Checks that data folders are whole, are what their info says, and hold no patient in two splits.

  python -m tfrecords_builder verify runs/phantom

  python -m tfrecords_builder verify runs/phantom/64 --decode=all --against=OTHER_DIR

A build's folder stands for all its sizes. The exit status is 1 when there is any problem.
"""

from absl import flags

from tfrecords_builder.inspect.verify import DECODE_CHOICES, Verification, verify

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Adds the command's flags."""
    flags.DEFINE_multi_string("against", [], "A folder to share no image and no patient with; may be given more often.")
    flags.DEFINE_string("decode", "sample", f"Whose pixels to decode: {', '.join(DECODE_CHOICES)}.")
    flags.DEFINE_integer("sample", 200, "So many pictures of each size are decoded with --decode=sample.")
    flags.DEFINE_integer("seed", 0, "Seed of the choice of pictures.")


def main(arguments: list[str]) -> None:
    """Prints the problems, then ends with an error; or one line on what was checked."""
    if len(arguments) != 1:
        raise ValueError(f"expected one folder, as in verify runs/phantom, got {len(arguments)}: {' '.join(arguments)}")
    found = verify(arguments[0], FLAGS.against, FLAGS.decode, FLAGS.sample, FLAGS.seed)
    for folder in dict.fromkeys(problem.folder for problem in found.problems):
        print(f"{folder}:")
        for problem in found.problems:
            if problem.folder == folder:
                print(f"  {problem}")
    for note in found.notes:
        print(f"not judged: {note}")
    if found.problems:
        total = sum(problem.count for problem in found.problems)
        raise ValueError(
            f"{arguments[0]} has {total} problem{'s' * (total > 1)}, listed above; restore the files or build it again"
        )
    print(_summary(arguments[0], found, FLAGS.against))


def _summary(data_dir: str, found: Verification, against: list[str]) -> str:
    splits = found.contents[0].splits
    shards = sum(len(split.shards) for contents in found.contents for split in contents.info.splits.values())
    parts = [
        f"{', '.join(str(contents.info.image_size) for contents in found.contents)} px",
        f"{sum(split.images for split in splits.values())} images of "
        f"{sum(len(split.patients) for split in splits.values())} patients in {', '.join(splits)}",
        f"SHA-256 and schema of {shards} shard{'s' * (shards > 1)}, labels, counts, keys and patients",
        f"{sum(contents.decoded for contents in found.contents)} pictures decoded, "
        f"{sum(contents.constant for contents in found.contents)} of them constant",
    ]
    if against:
        parts.append(f"no key shared with {', '.join(against)}")
    return f"verified {data_dir}: {'; '.join(parts)}"
