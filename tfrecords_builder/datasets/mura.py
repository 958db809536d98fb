"""MURA-v1.1: radiographs of arms from elbow to wrist, a study normal or abnormal.

Layout, as the archive unpacks; `raw_dir` is MURA-v1.1 or the folder that holds it:
  MURA-v1.1/{train,valid}/XR_ELBOW/patient00011/study1_negative/image1.png, likewise XR_FINGER, XR_FOREARM, XR_HAND,
  XR_HUMERUS, XR_SHOULDER and XR_WRIST
  MURA-v1.1/{train,valid}_image_paths.csv     the path of an image on each line, no header
  MURA-v1.1/{train,valid}_labeled_studies.csv the path of a study and 1 (abnormal) or 0, no header
Rajpurkar et al. count 36,808 images of 11,184 patients in train and 3,197 of 783 in valid; their test set of 207
studies is not published.

Settings:
  labels      "abnormality" (default: normal or abnormal), "body_part" (elbow ... wrist), "both" (multi-label: the
              body parts, and abnormal) or "medfid" (see below).
  body_parts  those to take, such as elbow,wrist; the others are rejected as `excluded_body_part`. The elbows of
              Chetty 2023 are body_parts=elbow; which of them are the 2,618 lateral ones, MURA does not say.

The label of an image is that of its study, which stands in a table and in the folder's name; where they differ the
image is rejected. A patient number means one patient in all body parts. `valid` stays as the published split
"validation", as its authors use it; no patient of it is in train. Train is divided by patient. Files that macOS leaves
in copies of the set, such as ._image1.png, are rejected as `hidden_file`.

MedFID's seven classes (Chetty 2023) come from MURA and LERA together. Build both with the same labels, then join them
with `merge`; fingers and wrists here, and hips there, have no class and are rejected:
  python -m tfrecords_builder --dataset=mura --raw_dir=MURA-v1.1 --set labels=medfid --out_dir=mura --image_sizes=256
  python -m tfrecords_builder --dataset=lera --raw_dir=LERA --set labels=medfid --out_dir=lera --image_sizes=256
  python -m tfrecords_builder merge mura/256 lera/256 --out_dir=medfid
The study takes 400 images per class for training and 100 for testing and does not say which.
"""

import pathlib
import re
from collections.abc import Iterator

from tfrecords_builder.datasets.extremities import ExtremityLabels, read_rows
from tfrecords_builder.datasets.folder_reader import FolderReader, find_root
from tfrecords_builder.datasets.folder_walk import FolderWalk, is_image_name
from tfrecords_builder.datasets.named_files import NamedFiles
from tfrecords_builder.datasets.reader import RawExample, Reject

BODY_PARTS = ("elbow", "finger", "forearm", "hand", "humerus", "shoulder", "wrist")
LAYOUT = (
    "MURA-v1.1 with {train,valid}/XR_ELBOW/patient00011/study1_negative/image1.png, "
    "{train,valid}_image_paths.csv and {train,valid}_labeled_studies.csv"
)
_SPLITS = {"train": "", "valid": "validation"}
_STUDY = re.compile(r"(?:.*/)?((train|valid)/XR_([A-Z]+)/(patient\d+)/study\d+_(positive|negative))")
_FINDINGS = {"0": False, "1": True}


