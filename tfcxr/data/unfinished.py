"""Work on a folder of shards that may be killed: the same command finishes it, and its whole shards are kept.

    with resumable_work(out_dir, "build", [out_dir / "64"]) as work:
        work.start({"seed": 0})
        shard = finished_shard(path, work.folder / f"{path.name}.json")

Beside the shards a folder such as `unfinished_build/` holds the work's arguments and a note for each finished shard; it
is removed when the work is complete. One process at a time has the folder, from before it is checked until the end.

    make_folder("pictures/phantom", "conversion", lambda: {"source": sha256}, fill)

A folder that others read as soon as it is there grows in `pictures/unfinished_phantom/`, and appears when it is whole.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from absl import logging

from tfcxr.data.atomic import flush_to_disk, remove_temporary_files, write_atomically
from tfcxr.data.croissant import CROISSANT_FILE
from tfcxr.data.records import is_whole
from tfcxr.data.schema import INFO_FILE, ShardInfo

LOCK_FILE = "lock"


@dataclasses.dataclass(frozen=True)
class ResumableWork:
    """A folder that this process alone writes to.

    Attributes:
      out_dir: where the result goes.
      kind: what is done, such as "build"; names the folder of notes and the file of arguments in it.
      data_dirs: folders of the shards.
    """

    out_dir: pathlib.Path
    kind: str
    data_dirs: tuple[pathlib.Path, ...]

    @property
    def folder(self) -> pathlib.Path:
        """Where the notes are."""
        return unfinished_folder(self.out_dir, self.kind)

    @property
    def arguments_path(self) -> pathlib.Path:
        """The file of arguments; it is there from `start` on."""
        return self.folder / f"{self.kind}.json"

    def check_free(self) -> None:
        """Refuses a folder that holds something else than unfinished work of this kind.

        Raises:
          FileExistsError: it is a file, or holds a data set, or shards of something else.
        """
        if self.out_dir.exists() and not self.out_dir.is_dir():
            raise FileExistsError(f"{self.out_dir} is a file, expected a folder to write to")
        if self.arguments_path.is_file():
            return
        sizes = [path.parent.name for path in self.out_dir.glob(f"*/{INFO_FILE}")]
        if sizes or (self.out_dir / INFO_FILE).is_file():
            at = f" at {', '.join(sorted(sizes, key=lambda size: (len(size), size)))} px" if sizes else ""
            raise FileExistsError(f"{self.out_dir} already holds a data set{at}; remove it or choose another --out_dir")
        for data_dir in self.data_dirs:
            if found := next((name for name in ("*.tfrecord", CROISSANT_FILE) if any(data_dir.glob(name))), ""):
                raise FileExistsError(
                    f"{data_dir} holds {'shards' if '*' in found else found}, but no {INFO_FILE} and no unfinished "
                    f"{self.kind}; remove them or choose another --out_dir"
                )

    def start(self, arguments: dict[str, Any], follows: str = "") -> None:
        """Notes everything that the written bytes depend on, or finds it as an earlier run noted it.

        Args:
          arguments: JSON values.
          follows: the name of one that differs whenever another does, and is then not named.

        Raises:
          ValueError: the earlier run had other arguments.
        """
        if not self.arguments_path.is_file():
            write_atomically(self.arguments_path, json.dumps(arguments, indent=2, sort_keys=True) + "\n")
            return
        started = json.loads(self.arguments_path.read_text(encoding="utf-8"))
        arguments = json.loads(json.dumps(arguments))
        differing = sorted(name for name in {*started, *arguments} if started.get(name) != arguments.get(name))
        if len(differing) > 1 and follows in differing:
            differing.remove(follows)
        if differing:
            raise ValueError(
                f"{self.out_dir} holds an unfinished {self.kind} of another {', '.join(differing)}; run its command "
                "again to finish it, remove the folder, or choose another --out_dir"
            )
        logging.info("resuming the unfinished %s in %s", self.kind, self.out_dir)
        for folder in (self.out_dir, self.folder, *self.data_dirs):
            remove_temporary_files(folder)

    def give_up(self) -> None:
        """Forgets the arguments, so that no notes are kept for another run."""
        self.arguments_path.unlink()


@contextlib.contextmanager
def resumable_work(out_dir: str | os.PathLike, kind: str, data_dirs: Sequence[pathlib.Path]) -> Iterator[ResumableWork]:
    """Takes a folder for this process, checks that the work may go there, and removes the notes when it is done.

    When the block raises, notes stay for the next run; what holds none is removed again.

    Raises:
      FileExistsError: another process is at work there, or the folder is a file, holds a data set, or shards that
        no unfinished work of this kind explains.
    """
    work = ResumableWork(pathlib.Path(out_dir), kind, tuple(data_dirs))
    work.check_free()
    is_new = not work.out_dir.exists()
    with _locked(work):
        try:
            work.check_free()  # again: another process may have finished in the meantime
            yield work
        except BaseException:
            if not work.arguments_path.is_file():
                _remove_notes(work.folder)
                if is_new:
                    with contextlib.suppress(OSError):  # it is not empty, or another process has come
                        work.out_dir.rmdir()
            raise
        _remove_notes(work.folder)


def make_folder(
    folder: str | os.PathLike,
    kind: str,
    arguments: Callable[[], dict[str, Any]],
    fill: Callable[[pathlib.Path, pathlib.Path], None],
) -> None:
    """Makes a folder that appears under its name when it is whole; a run that was killed is resumed.

    Args:
      folder: to make.
      kind: what is done, such as "conversion".
      arguments: gives all that the written bytes depend on, as JSON values. What it raises leaves nothing behind.
      fill: fills the folder, whose first argument is where it grows. It leaves a note for each finished part in its
        second argument, and looks at the notes of an earlier run.

    Raises:
      FileExistsError: the folder is there already, or another process is making it.
      ValueError: it was begun with other arguments.
    """
    folder = pathlib.Path(folder)
    place = unfinished_folder(folder.parent, folder.name)
    growing = place / folder.name
    made = [place, *(above for above in place.parents if not above.exists())]
    try:
        with resumable_work(place, kind, [growing]) as work:
            is_begun = work.arguments_path.is_file()
            if folder.exists() and (growing.exists() or not is_begun):
                raise FileExistsError(f"{folder} is there already; remove it or choose another --out_dir")
            if growing.exists() and not is_begun:
                shutil.rmtree(growing)  # its notes are gone
            work.start(arguments())
            if not folder.exists():  # else only its notes were left
                growing.mkdir(exist_ok=True)
                fill(growing, work.folder)
                flush_to_disk(growing)
                growing.rename(folder)
                flush_to_disk(folder.parent, with_contents=False)
    finally:
        for empty in made:
            with contextlib.suppress(OSError):  # it holds unfinished work, or the folder that was made, or is gone
                empty.rmdir()


def unfinished_folder(out_dir: pathlib.Path, kind: str) -> pathlib.Path:
    """Where unfinished work of a kind keeps its notes."""
    return out_dir / f"unfinished_{kind}"


def finished_shard(path: pathlib.Path, note: pathlib.Path) -> ShardInfo | None:
    """A shard that an earlier, killed run finished, as `note` tells; None when it must be written."""
    if not note.is_file():
        return None
    shard = ShardInfo(**json.loads(note.read_text(encoding="utf-8")))
    return shard if is_whole(path, shard) else None


@contextlib.contextmanager
def _locked(work: ResumableWork) -> Iterator[None]:
    """Holds the lock of the folder of notes; that of a killed process is free."""
    path = work.folder / LOCK_FILE
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("w")
        except FileNotFoundError:  # a process that has just finished removed the folder in between
            continue
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FileExistsError(
                    f"another process is at work on the {work.kind} in {work.out_dir}; wait for it or stop it"
                ) from error
            if _is_file_of(file, path):
                yield
                return


def _is_file_of(file: TextIO, path: pathlib.Path) -> bool:
    """Whether an open file still stands under its name: a lock on a removed one keeps nobody out."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _remove_notes(folder: pathlib.Path) -> None:
    """Removes the folder, the lock last; a process that waits for it finds it gone and makes its own."""
    for entry in folder.iterdir():
        if entry.name != LOCK_FILE:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    (folder / LOCK_FILE).unlink()
    with contextlib.suppress(OSError):  # another process has made its lock in the meantime
        folder.rmdir()
