"""What every reader of a raw data set gives: its facts, and one `RawExample` or `Reject` for each image it names."""

import abc
import dataclasses
import math
import pathlib
from collections.abc import Iterator
from typing import ClassVar

from tfrecords_builder.images import image_file
from tfrecords_builder.images.radiograph import Radiograph, content_digest


@dataclasses.dataclass(frozen=True)
class RawExample:
    """One image of a raw data set, before its pixels are read.

    Attributes:
      key: name of the image, unique in the data set; hashed before it is stored.
      patient_id: the patient's identifier as published; hashed before it is stored.
      label: 1 present, 0 absent, NaN unknown, in the order of the reader's `label_names`.
      path: the image file below the raw folder, or "" where the reader makes the pixels itself.
      view: "PA", "AP", "LATERAL" or "". age: years or NaN. sex: "F", "M" or "".
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


@dataclasses.dataclass(frozen=True)
class Reject:
    """One image that cannot be used: which, a short `reason` to count by, and what exactly was found."""

    key: str
    reason: str
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Notice:
    """Something odd about an image that is written all the same: which, its `kind` to count by, and the detail."""

    key: str
    kind: str
    detail: str = ""


def existing_folder(raw_dir: str) -> pathlib.Path:
    """The raw folder; raises FileNotFoundError when none is named or it is not there."""
    if not raw_dir:
        raise FileNotFoundError("this data set needs its raw folder: name it with --raw_dir")
    if not pathlib.Path(raw_dir).is_dir():
        raise FileNotFoundError(f"raw folder {raw_dir} does not exist or is no folder")
    return pathlib.Path(raw_dir)


class Reader(abc.ABC):
    """Base of the readers; a subclass is one data set, one file, one line in `DATASETS`.

    A reader is a small picklable object: it is sent to worker processes, and `read_image` is called there. Its public
    attributes are its settings, JSON values that are stored in `dataset_info.json`; `raw_dir`, and what begins with
    "_", such as the path of a table, are not stored.

    Class attributes:
      name: registry name. is_single_label: exactly one label of an image is 1.
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
        """Raises FileNotFoundError when `raw_dir` is missing or not in the published layout."""
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
