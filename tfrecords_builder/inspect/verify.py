"""Whether data folders are what their `dataset_info.json` says, at all sizes, and share nobody with other folders.

found = verify_folder("runs/phantom", against=["runs/other"])
"""

import dataclasses
import pathlib
from collections.abc import Container, Sequence

import numpy as np
from tqdm import tqdm

from tfcxr.data.schema import DatasetInfo
from tfrecords_builder.choices import check_choice
from tfrecords_builder.inspect.data_folders import find_data_folders, keep_splits_advice, read_usable_info
from tfrecords_builder.inspect.folder_check import (
    COUNTS,
    EXAMPLES_SHOWN,
    FolderContents,
    Problem,
    ProblemTally,
    check_folder,
)
from tfrecords_builder.inspect.stored_records import key_hashes, places_of

DECODE_CHOICES = ("sample", "all", "none")

BAD_INFO = "dataset_info.json cannot be used"
UNFINISHED = "work here is not finished, run its command again"
SIZES_DIFFER = "image sizes do not hold the same"
SHARED_KEY = "image key is in another folder too"
SHARED_PATIENT = "patient is in another folder too"
PATIENT_IN_OTHER_SPLIT = "patient is in another split of another folder"
NOT_COMPARABLE = "patients cannot be compared with another folder's"


@dataclasses.dataclass(frozen=True)
class Verification:
    """What was found.

    Attributes:
      problems: in the order in which they were met.
      notes: on what could not be judged.
      contents: what was read, of each size.
      kept: the folders whose shared patients are in the same split here, where --keep_splits left them.
      advice: how the problems are mended.
    """

    problems: list[Problem]
    notes: list[str]
    contents: list[FolderContents]
    kept: list[str]
    advice: list[str]


def verify_folder(
    data_dir: str | pathlib.Path,
    against: Sequence[str | pathlib.Path] = (),
    decode: str = "sample",
    sample: int = 200,
    seed: int = 0,
) -> Verification:
    """Checks info, files, checksums, records, labels, counts, keys, patients and pixels of a data folder.

    Args:
      data_dir: a data folder, or a folder with one for each size, which must then all hold the same images.
      against: data folders that must share no image and no patient with it; where it was built with --keep_splits, no
        patient of another split.
      decode: whose pixels to decode: those of a "sample", "all" or "none".
      sample: how many pictures of each folder a sample has; it is drawn with `seed`.

    Raises:
      FileNotFoundError: no data folder.
      ValueError: an unknown `decode`, a sample below 1, or a folder of `against` that is `data_dir` itself or cannot
        be used.
    """
    check_choice("decode", decode, DECODE_CHOICES)
    if sample < 1:
        raise ValueError(f"sample expects 1 image or more, got {sample}; to decode none say decode=none")
    data_dir = pathlib.Path(data_dir)
    tallies = [ProblemTally(folder) for folder in find_data_folders(data_dir)]
    infos = [_usable_info(tally) for tally in tallies]
    others = [_other_folder(data_dir, other) for other in against]
    whole = ProblemTally(data_dir)
    for folder in filter(pathlib.Path.is_dir, sorted(data_dir.glob("unfinished_*"))):  # of build, cohort or merge
        whole.add(UNFINISHED, folder.name)
    known = [info for info in (*infos, *(info for _, info in others)) if info is not None]
    images = sum(split.images for info in known for split in info.splits.values())
    contents = []
    with tqdm(total=images, desc="verifying", unit="image", disable=None) as progress:
        for tally, info in zip(tallies, infos, strict=True):
            if info is not None:
                chosen = _positions_to_decode(info, decode, sample, seed)
                contents.append(check_folder(tally.folder, info, chosen, tally, progress.update))
        for other in contents[1:]:
            _compare_sizes(contents[0], other, whole)
        kept = [
            str(name)
            for name, (folder, info) in zip(against, others, strict=True)
            if contents and _compare_with(contents[0], folder, info, whole, progress)
        ]
    tallies.append(whole)
    problems = [problem for tally in tallies for problem in tally.problems()]
    notes = [f"{tally.folder}: {note}" for tally in tallies for note in tally.notes]
    advice = _advice({problem.kind for problem in problems}, data_dir, against)
    return Verification(problems, notes, contents, kept, advice)


def _advice(kinds: set[str], data_dir: pathlib.Path, against: Sequence[str | pathlib.Path]) -> list[str]:
    advice = []
    if kinds - {SHARED_KEY, SHARED_PATIENT, PATIENT_IN_OTHER_SPLIT, NOT_COMPARABLE}:
        advice.append("restore the files or build it again")
    if PATIENT_IN_OTHER_SPLIT in kinds:
        advice.append(keep_splits_advice(" or ".join(map(str, against)), data_dir))
    elif kinds & {SHARED_KEY, SHARED_PATIENT}:
        advice.append("leave what is shared out of one of the folders")
    return advice


