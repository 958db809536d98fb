"""What stored networks share: writing a SavedModel, finding the newest version in a folder, the hash of a folder."""

import hashlib
import os
import pathlib

import tensorflow as tf

from tfcxr.data.records import file_sha256

IGNORED = ("README.md", "scores.json", "predictions_*.npz")  # no output of a network depends on them


def save_quietly(served: tf.Module, folder: str | os.PathLike, function: tf.types.experimental.GenericFunction) -> None:
    """Writes a SavedModel whose `serving_default` is `function`.

    Raises:
      OSError: no space or permission.
    """
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # it would tell of the temporary folder
    try:
        tf.saved_model.save(served, str(folder), signatures={"serving_default": function})
    except tf.errors.OpError as error:
        raise OSError(f"could not write the SavedModel: {error.message}") from error
    finally:
        logger.setLevel(level)


def folder_with(path: str | os.PathLike, file: str) -> pathlib.Path | None:
    """`path` itself where it holds `file`, else its newest version that does, else None."""
    path = pathlib.Path(path)
    versions = [entry for entry in path.glob("[0-9]*") if entry.name.isdigit()]
    for folder in (path, *sorted(versions, key=lambda entry: int(entry.name), reverse=True)):
        if (folder / file).is_file():
            return folder
    return None


def folder_sha256(folder: pathlib.Path) -> str:
    """SHA-256 over the names and contents of a network's files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(path.match(pattern) for pattern in IGNORED):
            digest.update(f"{path.relative_to(folder).as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()
