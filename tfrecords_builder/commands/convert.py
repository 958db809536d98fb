"""Converts a data folder into the format of another library.

  python -m tfrecords_builder convert cohorts/acgan/64 --to=png --out_dir=pictures
  python -m tfrecords_builder convert cohorts/acgan/64 --to=dicom --out_dir=dicom
  python -m tfrecords_builder convert records/phantom/64 --to=tfds --out_dir=tfds

The folder appears when it is whole; a conversion that was killed is resumed by the same command.
`png` and `dicom` write a file per image and a labels.csv; each file of a synthetic image says that it is one, and which
model, seed and labels made it. `dicom` takes synthetic images alone.
`tfds.builder_from_directory("tfds/phantom/1.0.0")` reads the output of `tfds` without this package.

Nobody has to convert in order to train: the shards are TFRecord files, which TensorFlow reads by itself.
`dataset_info.json` says how large the images are, how they are stored, and what the labels are called.

  import json, tensorflow as tf
  info = json.load(open("records/phantom/64/dataset_info.json"))
  shards = tf.io.gfile.glob("records/phantom/64/train-*.tfrecord")
  spec = {"image/bytes": tf.io.FixedLenFeature([], tf.string),
          "label": tf.io.FixedLenFeature([len(info["label_names"])], tf.float32)}
  examples = tf.data.TFRecordDataset(shards).map(lambda record: tf.io.parse_single_example(record, spec))

Where `info["encoding"]` is "raw", an image is `tf.io.decode_raw(example["image/bytes"], tf.uint8)`, row by row; where
it is "png", `tf.io.decode_png(example["image/bytes"])`. Images of 16 bits are `tf.uint16`.
"""

import contextlib
import dataclasses
from collections.abc import Callable

from absl import logging

from tfcxr.command_line import flag
from tfcxr.registry import Registry
from tfcxr.startup import tensorflow_started
from tfrecords_builder.commands.data_folder import FolderArguments

FORMATS: Registry[Callable] = Registry(
    png="tfrecords_builder.inspect.convert_pictures:convert_to_png",
    dicom="tfrecords_builder.inspect.convert_pictures:convert_to_dicom",
    tfds="tfrecords_builder.inspect.convert_tfds:convert_to_tfds",
)
HOW_TO_READ = {
    "png": "labels.csv beside the pictures has their labels",
    "dicom": "labels.csv beside the pictures has their labels",
    "tfds": 'read it with tensorflow_datasets.builder_from_directory("{folder}")',
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvertArguments(FolderArguments):
    """What to convert.

    Attributes:
      to: Format to write.
      out_dir: Folder to write to.
    """

    to: str = flag(choices=FORMATS)
    out_dir: str


def convert(arguments: ConvertArguments) -> None:
    """Converts, then prints how the result is read."""
    data_dir = arguments.data_dir
    logging.info("converting %s", data_dir)
    with tensorflow_started() if arguments.to == "tfds" else contextlib.nullcontext():
        convert_folder = FORMATS[arguments.to]
    folder = convert_folder(data_dir, arguments.out_dir)
    print(f"wrote {folder}; {HOW_TO_READ[arguments.to].format(folder=folder)}")
