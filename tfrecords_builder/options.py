"""What a build is asked for, checked before any work starts."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfcxr.command_line import nearest_name
from tfcxr.data.schema import ENCODINGS, default_encoding, hashed_key
from tfrecords_builder.images.preprocess import PreprocessOptions
from tfrecords_builder.splits import check_fractions, fold_fractions

MAX_IMAGE_SIZE = 4096
MIN_SALT_BYTES = 16
_CHOICES = {
    "encoding": ("auto", *ENCODINGS),
    "on_error": ("skip", "stop"),
    "split_by": ("labels", "hash"),
    "duplicates": ("report", "drop", "error"),
    "runner": ("local", "beam"),
}


@dataclasses.dataclass(frozen=True)
class BuildOptions:
    """Every argument of a build beside the data set and the folder.

    Attributes:
      image_sizes: sides in pixels; all are written in one pass over the raw files.
      splits: split -> share of the patients without a published split, or None for the default: .1 each for
        "validation" and "test" where these are not published, and the rest for "train".
      folds: instead of `splits`, so many equal ones named fold_0, fold_1, ...; 0 for none.
      split_by: "labels" balances the label shares (iterative stratification), "hash" goes by the patient's name alone,
        so that a patient never changes split when images are added.
      only_labels: images with none of these labels are left out and counted as "excluded_label"; all where empty.
      keep_splits: a data folder of a former build whose patients stay in their splits; new ones are divided.
      seed: of the division by patient and of the order of images in the shards.
      preprocess: CLAHE and the way to a square.
      bits: of a stored pixel. encoding: "raw", "png", or "auto" (raw up to 256 px, PNG above).
      workers: processes; 0 for one a CPU. It never changes a byte of the result.
      shard_images: at most so many images a shard; small splits get smaller ones, so that shards can be shuffled.
      salt: hashed with every patient and image name; a secret one keeps them from being recognised.
      on_error: "skip" counts an image that cannot be used and goes on, "stop" ends the build there.
      duplicates: of images with the content of another, "report" names them, "drop" keeps one of each (none where
        their labels differ), "error" ends the build before anything is written.
      runner: "local" processes of this machine, or "beam", an Apache Beam pipeline with `beam_arguments`.
    """

    image_sizes: tuple[int, ...] = (64,)
    splits: Mapping[str, float] | None = None
    folds: int = 0
    split_by: str = "labels"
    only_labels: tuple[str, ...] = ()
    keep_splits: str = ""
    seed: int = 0
    preprocess: PreprocessOptions = PreprocessOptions()
    bits: int = 8
    encoding: str = "auto"
    workers: int = 0
    shard_images: int = 2000
    salt: bytes = b""
    on_error: str = "skip"
    duplicates: str = "report"
    runner: str = "local"
    beam_arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        sizes = tuple(sorted(set(self.image_sizes)))
        if not sizes or any(not 4 <= size <= MAX_IMAGE_SIZE for size in sizes):
            raise ValueError(f"image_sizes expects numbers from 4 to {MAX_IMAGE_SIZE}, got {list(self.image_sizes)}")
        object.__setattr__(self, "image_sizes", sizes)
        if self.folds:
            if self.splits is not None:
                raise ValueError("give either splits or folds, not both")
            object.__setattr__(self, "splits", fold_fractions(self.folds))
        if self.splits is not None:
            check_fractions(self.splits)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"unknown {name} {getattr(self, name)!r}; {nearest_name(getattr(self, name), choices)}"
                )
        if self.bits not in (8, 16):
            raise ValueError(f"bits expects 8 or 16, got {self.bits}")
        if self.beam_arguments and self.runner != "beam":
            raise ValueError("--beam_argument is for --runner=beam")
        if self.workers < 0:
            raise ValueError(f"workers expects 0 (one a CPU) or more, got {self.workers}")
        if self.shard_images < 1:
            raise ValueError(f"shard_images expects 1 or more, got {self.shard_images}")
        if self.salt and len(self.salt) < MIN_SALT_BYTES:
            raise ValueError(f"the salt has {len(self.salt)} bytes, expected at least {MIN_SALT_BYTES} random ones")

    def encoding_of(self, image_size: int) -> str:
        """How images of this size are stored, "raw" or "png"."""
        return default_encoding(image_size) if self.encoding == "auto" else self.encoding

    @property
    def salt_fingerprint(self) -> str:
        """Equal for builds of one salt; "" without one."""
        return hashed_key("salt fingerprint", self.salt, 8) if self.salt else ""

    def content_arguments(self) -> dict[str, Any]:
        """The arguments that the written bytes depend on, as JSON values; the salt only by its fingerprint."""
        return {
            "image_sizes": list(self.image_sizes),
            "splits": dict(self.splits) if self.splits is not None else None,
            "split_by": self.split_by,
            "only_labels": list(self.only_labels),
            "seed": self.seed,
            "duplicates": self.duplicates,
            "preprocess": dataclasses.asdict(self.preprocess),
            "bits": self.bits,
            "encoding": self.encoding,
            "shard_images": self.shard_images,
            "salt_fingerprint": self.salt_fingerprint,
        }
