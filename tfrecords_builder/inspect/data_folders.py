"""Data folders on disk: which there are below a path, and whether their info can be used."""

import pathlib
import re

from tfcxr.data.records import read_dataset_info
from tfcxr.data.schema import INFO_FILE, LABEL_STATES, DatasetInfo


def find_data_folders(data_dir: str | pathlib.Path) -> list[pathlib.Path]:
    """`data_dir` itself where it has an info file, else its folders named after sizes, the smallest first.

    A folder of a size that has shards but no info file is among them, so that it is not overlooked.

    Raises:
      FileNotFoundError: no such folder, or neither it nor a folder in it is a data folder.
    """
    data_dir = pathlib.Path(data_dir)
    if data_dir.is_dir() and not (data_dir / INFO_FILE).is_file():
        sizes = [entry for entry in data_dir.iterdir() if entry.name.isdecimal() and entry.is_dir()]
        folders = [size for size in sizes if (size / INFO_FILE).is_file() or any(size.glob("*.tfrecord"))]
        if any((folder / INFO_FILE).is_file() for folder in folders):
            return sorted(folders, key=lambda folder: int(folder.name))
    if not (data_dir / INFO_FILE).is_file():
        read_dataset_info(data_dir)  # which says what is wrong
    return [data_dir]


def read_usable_info(folder: pathlib.Path) -> DatasetInfo:
    """Reads `dataset_info.json` and checks that its fields are of their kinds, whoever wrote or edited it.

    Raises:
      FileNotFoundError: no info file.
      ValueError: one that is damaged, of another schema version, or has a wrong field.
    """
    try:
        info = read_dataset_info(folder)
    except AttributeError as error:  # a list or text in the place of a mapping
        raise ValueError(f"{folder / INFO_FILE} does not hold the fields of a data set: {error}") from error
    if flaw := _wrong_field(info):
        raise ValueError(f"{folder / INFO_FILE} does not describe a data set: {flaw}")
    return info


def keep_splits_advice(first: str | pathlib.Path, second: str | pathlib.Path) -> str:
    """How two builds of one data set get the same split for each patient."""
    return (
        f"build {second} again with --keep_splits={first}: each patient of both then keeps the split that {first} gave"
    )


def _wrong_field(info: DatasetInfo) -> str:
    """A sentence on the first field that is not of its kind, "" when all are."""
    if not info.label_names or not all(isinstance(name, str) for name in info.label_names):
        return f"label_names expects texts, got {list(info.label_names)}"
    if not _is_count(info.image_size) or info.image_size == 0:
        return f"image_size expects pixels, got {info.image_size!r}"
    for field in ("rejected", "notices", "preprocessing", "source", "provenance"):
        if not isinstance(getattr(info, field, {}), dict):
            return f"{field} expects names with values, got {getattr(info, field)!r}"
    for name, split in info.splits.items():
        if not _is_count(split.images) or not _is_count(split.patients):
            return f"split {name!r} expects numbers of images and patients, got {split.images!r}, {split.patients!r}"
        if not isinstance(split.labels, dict) or set(split.labels) != set(info.label_names):
            return f"split {name!r} counts other labels than the label_names {', '.join(info.label_names)}"
        for label, counts in split.labels.items():
            if not (
                isinstance(counts, dict) and set(counts) == {*LABEL_STATES} and all(map(_is_count, counts.values()))
            ):
                return f"label {label!r} of split {name!r} expects counts {', '.join(LABEL_STATES)}, got {counts}"
        for shard in split.shards:
            if not isinstance(shard.file, str) or not re.fullmatch(r"[^/\\]+\.tfrecord", shard.file):
                return f"a shard of split {name!r} expects a file name beside the info, got {shard.file!r}"
            if not _is_count(shard.images) or not _is_count(shard.bytes):
                return f"shard {shard.file} expects numbers of images and bytes, got {shard.images!r}, {shard.bytes!r}"
    return ""


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
