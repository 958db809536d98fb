"""Base of the readers whose images are files below a raw folder."""

import abc
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence

from tfrecords_builder.datasets.folder_walk import FolderWalk
from tfrecords_builder.datasets.reader import RawExample, Reader, Reject


class FolderReader(Reader):
    """A reader that sees its raw folder through one `FolderWalk`, so that links and leftovers count for all alike."""

    def __init__(self, raw_dir: str = "") -> None:
        if not raw_dir:
            raise FileNotFoundError("this data set needs its raw folder: name it with --raw_dir")
        super().__init__(raw_dir)
        if not self.raw_dir.is_dir():
            raise FileNotFoundError(f"raw folder {raw_dir} does not exist or is no folder")

    def examples(self) -> Iterator[RawExample | Reject]:
        """The entries of the data set, then what the walk left out, such as system folders and dangling links.

        Raises:
          ValueError: a table of the data set is damaged, lacks a column or has one twice, or contradicts the settings.
          PermissionError: a folder may not be read.
        """
        walk = FolderWalk(self.raw_dir)
        for entry in self.entries(walk):
            if walk.real_paths and isinstance(entry, RawExample) and entry.path in walk.real_paths:
                entry = dataclasses.replace(entry, real_path=walk.real_paths[entry.path])
            yield entry
        walk.look_around()
        yield from walk.rejects.values()

    @abc.abstractmethod
    def entries(self, walk: FolderWalk) -> Iterator[RawExample | Reject]:
        """Every image the data set names, in an order that depends on the raw data alone; raises as `examples` does.

        Args:
          walk: the files of the raw folder; what it left out is reported by the caller, unless it is taken out of
            `walk.rejects` and reported here.
        """


def find_root(
    raw_dir: pathlib.Path, names: Sequence[str], is_root: Callable[[pathlib.Path], bool], missing: str
) -> pathlib.Path:
    """The folder of a data set: `raw_dir` itself, or the first of `names` in it that is one.

    Raises:
      FileNotFoundError: none is; the message begins with `raw_dir` and ends with `missing`.
    """
    for root in (raw_dir, *(raw_dir / name for name in names)):
        if is_root(root):
            return root
    raise FileNotFoundError(f"{raw_dir} {missing}")
