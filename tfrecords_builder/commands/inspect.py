"""Shows what a data folder holds: tables here, and a page with pictures beside the records.

  python -m tfrecords_builder inspect runs/phantom

writes inspection.html, which stands by itself, and contact_sheet.png. Of a build's folder the largest size is shown.
"""

import dataclasses
import pathlib

from absl import logging

from tfrecords_builder.commands.data_folder import FolderArguments

DEFAULT_OUT = "inspection"


@dataclasses.dataclass(frozen=True, kw_only=True)
class InspectArguments(FolderArguments):
    """What to show.

    Attributes:
      out_dir: Folder for the files; by default `inspection` in the data folder.
      images: About this many pictures on the contact sheet.
      splits: Splits to read for pictures, views, sexes and ages; by default all.
      seed: Seed of the choice of pictures.
    """

    out_dir: str = ""
    images: int = 48
    splits: tuple[str, ...] = ()
    seed: int = 0


def inspect(arguments: InspectArguments) -> None:
    """Prints the tables and writes the page."""
    logging.info("reading %s", arguments.data_dir)
    from tfrecords_builder.inspect.inspection import describe, inspect_data_dir
    from tfrecords_builder.inspect.inspection_page import warnings, write_inspection

    found = inspect_data_dir(arguments.data_dir, arguments.images, arguments.splits, arguments.seed)
    page, sheet = write_inspection(found, arguments.out_dir or pathlib.Path(arguments.data_dir) / DEFAULT_OUT)
    print(f"{describe(found)}\n")
    for warning in warnings(found):
        print(warning)
    print(f"its pictures are in {sheet}; open the whole page in a browser: {page}")
