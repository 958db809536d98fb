"""MIMIC-CXR-JPG 2.0.0 and 2.1.0: 377,110 radiographs of 227,827 studies, 14 observations read from the reports.

Layout, of both versions; each table may also be without .gz:
  raw_dir/files/p10/p10000032/s50414267/<dicom_id>.jpg
  raw_dir/mimic-cxr-2.0.0-metadata.csv.gz   dicom_id, subject_id, study_id, ViewPosition and more; a row per image
  raw_dir/mimic-cxr-2.0.0-split.csv.gz      dicom_id, study_id, subject_id, split (train, validate or test)
  raw_dir/mimic-cxr-2.0.0-chexpert.csv.gz   subject_id, study_id and the observations; a row per study
  raw_dir/mimic-cxr-2.0.0-negbio.csv.gz     the same by another labeller: --set labels=negbio

All three official splits are kept, `validate` as `validation`; patients do not cross them. A study without a row of
labels gives the rejects "no_label_row", an image without a row in the split table "no_split_row". Ages and sexes are
not in this data set (they are in MIMIC-IV), so they are unknown.

How blanks and -1 are read, and which views and labels are kept, are settings that `chexpert_labels` tells. View
positions PA and AP are frontal, LATERAL and LL lateral; the few others (AP AXIAL, LAO, SWIMMERS, ...) and blanks are
unknown. By default only frontal images are kept, the others are counted as "excluded_view".
"""

import dataclasses
import pathlib
from collections.abc import Iterator

from tfrecords_builder.choices import check_choice
from tfrecords_builder.datasets.chexpert_labels import OBSERVATIONS, ObservationPolicy
from tfrecords_builder.datasets.folder_reader import FolderReader
from tfrecords_builder.datasets.folder_walk import FolderWalk
from tfrecords_builder.datasets.named_files import NamedFiles
from tfrecords_builder.datasets.patient_facts import parse_view
from tfrecords_builder.datasets.reader import RawExample, Reject
from tfrecords_builder.datasets.table import find_table, read_table

LABELLERS = ("chexpert", "negbio")
_SPLITS = {"train": "train", "validate": "validation", "test": "test"}
_NO_SPLIT, _TWO_SPLITS = "no row", "two rows"
_PLANES = {"PA": "frontal", "AP": "frontal", "LATERAL": "lateral"}
_NAMES = ("dicom_id", "subject_id", "study_id")


