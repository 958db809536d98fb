"""Any collection that a CSV table describes: a row per image, with the columns named by settings.

  python -m tfrecords_builder --dataset=image_table --raw_dir=DIR --out_dir=OUT --set table=labels.csv \\
      --set image_column=file --set label_columns=Edema,Mass --set patient_column=patient

Layout: a table, and below `raw_dir` the images it names (JPEG, PNG, TIFF or DICOM). Settings:
  table           the CSV file (.csv or .csv.gz, with a header; see `table`), below `raw_dir` or an absolute path
  image_column    the image's path below `image_folder`; one that leads out of `raw_dir` is rejected
  image_folder    folder below `raw_dir`, by default `raw_dir` itself
  image_suffix    added to names that do not end with it, such as .png
  dicom_window    "file" or "full", see `images.dicom.decode_dicom`

Labels, one of
  label_columns   comma list of columns with 1, 1.0, true or yes for present and 0, 0.0, false or no for absent
  label_column    one column with the label's name; with `label_separator`, such as "|", with several names. A Python
                  list, ['Edema', 'Mass'], is read as such, whatever the separator. Names that an image does not have
                  are absent. `label_names` is a comma list of the labels in their order (by default all that the table
                  holds, sorted); another one is rejected as "unknown_label". Labels that differ in case or blanks
                  alone, such as Edema and EDEMA, are refused: mend the table, or name those you mean in `label_names`
  unknown_values  comma list of texts that mean an unknown label, by default nan, na, -1 and -1.0, in large or small
                  letters; an empty field or list always does. In `label_column` it makes all labels unknown

Facts, each optional
  patient_column  the patient; without it every image counts as a patient, and splits may share patients
  split_column    the split that an image belongs to, small letters, digits and _; empty where the builder may choose
  age_column, sex_column, view_column
"""

import contextlib
import dataclasses
import errno
import math
import os
import pathlib
import posixpath
from collections.abc import Iterator

from absl import logging

from tfrecords_builder.choices import check_choice, split_names
from tfrecords_builder.datasets.folder_reader import FolderReader
from tfrecords_builder.datasets.folder_walk import FolderWalk, is_image_name
from tfrecords_builder.datasets.label_text import check_spellings, decimal_point, split_labels
from tfrecords_builder.datasets.named_files import NamedFiles
from tfrecords_builder.datasets.patient_facts import parse_age, parse_sex, parse_view
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.datasets.table import read_table
from tfrecords_builder.images.dicom import WINDOWS
from tfrecords_builder.splits import SPLIT_NAME

MAX_LABELS = 1000  # more names than this in a label column: it is a column of something else
_EXAMPLE = (
    "python -m tfrecords_builder --dataset=image_table --raw_dir=DIR --out_dir=OUT --set table=labels.csv "
    "--set image_column=file --set label_columns=Edema,Mass --set patient_column=patient"
)
_PRESENT = ("1", "1.0", "true", "yes")
_ABSENT = ("0", "0.0", "false", "no")


