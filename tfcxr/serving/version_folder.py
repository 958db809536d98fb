"""A version's folder `saved_models/<name>/<version>/`: what every exported model writes in the same way."""

import hashlib
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfcxr.data.atomic import atomic_path, remove_temporary_files
from tfcxr.serving.model_card import DESCRIPTION_FILE, PATIENTS_FILE, ModelDescription, card_text
from tfcxr.serving.served import Served


def free_version(out_dir: str | os.PathLike, version: int | None) -> int:
    """`version`, or the next free one where None.

    Raises:
      ValueError: it exists already or is below 1.
    """
    out_dir = pathlib.Path(out_dir)
    present = [path for path in out_dir.iterdir() if path.name.isdigit()] if out_dir.is_dir() else []
    if version is None:
        version = 1 + max((int(path.name) for path in present), default=0)
    if version < 1:
        raise ValueError(f"a version is a number from 1, got {version}")
    if (out_dir / str(version)).exists():
        raise ValueError(f"{out_dir} holds version {version} already; choose another, or none for the next free one")
    return version


def write_version(
    out_dir: str | os.PathLike, served: Served, description: ModelDescription, patients: str | None
) -> pathlib.Path:
    """Writes `out_dir/<version>`, which appears only when it is whole: SavedModel, model.json, card, training patients.

    Raises:
      OSError: no space or permission.
    """
    path = pathlib.Path(out_dir) / str(description.version)
    remove_temporary_files(path.parent)
    with atomic_path(path) as folder:
        _save(served, folder)
        (folder / DESCRIPTION_FILE).write_text(description.to_json(), encoding="utf-8")
        (folder / "README.md").write_text(card_text(description), encoding="utf-8")
        if patients is not None:
            (folder / PATIENTS_FILE).write_text(patients, encoding="utf-8")
    return path


def weights_sha256(variables: Sequence[Any]) -> str:
    """SHA-256 over shape and little-endian float32 values of exported weights, in order."""
    digest = hashlib.sha256()
    for variable in variables:
        values = np.ascontiguousarray(variable, dtype="<f4")
        digest.update(json.dumps(values.shape).encode())
        digest.update(values)
    return digest.hexdigest()


def _save(served: Served, folder: pathlib.Path) -> None:
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # it would tell of the temporary folder
    try:
        tf.saved_model.save(served, str(folder), signatures=served.signatures())
    except tf.errors.OpError as error:
        raise OSError(f"could not write the SavedModel: {error.message}") from error
    finally:
        logger.setLevel(level)
