"""The files that the rows of a table name: each is found by its row, and those that no row names are left over."""

import pathlib
from collections.abc import Iterable, Iterator

from tfrecords_builder.datasets.folder_walk import FolderWalk
from tfrecords_builder.datasets.reader import Reject
from tfrecords_builder.datasets.table import Columns, read_table


class NamedFiles:
    """Files of a walk by what a table calls them: their path below the raw folder, or their file name alone.

    Attributes:
      repeated: paths of files whose name another folder's file has; the first one is taken.
    """

    def __init__(self, walk: FolderWalk, paths: Iterable[str], by_file_name: bool = False) -> None:
        self._walk = walk
        self._by_file_name = by_file_name
        self._paths: dict[str, str] = {}
        self.repeated: list[str] = []
        for path in paths:
            if self._paths.setdefault(self._name(path), path) is not path:
                self.repeated.append(path)
        self._left_out = {self._name(path): reject for path, reject in walk.rejects.items()}
        where = f"in {walk.searched}"
        self._where = f"no file of this name {where}" if by_file_name else f"it is not {where}"
        self._found: set[str] = set()

    def find(self, name: str, row: str) -> str | Reject:
        """The path of a file, or why there is none.

        Args:
          name: what the table calls it, and the key of the reject.
          row: which row of which table that is, for the reject.
        """
        if path := self._paths.get(name):
            self._found.add(name)
            return path
        if left_out := self._left_out.get(name):  # then it is reported here, and not once more for the walk
            self._walk.rejects.pop(left_out.key, None)
            return Reject(name, left_out.reason, f"{row} names it: {left_out.detail}")
        for position, character in enumerate(name):
            if character == "/" and (above := self._left_out.get(name[:position])):
                return Reject(name, above.reason, f"{row} names it, in the folder {above.key}: {above.detail}")
        return Reject(name, "missing_file", f"{row} names it; {self._where}")

    def rows(
        self, table: pathlib.Path, columns: Columns, optional: Columns = ()
    ) -> Iterator[tuple[dict[str, str], str, str, str | Reject]]:
        """The rows of a table that names one image in each, in the first of its columns.

        Yields:
          row: as `read_table` gives it.
          key: the image's name, or the row's place where it names none.
          where: the row's place, for messages.
          path: the image's path, or why there is none. A row that is left out has found its file all the same.
        """
        for row in read_table(table, columns, optional):
            where = f"{table.name} line {row['#']}"
            key = row[columns[0]] or where
            yield row, key, where, self.find(key, where)

    def unnamed(self) -> Iterator[tuple[str, str]]:
        """(name, path) of each file that no row has found so far."""
        for name, path in self._paths.items():
            if name not in self._found:
                yield name, path

    def left_over(self, table: str) -> Iterator[Reject]:
        """A reject for each file that no row of `table` has found, and for each whose name another file has."""
        for name, path in self.unnamed():
            yield Reject(name, "file_without_row", f"{table} does not name {path}")
        for path in self.repeated:
            yield Reject(path, "same_file_name_twice", "another folder holds a file of this name, which was taken")

    def __contains__(self, name: str) -> bool:
        return name in self._paths

    def _name(self, path: str) -> str:
        return path.rpartition("/")[2] if self._by_file_name else path
