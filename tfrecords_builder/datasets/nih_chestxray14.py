"""NIH ChestX-ray14: 112,120 frontal radiographs of 30,805 patients, 14 findings mined from the reports.

Layout:
  raw_dir/Data_Entry_2017.csv or Data_Entry_2017_v2020.csv, and the images in images_001/images ... images_012/images,
  in images, or in raw_dir itself. With train_val_list.txt and test_list.txt beside the table, the images of the test
  list stay `test` and the others are divided by patient.

Findings are joined by "|" in the table; "No Finding" stands alone. A finding that is not named is taken as absent, as
the authors do. Ages are written as 58, 058Y, 011M or 003D; one above 120 years, of which the published table has
some, is stored as unknown.
"""

import csv
import math
import pathlib
import re
from collections import Counter
from collections.abc import Iterator

from absl import logging

from tfrecords_builder.datasets.reader import RawExample, Reader, Reject, existing_folder

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
    "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)  # fmt: skip
NO_FINDING = "No Finding"
_TABLES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
_LISTS = {"train_val_list.txt": "", "test_list.txt": "test"}
_IMAGE, _LABELS, _PATIENT, _AGE, _VIEW = "Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position"
_SEX = ("Patient Gender", "Patient Sex")
_AGE_PATTERN = re.compile(r"(\d+)([YMD]?)")
_AGE_UNITS = {"": 1.0, "Y": 1.0, "M": 12.0, "D": 365.25}
_OLDEST = 120.0


class NihChestXray14(Reader):
    """Multi-label: 14 findings and "No Finding"."""

    name = "nih_chestxray14"
    homepage = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
    citation = (
        "Wang, Peng, Lu, Lu, Bagheri, Summers: ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on "
        "Weakly-Supervised Classification and Localization of Common Thorax Diseases, CVPR 2017. "
        "Images provided by the NIH Clinical Center"
    )
    licence = "no restriction on use; link to the download site, cite the paper, acknowledge the NIH Clinical Center"
    label_names = (*FINDINGS, NO_FINDING)

    def __init__(self, raw_dir: str = "") -> None:
        """Raises FileNotFoundError when `raw_dir` or its table is missing."""
        super().__init__(raw_dir)
        self.raw_dir = existing_folder(raw_dir)
        tables = [self.raw_dir / name for name in _TABLES if (self.raw_dir / name).is_file()]
        if not tables:
            raise FileNotFoundError(f"{self.raw_dir} holds neither {' nor '.join(_TABLES)}")
        if len(tables) > 1:
            raise ValueError(f"{self.raw_dir} holds both {' and '.join(_TABLES)}; leave the one whose labels you want")
        self._table = tables[0]

    def examples(self) -> Iterator[RawExample | Reject]:
        """Rows in the table's order, then the files that no row names.

        Raises:
          ValueError: the table lacks a column or has one twice.
        """
        rows = _read_table(self._table)
        paths, repeated = self._image_paths()
        official = self._official_splits()
        too_old = 0
        named = set()
        for row in rows:
            key = row[_IMAGE].strip()
            named.add(key)
            label = _label(row[_LABELS])
            if isinstance(label, tuple):
                reason, detail = _row_problem(key, row, paths, official)
            else:
                reason, detail = label.reason, label.detail
            if reason:
                yield Reject(key, reason, detail)
                continue
            age = parse_age(row[_AGE])
            too_old += age > _OLDEST
            yield RawExample(
                key=key,
                patient_id=str(int(row[_PATIENT])),
                label=label,
                path=paths[key],
                view=row[_VIEW].strip() if row[_VIEW].strip() in ("PA", "AP") else "",
                age=math.nan if age > _OLDEST else age,
                sex=row["sex"].strip() if row["sex"].strip() in ("F", "M") else "",
                official_split=official[key][0] if key in official else "",
            )
        for key in sorted(set(paths) - named):
            yield Reject(key, "file_without_row", paths[key])
        for path in repeated:
            yield Reject(path, "same_file_name_twice", "another folder holds a file of this name, which was taken")
        if too_old:
            logging.warning("%d ages above %g years are stored as unknown", too_old, _OLDEST)

    def _image_paths(self) -> tuple[dict[str, str], list[str]]:
        """File name -> path below `raw_dir`, and the paths whose name was there already."""
        folders = [*sorted(self.raw_dir.glob("images_*/images")), *sorted(self.raw_dir.glob("images_*"))]
        paths: dict[str, str] = {}
        repeated = []
        for folder in (*folders, self.raw_dir / "images", self.raw_dir):
            for path in sorted(folder.glob("*.png")) if folder.is_dir() else ():
                relative = path.relative_to(self.raw_dir).as_posix()
                if path.name in paths:
                    repeated.append(relative)
                else:
                    paths[path.name] = relative
        return paths, repeated

    def _official_splits(self) -> dict[str, list[str]]:
        """Image -> the split of each published list that names it."""
        splits: dict[str, list[str]] = {}
        for name, split in _LISTS.items():
            path = self.raw_dir / name
            for line in path.read_text(encoding="utf-8").split() if path.is_file() else ():
                splits.setdefault(line, []).append(split)
        return splits


