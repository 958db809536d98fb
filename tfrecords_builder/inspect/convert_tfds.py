"""A data folder -> one that `tensorflow_datasets` reads without this package.

    folder = convert_to_tfds("records/phantom/64", "tfds")
    builder = tfds.builder_from_directory(folder)

One shard becomes one file, in the same order, so memory is a batch of images. The features are:
  image                        uint8 or uint16 [size, size, 1], PNG
  label                        float32 [labels]: 1 present, 0 absent, NaN unknown; names in `builder.info.metadata`
  key, patient_key, view, sex  text, "" where unknown; the keys are salted hashes
  age                          float32, years, NaN where unknown
"""

import dataclasses
import json
import pathlib
import re
from types import ModuleType
from typing import Any

import cv2
import tensorflow as tf
from tqdm import tqdm

from tfcxr.data.atomic import write_atomically
from tfcxr.data.parsing import parse_batch
from tfcxr.data.picture_folder import CONVERSION, conversion_arguments
from tfcxr.data.records import OpenShard, open_shard, read_dataset_info, shard_paths
from tfcxr.data.schema import DatasetInfo, ShardInfo
from tfcxr.data.unfinished import finished_shard, make_folder

VERSION = "1.0.0"
BATCH_BYTES = 32 * 2**20  # of decoded images at once
_TEXTS = ("key", "patient_key", "view", "sex")


def convert_to_tfds(data_dir: str | pathlib.Path, out_dir: str | pathlib.Path) -> pathlib.Path:
    """Writes `OUT/<data set>/1.0.0/`, which appears when it is whole; a run that was killed is resumed.

    Returns:
      the folder for `tfds.builder_from_directory`.

    Raises:
      ImportError: tensorflow_datasets is not installed.
      FileNotFoundError: no data folder, or a shard is missing.
      FileExistsError: the folder is there already, or another process is making it.
      ValueError: an altered shard, a damaged record, a split name that TFDS does not take, no image at all, or an
        unfinished conversion of another source.
      OSError: the disk is full, or a file may not be written.
    """
    tfds = _import_tfds()
    info = read_dataset_info(data_dir)
    if not info.images_written:
        raise ValueError(f"{data_dir} holds no image to convert")
    name = _dataset_name(info.name)
    folder = pathlib.Path(out_dir) / name / VERSION
    features = _features(tfds, info)
    splits = [split for split, counts in info.splits.items() if counts.images]

    def arguments() -> dict[str, str]:
        for split in splits:
            shard_paths(data_dir, info, split, verify_checksums=True)
        return conversion_arguments(info, "tfds")

    def fill(growing: pathlib.Path, notes: pathlib.Path) -> None:
        split_infos = []
        with tqdm(total=info.images_written, unit=" images", disable=None) as bar:
            for split in splits:
                written, paths = [], shard_paths(data_dir, info, split)
                for index, path in enumerate(paths):
                    target = growing / f"{name}-{split}.tfrecord-{index:05d}-of-{len(paths):05d}"
                    note = notes / f"{target.name}.json"
                    shard = finished_shard(target, note)
                    if shard is None:
                        shard = _convert_shard(path, target, features, info, bar)
                        write_atomically(note, json.dumps(dataclasses.asdict(shard)))
                    else:
                        bar.update(shard.images)
                    written.append(shard)
                lengths, size = [shard.images for shard in written], sum(shard.bytes for shard in written)
                split_infos.append(
                    tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=size, filename_template=None)
                )
        _write_metadata(tfds, growing, features, split_infos, info)

    make_folder(folder, CONVERSION, arguments, fill)
    return folder


def _import_tfds() -> ModuleType:
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(
            f"--to=tfds needs tensorflow_datasets ({error}); install it with pip install tensorflow-datasets"
        ) from error
    return tensorflow_datasets


def _dataset_name(name: str) -> str:
    """A name that TFDS takes: small letters, digits and underscores, a letter first."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return plain if plain[:1].isalpha() else f"data_{plain}"


def _features(tfds: ModuleType, info: DatasetInfo) -> Any:
    document = tfds.features.Documentation
    dtype = tf.uint8 if info.bits == 8 else tf.uint16
    image = tfds.features.Image(shape=(info.image_size,) * 2 + (1,), dtype=dtype, encoding_format="png")
    names = f"1 present, 0 absent, NaN unknown; in this order: {', '.join(info.label_names)}"
    label = tfds.features.Tensor(shape=(len(info.label_names),), dtype=tf.float32, doc=document(desc=names))
    age = tfds.features.Scalar(dtype=tf.float32, doc=document(desc="years, NaN where unknown"))
    texts = {name: tfds.features.Text() for name in _TEXTS}
    return tfds.features.FeaturesDict({"image": image, "label": label, "age": age, **texts})


def _convert_shard(source: str, target: pathlib.Path, features: Any, info: DatasetInfo, bar: tqdm) -> ShardInfo:
    image_bytes = info.image_size**2 * info.bits // 8
    records = tf.data.TFRecordDataset(source).batch(max(1, min(256, BATCH_BYTES // image_bytes)))
    batches = records.map(lambda serialized: parse_batch(serialized, info)).prefetch(1)
    with open_shard(target) as shard:
        try:
            for batch in batches.as_numpy_iterator():
                _write_batch(shard, batch, features)
                bar.update(len(batch["key"]))
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
            raise ValueError(f"a record of {source} is damaged: {error.message}") from error
    return shard.info


def _write_batch(shard: OpenShard, batch: dict[str, Any], features: Any) -> None:
    for row, image in enumerate(batch["image"]):
        example = {name: batch[name][row].decode() for name in _TEXTS}
        example |= {"label": batch["label"][row], "age": batch["age"][row]}
        example["image"] = cv2.imencode(".png", image)[1].tobytes()
        shard.write(features.serialize_example(example))


def _write_metadata(
    tfds: ModuleType, folder: pathlib.Path, features: Any, split_infos: list, info: DatasetInfo
) -> None:
    licence = info.source.get("licence", "")
    paragraphs = [
        info.notice,
        f"Radiographs of {info.name} at {info.image_size} px; labels: {', '.join(info.label_names)}.",
        "Exactly one label of an image is 1." if info.is_single_label else "Any number of labels of an image is 1.",
        f"Licence: {licence}" if licence else "",
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features,
        split_infos=split_infos,
        version=VERSION,
        description="\n\n".join(filter(None, paragraphs)),
        homepage=info.source.get("homepage", ""),
        citation=info.source.get("citation", ""),
        supervised_keys=("image", "label"),
        license=licence or None,
        metadata=tfds.core.MetadataDict(_metadata(info)),
    )


def _metadata(info: DatasetInfo) -> dict[str, Any]:
    fields = (
        "is_single_label",
        "is_synthetic",
        "preprocessing",
        "provenance",
        "rejected",
        "salt_fingerprint",
        "notice",
    )
    kept = {name: getattr(info, name) for name in fields}
    return {name: getattr(info, name) for name in kept} | {
        "label_names": list(info.label_names),
        "licence": info.source.get("licence", ""),
    }
