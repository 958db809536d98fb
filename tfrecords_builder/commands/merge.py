"""Merges data folders into one, their labels aligned by name.

  python -m tfrecords_builder merge records/nih_chestxray14/64 records/chest_xray_pneumonia/64 --out_dir=records/both \\
      --rename="chest_xray_pneumonia:PNEUMONIA=Pneumonia" --rename="NORMAL=No Finding"

Where a data set does not have a label, its images are unknown there and the label's loss leaves them out. Sets of which
each image has one label, over different names, such as body parts, merge to one such set with --single_label: then a
name that a set does not have is absent. An image twice, or a patient in two splits, is refused. Folders that hold
several sizes each are merged size by size.
"""

import pathlib

from absl import flags

from tfcxr.data.schema import DatasetInfo
from tfrecords_builder.inspect.merge import MergeOptions, merge_folders

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Adds the command's flags; commands share a process in tests only, so their flags must not meet."""
    flags.DEFINE_string("out_dir", None, "Folder to write to; it must not hold a data set.", required=True)
    flags.DEFINE_multi_string("rename", [], "A label's new name, OLD=NEW, or SET:OLD=NEW for one data set; repeatable.")
    flags.DEFINE_list("labels", None, "Label names of the result in this order (default: all, as they appear).")
    flags.DEFINE_list("splits", ["all"], "Splits to take, or all.")
    flags.DEFINE_bool("single_label", False, "The labels exclude each other over all data sets.")
    flags.DEFINE_bool("mix_synthetic", False, "Let synthetic and real images stand in one folder, for training only.")
    flags.DEFINE_integer("shard_images", 2000, "At most so many images a shard.")
    flags.DEFINE_integer("seed", 0, "Seed of the order of images.")


def main(arguments: list[str]) -> None:
    """Merges, then prints what was written."""
    options = MergeOptions(
        renames=tuple(FLAGS.rename),
        label_names=tuple(FLAGS.labels) if FLAGS.labels is not None else None,
        splits=None if FLAGS.splits == ["all"] else tuple(FLAGS.splits),
        shard_images=FLAGS.shard_images,
        seed=FLAGS.seed,
        is_single_label=FLAGS.single_label,
        mix_synthetic=FLAGS.mix_synthetic,
    )
    infos = merge_folders(arguments, FLAGS.out_dir, options)
    print(_summary(next(iter(infos.values())), pathlib.Path(FLAGS.out_dir), list(infos)))


def _summary(info: DatasetInfo, out_dir: pathlib.Path, sizes: list[int]) -> str:
    kind = "one of" if info.is_single_label else "any of"
    lines = [f"{info.name}: {', '.join(info.provenance['inputs'])}; {kind} {', '.join(info.label_names)}"]
    lines += [info.notice] if info.notice else []
    for name, split in info.splits.items():
        lines.append(f"  {name}: {split.images} images of {split.patients} patients")
        for label, counts in split.labels.items():
            lines.append(f"    {label}: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    rejected = ", ".join(f"{reason} {count}" for reason, count in sorted(info.rejected.items())) or "none"
    total = sum(info.rejected.values())
    lines.append(f"read {info.images_read} = written {info.images_written} + rejected {total} ({rejected})")
    lines.append(f"patients' keys: salt fingerprint {info.salt_fingerprint or '(none)'}")
    several = len(sizes) > 1 or (out_dir / str(sizes[0])).is_dir()
    lines.append(f"wrote {', '.join(str(out_dir / str(size)) for size in sizes) if several else out_dir}")
    return "\n".join(lines)