class ImageTable(FolderReader):
    """Multi-label, or single-label for a `label_column` without `label_separator`."""

    name = "image_table"
    licence = "as the user's own images"

    def __init__(
        self,
        raw_dir: str = "",
        table: str = "",
        image_column: str = "",
        image_folder: str = "",
        image_suffix: str = "",
        label_columns: str = "",
        label_column: str = "",
        label_separator: str = "",
        label_names: str = "",
        unknown_values: str = "nan,na,-1,-1.0",
        patient_column: str = "",
        split_column: str = "",
        age_column: str = "",
        sex_column: str = "",
        view_column: str = "",
        dicom_window: str = "file",
    ) -> None:
        """Checks the settings against the table; the module's docstring explains them."""
        super().__init__(raw_dir)
        _check_settings(table, image_column, label_columns, label_column, label_separator, label_names)
        check_choice("dicom_window", dicom_window, WINDOWS)
        self.dicom_window = dicom_window
        self.image_column = image_column
        self.image_suffix = image_suffix
        self.label_columns = split_names(label_columns, "image_table setting label_columns")
        self.label_column = label_column
        self.label_separator = label_separator
        self.unknown_values = [value.strip().lower() for value in unknown_values.split(",")]
        self.patient_column = patient_column
        self.split_column = split_column
        self.age_column = age_column
        self.sex_column = sex_column
        self.view_column = view_column
        self._table = self.raw_dir / table  # an absolute path stays itself
        self._folder = _below(image_folder)
        if self._folder is None:
            raise ValueError(f"image_folder {image_folder!r} leads out of --raw_dir; name a folder below it")
        if not (self.raw_dir / self._folder).is_dir():
            raise FileNotFoundError(f"image_folder {self.raw_dir / self._folder} does not exist or is no folder")
        named = self.label_columns or split_names(label_names, "image_table setting label_names")
        self.label_names = tuple(named or self._found_labels())
        next(self._rows(), None)  # a missing column is said now
        if not patient_column:
            logging.warning("image_table: %s", self.notice)

    @property
    def is_single_label(self) -> bool:
        """Whether a label excludes all others."""
        return bool(self.label_column) and not self.label_separator

    @property
    def notice(self) -> str:
        """What a user of a build without known patients must know."""
        if self.patient_column:
            return ""
        return (
            "every image counts as a patient of its own; if patients have several images, name their column with "
            "--set patient_column=NAME, or splits will share patients"
        )

    def entries(self, walk: FolderWalk) -> Iterator[RawExample | Reject]:
        """Rows in the table's order, then the image files that no row names."""
        # All files, for a name of another kind may still be an image, such as DICOM.
        files = NamedFiles(walk, walk.files("" if self._folder == "." else self._folder))
        for row in self._rows():
            entry = self._entry(row, files)
            if isinstance(entry, RawExample) and self._is_elsewhere(entry.path):
                entry = dataclasses.replace(entry, real_path=os.path.realpath(self.raw_dir / entry.path))
            yield entry
        for path, _ in files.unnamed():
            if is_image_name(path):
                yield Reject(path, "file_without_row", f"{self._table.name} does not name it")

    def _rows(self) -> Iterator[dict[str, str]]:
        facts = (self.patient_column, self.split_column, self.age_column, self.sex_column, self.view_column)
        columns = (self.image_column, *self.label_columns, self.label_column, *facts)
        return read_table(self._table, tuple(dict.fromkeys(column for column in columns if column)))

    def _found_labels(self) -> list[str]:
        found: set[str] = set()
        for row in self._rows():
            with contextlib.suppress(ValueError):  # half a list: the row becomes a reject
                found.update(self._split(row[self.label_column]))
            if len(found) > MAX_LABELS:
                raise ValueError(
                    f"column {self.label_column!r} of {self._table} holds more than {MAX_LABELS} labels; name another "
                    "label_column, or the labels you want with --set label_names=NAME,NAME"
                )
        if not found:
            raise ValueError(f"column {self.label_column!r} of {self._table} holds no label")
        check_spellings(
            sorted(found),
            f"in the column {self.label_column!r} of {self._table} the labels",
            "write them alike, or name those you mean with --set label_names=NAME,NAME",
        )
        return sorted(found)

    def _path(self, row: dict[str, str]) -> str | None:
        """The row's image below `raw_dir`, "" where none is named, None for one outside."""
        name = row[self.image_column]
        if not name:
            return ""
        if not name.endswith(self.image_suffix):
            name += self.image_suffix
        # An absolute name would replace the folder before it; it is outside, whatever it names.
        return None if posixpath.isabs(name) else _below(posixpath.join(self._folder, name))

    def _entry(self, row: dict[str, str], files: NamedFiles) -> RawExample | Reject:
        path = self._path(row)
        where = f"{self._table.name} line {row['#']}"
        key = path or row[self.image_column] or f"line {row['#']}"
        if path is None:
            return Reject(key, "outside_raw_dir", f"{where} names a file outside the raw folder")
        if not path:
            return Reject(key, "missing_file", f"{where}: {self.image_column} is empty")
        found = files.find(path, where)
        if isinstance(found, Reject) and not self._is_elsewhere(path):
            return found
        label = self._label(row)
        if isinstance(label, str):
            return Reject(key, "unknown_label", f"{where}: {label}")
        patient_id = row[self.patient_column] if self.patient_column else path
        if not patient_id:
            return Reject(key, "unknown_patient", f"{where}: {self.patient_column} is empty")
        split = row[self.split_column].lower() if self.split_column else ""
        if split and not SPLIT_NAME.fullmatch(split):
            detail = f"{self.split_column} is {split!r}, expected small letters, digits and _"
            return Reject(key, "unknown_split", f"{where}: {detail}")
        return RawExample(
            key=key,
            patient_id=patient_id,
            label=label,
            path=path,
            view=parse_view(row[self.view_column]) if self.view_column else "",
            age=parse_age(row[self.age_column]) if self.age_column else math.nan,
            sex=parse_sex(row[self.sex_column]) if self.sex_column else "",
            official_split=split,
        )

    def _is_elsewhere(self, path: str) -> bool:
        """Whether a row's path leads out of `image_folder`, which alone was walked, to a file below the raw folder."""
        return self._folder != "." and not path.startswith(f"{self._folder}/") and _is_file(self.raw_dir / path)

    def _label(self, row: dict[str, str]) -> tuple[float, ...] | str:
        """The row's label vector, or what is wrong with it."""
        if self.label_columns:
            values = []
            for column in self.label_columns:
                text = decimal_point(row[column].lower())
                if text not in _PRESENT and text not in _ABSENT and not self._is_unknown(text):
                    return f"{column} is {row[column]!r}, expected {', '.join((*_PRESENT, *_ABSENT))} or unknown"
                values.append(math.nan if self._is_unknown(text) else float(text in _PRESENT))
            return tuple(values)
        try:
            names = self._split(row[self.label_column])
        except ValueError as error:
            return f"{self.label_column} is {error}"
        if not names:
            return (math.nan,) * len(self.label_names)
        if self.is_single_label and len(names) > 1:
            hint = "with --set label_separator=, an image may have several"
            return f"{self.label_column} names {len(names)} labels; {hint}"
        if wrong := [name for name in names if name not in self.label_names]:
            return f"{', '.join(map(repr, wrong))} is not among the {len(self.label_names)} labels"
        return tuple(float(name in names) for name in self.label_names)

    def _split(self, text: str) -> list[str]:
        """The labels in a field, none where it is unknown; raises ValueError for what is half a list."""
        if self._is_unknown(text):
            return []
        names = split_labels(text, self.label_separator)
        return [] if all(map(self._is_unknown, names)) else names

    def _is_unknown(self, text: str) -> bool:
        return not text or text.lower() in self.unknown_values


def _check_settings(
    table: str, image_column: str, label_columns: str, label_column: str, label_separator: str, label_names: str
) -> None:
    missing = [name for name, value in (("table", table), ("image_column", image_column)) if not value]
    if not label_columns and not label_column:
        missing.append("label_columns (or label_column)")
    if missing:
        raise ValueError(f"image_table needs --set {', '.join(missing)}, as in: {_EXAMPLE}")
    if label_columns and label_column:
        raise ValueError("image_table takes label_columns (one per label) or label_column (names in it), got both")
    for name, value in (("label_separator", label_separator), ("label_names", label_names)):
        if value and not label_column:
            raise ValueError(f"image_table takes {name} beside label_column only; label_columns name the labels")


def _is_file(path: pathlib.Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def _below(path: str) -> str | None:
    """A path in its shortest form, relative; None when it leads out of the folder it starts from."""
    shortest = posixpath.normpath(path) if path else "."
    return None if posixpath.isabs(shortest) or shortest.split("/")[0] == ".." else shortest
