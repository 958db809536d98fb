"""A ported network as a folder of `backbones.stored_backbone`, whose description says where the weights came from."""

import json
import os
import pathlib

import tensorflow as tf

import tfcxr
from tfcxr.backbones.stored_backbone import DESCRIPTION_FILE, describe_network, write_saved_model
from tfcxr.data.atomic import atomic_path, remove_temporary_files
from tfcxr.porting.ported import Ported


def export_backbone(ported: Ported, path: str | os.PathLike, format_name: str, source: dict[str, str]) -> pathlib.Path:
    """Writes the SavedModel and its description; the folder appears only when it is whole.

    Args:
      ported: of kind "backbone".
      path: the folder to make.
      format_name: of `FORMATS`.
      source: "file" and "sha256" of the checkpoint.

    Returns:
      `path`.

    Raises:
      ValueError: something is there already.
      OSError: no space or permission.
    """
    path = pathlib.Path(path)
    if path.exists():
        raise ValueError(f"{path} exists already; choose another folder")
    (moved,) = ported.transfers.values()
    description = {
        "format": format_name,
        "checkpoint": source,
        "weights_sha256": moved.sha256,
        "parameters": moved.parameter_count,
        "ignored_keys": moved.ignored,
        **describe_network(ported.model),
        "labels": ported.settings.get("labels", []),
        "settings": ported.settings,
        "notes": [*ported.notes, *moved.notes],
        "tfcxr_version": tfcxr.__version__,
        "tensorflow_version": tf.__version__,
    }
    text = json.dumps(description, indent=2, allow_nan=False) + "\n"
    remove_temporary_files(path.parent)
    with atomic_path(path) as folder:
        write_saved_model(ported.model, folder)
        (folder / DESCRIPTION_FILE).write_text(text, encoding="utf-8")
    return path
