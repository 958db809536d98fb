"""What a reader names -> examples that may be used, and why the others may not, before any pixel is decoded."""

import concurrent.futures
import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence

import numpy as np
from tqdm import tqdm

from tfrecords_builder.assignment import preference
from tfrecords_builder.datasets.folder_walk import LEFT_BEHIND
from tfrecords_builder.datasets.label_text import printable
from tfrecords_builder.datasets.reader import RawExample, Reader, Reject
from tfrecords_builder.duplicates import CONTENT_BYTES, content_pairs
from tfrecords_builder.images.radiograph import ImageError

CHOSEN = "excluded"  # reasons that begin so are the user's choice, such as "excluded_view", and no fault
OTHER_LABEL = "excluded_label"
SAME_CONTENT, SAME_FILE = "duplicate", "same_file_twice"
CONFLICTING_LABELS = "conflicting_labels"


@dataclasses.dataclass(frozen=True)
class Listing:
    """Every image of a data set.

    Attributes:
      examples: those that may be used.
      rejects: the others.
      fingerprint: hash of what the reader gave, to notice raw data that changed.
    """

    examples: tuple[RawExample, ...]
    rejects: tuple[Reject, ...]
    fingerprint: str

    @property
    def images_read(self) -> int:
        return len(self.examples) + len(self.rejects)

    def without(self, left_out: dict[int, Reject]) -> "Listing":
        """The listing with a reject in the place of some examples, given by position."""
        kept = tuple(example for position, example in enumerate(self.examples) if position not in left_out)
        return Listing(kept, (*self.rejects, *left_out.values()), self.fingerprint)


def list_examples(reader: Reader) -> Listing:
    """Asks the reader for all of its images; one that is there twice is used once, or not at all if the labels differ.

    An image is there twice that is named twice, or that a link leads to.

    Raises:
      ValueError: a label of another length than the reader's names.
    """
    first: dict[str, RawExample] = {}
    rejects: list[Reject] = []
    conflicts: dict[str, str] = {}
    digest = hashlib.sha256()
    for entry in map(_as_text, reader.examples()):
        digest.update(_line(entry))
        if isinstance(entry, Reject):
            rejects.append(entry)
            continue
        if len(entry.label) != len(reader.label_names):
            raise ValueError(f"{entry.key} has {len(entry.label)} label values, expected {len(reader.label_names)}")
        if entry.key not in first:
            first[entry.key] = entry
            continue
        known = first[entry.key]
        if repr(known.label) != repr(entry.label):
            conflicts[entry.key] = CONFLICTING_LABELS
        elif known.patient_id != entry.patient_id:
            conflicts.setdefault(entry.key, "conflicting_patients")
        reason = conflicts.get(entry.key, "duplicate_key")
        rejects.append(Reject(entry.key, reason, "an image of this name came before"))
    for reject in rejects:  # one row was left out for what it says, another was not
        if reject.reason.startswith(CHOSEN) and reject.key in first:
            conflicts.setdefault(reject.key, CONFLICTING_LABELS)
    for key, reason in conflicts.items():
        rejects.append(Reject(key, reason, "another row of this image says otherwise"))
    examples = tuple(example for key, example in first.items() if key not in conflicts)
    same_file = _one_of_each(examples, _same_files(reader, examples), SAME_FILE, "the same file as")
    return Listing(examples, tuple(rejects), digest.hexdigest()).without(same_file)


def is_fault(reject: Reject) -> bool:
    """Whether a reject is neither the user's choice nor what a program left beside the images."""
    return not reject.reason.startswith(CHOSEN) and reject.reason not in LEFT_BEHIND


def keep_labelled(reader: Reader, listing: Listing, only_labels: Sequence[str]) -> Listing:
    """Leaves out the images that have none of `only_labels`; examples keep all labels."""
    columns = [reader.label_names.index(name) for name in only_labels]
    detail = f"has none of {', '.join(only_labels)}"
    left_out = {
        position: Reject(example.key, OTHER_LABEL, detail)
        for position, example in enumerate(listing.examples)
        if not any(example.label[column] == 1 for column in columns)
    }
    return listing.without(left_out)


