"""One data set stored at several sizes, `OUT/4`, `OUT/8` ... `OUT/1024`, as models that grow need it."""

import os
import pathlib

from tfcxr.data.records import read_dataset_info
from tfcxr.data.schema import INFO_FILE


def smaller_records(data_dir: str | os.PathLike, image_size: int) -> tuple[pathlib.Path, int]:
    """Where images of a smaller size are, and by which factor they are to be shrunk while they are read.

    Looks beside `data_dir`, the folder of the largest size, for that of `image_size`, or of the next larger size.

    Returns:
      a data folder and stored size / image_size, 1 where the size itself is stored.

    Raises:
      ValueError: `data_dir` holds smaller images, or the folder found holds another data set.
    """
    data_dir = pathlib.Path(data_dir)
    info = read_dataset_info(data_dir)
    if image_size > info.image_size or info.image_size % image_size:
        raise ValueError(
            f"{data_dir} holds images of {info.image_size} px, which cannot be shrunk to {image_size} px; build them "
            f"with --image_sizes={image_size}"
        )
    folders = {info.image_size: data_dir}
    if data_dir.name == str(info.image_size):
        siblings = (path.parent for path in data_dir.parent.glob(f"*/{INFO_FILE}") if path.parent.name.isdigit())
        folders |= {int(folder.name): folder for folder in siblings}
    stored = min(size for size in folders if size >= image_size and size % image_size == 0)
    folder = folders[stored]
    other = read_dataset_info(folder)
    counts = [{name: split.images for name, split in found.splits.items()} for found in (info, other)]
    if (other.name, other.label_names, counts[1]) != (info.name, info.label_names, counts[0]):
        raise ValueError(
            f"{folder} and {data_dir} do not hold the same images (splits of {counts[1]} and {counts[0]} images); "
            "build all sizes of a data set in one go"
        )
    return folder, stored // image_size
