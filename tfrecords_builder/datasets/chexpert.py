"""CheXpert: 224,316 frontal and lateral radiographs of 65,240 patients, 14 observations read from the reports.

Layout, of CheXpert-v1.0 and of CheXpert-v1.0-small:
  CheXpert-v1.0*/train.csv, valid.csv
  CheXpert-v1.0*/{train,valid,test}/patient00001/study1/view1_frontal.jpg
  CheXpert-v1.0*/test.csv, test_labels.csv or groundtruth.csv, where the test set, which was published later, is there
`raw_dir` is the folder CheXpert-v1.0* or the one that holds it. The zip files of the full-size set must be unpacked
into one such folder. The tables name images as "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg".

valid.csv (labelled by three radiologists) is the split `validation`, the test table (by five) `test`; the images of
train.csv (labelled by a program from the reports) are divided by patient. A test table may lack the columns Sex, Age,
Frontal/Lateral and AP/PA, and may name studies (column "Study") in the place of images (column "Path"): its labels
then hold for all images of the study. Frontal or lateral is then taken from the file's name.

How blanks and -1 are read, and which views and labels are kept, are settings that `chexpert_labels` tells. By default
lateral images are left out and counted as "excluded_view". The set of Li, Guo and Zhang 2025 is
  --set projection=AP --set uncertain=as_is --set 'require_any=Cardiomegaly,Pleural Effusion,Pneumothorax'
"""

import dataclasses
import fnmatch
import pathlib
import re
from collections.abc import Iterator

from tfrecords_builder.datasets.chexpert_labels import OBSERVATIONS, ObservationPolicy
from tfrecords_builder.datasets.folder_reader import FolderReader
from tfrecords_builder.datasets.folder_walk import FolderWalk
from tfrecords_builder.datasets.named_files import NamedFiles
from tfrecords_builder.datasets.patient_facts import parse_age, parse_sex, parse_view
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.datasets.table import column_names, find_column, find_table, read_table

_TRAIN, _VALID = "train.csv", "valid.csv"
_TEST_TABLES = ("test.csv", "test_labels.csv", "groundtruth.csv")
_PATIENT_COLUMNS = ("Sex", "Age", "Frontal/Lateral", "AP/PA")
_PATIENT = re.compile(r"(?:^|/)patient(\d+)/")
_PLANE = re.compile(r"_(frontal|lateral)\.")