def drop_duplicates(reader: Reader, listing: Listing, workers: int, is_error: bool) -> Listing:
    """Keeps one image of each content, one of a published test split if there is one; none if their labels differ.

    Raises:
      ValueError: with `is_error`, any two images of one content.
    """
    groups: dict[int, list[int]] = {}
    for pair in content_pairs(read_contents(reader, listing.examples, workers)):
        groups.setdefault(pair.first, [pair.first]).append(pair.second)
    if groups and is_error:
        first, second = (listing.examples[position].key for position in next(iter(groups.values()))[:2])
        raise ValueError(
            f"{sum(len(group) - 1 for group in groups.values())} images have the content of another, such as {second} "
            f"that of {first}; --duplicates=drop keeps one of each, --duplicates=report keeps all"
        )
    return listing.without(_one_of_each(listing.examples, groups.values(), SAME_CONTENT, "the content of"))


def _as_text(entry: RawExample | Reject) -> RawExample | Reject:
    """The entry with names that can be hashed and written, also where a file's name is not UTF-8; `path` stays."""
    second = "detail" if isinstance(entry, Reject) else "patient_id"
    text = getattr(entry, second)
    if entry.key.isascii() and text.isascii():
        return entry
    return dataclasses.replace(entry, **{"key": printable(entry.key), second: printable(text)})


def _line(entry: RawExample | Reject) -> bytes:
    """What an entry says; a dataclass's own text takes four times as long. A detail may tell where the folder lies."""
    if isinstance(entry, Reject):
        return f"{entry.key}\0{entry.reason}\n".encode()
    facts = (entry.key, entry.patient_id, entry.path, entry.view, entry.sex, entry.official_split)
    return f"{facts}{entry.label}{entry.age}\n".encode()


def _same_files(reader: Reader, examples: Sequence[RawExample]) -> list[list[int]]:
    """Positions of the examples of each file that more than one path leads to."""
    if not any(example.real_path for example in examples):
        return []
    top = os.path.realpath(reader.raw_dir)
    groups: dict[str, list[int]] = {}
    for position, example in enumerate(examples):
        if example.path:
            groups.setdefault(example.real_path or f"{top}/{example.path}", []).append(position)
    return [group for group in groups.values() if len(group) > 1]


def _one_of_each(
    examples: Sequence[RawExample], groups: Iterable[Sequence[int]], reason: str, relation: str
) -> dict[int, Reject]:
    """Position -> reject of all but one of each group: one of a published split that measures, else the first.

    Args:
      groups: positions of examples that show the same; where their labels differ, none is kept.
      relation: what an example is to the one that is kept, for the detail.
    """
    dropped: dict[int, Reject] = {}
    for group in groups:
        members = [examples[position] for position in group]
        kept = min(members, key=lambda member: preference(member.official_split))
        is_conflict = len({repr(member.label) for member in members}) > 1
        for position, member in zip(group, members, strict=True):
            if is_conflict:
                other = kept if member is not kept else members[members.index(kept) - 1]
                detail = f"{relation} {other.key}, whose labels may differ"
                dropped[position] = Reject(member.key, CONFLICTING_LABELS, detail)
            elif member is not kept:
                dropped[position] = Reject(member.key, reason, f"{relation} {kept.key}")
    return dropped


def read_contents(reader: Reader, examples: Sequence[RawExample], workers: int) -> np.ndarray:
    """uint8 [images, CONTENT_BYTES]: content digests, zeros where a file cannot be read, which the build finds again.

    Files are read and hashed in threads, which neither needs Python's lock for.
    """

    def content(example: RawExample) -> bytes:
        try:
            return reader.content(example)
        except ImageError:
            return bytes(CONTENT_BYTES)

    progress = tqdm(total=len(examples), desc=f"{reader.name}: looking for duplicates", unit=" images", disable=None)
    contents = bytearray()
    with concurrent.futures.ThreadPoolExecutor(2 * (workers or os.cpu_count() or 1)) as pool, progress as bar:
        for start in range(0, len(examples), 1000):
            contents += b"".join(pool.map(content, examples[start : start + 1000]))
            bar.update(len(contents) // CONTENT_BYTES - bar.n)
    return np.frombuffer(contents, np.uint8).reshape(-1, CONTENT_BYTES)
