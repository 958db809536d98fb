"""Builds the TFRecords of a data set; without raw data at hand, those of the phantom.

  python -m tfrecords_builder --dataset=phantom --out_dir=runs/phantom --image_sizes=64

  python -m tfrecords_builder --dataset=chest_xray_pneumonia --raw_dir=DIR --out_dir=OUT --image_sizes=64,128 \\
      --splits=train=.7,validation=.1,held_out=.2 --clahe=before_resize --salt_file=SECRET
"""

import dataclasses
import pathlib
import shlex
from collections.abc import Sequence

from absl import logging

from tfcxr.command_line import flag
from tfcxr.data.schema import DatasetInfo
from tfrecords_builder.datasets import DATASETS, full_name, make_reader, reader_settings
from tfrecords_builder.options import NOTICES_FILE, REJECTS_FILE, BuildOptions, BuildSettings
from tfrecords_builder.splits import parse_fractions

TRAINING_SIZES = (64, 128, 32, 256)  # the first of these that was built is what the next command trains on
MIN_DRAWN_SIZE = 128  # smaller images look better averaged down from this size than drawn small


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildArguments(BuildSettings):
    """What a build is asked for.

    Attributes:
      dataset: Which data set, such as nih_chestxray14, or how its name begins, nih; `describe` lists them.
      out_dir: Folder to write to; it must not hold a build.
      raw_dir: Folder of the raw data, in its published layout.
      settings: A setting of the data set, --set name=value; may be repeated.
      image_sizes: Sides in pixels, all written in one pass.
      splits: Shares of the patients without a published split, such as train=.7,validation=.1,held_out=.2; by default
        .1 each for validation and test where these are not published, the rest for train.
      salt_file: File with a secret that patients and image names are hashed with.
      preview: Build nothing; draw this many random images before and after each step.
    """

    dataset: str
    out_dir: str
    raw_dir: str = ""
    settings: tuple[str, ...] = flag((), name="set", is_repeated=True)
    image_sizes: tuple[str, ...] = ("64",)
    splits: str = ""
    salt_file: str = ""
    preview: int = 0

    def options(self) -> BuildOptions:
        """The arguments as the library takes them.

        Raises:
          FileNotFoundError: no salt file. ValueError: an empty one, or sizes or splits that cannot be read.
        """
        shared = {field.name: getattr(self, field.name) for field in dataclasses.fields(BuildSettings)}
        try:
            sizes = tuple(map(int, self.image_sizes))
        except ValueError as error:
            given = ",".join(self.image_sizes)
            raise ValueError(f"--image_sizes expects whole numbers such as 64,128, got {given!r}") from error
        splits = parse_fractions(self.splits) if self.splits else None
        return BuildOptions(**shared, image_sizes=sizes, splits=splits, salt=_read_salt(self.salt_file))


def build(arguments: BuildArguments) -> None:
    """Builds, then prints what was written and what was rejected."""
    options, out_dir, name = arguments.options(), pathlib.Path(arguments.out_dir), full_name(arguments.dataset)
    settings = _reader_settings(name, arguments.settings, max(options.image_sizes))
    reader = make_reader(name, arguments.raw_dir, settings)
    logging.info("listing the images of %s", reader.name)
    if arguments.preview:
        from tfrecords_builder.build_preview import preview_build

        print(f"wrote {preview_build(reader, options, arguments.preview, out_dir)}; nothing was built")
        return
    if not options.salt and arguments.raw_dir:
        logging.warning("no --salt_file: who knows the patients' identifiers can recognise their hashes")
    from tfrecords_builder.build import build_dataset

    infos = build_dataset(reader, out_dir, options)
    print(_summary(next(iter(infos.values())), out_dir, list(infos)))


def _reader_settings(dataset: str, settings: Sequence[str], largest_size: int) -> Sequence[str]:
    """The reader's settings; one that draws its images draws them at least as large as they are stored."""
    is_drawn = dataset in DATASETS and "image_size" in reader_settings(DATASETS[dataset])
    if is_drawn and largest_size > MIN_DRAWN_SIZE and not any(text.startswith("image_size=") for text in settings):
        return [*settings, f"image_size={largest_size}"]
    return settings


