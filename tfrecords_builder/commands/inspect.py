"""Shows what a data folder holds: tables here, and a page with pictures beside the records.

  python -m tfrecords_builder inspect runs/phantom

writes inspection.html, which stands by itself, and contact_sheet.png. Of a build's folder the largest size is shown.
"""

import pathlib

from absl import flags

from tfrecords_builder.inspect.inspection import describe, inspect_data_dir
from tfrecords_builder.inspect.inspection_page import warnings, write_inspection

FLAGS = flags.FLAGS
DEFAULT_OUT = "inspection"


def define_flags() -> None:
    """Adds the command's flags."""
    flags.DEFINE_string("out", None, f"Folder for the files (default: {DEFAULT_OUT} in the data folder).")
    flags.DEFINE_integer("images", 48, "About so many pictures on the contact sheet.")
    flags.DEFINE_list("split", [], "Splits to read for pictures, views, sexes and ages (default: all).")
    flags.DEFINE_integer("seed", 0, "Seed of the choice of pictures.")


def main(arguments: list[str]) -> None:
    """Prints the tables and writes the page."""
    if len(arguments) != 1:
        raise ValueError(
            f"expected one folder, as in inspect runs/phantom, got {len(arguments)}: {' '.join(arguments)}"
        )
    found = inspect_data_dir(arguments[0], FLAGS.images, FLAGS.split, FLAGS.seed)
    paths = write_inspection(found, FLAGS.out or pathlib.Path(arguments[0]) / DEFAULT_OUT)
    print(describe(found))
    print(f"\nwrote {' and '.join(map(str, paths))}")
    for warning in warnings(found):
        print(warning)
