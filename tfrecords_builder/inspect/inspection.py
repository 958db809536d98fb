"""What a data folder holds: tables of labels, ages and views as text, and a page with a contact sheet.

Every record is read once, without decoding pixels; those of the few pictures shown are decoded at the end.
"""

import collections
import dataclasses
import hashlib
import heapq
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from tfcxr.data.records import shard_paths
from tfcxr.data.schema import MAX_AGE_YEARS, DatasetInfo, SplitInfo
from tfcxr.registry import nearest_name
from tfrecords_builder.inspect.data_folders import find_data_folders, read_usable_info
from tfrecords_builder.inspect.stored_records import StoredRecord, check_record, decode_pixels, read_shard

NO_LABEL = "none of the labels"
SPLIT_ORDER = ("train", "validation", "held_out", "test")  # in tables; others follow
AGE_STEPS = 10  # ages are counted by tenths of a year


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What was found in a data folder.

    Attributes:
      info: what the info file says.
      read_splits: the splits whose records were read, which all that follows is about.
      views, sexes: value -> images, "" where unknown.
      ages: int64 [901], images at each tenth of a year from 0 to 90.
      unknown_ages: images without an age.
      together: int64 [labels, labels], images that have both labels; the diagonal holds those that have one.
      rows: label name, or `NO_LABEL`, -> random pictures that have it, uint8 [height, width], each with a caption.
    """

    info: DatasetInfo
    read_splits: tuple[str, ...]
    views: Mapping[str, int]
    sexes: Mapping[str, int]
    ages: np.ndarray
    unknown_ages: int
    together: np.ndarray
    rows: Mapping[str, Sequence[tuple[np.ndarray, str]]]


def inspect_data_dir(
    data_dir: str | pathlib.Path, images: int = 48, splits: Sequence[str] = (), seed: int = 0
) -> Inspection:
    """Reads a data folder, or the largest size of a build's folder.

    Args:
      images: about this many pictures are kept, the same number for each label.
      splits: the splits to read; all when empty.

    Raises:
      FileNotFoundError: no data folder, or a shard is missing.
      ValueError: fewer than 1 image asked for, no such split, or a record that is damaged or not of the schema.
    """
    if images < 1:
        raise ValueError(f"images expects 1 or more, got {images}")
    folder = find_data_folders(data_dir)[-1]
    info = read_usable_info(folder)
    for split in splits:
        if split not in info.splits:
            raise ValueError(f"{folder} has no split {split!r}; {nearest_name(split, info.splits)}")
    reading = _Reading(info, images, seed)
    names = [name for name in ordered_splits(info) if not splits or name in splits]
    with tqdm(total=sum(info.splits[name].images for name in names), unit="image", disable=None) as progress:
        for name in names:
            paths = shard_paths(folder, info, name) if info.splits[name].images else []
            for path, shard in zip(paths, info.splits[name].shards, strict=bool(paths)):
                try:
                    for serialized in read_shard(pathlib.Path(path), shard):
                        reading.add(name, serialized)
                        progress.update()
                except ValueError as error:
                    raise ValueError(
                        f"shard {path} cannot be read: {error}; "
                        f"python -m tfrecords_builder verify {folder} lists all problems"
                    ) from error
    counted = (reading.views, reading.sexes, reading.ages, reading.unknown_ages, reading.together)
    return Inspection(info, tuple(names), *counted, reading.pictures())


def age_quantile(ages: np.ndarray, share: float) -> float:
    """The age in years below or at which `share` of the images lie; `ages` as in `Inspection`, NaN when empty."""
    total = ages.sum()
    return float(np.searchsorted(ages.cumsum(), max(share * total, 1)) / AGE_STEPS) if total else math.nan


def ordered_splits(info: DatasetInfo) -> dict[str, SplitInfo]:
    """The splits in the order in which people name them, train first."""
    names = [name for name in SPLIT_ORDER if name in info.splits]
    return {name: info.splits[name] for name in (*names, *(sorted(info.splits.keys() - set(names))))}


class _Reading:
    """Counts records as they come, and keeps those that are drawn for the contact sheet."""

    def __init__(self, info: DatasetInfo, images: int, seed: int) -> None:
        self.views: collections.Counter[str] = collections.Counter()
        self.sexes: collections.Counter[str] = collections.Counter()
        self.ages = np.zeros(int(MAX_AGE_YEARS) * AGE_STEPS + 1, np.int64)
        self.unknown_ages = 0
        self.together = np.zeros((len(info.label_names),) * 2, np.int64)
        self._info, self._seed = info, seed
        self._row_names = [*info.label_names, *([] if info.is_single_label else [NO_LABEL])]
        self._images_of_row = max(1, images // len(self._row_names))
        self._drawn: list[list[tuple[int, bytes, str]]] = [[] for _ in self._row_names]

    def add(self, split: str, serialized: bytes) -> None:
        record = check_record(serialized, self._info)
        if record.flaws:
            raise ValueError("; ".join(f"{kind} ({detail})" for kind, detail in record.flaws))
        self.views[record.view.decode()] += 1
        self.sexes[record.sex.decode()] += 1
        if math.isnan(record.age):
            self.unknown_ages += 1
        else:
            self.ages[round(record.age * AGE_STEPS)] += 1
        present = [index for index, value in enumerate(record.label) if value == 1]
        for index in present:
            self.together[index, present] += 1
        for index in present or ([len(record.label)] if len(self._row_names) > len(record.label) else []):
            drawn = self._drawn[index]
            push = heapq.heappush if len(drawn) < self._images_of_row else heapq.heappushpop
            # The heap gives its least first, which here is the last by rank.
            push(drawn, (-self._rank(index, record.key), serialized, _caption(split, record)))

    def _rank(self, row: int, key: bytes) -> int:
        """Random, by the key alone, so that the choice does not depend on the order of shards; another in each row."""
        return int.from_bytes(hashlib.blake2b(b"%d %d " % (self._seed, row) + key, digest_size=8).digest(), "little")

    def pictures(self) -> dict[str, list[tuple[np.ndarray, str]]]:
        """The drawn pictures of each row that has any, decoded to 8 bits."""
        rows = {}
        for name, drawn in zip(self._row_names, self._drawn, strict=True):
            if drawn:
                try:
                    shown = [
                        (_eight_bits(decode_pixels(serialized, self._info)), caption)
                        for _, serialized, caption in sorted(drawn, reverse=True)
                    ]
                except ValueError as error:
                    raise ValueError(f"pixels of a record with label {name} are damaged: {error}") from error
                rows[name] = shown
        return rows


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    return (pixels // 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels


def _caption(split: str, record: StoredRecord) -> str:
    age = "" if math.isnan(record.age) else f"{record.age:.0f} y"
    return " · ".join(filter(None, [split, record.view.decode(), record.sex.decode(), age]))


def describe(found: Inspection) -> str:
    """Tables and facts as plain text."""
    info = found.info
    lines = [f"{info.name}, {info.image_size} px, {info.bits} bits, {info.encoding}"]
    lines += [info.notice] if info.notice else []
    for header, rows in tables(found):
        widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
        lines.append("")
        for row in (header, *rows):
            numbers = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join([row[0].ljust(widths[0]), *numbers]).rstrip())
    lines.append("")
    lines += [f"{name}: {value}" for name, value in facts(found).items()]
    return "\n".join(lines)


def tables(found: Inspection) -> list[tuple[list[str], list[list[str]]]]:
    """Header and rows of: splits and labels; labels that occur together, where several may."""
    info = found.info
    splits = ordered_splits(info)
    header = ["", *splits, *(["all"] if len(splits) > 1 else [])]
    rows = [["images"], ["patients"], *([name] for name in info.label_names)]
    sums = [list(splits.values())] if len(splits) > 1 else []
    for group in [[split] for split in splits.values()] + sums:
        rows[0].append(str(sum(split.images for split in group)))
        rows[1].append(str(sum(split.patients for split in group)))
        for row, name in zip(rows[2:], info.label_names, strict=True):
            counts = collections.Counter()
            for split in group:
                counts.update(split.labels[name])
            row.append(_positives(counts))
    found_tables = [(header, rows)]
    if not info.is_single_label and len(info.label_names) > 1:
        numbered = [f"{number} {name}" for number, name in enumerate(info.label_names, start=1)]
        together = [[name, *map(str, counts)] for name, counts in zip(numbered, found.together, strict=True)]
        found_tables.append((["together", *map(str, range(1, len(numbered) + 1))], together))
    return found_tables


def _positives(counts: Mapping[str, int]) -> str:
    known = counts["positive"] + counts["negative"]
    share = f" ({counts['positive'] / known:.1%})" if known else ""
    return f"{counts['positive']}{share}" + (f", {counts['unknown']} unknown" if counts["unknown"] else "")


def facts(found: Inspection) -> dict[str, str]:
    """What else is to be said, name -> text; empty facts are left out."""
    info = found.info
    known_ages = int(found.ages.sum())
    quartiles = ", ".join(f"{age_quantile(found.ages, share):g}" for share in (0.25, 0.5, 0.75))
    lowest, highest = age_quantile(found.ages, 0), age_quantile(found.ages, 1)
    ages = f"{lowest:g} to {highest:g}, quartiles {quartiles}, " if known_ages else ""
    read = "" if len(found.read_splits) == len(info.splits) else f" of {', '.join(found.read_splits)}"
    all_facts = {
        f"views{read}": _counted(found.views),
        f"sexes{read}": _counted(found.sexes),
        f"ages in years{read}": f"{ages}unknown {found.unknown_ages}",
        "read": f"{info.images_read} = written {info.images_written} + rejected {sum(info.rejected.values())}",
        "rejected": _counted(info.rejected),
        "notices": _counted(info.notices),
        **{name: str(text) for name, text in info.source.items()},
        "preprocessing": _plain(info.preprocessing),
        "provenance": _plain(info.provenance),
        "patients hashed with": f"the salt of fingerprint {info.salt_fingerprint}" if info.salt_fingerprint else "",
    }
    return {name: text for name, text in all_facts.items() if text}


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'unknown'} {count}" for name, count in sorted(counts.items()))


def _plain(value: Any) -> str:
    """Settings as a person would write them."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_plain, value)) + "]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
