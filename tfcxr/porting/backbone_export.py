"""A ported network as a SavedModel that loads without tfcxr.

`serving_default`: `image` float32 [batch, height, width, 1] in [-1, 1], as everywhere in tfcxr -> `features` float32
[batch, features], and `logits` float32 [batch, classes] where the network has a classifier. The network's own value
range, its three channels and its resizing are inside. It can be differentiated, so it serves as a feature extractor and
as SRGAN's content model (`output=features` there). Beside it, `backbone.json` says where the weights came from.
"""

import hashlib
import json
import os
import pathlib
from typing import Any

import tensorflow as tf

import tfcxr
from tfcxr.backbones.base import VALUE_RANGES, Backbone
from tfcxr.data.atomic import atomic_path, remove_temporary_files
from tfcxr.porting.ported import Ported

DESCRIPTION_FILE = "backbone.json"


class ServedBackbone(tf.Module):
    """The function that is exported; `loaded.extract` of `tf.saved_model.load`."""

    def __init__(self, model: Backbone) -> None:
        super().__init__(name="tfcxr")
        self._weights = [variable.value for variable in model.variables]

        def extract(image: tf.Tensor) -> dict[str, tf.Tensor]:
            pixels = tf.shape(image)[1:3]
            checks = []
            if not model.input_size:  # else every size is resized
                message = [f"images need at least {model.smallest_size} pixels a side, got", pixels]
                checks.append(tf.debugging.Assert(tf.reduce_min(pixels) >= model.smallest_size, message))
            with tf.control_dependencies(checks):
                features = model.pooled(model.from_signed(image))
            return {"features": features} | ({"logits": model.classify(features)} if model.classes else {})

        spec = tf.TensorSpec([None, None, None, 1], tf.float32, "image")
        self.extract = tf.function(extract, input_signature=[spec], autograph=False)


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
        _save(ServedBackbone(ported.model), folder)
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
        "input": {
            "image": "float32 [batch, height, width, 1] in [-1, 1]",
            "network_channels": model.channels,
            "network_value_range": VALUE_RANGES[model.value_range].text,
            "resized_to": model.input_size or None,
            "smallest_size": 1 if model.input_size else model.smallest_size,
        },
        "outputs": {"features": model.feature_count} | ({"logits": model.classes} if model.classes else {}),
        "labels": ported.settings.get("labels", []),
        "settings": ported.settings,
        "notes": list(ported.notes),
        "tfcxr_version": tfcxr.__version__,
        "tensorflow_version": tf.__version__,
    }


def _save(served: ServedBackbone, folder: pathlib.Path) -> None:
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # it would tell of the temporary folder
    try:
        tf.saved_model.save(served, str(folder), signatures={"serving_default": served.extract})
    except tf.errors.OpError as error:
        raise OSError(f"could not write the SavedModel: {error.message}") from error
    finally:
        logger.setLevel(level)
