"""A data folder -> a folder of PNG or DICOM files that has the data set's name; see `tfcxr.data.picture_folder`."""

import pathlib

from tfcxr.data.picture_folder import file_name, write_pictures
from tfcxr.data.records import read_dataset_info


def convert_to_png(data_dir: str | pathlib.Path, out_dir: str | pathlib.Path) -> pathlib.Path:
    """Writes `OUT/<data set>/<split>/<key>.png` and `OUT/<data set>/labels.csv`; see `write_pictures`."""
    return write_pictures(data_dir, _folder(data_dir, out_dir), "png")


def convert_to_dicom(data_dir: str | pathlib.Path, out_dir: str | pathlib.Path) -> pathlib.Path:
    """Writes `OUT/<data set>/<split>/<key>.dcm` and `OUT/<data set>/labels.csv`; see `write_pictures`."""
    return write_pictures(data_dir, _folder(data_dir, out_dir), "dicom")


def _folder(data_dir: str | pathlib.Path, out_dir: str | pathlib.Path) -> pathlib.Path:
    return pathlib.Path(out_dir) / file_name(read_dataset_info(data_dir).name)
