"""The data of a run that is given none: phantom records in a cache folder, built once."""

import hashlib
import os
import pathlib

from absl import logging

from tfcxr.data.records import read_dataset_info
from tfcxr.data.schema import INFO_FILE
from tfrecords_builder.build import build_dataset
from tfrecords_builder.datasets.phantom import Phantom
from tfrecords_builder.options import BuildOptions

CACHE_VARIABLE = "TFCXR_CACHE_DIR"


def phantom_records(image_size: int, images: int = 2000, seed: int = 0) -> pathlib.Path:
    """The data folder of `images` phantom radiographs at one size; built on the first call, which says so.

    The cache is `$TFCXR_CACHE_DIR`, or `tfcxr` in the user's cache folder.
    """
    cache = pathlib.Path(os.environ.get(CACHE_VARIABLE) or pathlib.Path.home() / ".cache" / "tfcxr")
    reader = Phantom(images=images, seed=seed, image_size=image_size)
    facts = f"{reader.name} {images} {seed} {image_size}"
    out_dir = cache / f"phantom-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"
    if not (out_dir / str(image_size) / INFO_FILE).is_file():
        logging.info("no --data_dir given: building %d phantom radiographs in %s", images, out_dir)
        build_dataset(reader, out_dir, BuildOptions(image_sizes=(image_size,)))
    logging.info(
        "training on phantom radiographs in %s: %s", out_dir, read_dataset_info(out_dir / str(image_size)).notice
    )
    return out_dir / str(image_size)