class MimicCxrJpg(FolderReader):
    """Multi-label: 14 observations, or those that are asked for."""

    name = "mimic_cxr_jpg"
    homepage = "https://physionet.org/content/mimic-cxr-jpg/"
    citation = (
        "Johnson, Lungren, Peng, Lu, Mark, Berkowitz, Horng: MIMIC-CXR-JPG - chest radiographs with structured labels "
        "(version 2.1.0), PhysioNet 2024, doi:10.13026/jsn5-t979; Johnson, Pollard, Greenbaum, Lungren, Deng, Peng, "
        "Lu, Mark, Berkowitz, Horng: MIMIC-CXR-JPG, a large publicly available database of labeled chest radiographs, "
        "arXiv:1901.07042; Goldberger et al.: PhysioBank, PhysioToolkit, and PhysioNet, Circulation 101 (2000) e215"
    )
    licence = (
        "PhysioNet Credentialed Health Data License and Data Use Agreement: credentialed users alone, no passing on, "
        "no attempt to identify a patient"
    )

    def __init__(
        self,
        raw_dir: str = "",
        labels: str = "chexpert",
        uncertain: str = "ignore",
        blank: str = "zero",
        findings: str = "",
        require_any: str = "",
        views: str = "frontal",
        projection: str = "all",
    ) -> None:
        """`labels` is "chexpert" or "negbio"; the other settings are those of `ObservationPolicy`."""
        super().__init__(raw_dir)
        check_choice("labels", labels, LABELLERS)
        self.labels = labels
        self._policy = ObservationPolicy(uncertain, blank, findings, require_any, views, projection)
        vars(self).update(dataclasses.asdict(self._policy))
        self.label_names = self._policy.label_names
        if not (self.raw_dir / "files").is_dir():
            raise FileNotFoundError(
                f"{raw_dir} holds no folder files; expected files/p10/p10000032/s50414267/<dicom_id>.jpg and "
                "mimic-cxr-2.0.0-{metadata,split,chexpert}.csv.gz"
            )
        self._metadata, self._split, self._labels = (
            find_table(self.raw_dir, [f"mimic-cxr-2.0.0-{name}.csv{suffix}" for suffix in (".gz", "")])
            for name in ("metadata", "split", labels)
        )

    def entries(self, walk: FolderWalk) -> Iterator[RawExample | Reject]:
        """Rows of the metadata table, then the files that no row names."""
        files = NamedFiles(walk, walk.images("files"))
        splits: dict[str, str] = {}  # dicom_id -> split; the few names are shared
        for row in read_table(self._split, (*_NAMES, "split")):
            split = _SPLITS.get(row["split"], row["split"])
            if splits.setdefault(row["dicom_id"], split) != split:
                splits[row["dicom_id"]] = _TWO_SPLITS
        labels = self._labels_of_studies()
        for row in read_table(self._metadata, (*_NAMES, "ViewPosition")):
            path = files.find(_path(row), f"{self._metadata.name} line {row['#']}")
            if isinstance(path, Reject):
                yield dataclasses.replace(path, key=row["dicom_id"], detail=f"{_path(row)}: {path.detail}")
            else:
                yield self._entry(path, row, splits.get(row["dicom_id"], _NO_SPLIT), labels)
        yield from self._files_without_row(files)

    def _labels_of_studies(self) -> dict[str, tuple[float, ...] | Reject]:
        """Study -> its label vector or a `Reject` without a key; vectors that are equal are one object."""
        labels: dict[str, tuple[float, ...] | Reject] = {}
        shared: dict[str, tuple[float, ...] | Reject] = {}
        for row in read_table(self._labels, ("subject_id", "study_id", *OBSERVATIONS)):
            label = self._policy.label(row)
            label = shared.setdefault(repr(label), label)
            study = f"{row['subject_id']}/{row['study_id']}"
            if labels.setdefault(study, label) is not label:
                labels[study] = Reject("", "conflicting_labels", f"{self._labels.name} has rows for it that differ")
        return labels

    def _entry(
        self, path: str, row: dict[str, str], split: str, labels: dict[str, tuple[float, ...] | Reject]
    ) -> RawExample | Reject:
        key, view = row["dicom_id"], parse_view(row["ViewPosition"])
        if split == _TWO_SPLITS:
            return Reject(key, "in_two_official_lists", f"{self._split.name} has it in more than one split")
        if split == _NO_SPLIT:
            return Reject(key, "no_split_row", f"{self._split.name} lacks it")
        if split not in _SPLITS.values():
            return Reject(key, "unknown_split", f"split is {split!r}, expected one of {', '.join(_SPLITS)}")
        if why := self._policy.excluded_view(_PLANES.get(view, ""), view):
            return Reject(key, "excluded_view", f"ViewPosition is {row['ViewPosition']!r}: {why}")
        label = labels.get(f"{row['subject_id']}/{row['study_id']}")
        if label is None:
            return Reject(key, "no_label_row", f"{self._labels.name} lacks study {row['study_id']}")
        if isinstance(label, Reject):
            return dataclasses.replace(label, key=key)
        return RawExample(key, row["subject_id"], label, path=path, view=view, official_split=split)

    def _files_without_row(self, files: NamedFiles) -> Iterator[Reject]:
        unused = sorted(path for path, _ in files.unnamed())
        names = {pathlib.PurePosixPath(path).stem for path in unused}
        # A second look at the table, for the few: is a file of this name elsewhere, where the table says?
        rows = read_table(self._metadata, _NAMES) if unused else ()
        places = {row["dicom_id"]: _path(row) for row in rows if row["dicom_id"] in names}
        for path in unused:
            place = places.get(pathlib.PurePosixPath(path).stem)
            if place in files:
                yield Reject(path, "same_file_name_twice", f"{place} has this name too and is where the table says")
            else:
                table = self._metadata.name
                detail = f"{table} has it as {place}" if place else f"no row of {table} names it"
                yield Reject(path, "file_without_row", detail)


def _path(row: dict[str, str]) -> str:
    """Where the layout has the image of a row."""
    subject = row["subject_id"]
    return f"files/p{subject[:2]}/p{subject}/s{row['study_id']}/{row['dicom_id']}.jpg"
