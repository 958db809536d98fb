"""Merges data folders into one, their labels aligned by name.

  python -m tfrecords_builder merge records/nih_chestxray14/64 records/chest_xray_pneumonia/64 --out_dir=records/both \\
      --rename="chest_xray_pneumonia:PNEUMONIA=Pneumonia" --rename="NORMAL=No Finding"

Where a data set does not have a label, its images are unknown there and the label's loss leaves them out. Data sets of
which each image has exactly one label, over different names such as body parts, merge to one such set with
--single_label: a name that a set does not have is then absent. An image twice, or a patient in two splits, is refused.
Folders that hold several sizes each are merged size by size.

  python -m tfrecords_builder merge records/nih_chestxray14/64 --out_dir=records/effusion --labels="Effusion,No Finding"

Of one folder, --labels chooses labels as it does in a build: every image stays, or, where classes exclude each other,
those of the chosen classes. --workers processes share the work; a merge that was killed is resumed by the same command.
"""

import dataclasses
import pathlib

from tfcxr.command_line import flag
from tfcxr.data.schema import DatasetInfo
from tfrecords_builder.commands.build import closing_lines, read_summary
from tfrecords_builder.inspect.merge_inputs import MergeOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class MergeArguments(MergeOptions):
    """What to merge.

    Attributes:
      folders: The data folders.
      out_dir: Folder to write to; it must not hold a data set.
      workers: Processes; 0 for one per CPU. It changes no byte of the result.
    """

    folders: tuple[str, ...] = flag((), is_positional=True)
    out_dir: str
    workers: int = flag(0, minimum=0)


def merge(arguments: MergeArguments) -> None:
    """Merges, then prints what was written."""
    from tfrecords_builder.inspect.merge import merge_folders

    infos = merge_folders(arguments.folders, arguments.out_dir, arguments, arguments.workers)
    print(_summary(next(iter(infos.values())), pathlib.Path(arguments.out_dir), list(infos)))


def _summary(info: DatasetInfo, out_dir: pathlib.Path, sizes: list[int]) -> str:
    kind = "one of" if info.is_single_label else "any of"
    inputs = "".join(f"{name}, " for name in info.provenance.get("inputs", ())).removesuffix(", ")
    lines = [f"{info.name}: {inputs}{'; ' * bool(inputs)}{kind} {', '.join(info.label_names)}"]
    lines += [info.notice] if info.notice else []
    for name, split in info.splits.items():
        lines.append(f"  {name}: {split.images} images of {split.patients} patients")
        for label, counts in split.labels.items():
            lines.append(f"    {label}: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    lines.append(read_summary(info))
    lines.append(f"patients' keys: salt fingerprint {info.salt_fingerprint or '(none)'}")
    several = len(sizes) > 1 or (out_dir / str(sizes[0])).is_dir()
    folders = {size: out_dir / str(size) if several else out_dir for size in sizes}
    return "\n".join([*lines, *closing_lines(info, folders)])
