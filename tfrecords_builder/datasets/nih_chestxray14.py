"""NIH ChestX-ray14: 112,120 frontal radiographs of 30,805 patients, 14 findings mined from the reports.

Layout:
  raw_dir/Data_Entry_2017.csv or Data_Entry_2017_v2020.csv, and the images in any folders below: images_001/images ...
  images_012/images as published, images, images-224 or raw_dir itself. Of two files of one name, that in a folder as
  published is taken. With train_val_list.txt and test_list.txt beside the table, the images of the test list stay
  `test` and the others are divided by patient.

Findings are joined by "|" in the table; "No Finding" stands alone. A finding that is not named is taken as absent, as
the authors do. Ages are written as 58, 058Y, 011M or 003D; one above 120 years, of which the published table has
some, is stored as unknown. The sex is in the column "Patient Gender", or "Patient Sex" in the table of 2020.

Setting `labels_csv`: a table whose labels replace NIH's, in the layouts that `nih_relabels` tells. Patients, ages,
views and official lists still come from NIH. An image that the table does not name does not keep NIH's label, for then
one set would hold labels of two kinds that nothing tells apart: it is the reject "excluded_no_replacement_label". A row
for an image that NIH's table lacks is the reject "replacement_without_row".
"""

import pathlib
import re
from collections.abc import Iterator

from absl import logging

from tfrecords_builder.datasets.folder_reader import FolderReader
from tfrecords_builder.datasets.folder_walk import FolderWalk
from tfrecords_builder.datasets.named_files import NamedFiles
from tfrecords_builder.datasets.nih_relabels import ALL_LABELS, listed_label, read_relabels
from tfrecords_builder.datasets.patient_facts import OLDEST, parse_age, parse_sex, written_age
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.datasets.table import find_table, read_lines

_TABLES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
_TRAIN_LIST, _TEST_LIST = "train_val_list.txt", "test_list.txt"
_FOLDERS = (r"images_[^/]*/images", r"images_[^/]*", "images", "")
_IMAGE, _LABELS, _PATIENT, _AGE, _VIEW = "Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position"
_SEX = ("Patient Gender", "Patient Sex")
_COLUMNS = (_IMAGE, _LABELS, _PATIENT, _AGE, _SEX, _VIEW)


class NihChestXray14(FolderReader):
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
        """`labels_csv` is the path of a table of replacement labels."""
        super().__init__(raw_dir)
        if not any((self.raw_dir / table).is_file() for table in _TABLES):
            raise FileNotFoundError(
                f"{raw_dir} holds neither {' nor '.join(_TABLES)}; expected one of them, and the images in "
                "images_001/images and so on, or in other folders beside the table"
            )
        self._table = find_table(self.raw_dir, _TABLES)
        self.has_replaced_labels = bool(labels_csv)
        self._labels_csv = pathlib.Path(labels_csv)
        if labels_csv and not self._labels_csv.is_file():
            raise FileNotFoundError(f"labels_csv {labels_csv} does not exist or is no file")

    def entries(self, walk: FolderWalk) -> Iterator[RawExample | Reject]:
        """Rows in the table's order, then the files that no row names, then replacement labels that none does."""
        files = NamedFiles(walk, sorted(walk.images(), key=_by_layout), by_file_name=True)
        test_list, both_lists = self._official_lists()
        relabels = read_relabels(self._labels_csv) if self.has_replaced_labels else None
        relabels_without_row = set(relabels or ())
        too_old, listed = 0, False
        for row, key, where, path in files.rows(self._table, _COLUMNS):
            relabels_without_row.discard(key)
            listed = listed or key in test_list
            if isinstance(path, Reject):
                yield path
            elif not row[_PATIENT].isdecimal():
                yield Reject(key, "unknown_patient", f"{where}: {_PATIENT} is {row[_PATIENT]!r}, expected a number")
            elif key in both_lists:
                yield Reject(key, "in_two_official_lists", f"{_TRAIN_LIST} and {_TEST_LIST}")
            elif isinstance(label := _label(row, relabels), Reject):
                yield Reject(key, label.reason, f"{where}: {label.detail}")
            else:
                too_old += written_age(row[_AGE]) > OLDEST
                facts = {"age": parse_age(row[_AGE]), "sex": parse_sex(row[_SEX[0]])}
                facts["view"] = row[_VIEW] if row[_VIEW] in ("PA", "AP") else ""
                split = "test" if key in test_list else ""
                yield RawExample(key, str(int(row[_PATIENT])), label, path, **facts, official_split=split)
        yield from files.left_over(self._table.name)
        for key in sorted(relabels_without_row):
            detail = f"{self._labels_csv.name} names it, {self._table.name} does not"
            yield Reject(key, "replacement_without_row", detail)
        if too_old:
            logging.warning("%d ages above %g years are stored as unknown", too_old, OLDEST)
        if test_list and not listed:
            logging.warning(
                "%s names none of the images in %s, so no image is in its split", _TEST_LIST, self._table.name
            )

    def _official_lists(self) -> tuple[set[str], set[str]]:
        """The images of the published test list, and those that are in both lists."""
        test = set(read_lines(self.raw_dir / _TEST_LIST))
        return test, {name for name in read_lines(self.raw_dir / _TRAIN_LIST) if name in test}


def _by_layout(path: str) -> int:
    """Orders paths so that of two files of one name that in a folder as published comes first."""
    folder = path.rpartition("/")[0]
    return next((place for place, pattern in enumerate(_FOLDERS) if re.fullmatch(pattern, folder)), len(_FOLDERS))


def _label(row: dict[str, str], relabels: dict[str, tuple[float, ...] | Reject] | None) -> tuple[float, ...] | Reject:
    """The label vector of a row, or why there is none (a `Reject` without a key)."""
    if relabels is None:
        return listed_label(row[_LABELS])
    return relabels.get(
        row[_IMAGE], Reject("", "excluded_no_replacement_label", "the table of replacement labels lacks it")
    )
