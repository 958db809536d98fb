"""Draws phantom radiographs in the layout of a published data set, to try a reader or a study without the data.

  python -m tfrecords_builder imitate --dataset=chexpert --out_dir=raw/chexpert --images=60
  python -m tfrecords_builder --dataset=chexpert --raw_dir=raw/chexpert --out_dir=records --image_sizes=64

PHANTOM, NOT PATIENTS: what is drawn is computed from a parametric thorax and shows nothing about disease or people.
"""

import dataclasses

from tfcxr.command_line import Arguments, flag
from tfrecords_builder.phantom import imitation


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImitateArguments(Arguments):
    """What is drawn, and where.

    Attributes:
      dataset: Data set whose files and tables are imitated.
      out_dir: Folder to write to; it must not be there.
      images: How many radiographs; a patient has 1 to 4.
      image_size: Pixels.
      seed: Of patients, findings and noise.
    """

    dataset: str = flag(choices=imitation.LAYOUTS)
    out_dir: str
    images: int = flag(120, minimum=1)
    image_size: int = flag(128, minimum=16, maximum=4096)
    seed: int = flag(0, minimum=0)


def imitate(arguments: ImitateArguments) -> None:
    """Draws, writes the tables, and prints how they are built.

    Raises:
      FileExistsError: the folder is there.
    """
    a = arguments
    folder = imitation.imitate(a.dataset, a.out_dir, a.images, a.image_size, a.seed)
    print(f"wrote {a.images} phantom radiographs as {a.dataset} to {folder}")
    print(f"next: python -m tfrecords_builder --dataset={a.dataset} --raw_dir={folder} --out_dir=records")
