"""RSNA Pneumonia Detection Challenge 2018: 26,684 labelled frontal radiographs of NIH ChestX-ray14, as DICOM files.

Layout (as Kaggle publishes it):
  raw_dir/stage_2_train_images/<patientId>.dcm, and for the labels
  stage_2_train_labels.csv         patientId,x,y,width,height,Target: one row a box, so several for some images, or
  stage_2_detailed_class_info.csv  patientId,class
  stage_2_test_images/<patientId>.dcm have no published labels: each is rejected as "no_label_row".
  pneumonia-challenge-dataset-mappings_2018.json, which RSNA publishes beside the images, when it is there.

Patients: a "patientId" names an image, not a patient, and patients of NIH ChestX-ray14 have several. RSNA's mapping
tells each image's name at NIH, which begins with the patient's number; with it in `raw_dir` patients are kept
together. Without it every image counts as a patient, and splits may share patients.

Options:
  labels        "target" (default): Lung Opacity, 1 or 0, as Target says. "classes": the three exclusive classes.
  dicom_window  how pixels are windowed, see `images.dicom.decode_dicom`.

Age, sex and view are read from the DICOM header, from these three elements and no other, by the same way in as the
pixels. They are unknown where the header is damaged; what becomes of such a file is decided when its pixels are read.
"""

import dataclasses
import json
import pathlib
import re
from collections.abc import Iterator

from absl import logging

from tfrecords_builder.choices import check_choice
from tfrecords_builder.datasets.folder_reader import FolderReader
from tfrecords_builder.datasets.folder_walk import FolderWalk
from tfrecords_builder.datasets.label_text import plain_blanks
from tfrecords_builder.datasets.named_files import NamedFiles
from tfrecords_builder.datasets.patient_facts import parse_age, parse_sex, parse_view
from tfrecords_builder.datasets.reader import RawExample, Reject, one_hot
from tfrecords_builder.datasets.table import read_table
from tfrecords_builder.images.dicom import WINDOWS
from tfrecords_builder.images.dicom_file import read_texts

OPACITY = "Lung Opacity"
CLASSES = ("Normal", "No Lung Opacity / Not Normal", OPACITY)
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
_TRAIN, _TEST, _SUFFIX = "stage_2_train_images", "stage_2_test_images", ".dcm"
_PATIENT = "patientId"
_SOURCES = {  # setting -> table, column, text in it -> label
    "target": ("stage_2_train_labels.csv", "Target", {"0": (0.0,), "1": (1.0,)}),
    "classes": ("stage_2_detailed_class_info.csv", "class", {name: one_hot(CLASSES, name) for name in CLASSES}),
}
_NIH_NAME = re.compile(r"(\d+)_\d+\.png")
_CONFLICT = None