class Mura(FolderReader):
    """Musculoskeletal radiographs of the upper extremity."""

    name = "mura"
    homepage = "https://stanfordmlgroup.github.io/competitions/mura/"
    citation = (
        "Rajpurkar, Irvin, Bagul, Ding, Duan, Mehta, Yang, Zhu, Laird, Ball, Langlotz, Shpanskaya, Lungren, Ng: MURA: "
        "Large Dataset for Abnormality Detection in Musculoskeletal Radiographs, arXiv:1712.06957 (2017)"
    )
    licence = (
        "Stanford University School of Medicine MURA Dataset Research Use Agreement: personal, non-commercial research "
        "only, no redistribution"
    )

    def __init__(self, raw_dir: str = "", labels: str = "abnormality", body_parts: str = "") -> None:
        super().__init__(raw_dir)
        self._labels = ExtremityLabels.choose(labels, body_parts, BODY_PARTS)
        self.labels = labels
        self.body_parts = ",".join(self._labels.parts)
        self.label_names = self._labels.names
        self.raw_dir = find_root(
            self.raw_dir,
            ["MURA-v1.1"],
            lambda folder: any((folder / split).is_dir() for split in _SPLITS),
            f"holds no train or valid folder; expected {LAYOUT}",
        )
        self._tables = {}
        for split in _SPLITS:
            tables = [self.raw_dir / f"{split}_{name}.csv" for name in ("image_paths", "labeled_studies")]
            if not (self.raw_dir / split).is_dir() and not any(table.is_file() for table in tables):
                continue
            for table in tables:
                if not table.is_file():
                    raise FileNotFoundError(f"table {table} does not exist; expected {LAYOUT}")
            self._tables[split] = tables

    @property
    def is_single_label(self) -> bool:
        """False for labels=both."""
        return self._labels.is_single_label

    def entries(self, walk: FolderWalk) -> Iterator[RawExample | Reject]:
        """Split by split: the rows in the tables' order, then the files that no row names."""
        for split, (images_table, studies_table) in self._tables.items():
            files = NamedFiles(walk, walk.files(split))
            findings = _findings(studies_table)
            studies = set()
            for line, (text,) in read_rows(images_table, ("path of an image",)):
                study, _, file_name = text.replace("\\", "/").rpartition("/")
                match = _STUDY.fullmatch(study)
                key = f"{match.group(1)}/{file_name}" if match else text
                studies.add(match.group(1) if match else study)
                yield self._example(files.find(key, f"{images_table.name} line {line}"), key, match, split, findings)
            for study in findings:
                if study not in studies:
                    detail = f"{studies_table.name} names it, {images_table.name} does not"
                    yield Reject(study, "study_without_image", detail)
            for key, _ in sorted(files.unnamed()):
                reason = "file_without_row" if is_image_name(key) else "not_an_image"
                yield Reject(key, reason, f"{images_table.name} does not name it")

    def _example(
        self, found: str | Reject, key: str, match: re.Match | None, split: str, findings: dict[str, set[str]]
    ) -> RawExample | Reject:
        if match is None:
            detail = "expected a path such as train/XR_ELBOW/patient00011/study1_negative/..."
            return Reject(key, "unknown_patient", detail)
        study, folder, part, patient, sign = match.groups()
        part = part.lower()
        if folder != split:
            return Reject(key, "wrong_table", f"the table of {split} names it")
        if part not in BODY_PARTS:
            return Reject(key, "unknown_label", f"body part {part!r} is not one of {', '.join(BODY_PARTS)}")
        if part not in self._labels.parts:
            return Reject(key, "excluded_body_part", part)
        if isinstance(found, Reject):
            return found
        if self._labels.needs_abnormality and (problem := _finding_problem(findings.get(study), sign)):
            return Reject(key, *problem)
        label = self._labels.vector(part, sign == "positive")
        return RawExample(key, patient, label, path=key, official_split=_SPLITS[split])


def _findings(table: pathlib.Path) -> dict[str, set[str]]:
    """Study -> the values that the table gives it; more than one where rows contradict each other."""
    findings: dict[str, set[str]] = {}
    for _, (study, finding) in read_rows(table, ("path of a study", "0 or 1")):
        study = study.replace("\\", "/").rstrip("/")
        match = _STUDY.fullmatch(study)
        findings.setdefault(match.group(1) if match else study, set()).add(finding)
    return findings


def _finding_problem(values: set[str] | None, sign: str) -> tuple[str, str] | None:
    """Why a study's finding cannot be taken: (reason, detail), or None."""
    if not values:
        return "study_without_label", "the table of studies does not name it"
    if unknown := sorted(values - set(_FINDINGS)):
        return "unknown_label", f"{unknown[0]!r} is neither 0 nor 1"
    if {_FINDINGS[value] for value in values} != {sign == "positive"}:
        return "conflicting_labels", f"the folder says {sign}, the table {' and '.join(sorted(values))}"
    return None
