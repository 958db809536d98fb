"""Any collection with one folder per class; the folders' names are the labels.

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

What programs leave behind is no class, split or image (see `folder_walk`). A class without an image is an error, and so
are two classes whose names differ in case or blanks alone, such as train/Normal and test/NORMAL: one class would be
two labels.
"""

import re
from collections.abc import Iterator

from absl import logging

from tfrecords_builder.choices import check_choice
from tfrecords_builder.datasets.folder_reader import FolderReader
from tfrecords_builder.datasets.folder_walk import IMAGE_SUFFIXES, NOT_AN_IMAGE, FolderWalk, is_image_name
from tfrecords_builder.datasets.label_text import check_spellings, printable
from tfrecords_builder.datasets.reader import RawExample, Reject, one_hot
from tfrecords_builder.images.dicom import WINDOWS
from tfrecords_builder.splits import SPLIT_NAME

_SPLIT_NAMES = {"val": "validation", "valid": "validation", "training": "train", "testing": "test"}
_USUAL_SPLITS = {"train", "validation", "test", *_SPLIT_NAMES}


class ImageFolder(FolderReader):
    """One label per image: the folder it lies in."""

    name = "image_folder"
    is_single_label = True
    licence = "as the user's own images"

    def __init__(
        self, raw_dir: str = "", patient_pattern: str = "", split_folders: bool = False, dicom_window: str = "file"
    ) -> None:
        """Finds the classes, and the splits where there are such folders."""
        super().__init__(raw_dir)
        self.patient_pattern = patient_pattern
        try:
            re.compile(patient_pattern)
        except re.error as error:
            raise ValueError(f"patient_pattern {patient_pattern!r} is not a regular expression: {error}") from error
        check_choice("dicom_window", dicom_window, WINDOWS)
        self.dicom_window = dicom_window
        self.split_folders = split_folders
        walk = FolderWalk(self.raw_dir)
        self._splits = self._split_folders(walk) if split_folders else {"": ""}
        classes = {name for folder in self._splits for name in walk.folders(folder)}
        if not classes:
            where = "<split>/<class>" if split_folders else "<class>"
            raise FileNotFoundError(
                f"{self.raw_dir} holds no folder; expected one folder per class with images in it, as {where}"
            )
        self._classes = tuple(sorted(classes))
        self.label_names = tuple(map(printable, self._classes))
        check_spellings(self.label_names, f"the class folders of {self.raw_dir}", "give them one name")
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

    def entries(self, walk: FolderWalk) -> Iterator[RawExample | Reject]:
        """Files by split, class and path; a file that is no image, in no class or of no patient is a `Reject`.

        Raises:
          ValueError: a class folder holds no image.
        """
        pattern = re.compile(self.patient_pattern) if self.patient_pattern else None
        names = self._classes
        labels = {name: one_hot(names, name) for name in names}
        images = dict.fromkeys(names, 0)
        first = 1 if self.split_folders else 0  # where in a path the class stands
        for path in walk.files():
            parts = path.split("/", first + 1)
            is_image = is_image_name(path)
            if len(parts) < first + 2:
                if is_image:
                    yield Reject(path, "unknown_label", "it lies in no class folder")
                continue
            images[parts[first]] += is_image
            split = self._splits[parts[0]] if self.split_folders else ""
            yield self._example(path, is_image, labels[parts[first]], split, pattern)
        if empty := [printable(name) for name in names if not images[name]]:
            raise ValueError(
                f"{self.raw_dir} holds no image of the class {', '.join(map(repr, empty))}, so nothing could learn it; "
                f"put images there (names that end with {', '.join(IMAGE_SUFFIXES)}), or move the folder out"
            )

    def _example(
        self, key: str, is_image: bool, label: tuple[float, ...], split: str, pattern: re.Pattern | None
    ) -> RawExample | Reject:
        match = pattern.search(key) if pattern else None
        if not is_image:
            return Reject(key, "not_an_image", NOT_AN_IMAGE)
        if pattern and not match:
            return Reject(key, "unknown_patient", f"patient_pattern {self.patient_pattern!r} does not match")
        patient_id = (match.group(1) if match.re.groups else match.group(0)) if match else key
        return RawExample(key, patient_id or key, label, path=key, official_split=split)

    def _split_folders(self, walk: FolderWalk) -> dict[str, str]:
        """Folder -> the split it holds."""
        folders: dict[str, str] = {}
        for name in walk.folders():
            split = _SPLIT_NAMES.get(name.lower(), name.lower())
            if not SPLIT_NAME.fullmatch(split):
                raise ValueError(
                    f"split folder {name!r} in {self.raw_dir} expects letters, digits and _, beginning with a letter"
                )
            if split in folders.values():
                raise ValueError(f"{self.raw_dir} holds more than one folder for the split {split!r}; join them")
            folders[name] = split
        return folders
