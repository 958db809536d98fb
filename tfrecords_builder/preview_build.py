"""A look at what a build would do to its images, without building."""

import pathlib
from collections.abc import Iterator

from absl import logging

from tfrecords_builder.build_preview import write_preview
from tfrecords_builder.datasets.reader import Reader
from tfrecords_builder.images.radiograph import ImageError, Radiograph
from tfrecords_builder.options import BuildOptions
from tfrecords_builder.plan import plan_build, shuffle_key

PREVIEW_FILE = "preview.png"


def preview_build(reader: Reader, options: BuildOptions, images: int, out_dir: str) -> pathlib.Path:
    """Draws `images` random ones of the data set before and after each step; returns the picture's path.

    Raises:
      ValueError: fewer than 1 image asked for, none that can be read, or what `plan_build` raises.
    """
    if images < 1:
        raise ValueError(f"--preview expects 1 image or more, got {images}")
    jobs = plan_build(reader, options).jobs
    examples = sorted(
        (example for job in jobs for example in job.examples),
        key=lambda example: shuffle_key(options.seed, example.key),
    )

    def usable() -> Iterator[tuple[str, Radiograph]]:
        found = 0
        for example in examples:
            if found == images:
                return
            try:
                yield example.key, reader.read_image(example)
                found += 1
            except ImageError as error:
                logging.warning("%s cannot be used: %s", example.key, error)

    path = pathlib.Path(out_dir) / PREVIEW_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_preview(usable(), options.preprocess, options.image_sizes, options.bits, path)
    return path
