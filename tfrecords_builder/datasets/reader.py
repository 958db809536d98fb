"""What every reader of a raw data set gives: its facts, and one `RawExample` or `Reject` for each image it names."""

import abc
import dataclasses
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import ClassVar

from tfrecords_builder.images import image_file
from tfrecords_builder.images.radiograph import Radiograph, content_digest


@dataclasses.dataclass(frozen=True, slots=True)  # a build holds all of a data set's at once
class RawExample:
    """One image of a raw data set, before its pixels are read.

    Attributes:
      key: name of the image, unique in the data set; hashed before it is stored.
      patient_id: the patient's identifier as published; hashed before it is stored.
      label: 1 present, 0 absent, NaN unknown, in the order of the reader's `label_names`.
      path: the image file below the raw folder, or "" where the reader makes the pixels itself.
      view: "PA", "AP", "LATERAL" or "".
      age: years or NaN.
      sex: "F", "M" or "".
      official_split: the published split ("train", "test", ...), or "" where the builder may choose.
      real_path: absolute path of the file that `path` leads to by a link, or "" where no link is on the way.
    """

    key: str
    patient_id: str
    label: tuple[float, ...]
    path: str = ""
    view: str = ""
    age: float = math.nan
    sex: str = ""
    official_split: str = ""
    real_path: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Reject:
    """One image that cannot be used: which, a short `reason` to count by, and what exactly was found."""

    key: str
    reason: str
    detail: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Notice:
    """Something odd about an image that is written all the same: which, its `kind` to count by, and the detail."""

    key: str
    kind: str
    detail: str = ""


def one_hot(names: Sequence[str], name: str) -> tuple[float, ...]:
    """1 for one of the names, 0 for the others."""
    return tuple(float(other == name) for other in names)


IMITATION_FILE = "PHANTOM_NOT_PATIENTS.txt"  # in raw folders that `python -m tfrecords_builder imitate` drew


def imitation_notice(raw_dir: pathlib.Path) -> str:
    """What must be said of a raw folder that holds phantoms in the layout of a data set; "" of any other."""
    files = (folder / IMITATION_FILE for folder in (raw_dir, raw_dir.parent))
    return next((file.read_text(encoding="utf-8").strip() for file in files if file.is_file()), "")


class Reader(abc.ABC):
    """Base of the readers; a subclass is one data set, one file, one line in `DATASETS`.

    A reader is a small picklable object: it is sent to worker processes, and `read_image` is called there. Its
    constructor's arguments beside `raw_dir` are its settings. Its public attributes are JSON values that are stored in
    `dataset_info.json`; `raw_dir`, and what begins with "_", such as the path of a table, are not stored.

    Attributes:
      name: registry name.
      label_names: the order of label vectors.
      is_single_label: whether exactly one label of an image is 1.
      homepage, citation, licence: texts that go into `dataset_info.json`.
      notice: a sentence that every user of the data must see, or "".
      dicom_window: how DICOM files are windowed, see `images.dicom.decode_dicom`.
    """

    name: ClassVar[str]
    is_single_label: ClassVar[bool] = False
    homepage: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    notice: ClassVar[str] = ""
    label_names: tuple[str, ...]
    dicom_window: str = "file"

    def __init__(self, raw_dir: str = "") -> None:
        """Checks the layout and the settings.

        Raises:
          FileNotFoundError: `raw_dir` is missing or not in the published layout.
          ValueError: a setting that the data set does not know, or a layout that can be read in two ways.
          ImportError: the data set needs an extra that is not installed.
        """
        self.raw_dir = pathlib.Path(raw_dir)

    @abc.abstractmethod
    def examples(self) -> Iterator[RawExample | Reject]:
        """Every image the data set names, in an order that depends on the raw data alone."""

    def read_image(self, example: RawExample) -> Radiograph:
        """The pixels of one example.

        Raises:
          ImageError: a file that cannot be used; its `reason` is counted.
        """
        return image_file.read_image(f"{self.raw_dir}/{example.path}", self.dicom_window)

    def content(self, example: RawExample) -> bytes:
        """The `Radiograph.content` of one example, without decoding its file; raises as `read_image` does."""
        if not example.path:
            return self.read_image(example).content
        return content_digest(image_file.read_file(self.raw_dir / example.path))
