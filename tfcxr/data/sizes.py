"""A data set that was built at several sizes, `records/64` and `records/128`: which of its data folders is meant."""

import os
import pathlib

from absl import logging

from tfcxr.data.records import read_dataset_info
from tfcxr.data.schema import INFO_FILE


def find_size(data_dir: str | os.PathLike, image_size: int | None = None) -> pathlib.Path:
    """The data folder of one size: `data_dir` itself, or one of the builds in it, which the log then names.

    Args:
      data_dir: a data folder, such as `records/64`, or a folder of builds, such as `records`.
      image_size: pixels to each side; None where the only size there is meant.

    Raises:
      FileNotFoundError: no such folder, or one without a finished build.
      ValueError: several sizes and none is asked for, or no build of the size that is.
    """
    data_dir = pathlib.Path(data_dir)
    builds = stored_sizes(data_dir) or {read_dataset_info(data_dir).image_size: data_dir}
    sizes = ", ".join(map(str, builds))
    if image_size is None and len(builds) > 1:
        raise ValueError(
            f"{data_dir} holds builds at {sizes} px, expected one size; name one of them, such as "
            f"{next(iter(builds.values()))}"
        )
    if image_size is not None and image_size not in builds:
        raise ValueError(
            f"{data_dir} holds images of {sizes} px, expected {image_size} px; name a folder of that size, or build "
            f"the records with --image_sizes={image_size}"
        )
    folder = next(iter(builds.values())) if image_size is None else builds[image_size]
    if folder != data_dir:
        logging.info("%s is taken of the builds in %s (%s px)", folder, data_dir, sizes)
    return folder


def check_data_dirs(*data_dirs: str | os.PathLike | None) -> None:
    """Raises FileNotFoundError for a folder that holds no data, before anything slow starts; None is passed over."""
    for data_dir in data_dirs:
        if data_dir is not None and not stored_sizes(data_dir):
            read_dataset_info(data_dir)


def stored_sizes(data_dir: str | os.PathLike) -> dict[int, pathlib.Path]:
    """Pixels -> the data folder of that size, the smallest first: `data_dir` itself or the builds in it.

    Empty where there is no finished build.
    """
    data_dir = pathlib.Path(data_dir)
    if (data_dir / INFO_FILE).is_file():
        return {read_dataset_info(data_dir).image_size: data_dir}
    builds = [path.parent for path in data_dir.glob(f"*/{INFO_FILE}") if path.parent.name.isdecimal()]
    return {int(build.name): build for build in sorted(builds, key=lambda build: int(build.name))}
