"""A ported network as a folder of `backbones.stored_backbone`, whose description says where the weights came from."""

import hashlib
import json
import os
import pathlib
from typing import Any

import tensorflow as tf

import tfcxr
from tfcxr.backbones.base import Backbone
from tfcxr.backbones.stored_backbone import DESCRIPTION_FILE, describe_network, write_saved_model
from tfcxr.data.atomic import atomic_path, remove_temporary_files
from tfcxr.porting.ported import Ported


def export_backbone(
    ported: Ported, path: str | os.PathLike, format_name: str, checkpoint: str | os.PathLike
) -> pathlib.Path:
    """Writes the SavedModel and its description; the folder appears only when it is whole.

    Args:
      ported: a backbone. path: the folder to make. format_name: of `FORMATS`. checkpoint: the file it came from, of
        which name and SHA-256 are kept.

    Returns:
      `path`.

    Raises:
      ValueError: a GAN, or something is there already.
      FileNotFoundError: no such checkpoint.
      OSError: no space or permission.
    """
    path, checkpoint = pathlib.Path(path), pathlib.Path(checkpoint)
    if not isinstance(ported.model, Backbone):
        raise ValueError(f"only a backbone is exported as a feature network, got a {ported.kind}")
    if path.exists():
        raise ValueError(f"{path} exists already; choose another folder")
    if not checkpoint.is_file():
        raise FileNotFoundError(f"there is no checkpoint {checkpoint}, whose checksum the description needs")
    description = json.dumps(_description(ported, format_name, checkpoint), indent=2, allow_nan=False) + "\n"
    remove_temporary_files(path.parent)
    with atomic_path(path) as folder:
        write_saved_model(ported.model, folder)
        (folder / DESCRIPTION_FILE).write_text(description, encoding="utf-8")
    return path


def _description(ported: Ported, format_name: str, checkpoint: pathlib.Path) -> dict[str, Any]:
    model: Backbone = ported.model
    digest = hashlib.sha256()
    with checkpoint.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    (moved,) = ported.transfers.values()
    return {
        "format": format_name,
        "checkpoint": {"file": checkpoint.name, "sha256": digest.hexdigest()},
        "weights_sha256": moved.sha256,
        "parameters": moved.parameter_count,
        "ignored_keys": moved.ignored,
        **describe_network(model),
        "labels": ported.settings.get("labels", []),
        "settings": ported.settings,
        "notes": [*ported.notes, *moved.notes],
        "tfcxr_version": tfcxr.__version__,
        "tensorflow_version": tf.__version__,
    }