def _read_salt(path: str) -> bytes:
    if not path:
        return b""
    advice = f"make one with: head -c 32 /dev/urandom > {path}"
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(f"--salt_file {path} does not exist; {advice}")
    if not (salt := pathlib.Path(path).read_bytes()):
        raise ValueError(f"--salt_file {path} is empty; {advice}")
    return salt


def read_summary(info: DatasetInfo) -> str:
    """One line: what was read, written and rejected by reason."""
    rejected = ", ".join(f"{reason} {count}" for reason, count in sorted(info.rejected.items())) or "none"
    total = sum(info.rejected.values())
    return f"read {info.images_read} = written {info.images_written} + rejected {total} ({rejected})"


def _summary(info: DatasetInfo, out_dir: pathlib.Path, sizes: list[int]) -> str:
    lines = [f"{info.name}: {info.notice}" if info.notice else info.name]
    for name, split in info.splits.items():
        shares = [
            f"{label} {counts['positive']} ({_positive_share(counts):.1%})" for label, counts in split.labels.items()
        ]
        lines.append(f"  {name}: {split.images} images of {split.patients} patients ({', '.join(shares)})")
    if len(info.splits) > 1:
        lines.append(_balance(info))
    if kept := info.preprocessing["kept_patients"]:
        lines.append(f"{kept} patients are in the splits of the former build, the others are new")
    lines.append(read_summary(info))
    if info.rejected:
        lines.append(f"rejected images are named in {out_dir / REJECTS_FILE}; keep that file private")
    if info.notices:
        notices = ", ".join(f"{kind} {count}" for kind, count in info.notices.items())
        lines.append(f"written, but look at them: {notices}; named in {out_dir / NOTICES_FILE}, which is private too")
    splits = info.splits.values()
    absent = [name for name in info.label_names if not any(split.labels[name]["positive"] for split in splits)]
    if absent:
        lines.append(f"no image with the label {', '.join(absent)} was written{_advice_on_columns(info)}")
    for name, split in info.splits.items():
        lacking = [label for label, counts in split.labels.items() if not counts["positive"] and label not in absent]
        if split.images and lacking:
            lines.append(f"{name} holds no {', '.join(lacking)}: nothing can be learned or tested about it there")
    folders = {size: out_dir / str(size) for size in sizes}
    return "\n".join([*lines, *closing_lines(info, folders)])


def closing_lines(info: DatasetInfo, folders: dict[int, pathlib.Path]) -> list[str]:
    """Where the records of each size are, and the command that trains on them, where one of the sizes is a model's."""
    lines = [f"wrote {', '.join(map(str, folders.values()))}"]
    if sizes := [size for size in folders if size in TRAINING_SIZES]:
        size = min(sizes, key=TRAINING_SIZES.index)
        words = ["python", "-m", "tfcxr.train", "--model=acgan", f"--data_dir={folders[size]}"]
        splits = [name for name, split in info.splits.items() if split.images]
        if "train" not in splits:  # folds: the first is left to test on
            words.append(f"--splits={','.join(splits[1:] or splits)}")
        lines.append(f"next: {shlex.join(words)}")
    return lines


def _advice_on_columns(info: DatasetInfo) -> str:
    """How to leave out columns that lost all images by --only_labels."""
    chosen = info.preprocessing["only_labels"]
    if not chosen or info.preprocessing["labels"]:
        return ""
    flag_text = shlex.quote("--labels=" + ",".join(chosen))
    return f"; {flag_text} keeps the columns of those labels alone"


def _positive_share(counts: dict[str, int]) -> float:
    """Positives among the images whose label is known."""
    return counts["positive"] / max(counts["positive"] + counts["negative"], 1)


def _balance(info: DatasetInfo) -> str:
    """How far the splits' label shares are from each other, by the worst label."""
    spread = {}
    for label in info.label_names:
        shares = [_positive_share(split.labels[label]) for split in info.splits.values() if split.images]
        spread[label] = max(shares) - min(shares)
    label = max(spread, key=lambda name: spread[name])
    return f"label balance: shares differ between splits by at most {spread[label]:.1%} of the images ({label})"