def _positions_to_decode(info: DatasetInfo, decode: str, sample: int, seed: int) -> Container[int]:
    images = sum(shard.images for split in info.splits.values() for shard in split.shards)
    if decode == "sample" and images > sample:
        return set(np.random.default_rng(seed).choice(images, sample, replace=False).tolist())
    return range(0 if decode == "none" else 2**62)


def _usable_info(tally: ProblemTally) -> DatasetInfo | None:
    """The info of a folder; None, and a problem, when nothing can be checked by it."""
    try:
        info = read_usable_info(tally.folder)
    except (OSError, ValueError) as error:
        tally.add(BAD_INFO, str(error))
        return None
    for name, split in info.splits.items():
        in_shards = sum(shard.images for shard in split.shards)
        if in_shards != split.images:
            tally.add(COUNTS, f"the info gives split {name} {split.images} images, its shards {in_shards}")
    in_splits = sum(split.images for split in info.splits.values())
    if info.images_written != in_splits:
        tally.add(COUNTS, f"the info says {info.images_written} images written, its splits hold {in_splits}")
    return info


def _other_folder(data_dir: pathlib.Path, other: str | pathlib.Path) -> tuple[pathlib.Path, DatasetInfo]:
    folder = find_data_folders(other)[0]
    if folder.resolve() in (found.resolve() for found in find_data_folders(data_dir)):
        raise ValueError(f"{other} cannot be compared with itself; name other folders to verify {data_dir} against")
    return folder, read_usable_info(folder)


def _compare_sizes(first: FolderContents, other: FolderContents, tally: ProblemTally) -> None:
    names = f"{first.folder.name} and {other.folder.name}"
    for field in ("name", "label_names", "is_single_label", "images_read", "rejected", "salt_fingerprint"):
        if getattr(first.info, field) != getattr(other.info, field):
            tally.add(SIZES_DIFFER, f"{names} have another {field} in their infos")
    for split in dict.fromkeys([*first.splits, *other.splits]):
        here, there = first.splits.get(split), other.splits.get(split)
        if here is None or there is None:
            tally.add(SIZES_DIFFER, f"of {names} only one has split {split}")
        elif not (here.is_whole and there.is_whole):
            tally.notes.append(f"split {split!r} of sizes {names} was not compared, for not all of it can be read")
        elif here.key_order != there.key_order:
            tally.add(SIZES_DIFFER, f"{names} hold other image keys in split {split}, or in another order")
        elif here.facts != there.facts:
            tally.add(SIZES_DIFFER, f"{names} hold other labels, patients, views, ages or sexes in split {split}")


def _compare_with(
    contents: FolderContents, folder: pathlib.Path, info: DatasetInfo, tally: ProblemTally, progress: tqdm
) -> bool:
    """Adds the image keys and patients that two folders share, or says why that cannot be judged.

    Returns:
      whether they share patients in the same split, where --keep_splits left them, which is no problem.
    """
    is_synthetic = contents.info.is_synthetic or info.is_synthetic
    if not is_synthetic and contents.info.salt_fingerprint != info.salt_fingerprint:
        tally.add(NOT_COMPARABLE, f"{folder} was built with another salt; build both with one --salt_file")
        return False
    try:
        hashes = key_hashes(folder, info, progress.update)
    except ValueError as error:
        tally.add(NOT_COMPARABLE, str(error))
        return False

    def add_shared(kind: str, shared: np.ndarray, of_patients: bool, split: str) -> None:
        places = places_of(contents.folder, contents.info, shared[:EXAMPLES_SHOWN], of_patients)
        tally.add(kind, *(f"{place} and in {split} of {folder}" for place in places), count=len(shared))

    are_kept = contents.info.name == info.name and bool(contents.info.preprocessing.get("kept_patients"))
    shared_patients = kept_patients = 0
    for name, split in contents.splits.items():
        for other, (keys, patients) in hashes.items():
            shared = np.intersect1d(split.patients, patients)
            shared_patients += len(shared)
            if are_kept and name == other:
                kept_patients += len(shared)
                continue
            add_shared(SHARED_KEY, np.intersect1d(split.keys, keys), False, other)
            if not is_synthetic:
                add_shared(SHARED_PATIENT if name == other else PATIENT_IN_OTHER_SPLIT, shared, True, other)
    if is_synthetic:
        tally.notes.append(f"image keys alone were compared with {folder}, for synthetic images have no patients")
    elif contents.info.name != info.name and not shared_patients:
        tally.notes.append(
            f"{folder} holds {info.name}, not {contents.info.name}: names of patients are hashed with the data set's, "
            "so a patient who is in both would not be seen"
        )
    return kept_patients > 0
