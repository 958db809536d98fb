"""Data folders to look through in the page: what they hold, their images by split and label, and each image as PNG.

A request names a data set by its number among those of `--cohorts`, so no path ever comes from a client. Of a real
image the labels are told, and neither key, age nor sex of the patient.
"""

import dataclasses
import os
import pathlib
import threading
from collections.abc import Sequence
from typing import Any, Literal

import grpc
import numpy as np

from tfcxr.data.pipeline import read_facts
from tfcxr.data.png_writer import png_bytes
from tfcxr.data.records import read_dataset_info
from tfcxr.data.schema import DatasetInfo, Record
from tfcxr.data.sizes import stored_sizes
from tfcxr.data.stored_images import StoredImages, open_images
from tfcxr.data.synthetic_facts import SyntheticFacts, facts_of_record
from tfcxr.evaluation.report.html import PHANTOM
from tfcxr.server.serving_error import ServingError, invalid

MAX_IMAGES_PER_PAGE = 96


@dataclasses.dataclass(frozen=True)
class OpenSplit:
    """One split of a data set, whose images are read when they are asked for.

    Attributes:
      info: of the data set.
      images: in stored order.
      stored: what stands beside the pixels, as `tfcxr.data.pipeline.read_facts` gives it.
    """

    info: DatasetInfo
    images: StoredImages
    stored: dict[str, np.ndarray]

    def labels(self, position: int) -> list[str]:
        """Names of an image's labels."""
        return [self.info.label_names[column] for column in np.flatnonzero(self.stored["label"][position] == 1)]

    def synthetic_facts(self, position: int) -> SyntheticFacts | None:
        """Where a synthetic image comes from, None for a real one."""
        if not self.info.is_synthetic:
            return None
        of_image = {name: values[position].item() for name, values in self.stored.items() if name != "label"}
        label = tuple(self.stored["label"][position].tolist())
        return facts_of_record(Record(np.empty([0, 0], np.uint8), label=label, **of_image), self.info)


class CohortBrowser:
    """The data sets of some folders, real and synthetic.

    Attributes:
      infos: of each data set, by number.
    """

    def __init__(self, folders: Sequence[str | os.PathLike] = ()) -> None:
        """`folders`: data folders, such as cohorts/acgan/64, or folders of builds, such as cohorts/acgan.

        Raises:
          FileNotFoundError: a folder without a finished build.
          ValueError: a damaged dataset_info.json, or one whose shards lie elsewhere.
        """
        self._data_dirs = [data_dir for folder in folders for data_dir in _data_dirs(folder)]
        self.infos = [read_dataset_info(data_dir) for data_dir in self._data_dirs]
        for data_dir, info in zip(self._data_dirs, self.infos, strict=True):
            for split in info.splits.values():
                for shard in split.shards:
                    if pathlib.Path(shard.file).name != shard.file:
                        raise ValueError(f"{data_dir} names a shard outside its folder; build the data set again")
        self._open: dict[tuple[int, str], OpenSplit] = {}
        self._lock = threading.Lock()

    def facts(self) -> list[dict[str, Any]]:
        """What the page says of each data set, plain JSON."""
        return [
            {
                "number": number,
                "name": info.name,
                "kind": kind_of(info),
                "image_size": info.image_size,
                "label_names": list(info.label_names),
                "splits": {name: split.images for name, split in info.splits.items() if split.images},
                "licence": info.source.get("licence", ""),
                "notice": info.notice,
                "saved_model": info.provenance.get("saved_model", ""),
                "weights_sha256": info.provenance.get("weights_sha256", ""),
            }
            for number, info in enumerate(self.infos)
        ]

    def images(self, number: int, split: str, label: str, start: int, count: int) -> dict[str, Any]:
        """Some images of a split: `total` that have the label, and `images` from `start` on, plain JSON.

        Each of them has its `position` in the split, its `labels`, how many are `unknown`, and its `seed`.

        Args:
          label: that images have; "" for all images.
          start: how many images to pass over.
          count: images, at most 96.

        Raises:
          ServingError: NOT_FOUND, no such data set, split or label; INVALID_ARGUMENT, a count out of range.
        """
        if start < 0 or not 1 <= count <= MAX_IMAGES_PER_PAGE:
            raise invalid(f"start must be 0 or more and count from 1 to {MAX_IMAGES_PER_PAGE}, got {start} and {count}")
        opened = self._split(number, split)
        names = opened.info.label_names
        if label and label not in names:
            raise _not_found(f"{opened.info.name} has no such label; it has {', '.join(names) or 'none'}")
        has_label = opened.stored["label"][:, names.index(label)] == 1 if label else np.ones(len(opened.images), bool)
        chosen = np.flatnonzero(has_label)
        return {
            "total": len(chosen),
            "images": [_described(opened, position) for position in chosen[start : start + count].tolist()],
        }

    def picture(self, number: int, split: str, position: int) -> bytes:
        """One image as a PNG file that says inside whether it is synthetic.

        Raises:
          ServingError: NOT_FOUND, no such data set, split or image.
        """
        opened = self._split(number, split)
        if not 0 <= position < len(opened.images):
            raise _not_found(f"split {split} of {opened.info.name} has the images 0 to {len(opened.images) - 1}")
        return png_bytes(opened.images[position][..., 0], opened.synthetic_facts(position))

    def _split(self, number: int, split: str) -> OpenSplit:
        """A split, whose labels are read at its first use and kept."""
        if not 0 <= number < len(self.infos):
            raise _not_found(f"there is no data set {number}; --cohorts names {len(self.infos)}")
        info = self.infos[number]
        if not (split in info.splits and info.splits[split].images):
            raise _not_found(f"{info.name} has no such split; it has {', '.join(info.splits)}")
        key = (number, split)
        if key not in self._open:
            with self._lock:
                if key not in self._open:
                    self._open[key] = _opened(self._data_dirs[number], info, split)
        return self._open[key]


def kind_of(info: DatasetInfo) -> Literal["synthetic", "phantom", "real"]:
    """How the pictures of a data set are marked; a phantom's are computed, so they are not called real."""
    if info.is_synthetic:
        return "synthetic"
    return "phantom" if PHANTOM in info.notice else "real"


def _data_dirs(folder: str | os.PathLike) -> list[pathlib.Path]:
    """The folder itself, or the builds in it."""
    builds = list(stored_sizes(folder).values())
    if not builds:
        read_dataset_info(folder)  # says what is missing
    return builds


def _opened(data_dir: pathlib.Path, info: DatasetInfo, split: str) -> OpenSplit:
    try:
        stored, images = read_facts(data_dir, [split]), open_images(data_dir, [split])
    except (OSError, ValueError) as error:
        message = f"the records of {info.name} cannot be read; build the data set again"
        raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, message) from error
    return OpenSplit(info, images, stored if info.is_synthetic else {"label": stored["label"]})


def _described(opened: OpenSplit, position: int) -> dict[str, Any]:
    facts = opened.synthetic_facts(position)
    return {
        "position": position,
        "labels": list(facts.labels) if facts else opened.labels(position),
        "unknown": int(np.isnan(opened.stored["label"][position]).sum()),
        "seed": facts.seed if facts else None,
    }


def _not_found(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.NOT_FOUND, message)
