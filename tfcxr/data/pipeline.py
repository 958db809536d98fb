"""Shards -> batches in [-1, 1], in an order that depends on the seed and the step alone.

    batches = training_batches("records/64", "train", batch_size=16, seed=0, start_step=2000)

A pipeline started at step 2000 gives what an uninterrupted one gives from its 2000th batch on, and reads nothing of
what came before: each step's records are found by their places.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from tfcxr.data.condition_values import condition_values, with_unknown
from tfcxr.data.label_choice import LabelChoice, choose_labels
from tfcxr.data.parsing import PEOPLE, parse_batch, parse_facts
from tfcxr.data.record_cache import RecordCache
from tfcxr.data.record_reader import RecordReader
from tfcxr.data.records import read_dataset_info, shard_paths, split_info
from tfcxr.data.schema import DatasetInfo
from tfcxr.data.shuffled_order import ShuffledOrder

READ_BUFFER_BYTES = 8 * 2**20
FACTS_BATCH = 64  # records parsed at once for what stands beside their pixels, which are in memory meanwhile


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """Images of one split in memory.

    Attributes:
      images: uint8 or uint16 [images, size, size, 1].
      labels: float32 [images, labels], NaN where unknown.
      keys, patient_keys: string arrays [images].
      info: the data set's description.
    """

    images: np.ndarray
    labels: np.ndarray
    keys: np.ndarray
    patient_keys: np.ndarray
    info: DatasetInfo


def from_pixels(image: tf.Tensor) -> tf.Tensor:
    """Stored pixels, uint8 or uint16 -> float32 in [-1, 1]. The only place where stored pixels become floats."""
    return tf.cast(image, tf.float32) * (2.0 / image.dtype.max) - 1.0


def to_pixels(image: tf.Tensor) -> tf.Tensor:
    """Float images in [-1, 1], clipped to it -> uint8. The only place where floats become stored pixels."""
    return tf.cast(tf.round((tf.clip_by_value(tf.cast(image, tf.float32), -1.0, 1.0) + 1.0) * 127.5), tf.uint8)


def find_data_dir(data_dir: str | os.PathLike, image_size: int) -> pathlib.Path:
    """The folder that holds the shards of one image size: `data_dir` itself or its folder named after the size.

    Raises:
      FileNotFoundError: neither is a data folder. ValueError: it holds images of another size.
    """
    data_dir = pathlib.Path(data_dir)
    if (data_dir / str(image_size)).is_dir():
        data_dir = data_dir / str(image_size)
    info = read_dataset_info(data_dir)
    if info.image_size != image_size:
        raise ValueError(
            f"{data_dir} holds images of {info.image_size} px, but {image_size} px were asked for; "
            f"build them with --image_sizes={image_size} or set image_size={info.image_size}"
        )
    return data_dir


def training_batches(
    data_dir: str | os.PathLike,
    split: str,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    verify_checksums: bool = False,
    shrink: int = 1,
    labels: Sequence[str] = (),
    conditions: Sequence[str] = (),
    rows: slice = slice(None),
    cache: bool = False,
) -> tf.data.Dataset:
    """Endless shuffled batches of equal size; every epoch shuffles the whole split, however large.

    Images that do not fill an epoch's last batch are left out of that epoch; the next one draws anew. With `shrink`
    they become so many times smaller, by the mean of shrink x shrink pixels. `labels` chooses among those of the data
    set, see `tfcxr.data.label_choice`; all where none is named. `conditions` are columns of `tfcxr.data.conditions`,
    which stand behind those of the labels in "label" alone. Of each batch, only `rows` are read, such as one worker's.
    With `cache`, decoded images are kept in memory: the same batches, without reading or decoding.

    Returns:
      a data set of {"image": float32 [rows, size, size, 1] in [-1, 1], "label": float32 [rows, labels], 0 where
      unknown, "label_mask": float32 [rows, labels], 1 where the label is known}.

    Raises:
      FileNotFoundError: no data folder, or a shard is missing.
      ValueError: a damaged shard, another schema version, no such split or label, fewer images than one batch, or with
        `cache` more pixels than there is memory. What a record is found to lack is raised by `reading_errors`.
    """
    info = read_dataset_info(data_dir)
    choice = choose_labels(info, labels)
    images = count_images(info, split, choice)
    reader = RecordReader(shard_paths(data_dir, info, split, verify_checksums), choice, images)
    if images < batch_size:
        raise ValueError(f"split {split!r} of {info.name} holds {images} images, too few for one batch of {batch_size}")
    order = ShuffledOrder(images, batch_size, seed)
    names = ("label", *(PEOPLE if conditions else ()))
    count = len(range(batch_size)[rows])
    cached = RecordCache(reader, info, images, names) if cache else None

    def places(step: np.ndarray) -> np.ndarray:
        return order.batch(int(step))[rows]

    def batch_of(step: tf.Tensor) -> dict[str, tf.Tensor]:
        if cached is not None:
            parsed = cached.batch(tf.numpy_function(places, [step], tf.int64), count)
        else:
            serialized = tf.numpy_function(lambda step: reader.read(places(step)), [step], tf.string)
            parsed = parse_batch(tf.ensure_shape(serialized, [count]), info, names)
        return _training_batch(parsed, choice, count, shrink, conditions)

    steps = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
    return steps.map(batch_of, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def count_images(info: DatasetInfo, split: str, choice: LabelChoice) -> int:
    """Images of a split that stay by a choice of labels; of exclusive classes each image has one."""
    stored = split_info(info, split)
    if not choice.drops_images:
        return stored.images
    return sum(stored.labels[name]["positive"] for name in choice.names)


def evaluation_batches(
    data_dir: str | os.PathLike, split: str, batch_size: int, verify_checksums: bool = False
) -> tf.data.Dataset:
    """One pass over a split in its stored order; the last batch may be smaller.

    Returns:
      what `parsing.parse_batch` gives: stored pixels, labels with NaN where unknown, and keys.
    """
    info = read_dataset_info(data_dir)
    paths = tf.data.Dataset.from_tensor_slices(shard_paths(data_dir, info, split, verify_checksums))
    batches = paths.flat_map(_read_shard).batch(batch_size)
    return batches.map(lambda serialized: parse_batch(serialized, info)).prefetch(2)


def load_images(
    data_dir: str | os.PathLike, splits: str | Sequence[str], max_images: int | None = None, seed: int = 0
) -> ImageSet:
    """Reads one or more splits into memory, or a random `max_images` of them, in stored order.

    Raises:
      ValueError: fewer than `max_images` images, or a record that cannot be read.
    """
    info = read_dataset_info(data_dir)
    splits = [splits] if isinstance(splits, str) else list(splits)
    chosen = choose_images(info, splits, max_images, seed)
    total = len(chosen)
    columns: dict[str, list[np.ndarray]] = {"image": [], "label": [], "key": [], "patient_key": []}
    position = 0
    for split in splits:
        with _damage_reported(data_dir, split):
            for batch in evaluation_batches(data_dir, split, batch_size=256).as_numpy_iterator():
                images = len(batch["key"])
                kept = chosen[position : position + images]
                position += images
                if len(kept) == images:
                    for name, column in columns.items():
                        column.append(batch[name][kept])
    if position != total:
        raise ValueError(f"{data_dir} is damaged: it holds {position} images, not {total}; build the data set again")
    return ImageSet(
        images=np.concatenate(columns["image"]),
        labels=np.concatenate(columns["label"]),
        keys=np.concatenate(columns["key"]).astype(str),
        patient_keys=np.concatenate(columns["patient_key"]).astype(str),
        info=info,
    )


def choose_images(info: DatasetInfo, splits: Sequence[str], max_images: int | None = None, seed: int = 0) -> np.ndarray:
    """Which images of some splits, in stored order, are a random `max_images` of them (None: all), bool [images].

    Raises:
      ValueError: no such split, or fewer than `max_images` images.
    """
    total = sum(split_info(info, split).images for split in splits)
    if max_images is not None and total < max_images:
        raise ValueError(f"{max_images} images were asked for, but {info.name} holds {total} in {', '.join(splits)}")
    chosen = np.zeros(total, bool)
    chosen[np.random.default_rng(seed).permutation(total)[:max_images]] = True
    return chosen


def read_facts(data_dir: str | os.PathLike, splits: str | Sequence[str]) -> dict[str, np.ndarray]:
    """What is stored beside the pixels of one or more splits, in stored order; no pixel is decoded.

    Returns:
      "label" float32 [images, labels], NaN where unknown; "key", "patient_key", "view", "sex" string [images];
      "age" float32 [images] in years, NaN where unknown.

    Raises:
      FileNotFoundError: no data folder, or a shard is missing.
      ValueError: no such split, or a record that cannot be read.
    """
    info = read_dataset_info(data_dir)
    splits = [splits] if isinstance(splits, str) else list(splits)
    batches: list[dict[str, np.ndarray]] = []
    for split in splits:
        records = tf.data.TFRecordDataset(shard_paths(data_dir, info, split), buffer_size=READ_BUFFER_BYTES)
        parsed = records.batch(FACTS_BATCH).map(lambda serialized: parse_facts(serialized, info))
        with _damage_reported(data_dir, split):
            batches.extend(parsed.as_numpy_iterator())
    facts = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    total = sum(split_info(info, split).images for split in splits)
    if len(facts["key"]) != total:
        raise ValueError(f"{data_dir} is damaged: it holds {len(facts['key'])} images, not {total}; build it again")
    return {name: values.astype(str) if values.dtype == object else values for name, values in facts.items()}


@contextlib.contextmanager
def _damage_reported(data_dir: str | os.PathLike, split: str) -> Iterator[None]:
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        raise ValueError(f"a record of split {split!r} in {data_dir} is damaged: {error.message}") from error
    except UnicodeDecodeError as error:  # TensorFlow's message repeats a damaged name, which is not text
        raise ValueError(f"a record of split {split!r} in {data_dir} is damaged: it is no record") from error


def _read_shard(path: tf.Tensor) -> tf.data.Dataset:
    return tf.data.TFRecordDataset(path, buffer_size=READ_BUFFER_BYTES)


def _training_batch(
    parsed: dict[str, tf.Tensor], choice: LabelChoice, rows: int, shrink: int, conditions: Sequence[str]
) -> dict[str, tf.Tensor]:
    label = tf.gather(parsed["label"], choice.columns, axis=1) if choice.columns else parsed["label"]
    known = tf.logical_not(tf.math.is_nan(label))
    image = from_pixels(parsed["image"])
    batch = {
        "image": image if shrink == 1 else tf.nn.avg_pool2d(image, shrink, shrink, "VALID"),
        "label": tf.where(known, label, 0.0),
        "label_mask": tf.cast(known, tf.float32),
    }
    if conditions:
        batch["label"] = tf.concat([batch["label"], with_unknown(condition_values(parsed, conditions))], axis=1)
    return {name: tf.ensure_shape(tensor, [rows, *tensor.shape[1:]]) for name, tensor in batch.items()}
