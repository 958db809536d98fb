"""Base of the readers whose images are files below a raw folder."""

import abc
import dataclasses
from collections.abc import Iterator

from tfrecords_builder.datasets.folder_walk import FolderWalk
from tfrecords_builder.datasets.reader import RawExample, Reader, Reject


class FolderReader(Reader):
    """A reader that sees its raw folder through one `FolderWalk`, so that links and leftovers count for all alike."""

    def examples(self) -> Iterator[RawExample | Reject]:
        """The entries of the data set, then what the walk left out, such as system folders and dangling links.

        Raises:
          ValueError: a table of the data set is damaged or contradicts the settings.
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
        """Every image the data set names, in an order that depends on the raw data alone.

        Args:
          walk: the files of the raw folder; what it left out is reported by the caller, unless it is taken out of
            `walk.rejects` and reported here.
        """
