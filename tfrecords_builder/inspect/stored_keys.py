"""Image keys and patient keys of data folders as hashes of 8 bytes, and where a key stands."""

import collections
import hashlib
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from tfcxr.data.schema import DatasetInfo
from tfrecords_builder.inspect.stored_records import check_record, read_shard, text_of


def key_hash(key: bytes) -> bytes:
    """8 bytes that stand for a key; among ten million keys two share them with a chance of one in 370,000."""
    return hashlib.blake2b(key, digest_size=8).digest()


def key_hashes(
    folder: pathlib.Path, info: DatasetInfo, on_images: Callable[[int], object]
) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all image keys and of all patient keys of a folder, uint64 [images] and [patients].

    Args:
      on_images: called with a number of images that were read.

    Raises:
      ValueError: a shard is missing or damaged.
    """
    keys, patients = bytearray(), bytearray()
    for shard in (shard for split in info.splits.values() for shard in split.shards):
        if not (folder / shard.file).is_file():
            raise ValueError(f"shard {folder / shard.file} is missing")
        try:
            for batch in read_shard(folder / shard.file, shard):
                for record in (check_record(serialized, info) for serialized in batch):
                    keys += key_hash(record.key)
                    patients += key_hash(record.patient_key)
                on_images(len(batch))
        except ValueError as error:
            raise ValueError(f"shard {folder / shard.file} is {error}") from error
    return np.frombuffer(keys, "<u8"), np.unique(np.frombuffer(patients, "<u8"))


def repeated(hashes: Sequence[np.ndarray]) -> np.ndarray:
    """The values that occur more than once in all of some uint64 arrays, sorted."""
    values = np.sort(np.concatenate([np.zeros(0, "<u8"), *hashes]))
    return np.unique(values[1:][values[1:] == values[:-1]])


def places_of(folder: pathlib.Path, info: DatasetInfo, hashes: np.ndarray, of_patients: bool = False) -> list[str]:
    """Where a few keys stand, found by another reading: a text such as "1f3a in train, 1f3a in test" each.

    Shards that cannot be read are passed over.
    """
    found = {int(value): collections.Counter() for value in hashes}
    for name, split in info.splits.items() if found else ():
        for shard in split.shards:
            try:
                for batch in read_shard(folder / shard.file, shard):
                    for record in (check_record(serialized, info) for serialized in batch):
                        key = record.patient_key if of_patients else record.key
                        places = found.get(int.from_bytes(key_hash(key), "little"))
                        if places is not None:
                            places[f"{text_of(key)} in {name}"] += 1
            except ValueError:
                continue
    return [", ".join(_times(place, times) for place, times in places.items()) for places in found.values()]


def _times(place: str, times: int) -> str:
    return place if times == 1 else f"{place} {times} times"
