"""NIH ChestX-ray14: 112,120 frontal radiographs of 30,805 patients, 14 findings mined from the reports.

Layout:
  raw_dir/Data_Entry_2017.csv or Data_Entry_2017_v2020.csv, and the images in images_001/images ... images_012/images,
  in images, or in raw_dir itself. With train_val_list.txt and test_list.txt beside the table, the images of the test
  list stay `test` and the others are divided by patient.

Findings are joined by "|" in the table; "No Finding" stands alone. A finding that is not named is taken as absent, as
the authors do. Ages are written as 58, 058Y, 011M or 003D; one above 120 years, of which the published table has
some, is stored as unknown. The sex is in the column "Patient Gender", or "Patient Sex" in the table of 2020.

Setting `labels_csv`: a table whose labels replace NIH's, in the layouts that `nih_relabels` tells. Patients, ages,
views and official lists still come from NIH. An image that the table does not name does not keep NIH's label, for then
one set would hold labels of two kinds that nothing tells apart: it is the reject "excluded_no_replacement_label". A row
for an image that NIH's table lacks is the reject "replacement_without_row".
"""

import pathlib
from collections.abc import Iterator

from absl import logging

from tfrecords_builder.datasets.image_files import index_by_name, is_image_name
from tfrecords_builder.datasets.nih_relabels import ALL_LABELS, FINDINGS, NO_FINDING, listed_label, read_relabels
from tfrecords_builder.datasets.patient_facts import OLDEST, parse_age, parse_sex, written_age
from tfrecords_builder.datasets.reader import RawExample, Reader, Reject, existing_folder
from tfrecords_builder.datasets.table import find_table, read_table

__all__ = ["FINDINGS", "NO_FINDING", "NihChestXray14"]

_TABLES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
_TRAIN_LIST, _TEST_LIST = "train_val_list.txt", "test_list.txt"
_IMAGE, _LABELS, _PATIENT, _AGE, _VIEW = "Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position"
_SEX = ("Patient Gender", "Patient Sex")
_COLUMNS = (_IMAGE, _LABELS, _PATIENT, _AGE, _SEX, _VIEW)


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
    label_names = ALL_LABELS

    def __init__(self, raw_dir: str = "", labels_csv: str = "") -> None:
        """`labels_csv` is the path of a table of replacement labels.

        Raises:
          FileNotFoundError: `raw_dir`, its table or `labels_csv` is missing.
          ValueError: `raw_dir` holds both tables.
        """
        super().__init__(raw_dir)
        self.raw_dir = existing_folder(raw_dir)
        if not any((self.raw_dir / table).is_file() for table in _TABLES):
            raise FileNotFoundError(
                f"{raw_dir} holds neither {' nor '.join(_TABLES)}; expected one of them, and the images in "
                "images_001/images and so on, in images, or beside the table"
            )
        self._table = find_table(self.raw_dir, _TABLES)
        self.has_replaced_labels = bool(labels_csv)
        self._labels_csv = pathlib.Path(labels_csv)
        if labels_csv and not self._labels_csv.is_file():
            raise FileNotFoundError(f"labels_csv {labels_csv} does not exist or is no file")

    def examples(self) -> Iterator[RawExample | Reject]:
        """Rows in the table's order, then the files that no row names, then replacement labels that none does.

        Raises:
          ValueError: a table lacks a column or has one twice.
        """
        unused, repeated = index_by_name(self.raw_dir, self._image_paths())
        used: dict[str, str] = {}  # an image moves here from `unused` with its first row
        test_list, both_lists = self._official_lists()
        relabels = read_relabels(self._labels_csv) if self.has_replaced_labels else None
        relabels_without_row = set(relabels or ())
        too_old = 0
        for row in read_table(self._table, _COLUMNS):
            key = row[_IMAGE]
            relabels_without_row.discard(key)
            if key in unused:
                used[key] = unused.pop(key)
            if key not in used:
                yield Reject(key, "missing_file", "the table names it, no folder holds it")
            elif not row[_PATIENT].isdigit():
                yield Reject(key, "unknown_patient", f"{_PATIENT} is {row[_PATIENT]!r}, expected a number")
            elif key in both_lists:
                yield Reject(key, "in_two_official_lists", f"{_TRAIN_LIST} and {_TEST_LIST}")
            elif isinstance(label := _label(row, relabels), Reject):
                yield Reject(key, label.reason, label.detail)
            else:
                too_old += written_age(row[_AGE]) > OLDEST
                yield RawExample(
                    key=key,
                    patient_id=str(int(row[_PATIENT])),
                    label=label,
                    path=used[key],
                    view=row[_VIEW] if row[_VIEW] in ("PA", "AP") else "",
                    age=parse_age(row[_AGE]),
                    sex=parse_sex(row[_SEX[0]]),
                    official_split="test" if key in test_list else "",
                )
        for key in sorted(unused):
            yield Reject(key, "file_without_row", unused[key])
        for path in repeated:
            yield Reject(path, "same_file_name_twice", "another folder holds a file of this name, which was taken")
        for key in sorted(relabels_without_row):
            yield Reject(
                key, "replacement_without_row", f"{self._labels_csv.name} names it, {self._table.name} does not"
            )
        if too_old:
            logging.warning("%d ages above %g years are stored as unknown", too_old, OLDEST)

    def _image_paths(self) -> Iterator[pathlib.Path]:
        """Images of the folders of the layout, not of folders below them."""
        folders = [*sorted(self.raw_dir.glob("images_*/images")), *sorted(self.raw_dir.glob("images_*"))]
        for folder in (*folders, self.raw_dir / "images", self.raw_dir):
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if is_image_name(path) and not path.name.startswith("."):
                    yield path

    def _official_lists(self) -> tuple[set[str], set[str]]:
        """The images of the published test list, and those that are in both lists."""
        test = set(_lines(self.raw_dir / _TEST_LIST))
        return test, {name for name in _lines(self.raw_dir / _TRAIN_LIST) if name in test}


def _lines(path: pathlib.Path) -> Iterator[str]:
    """Lines of a list without spaces around them; none where the file is not there."""
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            yield from filter(None, map(str.strip, file))


def _label(row: dict[str, str], relabels: dict[str, tuple[float, ...] | Reject] | None) -> tuple[float, ...] | Reject:
    """The label vector of a row, or why there is none (a `Reject` without a key)."""
    if relabels is None:
        return listed_label(row[_LABELS])
    return relabels.get(
        row[_IMAGE], Reject("", "excluded_no_replacement_label", "the table of replacement labels lacks it")
    )
