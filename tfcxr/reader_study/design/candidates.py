"""The images that a study may be drawn from: found in data folders without decoding a pixel or starting TensorFlow."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging
from google.protobuf.message import DecodeError

from tfcxr.data.example import Example
from tfcxr.data.records import read_dataset_info, shard_paths, split_info
from tfcxr.data.schema import DatasetInfo, record_image
from tfcxr.data.tfrecord import CHECKSUM_BYTES, HEAD_BYTES, read_records
from tfcxr.data.training_patients import read_training_patients

HELD_OUT_SPLITS = ("held_out", "test")
SECOND_CHOICE = "validation"  # it has chosen checkpoints, but no gradient came from it


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One stored image.

    Attributes:
      cohort: name of its data set.
      record: its key there.
      patient: key of its patient, or of its pseudo-patient; "" where there is none.
      labels: names of its findings.
      pixels_sha256: of its pixels as they are stored; equal images of one encoding have equal ones.
      shard: file of its record.
      start: first byte of the record there.
      size: bytes of the record.
    """

    cohort: str
    record: str
    patient: str
    labels: tuple[str, ...]
    pixels_sha256: str
    shard: pathlib.Path
    start: int
    size: int


@dataclasses.dataclass(frozen=True)
class Cohort:
    """Images of one data folder.

    Attributes:
      data_dir: the folder.
      info: its description.
      splits: those that were read.
      candidates: their images, in stored order.
    """

    data_dir: pathlib.Path
    info: DatasetInfo
    splits: tuple[str, ...]
    candidates: tuple[Candidate, ...]

    def image(self, candidate: Candidate) -> np.ndarray:
        """Decodes one image: uint8 or uint16 [size, size].

        Raises:
          ValueError: a damaged record.
        """
        with candidate.shard.open("rb") as file:
            file.seek(candidate.start)
            try:
                return record_image(file.read(candidate.size), self.info)
            except ValueError as error:
                raise ValueError(f"a record of {candidate.shard} is damaged: {error}; build it again") from error


def held_out_splits(info: DatasetInfo, data_dir: str | os.PathLike) -> tuple[str, ...]:
    """Splits that no generator was trained on: held_out and test; without either, validation.

    Raises:
      ValueError: there is none with images.
    """
    filled = [name for name, split in info.splits.items() if split.images]
    chosen = tuple(name for name in HELD_OUT_SPLITS if name in filled) or (
        (SECOND_CHOICE,) if SECOND_CHOICE in filled else ()
    )
    if not chosen:
        raise ValueError(
            f"{data_dir} has no held-out images, only {', '.join(filled)}; training images are shown only if you name "
            f"them: --splits={filled[0] if filled else 'train'}"
        )
    return chosen


def read_cohort(data_dir: str | os.PathLike, splits: Sequence[str] = (), *, is_synthetic: bool) -> Cohort:
    """Finds the images of a data folder.

    Args:
      data_dir: folder with dataset_info.json.
      splits: of the folder; where empty, all of a synthetic cohort and the held-out ones of a real one.
      is_synthetic: what the folder must say of itself.

    Raises:
      FileNotFoundError: no data folder, or a shard is missing.
      ValueError: a synthetic folder given as a real one or the reverse, no such split, or a damaged shard.
    """
    data_dir = pathlib.Path(data_dir)
    info = read_dataset_info(data_dir)
    if info.is_synthetic != is_synthetic:
        found, flag, other = (
            ("a generator made", "real_dir", "synthetic_dir")
            if info.is_synthetic
            else ("no generator made", "synthetic_dir", "real_dir")
        )
        raise ValueError(f"--{flag}={data_dir} holds images that {found}; give it as --{other}")
    if not splits:
        filled = tuple(name for name, split in info.splits.items() if split.images)
        splits = filled if is_synthetic else held_out_splits(info, data_dir)
    candidates: list[Candidate] = []
    for split in splits:
        shards = split_info(info, split).shards
        for path, shard in zip(shard_paths(data_dir, info, split), shards, strict=True):
            found_here = _candidates_of(pathlib.Path(path), info)
            if len(found_here) != shard.images:
                raise ValueError(f"shard {path} is damaged: it holds {len(found_here)} images, not {shard.images}")
            candidates += found_here
    return Cohort(data_dir, info, tuple(splits), tuple(candidates))


