"""Any collection with one folder a class; the folders' names are the labels.

Layout:
  raw_dir/<class>/**/*.{png,jpg,jpeg,tif,tiff,dcm,dicom}, or, with split_folders=true,
  raw_dir/<split>/<class>/**/...

Settings:
  patient_pattern  a regular expression that finds the patient in the path below `raw_dir` (its first group, or the
                   whole match), such as `--set 'patient_pattern=(person\\d+)_'`. Without it every file is taken as a
                   patient of its own, and images of one patient may come into different splits.
  split_folders    whether the first folder is a split that stays as it is. val and valid are "validation", training
                   is "train", testing "test"; other names are kept.
  dicom_window     for DICOM files: "file" takes the window that they name, "full" the whole range of values.

A folder whose name begins with "." is no class.
"""

import pathlib
import re
from collections.abc import Iterator

from absl import logging

from tfcxr.command_line import nearest_name
from tfrecords_builder.datasets.image_files import IMAGE_SUFFIXES, all_files, is_image_name
from tfrecords_builder.datasets.reader import RawExample, Reader, Reject, existing_folder

DICOM_WINDOWS = ("file", "full")
_SPLIT_NAMES = {"val": "validation", "valid": "validation", "training": "train", "testing": "test"}
_USUAL_SPLITS = {"train", "validation", "test", *_SPLIT_NAMES}
_SPLIT_NAME = re.compile(r"[a-z][a-z0-9_]*")


class ImageFolder(Reader):
    """One label an image: the folder it lies in."""

    name = "image_folder"
    is_single_label = True
    licence = "as the user's own images"

    def __init__(
        self, raw_dir: str = "", patient_pattern: str = "", split_folders: bool = False, dicom_window: str = "file"
    ) -> None:
        """Raises FileNotFoundError without class folders.

        Also ValueError: for a pattern that is no regular expression, an unknown window, or a split folder whose name
        cannot name a split or names the same one as another.
        """
        super().__init__(raw_dir)
        self.patient_pattern = patient_pattern
        try:
            re.compile(patient_pattern)
        except re.error as error:
            raise ValueError(f"patient_pattern {patient_pattern!r} is not a regular expression: {error}") from error
        if dicom_window not in DICOM_WINDOWS:
            raise ValueError(f"unknown dicom_window {dicom_window!r}; {nearest_name(dicom_window, DICOM_WINDOWS)}")
        self.dicom_window = dicom_window
        self.split_folders = split_folders
        self.raw_dir = existing_folder(raw_dir)
        self._folders = self._split_folders() if split_folders else {"": ""}
        classes = {name for folder in self._folders for name in _subfolders(self.raw_dir / folder)}
        if not classes:
            where = "<split>/<class>" if split_folders else "<class>"
            raise FileNotFoundError(
                f"{self.raw_dir} holds no folder; expected one folder a class with images in it, as {where}"
            )
        self.label_names = tuple(sorted(classes))
        if not split_folders and {name.lower() for name in classes} <= _USUAL_SPLITS:
            logging.warning(
                "the classes %s look like splits; if they are, name them so with --set split_folders=true",
                ", ".join(self.label_names),
            )
        if not patient_pattern:
            logging.warning(
                "image_folder takes every file as a patient of its own; if patients have several images, "
                "name them with --set patient_pattern=REGEX, or splits will share patients"
            )

    def examples(self) -> Iterator[RawExample | Reject]:
        """Files by split, class and path; a file that is no image, in no class or of no patient is a `Reject`."""
        pattern = re.compile(self.patient_pattern) if self.patient_pattern else None
        for split_folder, split in self._folders.items():
            top = self.raw_dir / split_folder
            yield from self._files_in_no_class(top)
            for index, label_name in enumerate(self.label_names):
                label = tuple(float(position == index) for position in range(len(self.label_names)))
                below = f"{split_folder}/{label_name}" if split_folder else label_name
                for path in all_files(top / label_name):
                    yield self._example(f"{below}/{path}", label, split, pattern)
        if self.split_folders:
            yield from self._files_in_no_class(self.raw_dir)

    def _example(
        self, key: str, label: tuple[float, ...], split: str, pattern: re.Pattern | None
    ) -> RawExample | Reject:
        match = pattern.search(key) if pattern else None
        if not is_image_name(key):
            return Reject(key, "not_an_image", f"expected a name that ends with {', '.join(IMAGE_SUFFIXES)}")
        if pattern and not match:
            return Reject(key, "unknown_patient", f"patient_pattern {self.patient_pattern!r} does not match")
        patient_id = (match.group(1) if match.re.groups else match.group(0)) if match else key
        return RawExample(key, patient_id or key, label, path=key, official_split=split)

    def _files_in_no_class(self, folder: pathlib.Path) -> Iterator[Reject]:
        for path in sorted(folder.iterdir()):
            if is_image_name(path) and not path.is_dir():
                yield Reject(path.relative_to(self.raw_dir).as_posix(), "unknown_label", "it lies in no class folder")

    def _split_folders(self) -> dict[str, str]:
        """Folder -> the split it holds."""
        folders: dict[str, str] = {}
        for name in _subfolders(self.raw_dir):
            split = _SPLIT_NAMES.get(name.lower(), name.lower())
            if not _SPLIT_NAME.fullmatch(split):
                raise ValueError(
                    f"split folder {name!r} in {self.raw_dir} expects letters, digits and _, beginning with a letter"
                )
            if split in folders.values():
                raise ValueError(f"{self.raw_dir} holds more than one folder for the split {split!r}; join them")
            folders[name] = split
        return folders


def _subfolders(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
