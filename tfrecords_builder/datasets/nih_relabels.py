"""Labels that replace those of NIH ChestX-ray14: tables that others published for its images.

Read are CSV tables with one row per image, named in a column "Image Index", "Image ID", "Image", "image", "image_id",
"filename" or "Path" (of a path, the file name counts), in one of two layouts:
  one column per finding As in the `nih_labels.csv` that goes with re-implementations of CheXNet (Rajpurkar et al.), or
                         in Google's `all_findings_expert_labels/test_labels.csv` (Nabulsi et al. 2021). Columns are
                         matched by name: "Pleural Thickening" is "Pleural_Thickening", "Pleural Effusion" is
                         "Effusion". 1 or YES is present, 0 or NO absent; blank, -1 or HEDGE is unknown.
  one column of lists    "Finding Labels", as in NIH's own table: "Edema|Mass" or "No Finding".
Where a table has both, the columns of findings count; other columns are ignored. A finding without a column is unknown
for every image, never taken from NIH's table.
"No Finding" comes from its own column, or is the opposite of a column "Abnormal"; without either it is 0 where any
finding is present, 1 where all fourteen are absent, and else unknown.
"""

import math
import pathlib

from tfrecords_builder.datasets.label_text import decimal_point, split_labels
from tfrecords_builder.datasets.reader import Reject
from tfrecords_builder.datasets.table import column_names, find_column, read_table

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
    "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)  # fmt: skip
NO_FINDING = "No Finding"
ALL_LABELS = (*FINDINGS, NO_FINDING)

_IMAGE = ("Image Index", "Image ID", "Image", "image", "image_id", "filename", "Path")
_LIST, _ABNORMAL = "Finding Labels", "Abnormal"
_SYNONYMS = {"pleural effusion": "effusion"}
_VALUES = {"1": 1.0, "1.0": 1.0, "YES": 1.0, "0": 0.0, "0.0": 0.0, "NO": 0.0}
_VALUES |= dict.fromkeys(("", "-1", "-1.0", "HEDGE"), math.nan)


def listed_label(text: str) -> tuple[float, ...] | Reject:
    """The label vector of "Edema|Mass", or why there is none (a `Reject` without a key)."""
    try:
        names = split_labels(text, "|") or [""]
    except ValueError as error:
        return Reject("", "unknown_label", str(error))
    unknown = [name for name in names if name not in ALL_LABELS]
    if unknown:
        return Reject("", "unknown_label", f"{', '.join(map(repr, unknown))} is not among the 14 findings")
    if NO_FINDING in names and len(names) > 1:
        return Reject("", "conflicting_labels", text)
    return tuple(float(name in names) for name in ALL_LABELS)


def read_relabels(path: pathlib.Path) -> dict[str, tuple[float, ...] | Reject]:
    """Image name -> its label vector in the order of `ALL_LABELS`, or a `Reject` without a key.

    An image with two rows that say the same is taken once; rows that differ, as in a table with a row per radiologist,
    give the `Reject` "conflicting_labels".

    Raises:
      FileNotFoundError: no such table.
      ValueError: no column names the image, none is named as a finding, or what `read_table` raises.
    """
    if not path.is_file():
        raise FileNotFoundError(f"labels_csv {path} does not exist or is no file")
    columns = _finding_columns(path)
    needed = (_IMAGE,) if columns else (_IMAGE, _LIST)
    labels: dict[str, tuple[float, ...] | Reject] = {}
    shared: dict[tuple, tuple] = {}  # the rows repeat few label vectors; each is kept once
    for row in read_table(path, needed):
        name = pathlib.PurePath(row[_IMAGE[0]]).name
        label = _row_label(row, columns) if columns else listed_label(row[_LIST])
        if isinstance(label, tuple):
            label = shared.setdefault(tuple(map(str, label)), label)
        if name in labels and labels[name] != label:
            label = Reject("", "conflicting_labels", f"{path.name} has rows for it that differ")
        labels[name] = label
    return labels


def _finding_columns(path: pathlib.Path) -> dict[str, str]:
    """Label name -> its column; empty for a table with a column of lists instead.

    Raises:
      ValueError: two columns for one finding, or neither a finding's column nor one of lists.
    """
    plain = {_plain(name): name for name in ALL_LABELS}
    columns: dict[str, str] = {}
    header = column_names(path, (*_IMAGE, _LIST, _ABNORMAL, *ALL_LABELS))
    for column in header:
        label = plain.get(_SYNONYMS.get(_plain(column), _plain(column)))
        if label in columns:
            raise ValueError(f"{path} has the columns {columns[label]!r} and {column!r} for {label}; leave one of them")
        if label:
            columns[label] = column
    if not set(columns) - {NO_FINDING} and not find_column(header, [_LIST]):
        raise ValueError(
            f"{path} has no column named as one of the 14 findings and no column {_LIST!r}; "
            f"it has {', '.join(header) or 'none'}"
        )
    return columns if set(columns) - {NO_FINDING} else {}


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())


def _row_label(row: dict[str, str], columns: dict[str, str]) -> tuple[float, ...] | Reject:
    values = {}
    for label, column in {**columns, **({_ABNORMAL: _ABNORMAL} if _ABNORMAL in row else {})}.items():
        text = decimal_point(row[column].upper())
        if text not in _VALUES:
            return Reject("", "unknown_label", f"{column} is {row[column]!r}, expected 1, 0, -1, a blank, YES or NO")
        values[label] = _VALUES[text]
    findings = [values.get(name, math.nan) for name in FINDINGS]
    if NO_FINDING in values:
        nothing = values[NO_FINDING]
    elif _ABNORMAL in values:
        nothing = 1.0 - values[_ABNORMAL]
    elif 1.0 in findings:
        nothing = 0.0
    else:
        nothing = 1.0 if all(value == 0.0 for value in findings) else math.nan
    if nothing == 1.0 and 1.0 in findings:
        return Reject("", "conflicting_labels", f"{NO_FINDING} and {FINDINGS[findings.index(1.0)]} are both present")
    return (*findings, nothing)