class RsnaPneumonia(FolderReader):
    """Lung opacity or not, or three exclusive classes."""

    name = "rsna_pneumonia"
    homepage = (
        "https://www.rsna.org/education/ai-resources-and-training/ai-image-challenge/"
        "rsna-pneumonia-detection-challenge-2018"
    )
    citation = (
        "Shih, Wu, Halabi, Kohli, Prevedello, Cook, Sharma, Amorosa, Arteaga, Galperin-Aizenberg, Gill, Godoy, Hobbs, "
        "Jeudy, Laroia, Shah, Vummidi, Yaddanapudi, Stein: Augmenting the National Institutes of Health Chest "
        "Radiograph Dataset with Expert Annotations of Possible Pneumonia, Radiology: Artificial Intelligence 1 (2019) "
        "e180041, doi:10.1148/ryai.2019180041; images of Wang et al., ChestX-ray8, CVPR 2017, provided by the NIH "
        "Clinical Center"
    )
    licence = (
        "RSNA's terms of use: academic, commercial and other use with attribution; cite both papers and acknowledge "
        "RSNA, the Society of Thoracic Radiology and the NIH Clinical Center. A copy from Kaggle is also under the "
        "competition's rules"
    )

    def __init__(self, raw_dir: str = "", labels: str = "target", dicom_window: str = "file") -> None:
        super().__init__(raw_dir)
        check_choice("labels", labels, _SOURCES)
        check_choice("dicom_window", dicom_window, WINDOWS)
        self.labels = labels
        self.dicom_window = dicom_window
        self.label_names = CLASSES if labels == "classes" else (OPACITY,)
        table, _, _ = _SOURCES[labels]
        if not (self.raw_dir / _TRAIN).is_dir() or not (self.raw_dir / table).is_file():
            raise FileNotFoundError(f"{self.raw_dir} lacks {_TRAIN}/*{_SUFFIX} or {table}; expected both, as on Kaggle")
        self.patients = "nih" if (self.raw_dir / MAPPING).is_file() else "one per image"
        if self.notice:
            logging.warning("%s: %s", self.name, self.notice)
        _import_pydicom()

    @property
    def is_single_label(self) -> bool:
        """Whether the labels exclude each other: the three classes do."""
        return self.labels == "classes"

    @property
    def notice(self) -> str:
        """What a user of a build without RSNA's mapping must know."""
        if self.patients == "nih":
            return ""
        return (
            f"each image counts as a patient, so splits may share patients; put RSNA's {MAPPING} into the raw folder "
            "to keep patients together"
        )

    def entries(self, walk: FolderWalk) -> Iterator[RawExample | Reject]:
        """Images in the order of the table, then files that it does not name, then the test images."""
        files = NamedFiles(walk, walk.images(_TRAIN), by_file_name=True)
        patients = _read_mapping(self.raw_dir / MAPPING) if self.patients == "nih" else None
        table, column, values = _SOURCES[self.labels]
        texts = _one_text_an_image(self.raw_dir / table, column)
        for key, text in texts.items():
            path = files.find(key + _SUFFIX, table)
            patient_id = key if patients is None else patients.get(key, "")
            if text is _CONFLICT:
                yield Reject(key, "conflicting_labels", f"{table} has rows of different {column}")
            elif text not in values:
                yield Reject(key, "unknown_label", f"{column} is {text!r}, expected {', '.join(values)}")
            elif isinstance(path, Reject):
                yield dataclasses.replace(path, key=key)
            elif not patient_id:
                yield Reject(key, "unknown_patient", f"{MAPPING} does not name it")
            else:
                yield RawExample(key, patient_id, values[text], path, **dicom_facts(self.raw_dir / path))
        for reject in files.left_over(table):
            is_repeated = reject.key in files.repeated
            yield reject if is_repeated else dataclasses.replace(reject, key=reject.key.removesuffix(_SUFFIX))
        for path in walk.images(_TEST):
            yield Reject(path, "no_label_row", "no labels of test images exist")


def dicom_facts(path: pathlib.Path) -> dict[str, float | str]:
    """The patient's `age` in years, `sex` and the `view`, as `RawExample` takes them; unknown in a damaged header.

    Raises:
      PermissionError: the file may not be read.
      ImportError: the extra `dicom` is not installed.
    """
    _import_pydicom()
    age, sex, view = read_texts(path, ("PatientAge", "PatientSex", "ViewPosition")).values()
    return {"view": parse_view(view), "age": parse_age(age), "sex": parse_sex(sex)}


def _import_pydicom() -> None:
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise ImportError("DICOM files need pydicom: pip install 'tfcxr[dicom]'") from error


def _one_text_an_image(table: pathlib.Path, column: str) -> dict[str, str | None]:
    """Image -> the text that all its rows have in a column, or `_CONFLICT` where they differ."""
    texts: dict[str, str | None] = {}
    for row in read_table(table, (_PATIENT, column)):
        said = plain_blanks(row[column])
        if texts.setdefault(row[_PATIENT], said) != said:
            texts[row[_PATIENT]] = _CONFLICT
    return texts


def _read_mapping(path: pathlib.Path) -> dict[str, str]:
    """Image -> NIH's number of the patient."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
        names = {entry["subset_img_id"]: entry["img_id"] for entry in entries}
        return {image: _NIH_NAME.fullmatch(name).group(1) for image, name in names.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} is not RSNA's mapping, a JSON list of subset_img_id and img_id such as 00000061_007.png: {error!r}"
        ) from error
