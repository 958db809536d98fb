"""LERA: radiographs of the foot, ankle, knee or hip of 182 patients, each examination normal or abnormal.

Layout, with `raw_dir` the unpacked folder ("LERA Dataset") or the one that holds it:
  labels.csv             no header; a patient's number, XR FOOT, XR ANKLE, XR KNEE or XR HIP, and 0 or 1
  <number>/ST-1/*.png    the patient's images; any folder below <number> and any format of image will do
Stanford AIMI gives the set out after registration and describes only its patients in public, so this layout is taken
from two independent programs that read it, found on GitHub: `LERADataset` of B. Schuster's
Vision-Language-Pretraining-for-Bone-Tumor-Detection (the table, ST-1, PNG) and a sorter of radiographs by body part
(the table, folders of any depth, 1,297 images). That 1 means abnormal is how the first reads it, as in MURA; nothing
from the authors confirms it. If your copy says otherwise, set `abnormal_value=0`. With labels=body_part and
labels=medfid it plays no part.

Settings:
  labels          "abnormality" (default: normal or abnormal), "body_part" (ankle, foot, hip, knee), "both"
                  (multi-label: the body parts, and abnormal) or "medfid" (see below).
  body_parts      those to take, such as knee,hip; the others are rejected as `excluded_body_part`.
  abnormal_value  the table's value for abnormal, 0 or 1.

There is no published split.

MedFID's seven classes (Chetty 2023) are made of this set (foot_ankle, knee; hips are rejected) and of MURA: build both
with labels=medfid and join them with `merge`, as the module of `mura` shows.
"""

from collections.abc import Iterator

from absl import logging

from tfrecords_builder.choices import check_choice
from tfrecords_builder.datasets.extremities import ExtremityLabels, read_rows
from tfrecords_builder.datasets.folder_reader import FolderReader, find_root
from tfrecords_builder.datasets.folder_walk import NOT_AN_IMAGE, FolderWalk, is_image_name
from tfrecords_builder.datasets.reader import RawExample, Reject

BODY_PARTS = ("ankle", "foot", "hip", "knee")
LAYOUT = "labels.csv (patient, XR FOOT, XR ANKLE, XR KNEE or XR HIP, 0 or 1; no header) beside <patient>/ST-1/*.png"
_TABLE = "labels.csv"
_FIELDS = ("patient's number", "XR FOOT, XR ANKLE, XR KNEE or XR HIP", "0 or 1")
_VALUES = ("0", "1")


class Lera(FolderReader):
    """Lower extremity radiographs."""

    name = "lera"
    homepage = "https://aimi.stanford.edu/datasets/lera-lower-extremity-radiographs"
    citation = (
        "Varma, Lu, Gardner, Dunnmon, Khandwala, Rajpurkar, Long, Beaulieu, Shpanskaya, Fei-Fei, Lungren, Patel: "
        "Automated abnormality detection in lower extremity radiographs using deep learning, Nature Machine "
        "Intelligence 1 (2019) 578-583, doi:10.1038/s42256-019-0126-0"
    )
    licence = (
        "Stanford University Dataset Research Use Agreement: personal, non-commercial research only, no redistribution"
    )

    def __init__(
        self, raw_dir: str = "", labels: str = "abnormality", body_parts: str = "", abnormal_value: str = "1"
    ) -> None:
        super().__init__(raw_dir)
        self._labels = ExtremityLabels.choose(labels, body_parts, BODY_PARTS)
        check_choice("abnormal_value", abnormal_value, _VALUES)
        self.labels = labels
        self.body_parts = ",".join(self._labels.parts)
        self.abnormal_value = abnormal_value
        self.label_names = self._labels.names
        self.raw_dir = find_root(
            self.raw_dir,
            ["LERA Dataset", "LERA"],
            lambda folder: (folder / _TABLE).is_file(),
            f"holds no {_TABLE}; expected {LAYOUT}",
        )
        if self.notice:
            logging.warning("lera: %s", self.notice)

    @property
    def notice(self) -> str:
        """What a user of the findings must know."""
        if not self._labels.needs_abnormality:
            return ""
        return (
            f"that {self.abnormal_value} in {_TABLE} means abnormal is not stated by the authors of the set; look at "
            "some images before relying on it"
        )

    @property
    def is_single_label(self) -> bool:
        """False for labels=both."""
        return self._labels.is_single_label

    def entries(self, walk: FolderWalk) -> Iterator[RawExample | Reject]:
        """The patients in the table's order, then the files of others."""
        files = _files_by_patient(walk)
        rows: dict[str, list[tuple[str, str]]] = {}
        lines: dict[str, int] = {}
        for line, (patient, part, value) in read_rows(self.raw_dir / _TABLE, _FIELDS):
            rows.setdefault(patient, []).append((part, value))
            lines.setdefault(patient, line)
        for patient, values in rows.items():
            for _ in values[1:]:
                yield Reject(patient, "duplicate_row", f"{_TABLE} has {len(values)} rows of this patient")
            if not any(map(is_image_name, files.get(patient, ()))):
                detail = f"{_TABLE} line {lines[patient]} names the patient; no image in {self.raw_dir / patient}"
                yield Reject(patient, "missing_file", detail)
            for path in files.pop(patient, ()):
                yield self._example(path, patient, values)
        for patient, paths in files.items():
            for path in paths:
                reason = "file_without_row" if is_image_name(path) else "not_an_image"
                yield Reject(path, reason, f"{_TABLE} has no row {patient!r}" if patient else "it is in no folder")

    def _example(self, path: str, patient: str, values: list[tuple[str, str]]) -> RawExample | Reject:
        if not is_image_name(path):
            return Reject(path, "not_an_image", NOT_AN_IMAGE)
        if len(set(values)) > 1:
            return Reject(path, "conflicting_labels", " and ".join(f"{part} {value}" for part, value in values))
        part, value = values[0]
        part = part.upper().removeprefix("XR").strip().lower()
        if part not in BODY_PARTS:
            return Reject(path, "unknown_label", f"body part {values[0][0]!r} is not one of {', '.join(BODY_PARTS)}")
        if part not in self._labels.parts:
            return Reject(path, "excluded_body_part", part)
        if self._labels.needs_abnormality and value not in _VALUES:
            return Reject(path, "unknown_label", f"{value!r} in {_TABLE} is neither 0 nor 1")
        return RawExample(path, patient, self._labels.vector(part, value == self.abnormal_value), path=path)


def _files_by_patient(walk: FolderWalk) -> dict[str, list[str]]:
    """Name of the first folder -> paths of its files, sorted; image files outside of all folders under ""."""
    files: dict[str, list[str]] = {}
    for path in sorted(walk.files(), key=lambda path: path.split("/")):
        patient, _, inside = path.partition("/")
        if inside:
            files.setdefault(patient, []).append(path)
        elif is_image_name(path):
            files.setdefault("", []).append(path)
    return files
