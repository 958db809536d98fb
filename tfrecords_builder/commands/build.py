"""Builds the TFRecords of a data set; without raw data at hand, those of the phantom.

  python -m tfrecords_builder --dataset=phantom --out_dir=runs/phantom --image_sizes=64

  python -m tfrecords_builder --dataset=chest_xray_pneumonia --raw_dir=DIR --out_dir=OUT --image_sizes=64,128 \\
      --splits=train=.7,validation=.1,held_out=.2 --clahe --salt_file=SECRET
"""

import pathlib

from absl import flags, logging

from tfcxr.data.schema import DatasetInfo
from tfrecords_builder.build import NOTICES_FILE, REJECTS_FILE, BuildOptions, build_dataset
from tfrecords_builder.datasets import DATASETS, make_reader, reader_settings
from tfrecords_builder.images.preprocess import PreprocessOptions
from tfrecords_builder.preview_build import preview_build
from tfrecords_builder.splits import parse_fractions

MIN_DRAWN_SIZE = 128  # smaller images look better averaged down from this size than drawn small

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Adds the command's flags; commands share a process in tests only, so their flags must not meet."""
    flags.DEFINE_string("dataset", None, f"Which data set: {', '.join(DATASETS)}.", required=True)
    flags.DEFINE_string("raw_dir", "", "Folder of the raw data, in its published layout.")
    flags.DEFINE_string("out_dir", None, "Folder to write to; it must not hold a build.", required=True)
    flags.DEFINE_list("image_sizes", ["64"], "Sides in pixels, all written in one pass.")
    flags.DEFINE_string(
        "splits",
        None,
        "Shares of the patients without a published split, such as train=.7,validation=.1,held_out=.2 "
        "(default: .1 each for validation and test where these are not published, the rest for train).",
    )
    flags.DEFINE_integer(
        "folds", 0, "Instead of --splits: so many equal splits fold_0, fold_1, ... for cross-validation."
    )
    flags.DEFINE_string(
        "split_by",
        "labels",
        "labels balances them among the splits, but a patient's split may change when images are added; hash goes "
        "by the patient's name alone and never changes it.",
    )
    flags.DEFINE_list("only_labels", [], "Leave out images that have none of these labels, such as NORMAL.")
    flags.DEFINE_string("keep_splits", "", "A former build of this data set: its patients stay in their splits.")
    flags.DEFINE_integer("seed", 0, "Seed of the division by patient and of the order of images.")
    flags.DEFINE_bool("clahe", False, "Equalise local contrast before resizing.")
    flags.DEFINE_float("clahe_clip_limit", 2.0, "CLAHE: how steep a tile's histogram may get.")
    flags.DEFINE_integer("clahe_tiles", 8, "CLAHE: tiles along each side.")
    flags.DEFINE_string("histogram", "none", "Grey levels of the whole image: none, stretch or equalize.")
    flags.DEFINE_float("stretch_black_percentile", 0.5, "--histogram=stretch: the percentile that becomes black.")
    flags.DEFINE_float("stretch_white_percentile", 99.5, "--histogram=stretch: the percentile that becomes white.")
    flags.DEFINE_string("resize", "area", "How an image is made smaller: area or bilinear (antialiased).")
    flags.DEFINE_string("square", "squash", "How an image becomes square: squash, crop or pad.")
    flags.DEFINE_integer("bits", 8, "Bits of a stored pixel, 8 or 16.")
    flags.DEFINE_string("encoding", "auto", "How pixels are stored: raw, png, or auto (raw up to 256 px).")
    flags.DEFINE_integer("workers", 0, "Processes; 0 for one a CPU.")
    flags.DEFINE_integer("shard_images", 2000, "At most so many images a shard.")
    flags.DEFINE_string("salt_file", None, "File with a secret that patients and image names are hashed with.")
    flags.DEFINE_string("on_error", "skip", "An image that cannot be used: skip (and count) it, or stop.")
    flags.DEFINE_string(
        "duplicates", "report", "Images of equal content: report them, drop all but one, or end with an error."
    )
    flags.DEFINE_string("runner", "local", "local processes, or an Apache Beam pipeline: beam.")
    flags.DEFINE_multi_string("beam_argument", [], "What Beam is told, such as --runner=FlinkRunner; may be repeated.")
    flags.DEFINE_integer("preview", 0, "Build nothing; draw so many random images before and after each step.")
    flags.DEFINE_multi_string("set", [], "A setting of the data set, --set name=value; may be given several times.")


