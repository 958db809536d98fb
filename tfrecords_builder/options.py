"""What a build is asked for, checked before any work starts."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfcxr.command_line import flag
from tfcxr.data.schema import ENCODINGS, default_encoding, hashed_key
from tfrecords_builder.choices import check_choice
from tfrecords_builder.images.preprocess import PreprocessOptions
from tfrecords_builder.splits import check_fractions, fold_fractions

REJECTS_FILE = "rejects.csv"  # in OUT, see `build`
NOTICES_FILE = "notices.csv"
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
class BuildSettings(PreprocessOptions):
    """What the build command and its library call are told alike.

    Attributes:
      folds: Instead of splits: this many equal ones, fold_0, fold_1, ..., for cross-validation; 0 for none.
      split_by: labels balances the label shares by iterative stratification, so added images may move a patient to
        another split; hash goes by the patient's name alone and never moves anyone.
      labels: Labels of interest in their order, such as Effusion,No Finding; by default all. Every image stays, but for
        those of other classes where classes exclude each other, counted as excluded_label.
      only_labels: Leave out images that have none of these labels, counted as excluded_label, such as NORMAL.
      max_images_per_label: At most this many images of each label, such as 5000, drawn by --seed, where labels exclude
        each other; the others are counted as excluded_beyond_max_images_per_label. 0 takes all.
      keep_splits: Data folder of a former build whose patients stay in their splits; new ones are divided.
      seed: Seed of the division by patient and of the order of images in the shards.
      bits: Bits of a stored pixel, 8 or 16.
      encoding: How pixels are stored: raw, png, or auto (raw up to 256 px, PNG above).
      workers: Processes; 0 for one per CPU. It changes no byte of the result.
      shard_images: At most this many images per shard; small splits get smaller ones, so that shards can be shuffled.
      on_error: An image that cannot be used: skip counts it and continues, stop ends the build.
      duplicates: Images of equal content: report names them, drop keeps one of each (none where their labels differ),
        error ends the build before anything is written.
      runner: local processes of this machine, or beam for an Apache Beam pipeline.
      beam_arguments: What Beam is told, such as --runner=FlinkRunner; may be repeated.
    """

    folds: int = 0
    split_by: str = "labels"
    labels: tuple[str, ...] = ()
    only_labels: tuple[str, ...] = ()
    max_images_per_label: int = flag(0, minimum=0)
    keep_splits: str = ""
    seed: int = 0
    bits: int = 8
    encoding: str = "auto"
    workers: int = flag(0, minimum=0)
    shard_images: int = flag(2000, minimum=1)
    on_error: str = "skip"
    duplicates: str = "report"
    runner: str = "local"
    beam_arguments: tuple[str, ...] = flag((), name="beam_argument", is_repeated=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in _CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        if self.bits not in (8, 16):
            raise ValueError(f"bits expects 8 or 16, got {self.bits}")
        if self.beam_arguments and self.runner != "beam":
            raise ValueError("--beam_argument is for --runner=beam")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildOptions(BuildSettings):
    """Every argument of a build beside the data set and the folder.

    Attributes:
      image_sizes: sides in pixels; all are written in one pass over the raw files.
      splits: split -> share of the patients without a published split; None for the default, .1 each for "validation"
        and "test" where these are not published, and the rest for "train".
      salt: hashed with every patient and image name; a secret one keeps them from being recognised.
    """

    image_sizes: tuple[int, ...] = (64,)
    splits: Mapping[str, float] | None = None
    salt: bytes = b""

    def __post_init__(self) -> None:
        super().__post_init__()
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
        steps = {field.name: getattr(self, field.name) for field in dataclasses.fields(PreprocessOptions)}
        names = ("split_by", "seed", "duplicates", "bits", "encoding", "shard_images", "salt_fingerprint")
        drawn = {"max_images_per_label": self.max_images_per_label} if self.max_images_per_label else {}
        return {name: getattr(self, name) for name in names} | {
            **drawn,
            "image_sizes": list(self.image_sizes),
            "splits": dict(self.splits) if self.splits is not None else None,
            "only_labels": list(self.only_labels),
            "preprocess": steps,
        }
