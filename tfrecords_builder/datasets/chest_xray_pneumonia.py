"""Chest X-Ray Images (Pneumonia): radiographs of children of one to five years, normal or with pneumonia.

Layout:
  chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg, at least one of train and test; `raw_dir` is chest_xray or
  the folder that holds it.

Patients come from the file names: `person<number>_bacteria_1.jpeg` is patient P<number>, `IM-<number>-0001.jpeg` and
`NORMAL2-IM-<number>-0001.jpeg` are N<number>. The published set does not say whether a number is given to a second
patient, so equal numbers are taken as one patient, also in different folders.

Only `test` is kept as a published split: `val` has 16 images, too few to measure anything, so `train` and `val`
together are divided by patient.
"""

import pathlib
import re
from collections.abc import Iterator

from tfrecords_builder.datasets.reader import RawExample, Reader, Reject, existing_folder

_SPLIT_FOLDERS = {"train": "", "val": "", "test": "test"}
_PERSON = re.compile(r"person(\d+)_")
_NORMAL = re.compile(r"(?:NORMAL\d*-)?IM-(\d+)-")
_IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")


class ChestXrayPneumonia(Reader):
    """Two classes, one label an image."""

    name = "chest_xray_pneumonia"
    is_single_label = True
    homepage = "https://data.mendeley.com/datasets/rscbjbr9sj/2"
    citation = (
        "Kermany, Zhang, Goldbaum: Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for "
        "Classification, Mendeley Data v2, doi:10.17632/rscbjbr9sj.2; Kermany et al., Cell 172 (2018) 1122-1131"
    )
    licence = "CC BY 4.0"
    label_names = ("NORMAL", "PNEUMONIA")

    def __init__(self, raw_dir: str = "") -> None:
        """Raises FileNotFoundError when `raw_dir` does not hold the folders of the published layout."""
        super().__init__(raw_dir)
        self.raw_dir = existing_folder(raw_dir)
        for folder in (self.raw_dir, self.raw_dir / "chest_xray"):
            if (folder / "train").is_dir() or (folder / "test").is_dir():
                self.raw_dir = folder
                break
        else:
            raise FileNotFoundError(
                f"{self.raw_dir} holds no train or test folder; expected chest_xray with "
                "{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg"
            )

    def examples(self) -> Iterator[RawExample | Reject]:
        """Images by folder and name; a file of another kind or with an unknown name pattern is a `Reject`."""
        for split_folder, official_split in _SPLIT_FOLDERS.items():
            for label_name in self.label_names:
                folder = self.raw_dir / split_folder / label_name
                for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                    yield self._example(path, label_name, official_split)

    def _example(self, path: pathlib.Path, label_name: str, official_split: str) -> RawExample | Reject:
        key = path.relative_to(self.raw_dir).as_posix()
        if path.suffix.lower() not in _IMAGE_SUFFIXES:
            return Reject(key, "not_an_image", f"expected a name that ends with one of {', '.join(_IMAGE_SUFFIXES)}")
        if match := _PERSON.match(path.name):
            patient_id = f"P{match.group(1)}"
        elif match := _NORMAL.match(path.name):
            patient_id = f"N{match.group(1)}"
        else:
            return Reject(key, "unknown_patient", "expected a name such as person1_bacteria_1 or IM-0001-0001")
        label = tuple(float(name == label_name) for name in self.label_names)
        return RawExample(key, patient_id, label, path=key, official_split=official_split)
