"""The one way in which readers look at a raw folder: which files it holds, and what is left out of it and why.

Links to files and folders are followed. Left out, each as one `Reject` and never looked into:
  system_folder   what file managers, notebooks, network disks, archives and version control leave behind: a folder
                  whose name begins with "." or "@", such as .ipynb_checkpoints, .git or @eaDir, or is in
                  `SYSTEM_FOLDERS`
  hidden_file     a file whose name begins with ".", such as .DS_Store or ._image1.png
  link_loop       a link to a folder that it lies in, or to itself
  dangling_link   a link to what is not there
A folder that may not be read ends the walk with a PermissionError: nobody could say how many images it hides.

Two links may lead to one file. Both paths are given, with the file's real place in `FolderWalk.real_paths`, and the
listing of the data set keeps one of them, or neither where their labels differ.
"""

import errno
import os
import pathlib
from collections.abc import Iterator

from tfrecords_builder.datasets.reader import Reject

SYSTEM_FOLDERS = {
    "__macosx", "__pycache__", "lost+found", "network trash folder", "recycled", "recycler",
    "system volume information", "temporary items", "~snapshot", "#recycle", "#snapshot", "$extend", "$recycle.bin",
}  # fmt: skip
SYSTEM_FOLDER, HIDDEN_FILE, LINK_LOOP, DANGLING_LINK = "system_folder", "hidden_file", "link_loop", "dangling_link"
LEFT_BEHIND = (SYSTEM_FOLDER, HIDDEN_FILE)  # no image of the data set, so no fault of it either
_SYSTEM, _HIDDEN = "left by a program; not looked into", "its name begins with a dot; no image"
_NAMED_FOLDERS = 5  # of those that were searched; more are counted


def is_system_folder(name: str) -> bool:
    """Whether a folder's name is one that programs give to what they leave behind."""
    return name[0] in ".@" or name.lower() in SYSTEM_FOLDERS


