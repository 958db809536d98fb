"""A data folder or cohort -> pictures, a `labels.csv` and a `provenance.json`, for whoever reads no TFRecords.

    folder = write_pictures("cohorts/acgan/64", "pictures/acgan", "dicom")

`labels.csv` has a row per image: file, split, patient, view, sex, age, is_synthetic, and a column per label: 1 present,
0 absent, empty where unknown. `--dataset=image_table` reads it back. `provenance.json` is `dataset_info.json` without
the shards. Each synthetic picture carries its facts, see `tfcxr.data.synthetic_facts`.
"""

import csv
import dataclasses
import json
import math
import os
import pathlib
import re
from collections.abc import Callable, Iterator

from tqdm import tqdm

from tfcxr.data.atomic import atomic_path, remove_temporary_files
from tfcxr.data.decoded_record import decode_record
from tfcxr.data.records import read_dataset_info, shard_paths
from tfcxr.data.schema import DatasetInfo, Record
from tfcxr.data.synthetic_facts import facts_of_record
from tfcxr.data.tfrecord import read_records
from tfcxr.registry import Registry

# name -> function of an image and its `SyntheticFacts` (None for a radiograph of a patient) that gives a file's bytes
PICTURE_FORMATS: Registry[Callable[..., bytes]] = Registry(
    png="tfcxr.data.png_writer:png_bytes", dicom="tfcxr.data.dicom_writer:dicom_bytes"
)
SUFFIXES = {"png": ".png", "dicom": ".dcm"}
TABLE_FILE, PROVENANCE_FILE = "labels.csv", "provenance.json"
FACTS = ("file", "split", "patient", "view", "sex", "age", "is_synthetic")


def write_pictures(data_dir: str | os.PathLike, folder: str | os.PathLike, picture_format: str) -> pathlib.Path:
    """Writes `<folder>/<split>/<key>.png`, or `.dcm`, and what describes them; the folder appears when all is written.

    Args:
      data_dir: of one size, such as cohorts/acgan/64.
      folder: to make.
      picture_format: name in `PICTURE_FORMATS`; "dicom" is for synthetic images alone.

    Returns:
      the folder.

    Raises:
      ImportError: pydicom is not installed.
      FileNotFoundError: no data folder, or a shard is missing.
      FileExistsError: the folder is there already.
      ValueError: an altered shard, a damaged record, no image at all, a merge with synthetic images in it, or real
        images as DICOM.
      OSError: the disk is full, or a file may not be written.
    """
    encode, folder, info = PICTURE_FORMATS[picture_format], pathlib.Path(folder), read_dataset_info(data_dir)
    _check_origin(data_dir, info, picture_format)
    if folder.exists():
        raise FileExistsError(f"{folder} is there already; remove it or choose another --out_dir")
    remove_temporary_files(folder.parent)  # of a run that was killed
    with atomic_path(folder) as temporary, tqdm(total=info.images_written, unit=" images", disable=None) as progress:
        temporary.mkdir(parents=True)
        (temporary / PROVENANCE_FILE).write_text(_provenance_text(info), encoding="utf-8")
        with (temporary / TABLE_FILE).open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow([*FACTS, *info.label_names])
            for split, counts in info.splits.items():
                (temporary / split).mkdir()
                for path in shard_paths(data_dir, info, split, verify_checksums=True) if counts.images else ():
                    for record in _decoded_records(path, info):
                        name = f"{split}/{file_name(record.key)}{SUFFIXES[picture_format]}"
                        facts = facts_of_record(record, info) if info.is_synthetic else None
                        (temporary / name).write_bytes(encode(record.image, facts))
                        table.writerow([name, split, *_row(record, info)])
                        progress.update()
    return folder


def file_name(name: str) -> str:
    """A name with only letters, digits and "_.-" in it."""
    return re.sub(r"[^\w.-]", "_", name)


def _check_origin(data_dir: str | os.PathLike, info: DatasetInfo, picture_format: str) -> None:
    if not info.images_written:
        raise ValueError(f"{data_dir} holds no image to convert")
    if info.is_synthetic and "inputs" in info.provenance:
        raise ValueError(
            f"{data_dir} was merged from {', '.join(info.provenance['inputs'])}, and its records do not say which of "
            "them are synthetic, or of which model; convert each of the merged folders instead"
        )
    if picture_format == "dicom" and not info.is_synthetic:
        raise ValueError(
            f"{data_dir} holds {info.name}, whose images no model generated; DICOM files are written of synthetic "
            "images alone, each marked as such. Use the data set's own files, or --to=png"
        )


def _provenance_text(info: DatasetInfo) -> str:
    fields = dataclasses.asdict(info)
    for split in fields["splits"].values():
        del split["shards"]
    del fields["encoding"], fields["schema_version"], fields["patient_keys_sha256"]
    return json.dumps(fields, indent=2, sort_keys=True) + "\n"


def _decoded_records(path: str, info: DatasetInfo) -> Iterator[Record]:
    for number, example in enumerate(read_records(path)):
        try:
            yield decode_record(example, info)
        except ValueError as error:
            raise ValueError(f"record {number} of {path} is damaged: {error}; build the data set again") from error


def _row(record: Record, info: DatasetInfo) -> list[str]:
    facts = [record.patient_key, record.view, record.sex, _value(record.age), "yes" if info.is_synthetic else "no"]
    return [*facts, *map(_value, record.label)]


def _value(value: float) -> str:
    return "" if math.isnan(value) else f"{value:g}"
