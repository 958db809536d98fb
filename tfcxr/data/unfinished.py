"""Work on a folder of shards that may be killed: the same command finishes it, and its whole shards are kept.

Beside the shards a folder such as `unfinished_build/` holds the work's arguments and a note for each finished shard; it
is removed when the work is complete.
"""

import contextlib
import fcntl
import json
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from absl import logging

from tfcxr.data.atomic import remove_temporary_files, write_atomically
from tfcxr.data.records import file_sha256
from tfcxr.data.schema import ShardInfo


@contextlib.contextmanager
def only_process(out_dir: pathlib.Path, unfinished_folder: str, doing: str) -> Iterator[None]:
    """Keeps a second process from the same work at the same time; a killed one keeps nothing locked.

    Args:
      doing: for the message, such as "builds in".

    Raises:
      FileExistsError: another process is at it.
    """
    folder = out_dir / unfinished_folder
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FileExistsError(f"another process {doing} {out_dir} now; wait for it or stop it") from error
        yield


def start_or_go_on(
    out_dir: pathlib.Path,
    arguments_path: pathlib.Path,
    arguments: dict[str, Any],
    what: str,
    data_dirs: Iterable[pathlib.Path],
    follows: str = "",
) -> None:
    """Notes everything that the written bytes depend on, or finds it as an earlier run noted it.

    Args:
      arguments: JSON values. follows: the name of one that differs whenever another does, and is then not named.
      what: for the message, such as "build".
      data_dirs: whose half-written files of an earlier run are removed.

    Raises:
      ValueError: the earlier run had other arguments.
    """
    if not arguments_path.is_file():
        write_atomically(arguments_path, json.dumps(arguments, indent=2, sort_keys=True) + "\n")
        return
    started = json.loads(arguments_path.read_text(encoding="utf-8"))
    arguments = json.loads(json.dumps(arguments))
    differing = sorted(name for name in {*started, *arguments} if started.get(name) != arguments.get(name))
    if len(differing) > 1 and follows in differing:
        differing.remove(follows)
    if differing:
        raise ValueError(
            f"{out_dir} holds an unfinished {what} of another {', '.join(differing)}; run its command again to finish "
            "it, remove the folder, or choose another --out_dir"
        )
    logging.info("going on with the unfinished %s in %s", what, out_dir)
    for folder in (out_dir, arguments_path.parent, *data_dirs):
        remove_temporary_files(folder)


def finished_shard(path: pathlib.Path, note: pathlib.Path) -> ShardInfo | None:
    """A shard that an earlier, killed run finished, as `note` tells; None when it must be written."""
    if not note.is_file() or not path.is_file():
        return None
    shard = ShardInfo(**json.loads(note.read_text(encoding="utf-8")))
    return shard if file_sha256(path) == shard.sha256 else None