class Chexpert(FolderReader):
    """Multi-label: 14 observations, or those that are asked for."""

    name = "chexpert"
    homepage = "https://stanfordmlgroup.github.io/competitions/chexpert/"
    citation = (
        "Irvin, Rajpurkar, Ko, Yu, Ciurea-Ilcus, Chute, Marklund, Haghgoo, Ball, Shpanskaya and others: CheXpert: A "
        "Large Chest Radiograph Dataset with Uncertainty Labels and Expert Comparison, AAAI 2019"
    )
    licence = (
        "Stanford University Dataset Research Use Agreement: research that is not commercial, no passing on, no "
        "attempt to identify a patient; accept it at Stanford AIMI before the download"
    )

    def __init__(
        self,
        raw_dir: str = "",
        uncertain: str = "ignore",
        blank: str = "zero",
        findings: str = "",
        require_any: str = "",
        views: str = "frontal",
        projection: str = "all",
    ) -> None:
        """The settings are those of `ObservationPolicy`."""
        super().__init__(raw_dir)
        self._policy = ObservationPolicy(uncertain, blank, findings, require_any, views, projection)
        vars(self).update(dataclasses.asdict(self._policy))
        self.label_names = self._policy.label_names
        self.raw_dir = _root(self.raw_dir)
        has_test = any((self.raw_dir / name).is_file() for name in _TEST_TABLES)
        self._test_table = find_table(self.raw_dir, _TEST_TABLES) if has_test else None

    def entries(self, walk: FolderWalk) -> Iterator[RawExample | Reject]:
        """Rows of train.csv, valid.csv and the test table, then the files that no row names."""
        files = NamedFiles(walk, walk.images())
        measuring = [("validation", self.raw_dir / _VALID), ("test", self._test_table)]
        listed: dict[str, set[str]] = {}  # the few images of valid.csv and the test table -> splits that name them
        for split, table in measuring:
            for path, _ in self._rows(table, walk):
                listed.setdefault(path, set()).add(split)
        for split, table in [("", self.raw_dir / _TRAIN), *measuring]:
            for path, row in self._rows(table, walk):
                if not split and path in listed:
                    listed[path].add("train")
                where = f"{table.name} line {row['#']}"
                found = files.find(path, where)
                if isinstance(found, Reject):
                    yield found
                elif len(listed.get(path, ())) > 1:
                    yield Reject(path, "in_two_official_lists", f"the tables of {' and '.join(sorted(listed[path]))}")
                else:
                    yield self._entry(path, row, split, where)
        for path, _ in sorted(files.unnamed()):
            yield Reject(path, "file_without_row", f"no table in {self.raw_dir} names it")

    def _rows(self, table: pathlib.Path | None, walk: FolderWalk) -> Iterator[tuple[str, dict[str, str]]]:
        """Image path below `raw_dir` and row; none where the table is not there."""
        if table is None or not table.is_file():
            return
        if table != self._test_table:
            for row in read_table(table, ("Path", *_PATIENT_COLUMNS, *OBSERVATIONS)):
                yield _below_root(row["Path"]), row
            return
        key = "Path" if find_column(column_names(table, ("Path", "Study")), ["Path"]) else "Study"
        for row in read_table(table, (key, *OBSERVATIONS), _PATIENT_COLUMNS):
            path = _below_root(row[key])
            for image in [path] if key == "Path" else self._images_of_study(path, walk):
                yield image, row

    def _images_of_study(self, study: str, walk: FolderWalk) -> list[str]:
        """Paths below `raw_dir`; where there are none the study itself, which is then a missing file."""
        is_inside = ".." not in pathlib.PurePosixPath(study).parts
        return list(walk.images(study) if is_inside else ()) or [study]

    def _entry(self, path: str, row: dict[str, str], split: str, where: str) -> RawExample | Reject:
        patient = _PATIENT.search(path)
        if not patient:
            return Reject(path, "unknown_patient", f"{where}: expected a folder such as patient00001 in the path")
        named = _PLANE.search(path)
        plane = row["Frontal/Lateral"].lower() or (named.group(1) if named else "")
        projection = parse_view(row["AP/PA"])
        # Some frontal images have the projection "LL" or "RL", which contradicts itself: it is unknown.
        view = "LATERAL" if plane == "lateral" else projection if projection in ("PA", "AP") else ""
        if why := self._policy.excluded_view(plane, view):
            return Reject(path, "excluded_view", f"{where}: {why}")
        label = self._policy.label(row)
        if isinstance(label, Reject):
            return dataclasses.replace(label, key=path, detail=f"{where}: {label.detail}")
        facts = {"view": view, "age": parse_age(row["Age"]), "sex": parse_sex(row["Sex"])}
        return RawExample(path, patient.group(1), label, path, **facts, official_split=split)


def _root(raw_dir: pathlib.Path) -> pathlib.Path:
    """The folder that holds train.csv and valid.csv, or one of them.

    Raises:
      FileNotFoundError: there is none. ValueError: there are two.
    """
    archives = fnmatch.filter(FolderWalk(raw_dir).folders(), "CheXpert-v1.0*")
    folders = [raw_dir, *(raw_dir / name for name in archives)]
    roots = [folder for folder in folders if any((folder / table).is_file() for table in (_TRAIN, _VALID))]
    if not roots:
        raise FileNotFoundError(
            f"{raw_dir} holds neither {_TRAIN} nor {_VALID}, itself or in a folder CheXpert-v1.0*; expected "
            "CheXpert-v1.0*/{train.csv,valid.csv,train/patient00001/study1/view1_frontal.jpg}"
        )
    if len(roots) > 1:
        raise ValueError(f"{raw_dir} holds the set more than once: {', '.join(map(str, roots))}; name one of them")
    return roots[0]


def _below_root(path: str) -> str:
    """ "CheXpert-v1.0-small/train/patient00001/..." without the first folder."""
    parts = path.split("/")
    starts = [index + 1 for index, part in enumerate(parts) if part.startswith("CheXpert")]
    return "/".join(parts[starts[-1] if starts else 0 :])
