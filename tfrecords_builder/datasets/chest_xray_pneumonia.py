"""Chest X-Ray Images (Pneumonia): radiographs of children of one to five years, normal or with pneumonia.

Layout:
  chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg, at least one of train and test; `raw_dir` is chest_xray or
  the folder that holds it. What else lies in chest_xray is not read: the archive on Kaggle has a second copy of the
  set there. Folders in a class folder are read with it.

Setting:
  labels  "pneumonia" (default: NORMAL or PNEUMONIA) or "cause" (NORMAL, BACTERIAL or VIRAL, as the file name
          person1_bacteria_2.jpeg says; a PNEUMONIA file without it is rejected as `unknown_cause`).

Patients come from the file names: `person<number>_bacteria_1.jpeg` is patient P<number>, `IM-<number>-0001.jpeg` and
`NORMAL2-IM-<number>-0001.jpeg` are N<number>. The published set does not say whether a number is given to a second
patient, so equal numbers are taken as one patient, also in different folders.

Only `test` is kept as a published split: `val` has 16 images, too few to measure anything, so `train` and `val`
together are divided by patient.
"""

import re
from collections.abc import Iterator

from tfrecords_builder.choices import check_choice
from tfrecords_builder.datasets.folder_reader import FolderReader, find_root
from tfrecords_builder.datasets.folder_walk import FolderWalk
from tfrecords_builder.datasets.reader import RawExample, Reject, one_hot

LABEL_SETS = {"pneumonia": ("NORMAL", "PNEUMONIA"), "cause": ("NORMAL", "BACTERIAL", "VIRAL")}
_CLASS_FOLDERS = ("NORMAL", "PNEUMONIA")
_CAUSES = {"bacteria": "BACTERIAL", "virus": "VIRAL"}
_SPLIT_FOLDERS = {"train": "", "val": "", "test": "test"}
_PERSON = re.compile(r"person(\d+)_")
_NORMAL = re.compile(r"(?:NORMAL\d*-)?IM-(\d+)-")
_CAUSE = re.compile(r"person\d+_(bacteria|virus)_")
_IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")


class ChestXrayPneumonia(FolderReader):
    """Two or three classes, one label per image."""

    name = "chest_xray_pneumonia"
    is_single_label = True
    homepage = "https://data.mendeley.com/datasets/rscbjbr9sj/2"
    citation = (
        "Kermany, Zhang, Goldbaum: Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for "
        "Classification, Mendeley Data v2, doi:10.17632/rscbjbr9sj.2; Kermany et al., Cell 172 (2018) 1122-1131"
    )
    licence = "CC BY 4.0"

    def __init__(self, raw_dir: str = "", labels: str = "pneumonia") -> None:
        check_choice("labels", labels, LABEL_SETS)
        super().__init__(raw_dir)
        self.labels = labels
        self.label_names = LABEL_SETS[labels]
        self.raw_dir = find_root(
            self.raw_dir,
            ["chest_xray"],
            lambda folder: (folder / "train").is_dir() or (folder / "test").is_dir(),
            "holds no train or test folder; expected chest_xray with {train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg",
        )

    def entries(self, walk: FolderWalk) -> Iterator[RawExample | Reject]:
        """Images by folder and name; a file of another kind, folder or name pattern is a `Reject`."""
        for split_folder, official_split in _SPLIT_FOLDERS.items():
            for path in walk.files(split_folder):
                class_folder = path.split("/")[1]
                if class_folder in _CLASS_FOLDERS and path.count("/") > 1:
                    yield self._example(path, class_folder, official_split)
                elif path.lower().endswith(_IMAGE_SUFFIXES):
                    yield Reject(path, "unknown_label", f"expected it in a folder {' or '.join(_CLASS_FOLDERS)}")

    def _example(self, path: str, class_folder: str, official_split: str) -> RawExample | Reject:
        name = path.rpartition("/")[2]
        if not name.lower().endswith(_IMAGE_SUFFIXES):
            return Reject(path, "not_an_image", f"expected a name that ends with one of {', '.join(_IMAGE_SUFFIXES)}")
        if match := _PERSON.match(name):
            patient_id = f"P{match.group(1)}"
        elif match := _NORMAL.match(name):
            patient_id = f"N{match.group(1)}"
        else:
            return Reject(path, "unknown_patient", "expected a name such as person1_bacteria_1 or IM-0001-0001")
        label_name = class_folder
        if self.labels == "cause" and class_folder == "PNEUMONIA":
            if not (match := _CAUSE.match(name)):
                return Reject(path, "unknown_cause", "expected a name such as person1_bacteria_1 or person1_virus_1")
            label_name = _CAUSES[match.group(1)]
        return RawExample(path, patient_id, one_hot(self.label_names, label_name), path, official_split=official_split)
