"""Any collection with one folder a class: `raw_dir/<class>/**/*.{png,jpg,jpeg}`; the folders' names are the labels.

Options: `patient_pattern`, a regular expression that finds the patient in the path below `raw_dir` (its first group,
or the whole match), such as `--set 'patient_pattern=(person\\d+)_'`. Without it every file is taken as a patient of
its own, and images of one patient may come into different splits.
"""

import re
from collections.abc import Iterator

from absl import logging

from tfrecords_builder.datasets.reader import RawExample, Reader, Reject, existing_folder

_IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")


class ImageFolder(Reader):
    """One label an image: the folder it lies in."""

    name = "image_folder"
    is_single_label = True
    licence = "as the user's own images"

    def __init__(self, raw_dir: str = "", patient_pattern: str = "") -> None:
        """Raises FileNotFoundError without class folders, ValueError for a pattern that is no regular expression."""
        super().__init__(raw_dir)
        self.raw_dir = existing_folder(raw_dir)
        folders = sorted(path.name for path in self.raw_dir.iterdir() if path.is_dir() and path.name[0] != ".")
        if not folders:
            raise FileNotFoundError(f"{self.raw_dir} holds no folder; expected one folder a class with images in it")
        self.label_names = tuple(folders)
        self.patient_pattern = patient_pattern
        try:
            re.compile(patient_pattern)
        except re.error as error:
            raise ValueError(f"patient_pattern {patient_pattern!r} is not a regular expression: {error}") from error
        if not patient_pattern:
            logging.warning(
                "image_folder takes every file as a patient of its own; if patients have several images, "
                "name them with --set patient_pattern=REGEX, or splits will share patients"
            )

    def examples(self) -> Iterator[RawExample | Reject]:
        """Files by class and path; a file that is no image or whose patient is not found is a `Reject`."""
        pattern = re.compile(self.patient_pattern) if self.patient_pattern else None
        for index, label_name in enumerate(self.label_names):
            label = tuple(float(position == index) for position in range(len(self.label_names)))
            for path in sorted((self.raw_dir / label_name).rglob("*")):
                if path.is_dir():
                    continue
                key = path.relative_to(self.raw_dir).as_posix()
                match = pattern.search(key) if pattern else None
                if path.suffix.lower() not in _IMAGE_SUFFIXES:
                    yield Reject(key, "not_an_image", f"expected a name that ends with {', '.join(_IMAGE_SUFFIXES)}")
                elif pattern and not match:
                    yield Reject(key, "unknown_patient", f"patient_pattern {self.patient_pattern!r} does not match")
                else:
                    patient_id = (match.group(1) if match.re.groups else match.group(0)) if match else key
                    yield RawExample(key, patient_id or key, label, path=key)
