"""Files and folders that appear under their final name only when they are whole.

Each is written under a temporary name in the same folder, flushed to the disk and renamed, so a process that
is killed at any moment leaves either the old file, the new file, or a temporary one that nobody reads.
"""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator

TEMPORARY_MARK = ".partial-"


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path` to write a file or a folder to; renames it to `path` on success.

    A folder that exists already is replaced: it is moved aside first and removed last. When the block
    raises, the temporary file or folder is removed and `path` stays as it was.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY_MARK}{os.getpid()}-{path.name}")
    _remove(temporary)
    try:
        yield temporary
        flush_to_disk(temporary)
        if path.is_dir():
            replaced = path.with_name(f"{TEMPORARY_MARK}{os.getpid()}-replaced-{path.name}")
            _remove(replaced)
            path.rename(replaced)
            temporary.rename(path)
            _remove(replaced)
        else:
            temporary.replace(path)
        flush_to_disk(path.parent, with_contents=False)
    except BaseException:
        _remove(temporary)
        raise


def write_atomically(path: str | os.PathLike, content: str | bytes) -> None:
    """Writes a whole file, text as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def remove_temporary_files(folder: str | os.PathLike) -> None:
    """Removes what killed processes left behind in `folder`; call it where one process at a time writes."""
    for entry in pathlib.Path(folder).glob(f"{TEMPORARY_MARK}*"):
        _remove(entry)


def flush_to_disk(path: pathlib.Path, with_contents: bool = True) -> None:
    """Waits until a file, or a folder's own entries, are on the disk, with its contents also all files below it."""
    files = [entry for entry in path.rglob("*") if entry.is_file()] if with_contents and path.is_dir() else []
    for entry in [*files, path]:
        descriptor = os.open(entry, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