def parse_age(text: str) -> float:
    """Years of "58", "058Y", "011M" or "003D"; NaN for anything else."""
    match = _AGE_PATTERN.fullmatch(text.strip().upper())
    return int(match.group(1)) / _AGE_UNITS[match.group(2)] if match else math.nan


def _label(text: str) -> tuple[float, ...] | Reject:
    """The label vector of "Edema|Mass", or why there is none (a `Reject` without a key)."""
    names = [name.strip() for name in text.split("|")]
    unknown = [name for name in names if name not in FINDINGS and name != NO_FINDING]
    if unknown:
        return Reject("", "unknown_label", f"{', '.join(map(repr, unknown))} is not among the 14 findings")
    if NO_FINDING in names and len(names) > 1:
        return Reject("", "conflicting_labels", text)
    return tuple(float(name in names) for name in (*FINDINGS, NO_FINDING))


def _row_problem(
    key: str, row: dict[str, str], paths: dict[str, str], official: dict[str, list[str]]
) -> tuple[str, str]:
    if key not in paths:
        return "missing_file", "the table names it, no folder holds it"
    if not row[_PATIENT].strip().isdigit():
        return "unknown_patient", f"{_PATIENT} is {row[_PATIENT]!r}, expected a number"
    if len(set(official.get(key, ()))) > 1:
        return "in_two_official_lists", " and ".join(_LISTS)
    return "", ""


def _read_table(path: pathlib.Path) -> list[dict[str, str]]:
    """Rows by column name, with the sex column as "sex".

    Raises:
      ValueError: a column is missing or occurs twice, a row has another number of fields, or it is no text table.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV table in UTF-8: {error}") from error
    header = [name.strip() for name in lines[0]] if lines else []
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    if twice:
        raise ValueError(
            f"{path} has the column {', '.join(map(repr, twice))} more than once; each name must be unique"
        )
    missing = [name for name in (_IMAGE, _LABELS, _PATIENT, _AGE, _VIEW) if name not in header]
    sex = next((name for name in _SEX if name in header), None)
    if sex is None:
        missing.append(_SEX[0])
    if missing:
        raise ValueError(
            f"{path} lacks the column {', '.join(map(repr, missing))}; it has {', '.join(header) or 'none'}"
        )
    rows = []
    for number, fields in enumerate(lines[1:], start=2):
        if not fields:
            continue
        if len(fields) < len(header):
            raise ValueError(f"{path} line {number} has {len(fields)} fields, expected {len(header)}")
        row = dict(zip(header, fields, strict=False))
        rows.append({**row, "sex": row[sex]})
    return rows
