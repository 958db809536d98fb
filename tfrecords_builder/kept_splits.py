"""The splits of a former build, so that its patients stay where they were."""

import pathlib

from tfcxr.data.pipeline import read_patient_keys
from tfcxr.data.records import read_dataset_info
from tfcxr.data.schema import INFO_FILE


def read_kept_splits(folder: str, dataset: str, salt_fingerprint: str) -> dict[str, str]:
    """Patient key -> split, of a data folder or a folder of sizes.

    Raises:
      FileNotFoundError: no finished build there.
      ValueError: a build of another data set or another salt, whose patients cannot be recognised.
    """
    data_dir = pathlib.Path(folder)
    sizes = sorted(data_dir.glob(f"[0-9]*/{INFO_FILE}"), key=lambda path: int(path.parent.name))
    data_dir = sizes[0].parent if sizes else data_dir
    info = read_dataset_info(data_dir)
    if info.name != dataset:
        raise ValueError(f"--keep_splits {data_dir} is a build of {info.name}, expected one of {dataset}")
    if info.salt_fingerprint != salt_fingerprint:
        raise ValueError(f"--keep_splits {data_dir} was built with another --salt_file: its patients cannot be known")
    return {
        key: split for split in info.splits if info.splits[split].images for key in read_patient_keys(data_dir, split)
    }