def training_patients(synthetic: Cohort, real: Cohort) -> frozenset[str] | None:
    """Keys of the patients that a cohort's generator was trained on; it writes them beside its cohorts.

    Args:
      synthetic: the cohort.
      real: images whose patients are to be compared.

    Returns:
      the keys; None where the folder does not name them, or where another salt than that of `real` made them.
    """
    patients = read_training_patients(synthetic.data_dir, synthetic.info)
    if patients is None or patients.salt_fingerprint != real.info.salt_fingerprint:
        return None
    return patients.keys


def unseen_candidates(real: Cohort, synthetic: Sequence[Cohort], *, keeps_seen: bool = False) -> list[Candidate]:
    """Images of patients that no generator was trained on, as far as that can be told; the log says what cannot.

    Args:
      real: the images.
      synthetic: cohorts of the generators.
      keeps_seen: only warn of the others.
    """
    seen: set[str] = set()
    for cohort in synthetic:
        patients = training_patients(cohort, real)
        if patients is None:
            logging.warning(
                "%s does not tell whether its generator was trained on patients of %s; show images it has not seen",
                cohort.data_dir,
                real.data_dir,
            )
        seen |= patients or set()
    unseen = [candidate for candidate in real.candidates if candidate.patient not in seen]
    if count := len(real.candidates) - len(unseen):
        logging.warning(
            "%d images of %s are of patients that a generator was trained on; %s",
            count,
            real.data_dir,
            "they may be shown, since --splits was given" if keeps_seen else "they are left out",
        )
    return list(real.candidates) if keeps_seen else unseen


def check_alike(cohorts: Sequence[Cohort]) -> None:
    """Checks that no cohort can be told from another by the size or depth of its images.

    Raises:
      ValueError: cohorts of different image size or bit depth, or one folder given twice.
    """
    first = cohorts[0]
    for cohort in cohorts[1:]:
        for name, unit in (("image_size", "px"), ("bits", "bits")):
            ours, theirs = getattr(first.info, name), getattr(cohort.info, name)
            if ours != theirs:
                raise ValueError(
                    f"{first.data_dir} has images of {ours} {unit}, {cohort.data_dir} of {theirs} {unit}; that alone "
                    f"could tell them apart: build both with the same {name}"
                )
    folders = [cohort.data_dir.resolve() for cohort in cohorts]
    for folder in folders:
        if folders.count(folder) > 1:
            raise ValueError(f"{folder} is given twice; its images would be shown twice")


def _candidates_of(path: pathlib.Path, info: DatasetInfo) -> list[Candidate]:
    candidates, start = [], 0
    try:
        for record in read_records(path):
            features = Example.FromString(record).features.feature
            values = features["label"].float_list.value
            candidates.append(
                Candidate(
                    cohort=info.name,
                    record=features["image/key"].bytes_list.value[0].decode(),
                    patient=features["patient/key"].bytes_list.value[0].decode(),
                    labels=tuple(name for name, value in zip(info.label_names, values, strict=True) if value == 1.0),
                    pixels_sha256=hashlib.sha256(features["image/bytes"].bytes_list.value[0]).hexdigest(),
                    shard=path,
                    start=start + HEAD_BYTES,
                    size=len(record),
                )
            )
            start += HEAD_BYTES + len(record) + CHECKSUM_BYTES
    except (DecodeError, IndexError, ValueError) as error:
        raise ValueError(f"shard {path} is damaged: {error}; build the data set again") from error
    return candidates