class FolderWalk:
    """One look at a raw folder.

    Attributes:
      rejects: path -> what was left out so far, in the order it was met. A reader may take out those it reports itself.
      real_paths: path -> absolute path of the file it leads to, for files that are reached by a link.
    """

    def __init__(self, raw_dir: str | os.PathLike) -> None:
        self.rejects: dict[str, Reject] = {}
        self.real_paths: dict[str, str] = {}
        self._raw_dir = os.fspath(raw_dir)
        self._top = os.path.realpath(raw_dir)
        self._tops: dict[str, list[str]] = {}  # folder that was walked -> names of the folders in it

    def files(self, folder: str = "") -> Iterator[str]:
        """Paths below the raw folder, with / between their parts, of all files below one of its folders.

        Folder by folder, each sorted, the files of a folder before the folders in it. None for a folder that is not
        there. A folder that is asked for by its name is read whatever its name.

        Raises:
          PermissionError: a folder may not be read.
        """
        for position in range(len(folder) + 1):
            if folder[position : position + 1] in ("/", ""):
                self.rejects.pop(folder[:position], None)
        real, above = self._place(folder)
        if not pathlib.Path(real).is_dir():
            return
        stack = [(folder, real, above)]
        while stack:
            below, real, above = stack.pop()
            names, folders = self._entries(below, real, above)
            if below == folder:
                self._tops[folder] = [name for name, _, _ in folders]
            prefix = f"{below}/" if below else ""
            if above is not None:
                self.real_paths.update((prefix + name, f"{real}/{name}") for name in names)
            yield from map(prefix.__add__, names)
            stack += [(prefix + name, place, way) for name, place, way in reversed(folders)]

    def folders(self, folder: str = "") -> list[str]:
        """Sorted names of the folders in one of the raw folder's folders that may be a class, a split or a patient."""
        _, folders = self._entries(folder, *self._place(folder))
        return [name for name, _, _ in folders]

    def look_around(self) -> None:
        """Counts what is left out of the raw folder itself, where only some of its folders were walked."""
        if "" not in self._tops:
            read = {folder.partition("/")[0] for folder in self._tops}
            self.folders()
            for name in read:
                self.rejects.pop(name, None)

    @property
    def searched(self) -> str:
        """Where files were looked for, for messages."""
        if not self._tops:
            return self._raw_dir
        places = []
        for folder, inside in self._tops.items():
            named = ", ".join(inside[:_NAMED_FOLDERS])
            more = f" and {len(inside) - _NAMED_FOLDERS} more" if len(inside) > _NAMED_FOLDERS else ""
            place = f"{self._raw_dir}/{folder}" if folder else self._raw_dir
            places.append(f"{place} and the folders below it ({named}{more})" if inside else place)
        return ", ".join(places)

    def _place(self, folder: str) -> tuple[str, frozenset[str] | None]:
        """The real place of a folder, and `above` as `_entries` takes it."""
        real, above = self._top, None
        for part in filter(None, folder.split("/")):
            place = os.path.realpath(f"{real}/{part}")
            if above is not None:
                above |= {place}
            elif place != f"{real}/{part}":
                above = _way(self._top, real) | {place}
            real = place
        return real, above

    def _entries(
        self, below: str, real: str, above: frozenset[str] | None
    ) -> tuple[list[str], list[tuple[str, str, frozenset[str] | None]]]:
        """Sorted names of a folder's files; its folders, each with its real place and the way to it.

        Args:
          above: the real places of all folders on the way here, this one among them; None where no link was on it, so
            that they are those of the path itself.
        """
        names, folders = [], []
        prefix = f"{below}/" if below else ""
        try:
            with os.scandir(real) as entries:
                for entry in entries:
                    name = entry.name
                    if entry.is_file(follow_symlinks=False):  # first, for nearly all are
                        if name[0] == ".":
                            self._leave_out(prefix + name, HIDDEN_FILE, _HIDDEN)
                        else:
                            names.append(name)
                    elif entry.is_symlink():
                        self._follow(entry, prefix + name, real, above, names, folders)
                    elif entry.is_dir(follow_symlinks=False):
                        if is_system_folder(name):
                            self._leave_out(prefix + name, SYSTEM_FOLDER, _SYSTEM)
                        elif above is None:
                            folders.append((name, f"{real}/{name}", None))
                        elif (place := f"{real}/{name}") in above:
                            self._leave_out(prefix + name, LINK_LOOP, f"it is {place}, from which a link led here")
                        else:
                            folders.append((name, place, above | {place}))
                    else:  # a pipe or the like, which is refused when it is read
                        names.append(name)
        except PermissionError as error:
            raise _no_permission(f"folder {real}") from error
        names.sort()
        folders.sort()
        return names, folders

    def _follow(
        self,
        entry: os.DirEntry,
        path: str,
        real: str,
        above: frozenset[str] | None,
        names: list[str],
        folders: list[tuple[str, str, frozenset[str] | None]],
    ) -> None:
        """Puts a link to the names or to the folders, or leaves it out."""
        if entry.name[0] == ".":  # an editor's lock is such a link, and leads nowhere
            self._leave_out(path, HIDDEN_FILE, _HIDDEN)
            return
        try:
            is_folder = entry.is_dir()
            if not is_folder:
                entry.stat()
        except PermissionError as error:
            raise _no_permission(f"what the link {real}/{entry.name} leads to") from error
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            target = pathlib.Path(entry.path).readlink()
            if error.errno == errno.ELOOP:
                self._leave_out(path, LINK_LOOP, f"a link to {target}, which leads back to it")
            else:
                self._leave_out(path, DANGLING_LINK, f"a link to {target}, which is not there")
            return
        if is_folder and is_system_folder(entry.name):
            self._leave_out(path, SYSTEM_FOLDER, _SYSTEM)
        elif not is_folder:
            self.real_paths[path] = os.path.realpath(entry.path)
            names.append(entry.name)
        else:
            place = os.path.realpath(entry.path)
            way = _way(self._top, real) if above is None else above
            if place in way:
                self._leave_out(path, LINK_LOOP, f"a link to {place}, in which it lies")
            else:
                folders.append((entry.name, place, way | {place}))

    def _leave_out(self, path: str, reason: str, detail: str) -> None:
        self.rejects[path] = Reject(path, reason, detail)


def _way(top: str, real: str) -> frozenset[str]:
    """The real places of the folders from `top` to `real`, which no link divides, both among them."""
    way = {top}
    while real.startswith(f"{top}/"):
        way.add(real)
        real = real.rpartition("/")[0]
    return frozenset(way)


def _no_permission(what: str) -> PermissionError:
    return PermissionError(
        f"{what} may not be read; give yourself the right to read it (chmod u+rx), or move it out of the raw folder"
    )
