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
from typing import NamedTuple

from tfrecords_builder.datasets.reader import Reject

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
NOT_AN_IMAGE = f"expected a name that ends with {', '.join(IMAGE_SUFFIXES)}"
SYSTEM_FOLDERS = {
    "__macosx", "__pycache__", "lost+found", "network trash folder", "recycled", "recycler",
    "system volume information", "temporary items", "~snapshot", "#recycle", "#snapshot", "$extend", "$recycle.bin",
}  # fmt: skip
SYSTEM_FOLDER, HIDDEN_FILE, LINK_LOOP, DANGLING_LINK = "system_folder", "hidden_file", "link_loop", "dangling_link"
LEFT_BEHIND = (SYSTEM_FOLDER, HIDDEN_FILE)  # no image of the data set, so no fault of it either
_SYSTEM, _HIDDEN = "left by a program; not looked into", "its name begins with a dot; no image"
_NAMED_FOLDERS = 5  # of those that were searched; more are counted


def is_image_name(path: str) -> bool:
    """Whether a file name ends as that of an image that `images.image_file` reads."""
    return path.lower().endswith(IMAGE_SUFFIXES)


def is_system_folder(name: str) -> bool:
    """Whether a folder's name is one that programs give to what they leave behind."""
    return name[0] in ".@" or name.lower() in SYSTEM_FOLDERS


class _Folder(NamedTuple):
    """A folder of the walk.

    Attributes:
      path: below the raw folder.
      real: its real place.
      above: the real places of all folders on the way here, its own among them; None where no link was on the way, so
        that they are those of the path itself.
    """

    path: str
    real: str
    above: frozenset[str] | None

    def below(self, name: str) -> str:
        """The path of one of its entries."""
        return f"{self.path}/{name}" if self.path else name


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
        stack = [self._place(folder)]
        if not pathlib.Path(stack[0].real).is_dir():
            return
        while stack:
            here = stack.pop()
            names, folders = self._entries(here)
            if here.path == folder:
                self._tops[folder] = [inside.path.rpartition("/")[2] for inside in folders]
            if here.above is not None:
                self.real_paths.update((here.below(name), f"{here.real}/{name}") for name in names)
            yield from map(here.below("").__add__, names)  # twice as fast as `below` for each
            stack += reversed(folders)

    def images(self, folder: str = "") -> Iterator[str]:
        """Those of `files` that are named as images."""
        return filter(is_image_name, self.files(folder))

    def folders(self, folder: str = "") -> list[str]:
        """Sorted names of the folders in one of the raw folder's folders that may be a class, a split or a patient."""
        _, folders = self._entries(self._place(folder))
        return [inside.path.rpartition("/")[2] for inside in folders]

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
        places = []
        for folder, inside in self._tops.items():
            named = ", ".join(inside[:_NAMED_FOLDERS])
            more = f" and {len(inside) - _NAMED_FOLDERS} more" if len(inside) > _NAMED_FOLDERS else ""
            place = f"{self._raw_dir}/{folder}" if folder else self._raw_dir
            places.append(f"{place} and the folders below it ({named}{more})" if inside else place)
        return ", ".join(places) or self._raw_dir

    def _place(self, folder: str) -> _Folder:
        """One of the raw folder's folders, by its path."""
        real, above = self._top, None
        for part in filter(None, folder.split("/")):
            place = os.path.realpath(f"{real}/{part}")
            if above is not None:
                above |= {place}
            elif place != f"{real}/{part}":
                above = _way(self._top, real) | {place}
            real = place
        return _Folder(folder, real, above)

    def _entries(self, here: _Folder) -> tuple[list[str], list[_Folder]]:
        """Sorted names of a folder's files, and the folders in it."""
        try:
            with os.scandir(here.real) as scan:
                entries = list(scan)
        except PermissionError as error:
            raise _no_permission(f"folder {here.real}") from error
        names, folders = [], []
        for entry in entries:
            name = entry.name
            if entry.is_file(follow_symlinks=False) and name[0] != ".":  # first, for nearly all are
                names.append(name)
            elif isinstance(found := self._look_at(entry, here), _Folder):
                folders.append(found)
            elif found:
                names.append(found)
        names.sort()
        folders.sort()
        return names, folders

    def _look_at(self, entry: os.DirEntry, here: _Folder) -> _Folder | str | None:
        """An entry as a folder to walk, or the name of a file; None where it is left out."""
        path, is_link = here.below(entry.name), entry.is_symlink()
        if entry.name[0] == "." and (is_link or entry.is_file()):  # an editor's lock is a link that leads nowhere
            return self._leave_out(path, HIDDEN_FILE, _HIDDEN)
        if is_link and not self._leads_somewhere(entry, path):
            return None
        if not entry.is_dir():  # a pipe or the like is refused when it is read
            if is_link:
                self.real_paths[path] = os.path.realpath(entry.path)
            return entry.name
        if is_system_folder(entry.name):
            return self._leave_out(path, SYSTEM_FOLDER, _SYSTEM)
        real = os.path.realpath(entry.path) if is_link else f"{here.real}/{entry.name}"
        above = _way(self._top, here.real) if is_link and here.above is None else here.above
        if above is None:
            return _Folder(path, real, None)
        if real in above:
            detail = f"a link to {real}, in which it lies" if is_link else f"it is {real}, from which a link led here"
            return self._leave_out(path, LINK_LOOP, detail)
        return _Folder(path, real, above | {real})

    def _leads_somewhere(self, link: os.DirEntry, path: str) -> bool:
        """Whether what a link leads to is there; leaves the link out where it is not."""
        try:
            link.stat()
            return True
        except PermissionError as error:
            raise _no_permission(f"what the link {link.path} leads to") from error
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            target, is_loop = pathlib.Path(link.path).readlink(), error.errno == errno.ELOOP
        if is_loop:
            self._leave_out(path, LINK_LOOP, f"a link to {target}, which leads back to it")
        else:
            self._leave_out(path, DANGLING_LINK, f"a link to {target}, which is not there")
        return False

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
