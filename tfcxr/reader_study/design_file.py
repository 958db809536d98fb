"""The design of a reader study, and its key.

A study folder holds

    design.json     what is shown to whom; nothing in it tells real images from synthetic ones
    key.json        which images are synthetic, and where each comes from; the server never reads it
    images/         the pictures, named by random keys
    links.csv       each reader's link; readable by the owner alone
    answers.sqlite  the raw answers, see `answers`

Both JSON files are checked against a checksum, so a study that was changed after its start is refused.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any, Literal

from tfcxr.data.atomic import write_atomically

VERSION = 1
DESIGN_FILE, KEY_FILE, LINKS_FILE, ANSWERS_FILE = "design.json", "key.json", "links.csv", "answers.sqlite"
IMAGES_FOLDER, REPORT_FOLDER = "images", "report"
Kind = Literal["grid", "pair", "single"]


@dataclasses.dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
      kind: "grid": which of these images are synthetic? "pair": which of the two is real? "single": is it real?
      images: keys of its images, in the order shown.
      block: the finding that its block is about; "" where blocks are not by finding.
      repeat_of: the item that it shows again; "" for none.
      is_training: shown before the study, with the solution; it does not count.
      exposure_seconds: how long the images stay visible; None for no limit. With `is_staircase`, the first exposure.
      is_staircase: the exposure follows the reader's own answers (HYPE-time, Zhou et al. 2019).
    """

    kind: Kind
    images: tuple[str, ...]
    block: str = ""
    repeat_of: str = ""
    is_training: bool = False
    exposure_seconds: float | None = None
    is_staircase: bool = False


@dataclasses.dataclass(frozen=True)
class Reader:
    """One person.

    Attributes:
      group: such as "consultant"; "" for none.
      items: keys of the items, in this reader's order; training examples first.
      token_sha256: of the token in the reader's link, hexadecimal.
    """

    group: str
    items: tuple[str, ...]
    token_sha256: str


@dataclasses.dataclass(frozen=True)
class Design:
    """What readers see.

    Attributes:
      title: shown on every page.
      consent: shown first, as plain text with a blank line between paragraphs.
      diagnoses: choices of the diagnosis question of single images; empty for none.
      seed: of all that was drawn at random.
      display_size: width and height of every image, pixels.
      items: key -> item.
      readers: key -> reader.
      image_sha256: key of an image -> hexadecimal checksum of its file.
      training_solutions: key of a training item -> whether each of its images is synthetic.
      plan: settings of the design, the analysis planned, and the power that was calculated for it.
    """

    title: str
    consent: str
    diagnoses: tuple[str, ...]
    seed: int
    display_size: int
    items: dict[str, Item]
    readers: dict[str, Reader]
    image_sha256: dict[str, str]
    training_solutions: dict[str, tuple[bool, ...]] = dataclasses.field(default_factory=dict)
    plan: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def checksum(self) -> str:
        """SHA-256 of the whole design, hexadecimal; answers are tied to it."""
        return hashlib.sha256(_canonical(dataclasses.asdict(self)).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class ImageOrigin:
    """What the key says of an image.

    Attributes:
      is_synthetic: whether a generator made it.
      cohort: name of the data folder it comes from.
      record: its key there.
      labels: names of its findings.
    """

    is_synthetic: bool
    cohort: str
    record: str
    labels: tuple[str, ...]


def write_study(folder: str | os.PathLike, design: Design, key: dict[str, ImageOrigin]) -> None:
    """Writes design.json and key.json; the key last, so that a study with a key is complete.

    Raises:
      ValueError: an item, a reader or the key names what is not there.
    """
    _check(design, key)
    folder = pathlib.Path(folder)
    content = {"version": VERSION, "checksum": design.checksum, "design": dataclasses.asdict(design)}
    write_atomically(folder / DESIGN_FILE, json.dumps(content, indent=1) + "\n")
    origins = {image: dataclasses.asdict(origin) for image, origin in sorted(key.items())}
    content = {"version": VERSION, "design_checksum": design.checksum, "checksum": _sha256(origins), "images": origins}
    path = folder / KEY_FILE
    write_atomically(path, json.dumps(content, indent=1) + "\n")
    path.chmod(0o600)


def read_design(folder: str | os.PathLike) -> Design:
    """Reads the design of a study.

    Raises:
      FileNotFoundError: no study in `folder`.
      ValueError: a damaged design, one of another version, or one that was changed by hand.
    """
    path = pathlib.Path(folder) / DESIGN_FILE
    content = _read(path, "python -m tfcxr.reader_study design makes one")
    try:
        fields = dict(content["design"])
        fields["items"] = {key: Item(**_tuples(item)) for key, item in fields["items"].items()}
        fields["readers"] = {key: Reader(**_tuples(reader)) for key, reader in fields["readers"].items()}
        fields["training_solutions"] = {key: tuple(value) for key, value in fields["training_solutions"].items()}
        fields["diagnoses"] = tuple(fields["diagnoses"])
        design = Design(**fields)
        is_unchanged = design.checksum == content["checksum"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); restore it from your archive") from error
    if not is_unchanged:
        raise ValueError(
            f"{path} was changed after it was written; answers belong to the design they were given for: restore it, "
            "or design a new study in another folder"
        )
    return design


def read_key(folder: str | os.PathLike, design: Design) -> dict[str, ImageOrigin]:
    """Reads which images of a study are synthetic.

    Raises:
      FileNotFoundError: no key in `folder`.
      ValueError: a damaged or changed key, or one of another design.
    """
    path = pathlib.Path(folder) / KEY_FILE
    content = _read(path, "it is written beside design.json and needed for the report")
    try:
        origins, checksum, of_design = content["images"], content["checksum"], content["design_checksum"]
        key = {image: ImageOrigin(**_tuples(origin)) for image, origin in origins.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); restore it from your archive") from error
    if checksum != _sha256(origins):
        raise ValueError(f"{path} was changed after it was written; restore it from your archive")
    if of_design != design.checksum:
        raise ValueError(f"{path} belongs to another design than the {DESIGN_FILE} beside it; restore both together")
    _check(design, key)
    return key


def token_sha256(token: str) -> str:
    """What the design keeps of a reader's token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _read(path: pathlib.Path, hint: str) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; {hint}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); restore it from your archive") from error
    if version != VERSION:
        raise ValueError(
            f"{path} has version {version}, this tfcxr reads version {VERSION}; use the tfcxr that wrote it"
        )
    return content


def _check(design: Design, key: dict[str, ImageOrigin]) -> None:
    images, shown = set(design.image_sha256), {image for item in design.items.values() for image in item.images}
    if missing := sorted((shown - images) | (images ^ set(key))):
        raise ValueError(f"image {missing[0]} is not in the design, its items and the key alike")
    for name, item in design.items.items():
        if item.repeat_of and item.repeat_of not in design.items:
            raise ValueError(f"item {name} repeats {item.repeat_of}, which does not exist")
    for name, reader in design.readers.items():
        if unknown := [item for item in reader.items if item not in design.items]:
            raise ValueError(f"reader {name} is asked {unknown[0]}, which does not exist")


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _sha256(content: Any) -> str:
    return hashlib.sha256(_canonical(content).encode()).hexdigest()


def _canonical(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
