"""A data folder or cohort -> pictures, a `labels.csv` and a `provenance.json`, for whoever reads no TFRecords.

    folder = write_pictures("cohorts/acgan/64", "pictures/acgan", "dicom")

`labels.csv` has a row per image: file, split, patient, view, sex, age, is_synthetic, and a column per label: 1 present,
0 absent, empty where unknown. `--dataset=image_table` reads it back. `provenance.json` is `dataset_info.json` without
the shards. Each synthetic picture carries its facts, see `tfcxr.data.synthetic_facts`.
"""

import csv
import dataclasses
import hashlib
import io
import itertools
import json
import math
import os
import pathlib
import re
from collections.abc import Callable, Iterator

from tqdm import tqdm

from tfcxr.data.atomic import atomic_path, flush_to_disk, write_atomically
from tfcxr.data.decoded_record import decode_record
from tfcxr.data.records import read_dataset_info, shard_paths
from tfcxr.data.schema import DatasetInfo, Record, ShardInfo
from tfcxr.data.synthetic_facts import facts_of_record
from tfcxr.data.tfrecord import read_records
from tfcxr.data.unfinished import make_folder
from tfcxr.registry import Registry

# name -> function of an image and its `SyntheticFacts` (None for a radiograph of a patient) that gives a file's bytes
PICTURE_FORMATS: Registry[Callable[..., bytes]] = Registry(
    png="tfcxr.data.png_writer:png_bytes", dicom="tfcxr.data.dicom_writer:dicom_bytes"
)
SUFFIXES = {"png": ".png", "dicom": ".dcm"}
TABLE_FILE, PROVENANCE_FILE = "labels.csv", "provenance.json"
CONVERSION = "conversion"  # how unfinished work is called
FACTS = ("file", "split", "patient", "view", "sex", "age", "is_synthetic")


def write_pictures(data_dir: str | os.PathLike, folder: str | os.PathLike, picture_format: str) -> pathlib.Path:
    """Writes `<folder>/<split>/<key>.png`, or `.dcm`, and what describes them; the folder appears when all is written.

    A run that was killed is resumed after the last shard whose pictures are all there.

    Args:
      data_dir: of one size, such as cohorts/acgan/64.
      folder: to make.
      picture_format: name in `PICTURE_FORMATS`; "dicom" is for synthetic images alone.

    Returns:
      the folder.

    Raises:
      ImportError: pydicom is not installed.
      FileNotFoundError: no data folder, or a shard is missing.
      FileExistsError: the folder is there already, or another process is making it.
      ValueError: an altered shard, a damaged record, no image at all, a merge with synthetic images in it, real
        images as DICOM, or an unfinished conversion of another source or format.
      OSError: the disk is full, or a file may not be written.
    """
    PICTURE_FORMATS[picture_format]  # imported now: what is not installed is said before anything is written
    folder, info = pathlib.Path(folder), read_dataset_info(data_dir)
    _check_origin(data_dir, info, picture_format)

    def arguments() -> dict[str, str]:
        for split in _filled_splits(info):
            shard_paths(data_dir, info, split, verify_checksums=True)
        return conversion_arguments(info, picture_format)

    def fill(growing: pathlib.Path, notes: pathlib.Path) -> None:
        _PictureWriter(pathlib.Path(data_dir), info, picture_format, growing, notes).write()

    make_folder(folder, CONVERSION, arguments, fill)
    return folder


def conversion_arguments(info: DatasetInfo, name: str) -> dict[str, str]:
    """What the bytes of a converted data set depend on.

    Args:
      name: of the format.
    """
    return {"source": hashlib.sha256(info.to_json().encode()).hexdigest(), "format": name}


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


@dataclasses.dataclass(frozen=True)
class _PictureWriter:
    """Fills a folder with the pictures of a data set, shard by shard.

    Attributes:
      growing: the folder.
      notes: where each finished shard has a note, with its rows of the table and a digest of its pictures.
    """

    data_dir: pathlib.Path
    info: DatasetInfo
    picture_format: str
    growing: pathlib.Path
    notes: pathlib.Path

    def write(self) -> None:
        """Writes the pictures that are not there yet, then what describes all."""
        splits = _filled_splits(self.info)
        for split in self.info.splits:
            (self.growing / split).mkdir(exist_ok=True)
        with tqdm(total=self.info.images_written, unit=" images", disable=None) as bar:
            for split, shards in splits.items():
                for shard in shards:
                    if self._is_finished(shard):
                        bar.update(shard.images)
                    else:
                        self._write_shard(shard, split, bar)
        write_atomically(self.growing / PROVENANCE_FILE, _provenance_text(self.info))
        with atomic_path(self.growing / TABLE_FILE) as path, path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([*FACTS, *self.info.label_names])
            for shard in itertools.chain(*splits.values()):
                file.write(json.loads(self._note(shard).read_text(encoding="utf-8"))["table"])

    def _write_shard(self, shard: ShardInfo, split: str, bar: tqdm) -> None:
        encode, suffix = PICTURE_FORMATS[self.picture_format], SUFFIXES[self.picture_format]
        table, digest, names = io.StringIO(), hashlib.sha256(), []
        writer = csv.writer(table)
        for record in _decoded_records(self.data_dir / shard.file, self.info):
            names.append(f"{split}/{file_name(record.key)}{suffix}")
            picture = encode(record.image, facts_of_record(record, self.info) if self.info.is_synthetic else None)
            (self.growing / names[-1]).write_bytes(picture)
            digest.update(picture)
            writer.writerow([names[-1], split, *_row(record, self.info)])
            bar.update()
        for name in names:
            flush_to_disk(self.growing / name)
        note = {"files": names, "sha256": digest.hexdigest(), "table": table.getvalue()}
        write_atomically(self._note(shard), json.dumps(note))

    def _is_finished(self, shard: ShardInfo) -> bool:
        """Whether its pictures are there, as an earlier, killed run wrote them."""
        if not self._note(shard).is_file():
            return False
        note, digest = json.loads(self._note(shard).read_text(encoding="utf-8")), hashlib.sha256()
        paths = [self.growing / name for name in note["files"]]
        if not all(path.is_file() for path in paths):
            return False
        for path in paths:
            digest.update(path.read_bytes())
        return digest.hexdigest() == note["sha256"]

    def _note(self, shard: ShardInfo) -> pathlib.Path:
        return self.notes / f"{shard.file}.json"


def _filled_splits(info: DatasetInfo) -> dict[str, tuple[ShardInfo, ...]]:
    """The shards of each split that holds an image."""
    return {split: counts.shards for split, counts in info.splits.items() if counts.images}


def _decoded_records(path: pathlib.Path, info: DatasetInfo) -> Iterator[Record]:
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