def main(arguments: list[str]) -> None:
    """Builds, then prints what was written and what was rejected."""
    if arguments:
        raise ValueError(f"unexpected argument {arguments[0]!r}; flags are written --name=value")
    options = BuildOptions(
        image_sizes=_sizes(FLAGS.image_sizes),
        splits=parse_fractions(FLAGS.splits) if FLAGS.splits else None,
        seed=FLAGS.seed,
        folds=FLAGS.folds,
        split_by=FLAGS.split_by,
        only_labels=tuple(FLAGS.only_labels),
        keep_splits=FLAGS.keep_splits,
        preprocess=PreprocessOptions(
            clahe=FLAGS.clahe,
            clahe_clip_limit=FLAGS.clahe_clip_limit,
            clahe_tiles=FLAGS.clahe_tiles,
            square=FLAGS.square,
            histogram=FLAGS.histogram,
            stretch_black_percentile=FLAGS.stretch_black_percentile,
            stretch_white_percentile=FLAGS.stretch_white_percentile,
            resize=FLAGS.resize,
        ),
        bits=FLAGS.bits,
        encoding=FLAGS.encoding,
        workers=FLAGS.workers,
        shard_images=FLAGS.shard_images,
        salt=_read_salt(FLAGS.salt_file),
        on_error=FLAGS.on_error,
        duplicates=FLAGS.duplicates,
        runner=FLAGS.runner,
        beam_arguments=tuple(FLAGS.beam_argument),
    )
    reader = make_reader(FLAGS.dataset, FLAGS.raw_dir, _settings(FLAGS.dataset, FLAGS.set, max(options.image_sizes)))
    if FLAGS.preview:
        print(f"wrote {preview_build(reader, options, FLAGS.preview, FLAGS.out_dir)}; nothing was built")
        return
    if not options.salt and FLAGS.raw_dir:
        logging.warning("no --salt_file: who knows the patients' identifiers can recognise their hashes")
    infos = build_dataset(reader, FLAGS.out_dir, options)
    print(_summary(next(iter(infos.values())), pathlib.Path(FLAGS.out_dir), list(infos)))


def _sizes(texts: list[str]) -> tuple[int, ...]:
    try:
        return tuple(int(text) for text in texts)
    except ValueError as error:
        raise ValueError(f"--image_sizes expects whole numbers such as 64,128, got {','.join(texts)!r}") from error


def _settings(dataset: str, settings: list[str], largest_size: int) -> list[str]:
    """The reader's settings; one that draws its images draws them at least as large as they are stored."""
    drawn = "image_size" in reader_settings(DATASETS[dataset]) if dataset in DATASETS else False
    if drawn and largest_size > MIN_DRAWN_SIZE and not any(text.startswith("image_size=") for text in settings):
        return [*settings, f"image_size={largest_size}"]
    return settings


def _read_salt(path: str | None) -> bytes:
    if not path:
        return b""
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(f"--salt_file {path} does not exist; make one with: head -c 32 /dev/urandom > {path}")
    salt = pathlib.Path(path).read_bytes()
    if not salt:
        raise ValueError(f"--salt_file {path} is empty; make one with: head -c 32 /dev/urandom > {path}")
    return salt


def _summary(info: DatasetInfo, out_dir: pathlib.Path, sizes: list[int]) -> str:
    lines = [f"{info.name}: {info.notice}" if info.notice else info.name]
    for name, split in info.splits.items():
        positives = ", ".join(
            f"{label} {counts['positive']} ({_share(counts):.1%})" for label, counts in split.labels.items()
        )
        lines.append(f"  {name}: {split.images} images of {split.patients} patients ({positives})")
    if len(info.splits) > 1:
        lines.append(_balance(info))
    if kept := info.preprocessing["kept_patients"]:
        lines.append(f"{kept} patients are in the splits of the former build, the others are new")
    rejected = ", ".join(f"{reason} {count}" for reason, count in sorted(info.rejected.items())) or "none"
    total = sum(info.rejected.values())
    lines.append(f"read {info.images_read} = written {info.images_written} + rejected {total} ({rejected})")
    if total:
        lines.append(f"rejected images are named in {out_dir / REJECTS_FILE}; keep that file private")
    if info.notices:
        notices = ", ".join(f"{kind} {count}" for kind, count in info.notices.items())
        lines.append(f"written, but look at them: {notices}; named in {out_dir / NOTICES_FILE}, which is private too")
    if absent := [label for label in info.label_names if not _positives(info, label)]:
        lines.append(f"no image with the label {', '.join(absent)} was written")
    for name, split in info.splits.items():
        lacking = [label for label, counts in split.labels.items() if not counts["positive"] and label not in absent]
        if split.images and lacking:
            lines.append(f"{name} holds no {', '.join(lacking)}: nothing can be learned or tested about it there")
    lines.append(f"wrote {', '.join(str(out_dir / str(size)) for size in sizes)}")
    return "\n".join(lines)


def _positives(info: DatasetInfo, label: str) -> int:
    return sum(split.labels[label]["positive"] for split in info.splits.values())


def _share(counts: dict[str, int]) -> float:
    """Positives among the images whose label is known."""
    return counts["positive"] / max(counts["positive"] + counts["negative"], 1)


def _balance(info: DatasetInfo) -> str:
    """How far the splits' label shares are from each other, by the worst label."""
    spread = {}
    for label in info.label_names:
        shares = [_share(split.labels[label]) for split in info.splits.values() if split.images]
        spread[label] = max(shares) - min(shares)
    label = max(spread, key=spread.get)
    return f"label balance: shares differ between splits by at most {spread[label]:.1%} of the images ({label})"
